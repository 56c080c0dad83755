//! Zig projects: their `build.zig.zon` as the user edits it, and their archive.
//!
//! Owns which files of a Zig project belong to its package, and the edit of its dependencies. Does not own ZON and the
//! rules of the manifest, which are the archive library's.
//! Invariant: an edit changes the dependency that it is about and no other byte but commas and braces beside it.

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use drystone_archive::{
    Manifest, RepackError, ZonField, ZonNode, ZonValue, parse_zig, parse_zon, repack_zig, root_directory,
};
use drystone_schemas::{Code, Format, Limits, Problem, ZigSnippet};
use tempfile::NamedTempFile;

use crate::{
    ClientError, LocalArchive,
    cache::write_atomically,
    pack::{HashingWriter, Packed, pack_files, package_files, read_limited},
    project::Edit,
};

/// File name of Zig's manifest.
pub const ZIG_MANIFEST: &str = "build.zig.zon";

/// One level of indentation, as `zig fmt` writes it.
const INDENT: &str = "    ";

/// Packs the package in a directory, in the Zig format; it lies below `owner`, if one is given. Blocks.
///
/// What `.paths` names is packed, and the manifest; hidden files, `.gitignore`d files and what Zig makes are not.
///
/// # Errors
///
/// [`ClientError::Problems`] with everything that is wrong with manifest and files.
pub fn pack_zig_directory(dir: &Path, owner: Option<&str>, limits: &Limits) -> Result<Packed, ClientError> {
    let text = read_limited(dir, ZIG_MANIFEST, limits)?;
    let manifest: Manifest = parse_zig(&text, owner).map_err(ClientError::Problems)?;
    let mut files = package_files(dir, ZIG_MANIFEST, &[], &[])?;
    let zig = manifest.details.zig.as_ref();
    files.retain(|file| file.path == ZIG_MANIFEST || zig.is_none_or(|zig| zig.selects(&file.path)));
    let root = root_directory(&manifest.name, &manifest.vers);
    let packed = pack_files(dir, &root, manifest, files, Format::Zig, limits)?;
    Ok(Packed {
        archive: LocalArchive { owner: owner.map(str::to_owned), ..packed.archive.clone() },
        ..packed
    })
}

/// An archive that was packed anew, in a temporary file that goes away with this value.
#[derive(Debug)]
pub struct Repacked {
    /// The archive.
    pub archive: LocalArchive,
    _file: NamedTempFile,
}

/// Packs a Zig package's archive anew, below `name-version/`; its package hash stays. Blocks.
pub fn repack_archive(archive: &LocalArchive, limits: &Limits) -> Result<Repacked, ClientError> {
    let source = io::BufReader::new(fs_err::File::open(&archive.path)?);
    let mut temp = NamedTempFile::with_prefix("drystone-pack-")?;
    let out = HashingWriter::new(io::BufWriter::new(temp.as_file_mut()));
    let packed = repack_zig(source, limits, tempfile::tempfile()?, out).map_err(|error| match error {
        RepackError::Refused(problems) | RepackError::Unreadable(problems) => ClientError::Problems(problems),
        RepackError::NotZig => {
            ClientError::Problems(vec![Problem::new(Code::ManifestMissing, error.to_string())])
        }
        RepackError::Io(error) => ClientError::Io(error),
    })?;
    let (digest, size, writer) = packed.finish();
    writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    let archive = LocalArchive { path: temp.path().into(), digest, size, ..archive.clone() };
    Ok(Repacked { archive, _file: temp })
}

/// A `build.zig.zon` on disk.
#[derive(Debug, Clone)]
pub struct ZigProject {
    path: PathBuf,
    text: String,
}

impl ZigProject {
    /// Finds the manifest in a directory or the nearest one above it.
    pub fn find(start: &Path) -> Result<Self, ClientError> {
        let found = start.ancestors().map(|dir| dir.join(ZIG_MANIFEST)).find(|path| path.is_file());
        let path = found.ok_or_else(|| ClientError::ProjectNotFound {
            file_name: ZIG_MANIFEST.into(),
            dir: start.into(),
        })?;
        let text = fs_err::read_to_string(&path)?;
        Ok(Self { path, text })
    }

    /// Where the manifest is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The text, with all edits.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Writes the manifest back, whole.
    pub fn save(&self) -> Result<(), ClientError> {
        Ok(write_atomically(&self.path, self.text.as_bytes())?)
    }

    /// Makes the project depend on a release: a new entry, or another URL and hash in the one of that name.
    ///
    /// # Errors
    ///
    /// [`ClientError::BadManifest`] if the manifest cannot be read.
    pub fn add(&mut self, snippet: &ZigSnippet) -> Result<Edit, ClientError> {
        let root = self.parse()?;
        let (edit, text) = match root.field("dependencies") {
            Some(field) => self.add_to(&field.node, snippet)?,
            None => (Edit::Added, self.with_field(&root, &format!("dependencies = {}", alone(snippet, 1)))?),
        };
        self.text = text;
        // What was written is read back, so that no edit leaves a manifest that Zig cannot read.
        let root = self.parse()?;
        let dep = root.field("dependencies").and_then(|all| all.node.field(&snippet.name));
        let says = |key: &str| dep.and_then(|dep| dep.node.field(key)).and_then(|field| field.node.text());
        if says("url") == Some(&*snippet.url) && says("hash") == Some(&*snippet.hash) {
            Ok(edit)
        } else {
            Err(self.bad("the dependency cannot be written into it; add it by hand".into()))
        }
    }

    fn parse(&self) -> Result<ZonNode, ClientError> {
        let root = parse_zon(&self.text).map_err(|error| self.bad(error.to_string()))?;
        match root.value {
            ZonValue::Struct(_) => Ok(root),
            _ => Err(self.bad("it is not a struct such as `.{ .name = .x }`".into())),
        }
    }

    fn bad(&self, detail: String) -> ClientError {
        ClientError::BadManifest { path: self.path.clone(), detail }
    }

    fn add_to(&self, all: &ZonNode, snippet: &ZigSnippet) -> Result<(Edit, String), ClientError> {
        if all.fields().is_none() {
            return Err(self.bad("`.dependencies` is not a struct".into()));
        }
        let Some(entry) = all.field(&snippet.name) else {
            let text = self.with_field(all, &format!("{} = {}", snippet.name, entry(snippet, 2)))?;
            return Ok((Edit::Added, text));
        };
        let value = |key: &str| entry.node.field(key).map(|field| &field.node);
        let (Some(url), Some(hash)) = (value("url"), value("hash")) else {
            // A path, or half an entry: nothing of it can stay.
            let text = self.replaced(entry.node.span.clone(), &self::entry(snippet, 2));
            return Ok((Edit::Changed, text));
        };
        if url.text() == Some(&*snippet.url) && hash.text() == Some(&*snippet.hash) {
            return Ok((Edit::Unchanged, self.text.clone()));
        }
        let mut spans =
            [(url.span.clone(), quoted(&snippet.url)), (hash.span.clone(), quoted(&snippet.hash))];
        // From the back, so that the first span still lies where it did.
        spans.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
        let mut text = self.text.clone();
        for (span, new) in spans {
            text.replace_range(span, &new);
        }
        Ok((Edit::Changed, text))
    }

    fn replaced(&self, span: Range<usize>, new: &str) -> String {
        let mut text = self.text.clone();
        text.replace_range(span, new);
        text
    }

    /// The text with one field more at the end of a struct; `field` is without its dot, indented as the lines around it.
    fn with_field(&self, node: &ZonNode, field: &str) -> Result<String, ClientError> {
        let fields = node.fields().unwrap_or_default();
        let close = node.span.end - 1;
        let line_start = self.text[..close].rfind('\n').map_or(0, |newline| newline + 1);
        let own_line = self.text[line_start..close].trim().is_empty() && line_start > node.span.start;
        let mut text = self.text.clone();
        if own_line {
            let outer = &self.text[line_start..close];
            text.insert_str(line_start, &format!("{outer}{INDENT}.{field},\n"));
        } else if fields.is_empty() {
            let outer = self.indentation(node.span.start);
            text.replace_range(node.span.clone(), &format!(".{{\n{outer}{INDENT}.{field},\n{outer}}}"));
        } else {
            let body = self.text[..close].trim_end().len();
            text.replace_range(body..close, &format!(" .{field} "));
        }
        if let Some(last) = fields.last()
            && !self.has_comma(last, close)
        {
            text.insert(last.span.end, ',');
        }
        Ok(text)
    }

    /// The blanks at the beginning of the line of a position.
    fn indentation(&self, at: usize) -> &str {
        let start = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let line = &self.text[start..];
        &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
    }

    /// Whether a comma follows a field, outside comments.
    fn has_comma(&self, field: &ZonField, close: usize) -> bool {
        let rest = self.text[field.span.end..close].lines();
        rest.map(|line| line.split("//").next().unwrap_or_default()).any(|line| line.contains(','))
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The value of an entry, at this level of indentation.
fn entry(snippet: &ZigSnippet, level: usize) -> String {
    let (outer, inner) = (INDENT.repeat(level), INDENT.repeat(level + 1));
    let (url, hash) = (quoted(&snippet.url), quoted(&snippet.hash));
    format!(".{{\n{inner}.url = {url},\n{inner}.hash = {hash},\n{outer}}}")
}

/// A struct that holds nothing but this entry.
fn alone(snippet: &ZigSnippet, level: usize) -> String {
    let (outer, inner) = (INDENT.repeat(level), INDENT.repeat(level + 1));
    format!(".{{\n{inner}.{} = {},\n{outer}}}", snippet.name, entry(snippet, level + 1))
}

/// Whether a directory holds a Zig project.
pub fn is_zig_project(dir: &Path) -> bool {
    dir.join(ZIG_MANIFEST).is_file()
}

/// The problem of a package that Zig cannot use.
pub fn not_zig(name: &drystone_schemas::PackageName) -> ClientError {
    let detail = format!("`{name}` is not a Zig package");
    ClientError::Problems(vec![Problem::new(Code::InvalidDependency, detail).fact("package", name)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snippet(name: &str, hash: &str) -> ZigSnippet {
        ZigSnippet {
            name: name.into(),
            url: format!("https://r.example/o/{hash}"),
            hash: hash.into(),
            zon: String::new(),
        }
    }

    fn edited(text: &str, snippets: &[ZigSnippet]) -> (String, Vec<Edit>) {
        let mut project = ZigProject { path: ZIG_MANIFEST.into(), text: text.into() };
        let edits = snippets.iter().map(|snippet| project.add(snippet).expect("it can be added")).collect();
        (project.text, edits)
    }

    #[test]
    fn a_new_dependency_changes_nothing_else() {
        let text = ".{\n    // ours\n    .name = .app, // the app\n    .dependencies = .{\n        // talks\n        .a = .{ .path = \"a\" } // no comma, yet\n    },\n    .paths = .{\"\"}, // all\n}\n";
        let (new, edits) =
            edited(text, &[snippet("http", "h1"), snippet("http", "h1"), snippet("http", "h2")]);
        assert_eq!(edits, [Edit::Added, Edit::Unchanged, Edit::Changed]);
        assert_eq!(
            new,
            ".{\n    // ours\n    .name = .app, // the app\n    .dependencies = .{\n        // talks\n        .a = .{ .path = \"a\" }, // no comma, yet\n        .http = .{\n            .url = \"https://r.example/o/h2\",\n            .hash = \"h2\",\n        },\n    },\n    .paths = .{\"\"}, // all\n}\n"
        );
    }

    #[test]
    fn every_layout_of_dependencies() {
        let entry = ".http = .{\n            .url = \"https://r.example/o/h\",\n            .hash = \"h\",\n        }";
        for (before, after) in [
            (".{\n    .name = .app,\n}\n", format!(".{{\n    .name = .app,\n    .dependencies = .{{\n        {entry},\n    }},\n}}\n")),
            (".{\n    .name = .app\n}", format!(".{{\n    .name = .app,\n    .dependencies = .{{\n        {entry},\n    }},\n}}")),
            (".{\n    .dependencies = .{},\n}\n", format!(".{{\n    .dependencies = .{{\n        {entry},\n    }},\n}}\n")),
            (".{\n    .dependencies = .{\n    },\n}\n", format!(".{{\n    .dependencies = .{{\n        {entry},\n    }},\n}}\n")),
            (
                ".{\n    .dependencies = .{\n        .http = .{ .path = \"x\" },\n    },\n}\n",
                format!(".{{\n    .dependencies = .{{\n        {entry},\n    }},\n}}\n"),
            ),
            (
                ".{ .dependencies = .{ .http = .{ .hash = \"old\", .lazy = true, .url = \"old\" } } }",
                ".{ .dependencies = .{ .http = .{ .hash = \"h\", .lazy = true, .url = \"https://r.example/o/h\" } } }".to_owned(),
            ),
        ] {
            assert_eq!(edited(before, &[snippet("http", "h")]).0, after, "{before}");
        }
        let (inline, _) =
            edited(".{ .dependencies = .{ .a = .{ .path = \"a\" } } }", &[snippet("http", "h")]);
        assert!(inline.starts_with(".{ .dependencies = .{ .a = .{ .path = \"a\" }, .http = .{"), "{inline}");
    }

    #[test]
    fn what_cannot_be_read_is_left_alone() {
        for bad in ["", ".{ 1 }", ".{ .dependencies = 1 }", ".{ .a = }"] {
            let mut project = ZigProject { path: ZIG_MANIFEST.into(), text: bad.into() };
            assert!(
                matches!(project.add(&snippet("http", "h")), Err(ClientError::BadManifest { .. })),
                "{bad}"
            );
            assert_eq!(project.text, bad);
        }
    }
}
