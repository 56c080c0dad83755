//! `build.zig.zon`: the manifest of Zig packages.
//!
//! Owns: what Zig reads of it, by Zig's rules, and a few optional fields of ours that Zig does not look at: `description`,
//! `license`, `authors`, `keywords`, `categories`, `homepage`, `repository`, `documentation`. Does not own: ZON itself,
//! and the package hash. Source: `lib/compiler/Maker/Package/Manifest.zig` of Zig 0.17.0.

use std::collections::BTreeMap;

use drystone_schemas::{Code, PackageName, Problem, Version, ZigDep};

use super::{Draft, Problems};
use crate::zon::{Field, Node, Value, parse_zon, place};

/// File name of Zig's manifest.
pub(crate) const ZIG_MANIFEST: &str = "build.zig.zon";
/// Longest name and longest version, in bytes (`max_name_len`, `max_version_len`).
const IDENTITY_BYTES_MAX: usize = 32;
/// Shortest and longest package hash, in bytes (`Package.Hash.validate`).
const HASH_BYTES: std::ops::RangeInclusive<usize> = 44..=110;

/// What a `build.zig.zon` says that only Zig asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZigManifest {
    /// `.name`, a bare identifier of at most 32 bytes.
    pub name: String,
    /// `.version`, as written; at most 32 bytes.
    pub version: String,
    /// `.fingerprint`, checked against the name.
    pub fingerprint: Option<u64>,
    /// `.minimum_zig_version`.
    pub minimum_zig_version: Option<String>,
    /// `.paths`, normalised as Zig does; `.` means everything.
    pub paths: Vec<String>,
    /// `.dependencies`, by name.
    pub dependencies: Vec<ZigDep>,
}

/// Reads the manifest as far as possible; the package lies below `owner`, if one is given.
pub(super) fn draft(text: &str, owner: Option<&str>) -> Draft {
    let mut draft = Draft::default();
    let root = match parse_zon(text) {
        Ok(root) => root,
        Err(error) => {
            let problem = Problem::new(Code::ManifestInvalid, format!("`{ZIG_MANIFEST}`: {error}"));
            draft.problems.push(problem.fact("line", error.line).fact("column", error.column));
            return draft;
        }
    };
    let reader = Reader { text };
    let Some(fields) = root.fields() else {
        draft.problems.push(reader.problem(&root, "the manifest is not a struct such as `.{ .name = .x }`"));
        return draft;
    };
    reader.identify(&mut draft, &root, owner);
    let problems = &mut draft.problems;
    let paths = root.field("paths").and_then(|field| reader.paths(&field.node, problems));
    let manifest = ZigManifest {
        name: String::new(),
        version: draft.vers_text.clone().unwrap_or_default(),
        fingerprint: None,
        minimum_zig_version: root
            .field("minimum_zig_version")
            .and_then(|field| reader.semver(field, problems)),
        paths: paths.unwrap_or_default(),
        dependencies: root
            .field("dependencies")
            .map_or_else(Vec::new, |field| reader.dependencies(field, problems)),
    };
    let name = reader.name(&root, problems);
    let fingerprint =
        root.field("fingerprint").and_then(|field| reader.fingerprint(field, name.as_deref(), problems));
    if root.field("paths").is_none() {
        problems.push(reader.problem(&root, "`.paths` is missing; `.{\"\"}` means everything"));
    }
    if root.field("fingerprint").is_none() {
        draft.warn("`.fingerprint` is missing: Zig since 0.16 refuses the package".into());
    }
    if root.field("name").is_some_and(|field| matches!(field.node.value, Value::String(_))) {
        draft.warn("`.name` is a string: Zig since 0.16 refuses the package".into());
    }
    reader.describe(&mut draft, fields);
    draft.details.zig = name.map(|name| ZigManifest { name, fingerprint, ..manifest });
    draft
}

impl ZigManifest {
    /// Whether `.paths` names a file, or a directory above it (`Filter.includePath`).
    pub fn selects(&self, file: &str) -> bool {
        let named = |path: &str| self.paths.iter().any(|listed| listed == path);
        named(".") || named(file) || file.match_indices('/').any(|(at, _)| named(&file[..at]))
    }
}

struct Reader<'t> {
    text: &'t str,
}

impl Reader<'_> {
    /// A problem with its place.
    fn problem(&self, node: &Node, what: impl std::fmt::Display) -> Problem {
        self.coded(Code::ManifestInvalid, node, what)
    }

    fn coded(&self, code: Code, node: &Node, what: impl std::fmt::Display) -> Problem {
        let (line, column) = place(self.text, node.span.start);
        let detail = format!("`{ZIG_MANIFEST}`: line {line}, column {column}: {what}");
        Problem::new(code, detail).fact("line", line).fact("column", column)
    }

    /// The name and version of the draft.
    fn identify(&self, draft: &mut Draft, root: &Node, owner: Option<&str>) {
        // Its problems are told where the manifest's own facts are read.
        let name = self.name(root, &mut Problems::default());
        draft.name_text =
            name.map(|name| owner.map_or_else(|| name.clone(), |owner| format!("{owner}/{name}")));
        if let (Some(text), Some(field)) = (&draft.name_text, root.field("name")) {
            match PackageName::new(&**text) {
                Ok(name) => draft.name = Some(name),
                Err(error) => {
                    let problem = self.coded(Code::InvalidName, &field.node, error).fact("name", text);
                    draft.problems.push(problem);
                }
            }
        }
        let Some(field) = root.field("version") else {
            draft.problems.push(self.problem(root, "`.version` is missing"));
            return;
        };
        let Some(text) = self.string(field, &mut draft.problems) else { return };
        draft.vers_text = Some(text.clone());
        let fault = match Version::new(&text) {
            _ if text.len() > IDENTITY_BYTES_MAX => {
                format!("the version has {} bytes; Zig takes at most {IDENTITY_BYTES_MAX}", text.len())
            }
            Ok(version) => {
                draft.vers = Some(version);
                return;
            }
            Err(error) => error.to_string(),
        };
        draft.problems.push(self.coded(Code::InvalidVersion, &field.node, fault).fact("version", text));
    }

    /// `.name`: a bare enum literal, or as until Zig 0.13 a string.
    fn name(&self, root: &Node, problems: &mut Problems) -> Option<String> {
        let Some(field) = root.field("name") else {
            problems.push(self.problem(root, "`.name` is missing"));
            return None;
        };
        let name = match &field.node.value {
            Value::EnumLiteral(name) => name.clone(),
            Value::String(_) => self.string(field, problems)?,
            _ => {
                problems.push(self.problem(&field.node, "`.name` is no bare name such as `.http`"));
                return None;
            }
        };
        let bare = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !bare || name.len() > IDENTITY_BYTES_MAX {
            let what = format!(
                "`.name` must be a bare identifier of at most {IDENTITY_BYTES_MAX} bytes: Zig takes no other"
            );
            problems.push(self.coded(Code::InvalidName, &field.node, what).fact("name", name));
            return None;
        }
        Some(name)
    }

    fn string(&self, field: &Field, problems: &mut Problems) -> Option<String> {
        let text = field.node.text();
        if text.is_none() {
            problems.push(self.problem(&field.node, format!("`.{}` is no string", field.name)));
        }
        text.map(str::to_owned)
    }

    fn semver(&self, field: &Field, problems: &mut Problems) -> Option<String> {
        let text = self.string(field, problems)?;
        if let Err(error) = Version::new(&text) {
            problems.push(self.coded(Code::InvalidVersion, &field.node, error));
        }
        Some(text)
    }

    /// `.fingerprint`: CRC-32 of the name, then an id that is neither 0 nor all ones (`Fingerprint.validate`).
    fn fingerprint(&self, field: &Field, name: Option<&str>, problems: &mut Problems) -> Option<u64> {
        let Value::Integer(value) = field.node.value else {
            problems.push(self.problem(&field.node, "`.fingerprint` is no whole number of 64 bits"));
            return None;
        };
        let name = name?;
        let (checksum, id) = ((value >> 32) as u32, value as u32);
        let right = crc32(name.as_bytes());
        if checksum != right || id == 0 || id == u32::MAX {
            let what = format!("the fingerprint {value:#018x} does not belong to the name `{name}`");
            let id = if id == 0 || id == u32::MAX { 1 } else { id };
            let hint = format!(
                "for a package that is new or was renamed, use {:#018x}; else give it its old name back",
                u64::from(right) << 32 | u64::from(id)
            );
            problems.push(self.problem(&field.node, what).with_hint(hint));
            return None;
        }
        Some(value)
    }

    fn paths(&self, node: &Node, problems: &mut Problems) -> Option<Vec<String>> {
        let Value::Tuple(items) = &node.value else {
            problems.push(self.problem(node, "`.paths` is no list of strings; `.{\"\"}` means everything"));
            return None;
        };
        let mut paths = Vec::with_capacity(items.len());
        for item in items {
            match item.text() {
                Some(path) => paths.push(normalised(path)),
                None => problems.push(self.problem(item, "a path is no string")),
            }
        }
        Some(paths)
    }

    fn dependencies(&self, field: &Field, problems: &mut Problems) -> Vec<ZigDep> {
        let Some(fields) = field.node.fields() else {
            problems.push(self.problem(&field.node, "`.dependencies` is no struct"));
            return Vec::new();
        };
        let mut found = BTreeMap::new();
        for field in fields {
            if let Some(dep) = self.dependency(field, problems) {
                found.insert(field.name.clone(), dep);
            }
        }
        found.into_values().collect()
    }

    fn dependency(&self, field: &Field, problems: &mut Problems) -> Option<ZigDep> {
        let invalid = |what: &str| {
            let problem = self.coded(
                Code::InvalidDependency,
                &field.node,
                format!("dependency `{}` {what}", field.name),
            );
            problem.fact("dependency", &field.name)
        };
        if field.node.fields().is_none() {
            problems.push(invalid("is no struct"));
            return None;
        }
        let before = problems.0.len();
        let text = |key: &str, problems: &mut Problems| {
            field.node.field(key).and_then(|found| self.string(found, problems))
        };
        let url = text("url", problems);
        let hash = text("hash", problems);
        let path = text("path", problems);
        let lazy = match field.node.field("lazy").map(|found| &found.node.value) {
            None => false,
            Some(Value::Bool(lazy)) => *lazy,
            Some(_) => {
                problems.push(invalid("has a `.lazy` that is neither `true` nor `false`"));
                false
            }
        };
        if problems.0.len() > before {
            return None;
        }
        let fault = match (&url, &path) {
            (None, None) => "has neither `.url` nor `.path`",
            (Some(_), Some(_)) => "has both `.url` and `.path`",
            (Some(_), None) if hash.is_none() => "has a `.url` but no `.hash`: Zig refuses it",
            (None, Some(path)) if normalised(path).starts_with("..") || path.starts_with('/') => {
                "has a `.path` that leads out of the package"
            }
            _ if hash.as_ref().is_some_and(|hash| !HASH_BYTES.contains(&hash.len())) => {
                "has a `.hash` that is no package hash"
            }
            _ if [&url, &hash, &path]
                .into_iter()
                .flatten()
                .any(|text| text.chars().any(crate::path::is_invisible)) =>
            {
                "has a control character"
            }
            _ => return Some(ZigDep { name: field.name.clone(), url, hash, path, lazy }),
        };
        problems.push(invalid(fault));
        None
    }

    /// Our own fields. Zig leaves them to others, so that one of another shape is not an error.
    fn describe(&self, draft: &mut Draft, fields: &[Field]) {
        let details = &mut draft.details;
        let mut unusable = Vec::new();
        for field in fields {
            let single = match &*field.name {
                "description" => &mut details.description,
                "license" => &mut details.license,
                "homepage" => &mut details.homepage,
                "repository" => &mut details.repository,
                "documentation" => &mut details.documentation,
                name @ ("authors" | "keywords" | "categories") => {
                    let texts = match &field.node.value {
                        Value::Tuple(items) => {
                            items.iter().map(|item| item.text().map(str::to_owned)).collect()
                        }
                        _ => None,
                    };
                    match (texts, name) {
                        (Some(texts), "authors") => details.authors = texts,
                        (Some(texts), "keywords") => details.keywords = texts,
                        (Some(texts), _) => details.categories = texts,
                        (None, _) => {
                            unusable.push(format!("`.{name}` is no list of strings and is not looked at"))
                        }
                    }
                    continue;
                }
                _ => continue,
            };
            *single = field.node.text().map(str::to_owned);
            if single.is_none() {
                unusable.push(format!("`.{}` is no string and is not looked at", field.name));
            }
        }
        unusable.into_iter().for_each(|warning| draft.warn(warning));
    }
}

/// A path as Zig compares it with those of files (`std.fs.path.resolve` on one path).
fn normalised(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            part => parts.push(part),
        }
    }
    match (absolute, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".into(),
        (false, false) => parts.join("/"),
    }
}

/// CRC-32 (ISO 3309), as `std.hash.Crc32`.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        ".name = .foo, .version = \"3.2.1\", .fingerprint = 0x8c736521490b23df, .paths = .{\"\"},";

    fn codes(text: &str) -> Vec<Code> {
        draft(text, None).problems.0.iter().map(|problem| problem.code).collect()
    }

    fn with(rest: &str) -> Draft {
        draft(&format!(".{{ {HEAD} {rest} }}"), None)
    }

    #[test]
    fn a_full_manifest() {
        let draft = draft(
            ".{\n\
             // comment\n\
             .name = .foo,\n.version = \"3.2.1-rc.1+b\",\n.fingerprint = 0x8c73_6521_490b_23df,\n\
             .minimum_zig_version = \"0.14.0\",\n.paths = .{ \"build.zig\", \"./src/\", \"a/../b\" },\n\
             .dependencies = .{\n\
               .z = .{ .path = \"lib/z\" },\n\
               .@\"a-b\" = .{ .url = \"https://x.example/a\", .hash = \"1220c736521490b23df0c736521490b23df0c736521490b23df0c736521490b23df0\", .lazy = true, .extra = 1 },\n\
             },\n\
             .description = \"d\", .keywords = .{ \"k\" }, .license = .MIT, .unknown = .{ .x = -1.5 },\n}",
            Some("acme"),
        );
        assert_eq!(draft.problems.0, []);
        assert_eq!(
            (draft.name.unwrap().as_str(), draft.vers.unwrap().to_string()),
            ("acme/foo", "3.2.1-rc.1+b".into())
        );
        assert_eq!(
            (draft.details.description.as_deref(), &*draft.details.keywords),
            (Some("d"), &["k".to_owned()][..])
        );
        assert_eq!(draft.details.warnings, ["`.license` is no string and is not looked at"]);
        let zig = draft.details.zig.unwrap();
        assert_eq!((&*zig.name, zig.fingerprint), ("foo", Some(0x8c73_6521_490b_23df)));
        assert_eq!(zig.paths, ["build.zig", "src", "b"]);
        let deps: Vec<_> = zig.dependencies.iter().map(|d| (&*d.name, d.path.as_deref(), d.lazy)).collect();
        assert_eq!(deps, [("a-b", None, true), ("z", Some("lib/z"), false)]);
    }

    #[test]
    fn problems_have_a_place_and_come_together() {
        use Code::*;
        assert_eq!(codes("{"), [ManifestInvalid]);
        assert_eq!(codes(".{ 1 }"), [ManifestInvalid]);
        assert_eq!(codes(".{}"), [ManifestInvalid, ManifestInvalid, ManifestInvalid]);
        let named =
            |name: &str| codes(&format!(".{{ .name = {name}, .version = \"1.0.0\", .paths = .{{\"\"}} }}"));
        assert_eq!(named(".@\"a-b\""), [ManifestInvalid]);
        assert_eq!(named("\"a-b\""), [InvalidName]);
        assert_eq!(named("._x"), [InvalidName]);
        assert_eq!(named(&format!(".{}", "a".repeat(33))), [InvalidName]);
        assert_eq!(named("\"old\""), []);
        let version =
            |text: &str| codes(&format!(".{{ .name = .a, .version = {text}, .paths = .{{\"\"}} }}"));
        assert_eq!(version("\"1\""), [InvalidVersion]);
        assert_eq!(version(&format!("\"1.0.0-{}\"", "a".repeat(27))), [InvalidVersion]);
        assert_eq!(version("\\\\1.0.0\n"), [ManifestInvalid]);
        assert_eq!(codes(".{ .name = .a, .version = \"1.0.0\", .paths = .{} }"), [ManifestInvalid]);
        let draft = with("\n.minimum_zig_version = \"0.14\"");
        assert_eq!(
            draft.problems.0[0].detail,
            "`build.zig.zon`: line 2, column 24: `0.14` is not a SemVer version: unexpected end of input while parsing minor version number"
        );
        assert_eq!(draft.problems.0[0].facts["line"], "2");
    }

    #[test]
    fn dependencies_that_zig_refuses() {
        for (dep, what) in [
            (".{}", "has neither `.url` nor `.path`"),
            ("1", "is no struct"),
            (".{ .url = \"u\", .path = \"p\" }", "has both"),
            (".{ .url = \"https://x.example\" }", "no `.hash`"),
            (".{ .url = \"u\", .hash = \"short\" }", "no package hash"),
            (".{ .path = \"../x\" }", "leads out"),
            (".{ .path = \"a/../../x\" }", "leads out"),
            (".{ .path = \"/x\" }", "leads out"),
            (".{ .path = \"a\\x07\" }", "control character"),
            (".{ .path = \"a\", .lazy = 1 }", "`.lazy`"),
        ] {
            let draft = with(&format!(".dependencies = .{{ .d = {dep} }}"));
            let problem = draft.problems.0.first().unwrap_or_else(|| panic!("{dep} is accepted"));
            assert_eq!(
                (problem.code, problem.detail.contains(what)),
                (Code::InvalidDependency, true),
                "{problem}"
            );
        }
    }

    #[test]
    fn a_fingerprint_belongs_to_its_name() {
        let draft = draft(
            ".{ .name = .bar, .version = \"1.0.0\", .fingerprint = 0x8c736521490b23df, .paths = .{\"\"} }",
            None,
        );
        assert!(draft.problems.0[0].hint.contains("use 0x76ff8caa490b23df"), "{}", draft.problems.0[0].hint);
        for bad in ["0x8c73652100000000", "0x8c736521ffffffff", "-1", "1.5", "\"x\"", "0x18c736521490b23df"] {
            let text = format!(
                ".{{ .name = .foo, .version = \"1.0.0\", .fingerprint = {bad}, .paths = .{{\"\"}} }}"
            );
            assert_eq!(codes(&text), [Code::ManifestInvalid], "{bad}");
        }
    }

    #[test]
    fn paths_as_zig_normalises_them() {
        for (path, normal) in [
            ("", "."),
            (".", "."),
            ("./", "."),
            ("src/", "src"),
            ("./src//a", "src/a"),
            ("a/../b", "b"),
            ("..", ".."),
            ("../a/..", ".."),
            ("a/../..", ".."),
            ("/a/../../b", "/b"),
            ("/", "/"),
        ] {
            assert_eq!(normalised(path), normal, "{path}");
        }
    }
}
