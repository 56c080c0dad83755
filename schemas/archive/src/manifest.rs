//! Manifests: what a package says of itself, in one shape for all formats.
//!
//! Owns: the common shape and the rules for names, versions and requirements in it. The formats are in the modules
//! below. Does not own: which file is the manifest, and what lies beside it.
//! Invariant: parsing is pure, and every problem of a manifest is reported at once, up to 20.

mod cargo;
mod generic;
mod mapped;
mod table;
mod zig;

use std::collections::BTreeMap;

use drystone_schemas::{
    CRATES_IO_INDEX, Code, DepKind, Format, Language, PackageName, Problem, RecordDep, Version, VersionReq,
};

use table::Section;
pub(crate) use zig::ZIG_MANIFEST;
pub use zig::ZigManifest;

/// A whole manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Package name, as written.
    pub name: PackageName,
    /// Version.
    pub vers: Version,
    /// Everything else.
    pub details: Details,
}

/// What a manifest says besides name and version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// Normal, build and dev dependencies, each by name; first those for all platforms, then platform by platform.
    pub deps: Vec<RecordDep>,
    /// Features, as written.
    pub features: BTreeMap<String, Vec<String>>,
    /// The native library that it links.
    pub links: Option<String>,
    /// Least compiler version.
    pub rust_version: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// SPDX expression.
    pub license: Option<String>,
    /// Authors.
    pub authors: Vec<String>,
    /// Keywords.
    pub keywords: Vec<String>,
    /// Categories.
    pub categories: Vec<String>,
    /// Home page.
    pub homepage: Option<String>,
    /// Source repository.
    pub repository: Option<String>,
    /// Documentation.
    pub documentation: Option<String>,
    /// Which file is the README.
    pub readme: ReadmeChoice,
    /// Patterns of the only files to pack; generic format only.
    pub include: Vec<String>,
    /// Patterns of files not to pack; generic format only.
    pub exclude: Vec<String>,
    /// What only Zig asks for; Zig format only.
    pub zig: Option<ZigManifest>,
    /// What the author should know, though it is no error; at most 20.
    pub warnings: Vec<String>,
}

/// Which file is the README.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ReadmeChoice {
    /// The first of the usual names that is there.
    #[default]
    Usual,
    /// None, whatever is there.
    Never,
    /// This one, relative to the manifest.
    Path(String),
}

/// Parses a `Cargo.toml` as `cargo package` writes it, by this and by older versions of Cargo.
///
/// # Errors
///
/// Every problem of the manifest, up to 20.
pub fn parse_cargo(text: &str) -> Result<Manifest, Vec<Problem>> {
    draft(Format::Cargo, text, None).finish()
}

/// Parses a `drystone.toml`, whatever a registry calls it.
///
/// # Errors
///
/// Every problem of the manifest, up to 20.
///
/// ```
/// let manifest = drystone_archive::parse_generic(
///     "[package]\nname = 'acme/http'\nversion = '1.0.0'\n[dependencies]\n'acme/json' = '2.1'\n",
/// )
/// .expect("it is valid");
/// assert_eq!(manifest.details.deps[0].req, "^2.1");
/// ```
pub fn parse_generic(text: &str) -> Result<Manifest, Vec<Problem>> {
    draft(Format::Generic, text, None).finish()
}

/// Parses a language's own manifest. The file's name says whether it is TOML or JSON.
///
/// # Errors
///
/// Every problem of the manifest, up to 20.
pub fn parse_language(file_name: &str, language: &Language, text: &str) -> Result<Manifest, Vec<Problem>> {
    draft_of_language(file_name, language, text).finish()
}

/// Parses a language's own manifest as far as possible.
pub(crate) fn draft_of_language(file_name: &str, language: &Language, text: &str) -> Draft {
    let parsed = if file_name.ends_with(".json") { mapped::parse_json(text) } else { parse(text) };
    match parsed {
        Ok(table) => {
            let mut draft = Draft::default();
            mapped::read(&mut draft, &Section::root(&table), &language.fields);
            draft
        }
        Err(detail) => Draft::unreadable(detail),
    }
}

/// Parses a `build.zig.zon`. The package lies below `owner`, if one is given: the manifest cannot tell.
///
/// # Errors
///
/// Every problem of the manifest, up to 20; of a text that is not ZON, the first.
///
/// ```
/// let manifest = drystone_archive::parse_zig(
///     ".{ .name = .http, .version = \"1.0.0\", .fingerprint = 0x97780db249b23df1, .paths = .{\"src\"} }",
///     Some("acme"),
/// )
/// .expect("it is valid");
/// assert_eq!(manifest.name.as_str(), "acme/http");
/// ```
pub fn parse_zig(text: &str, owner: Option<&str>) -> Result<Manifest, Vec<Problem>> {
    draft(Format::Zig, text, owner).finish()
}

/// Parses as far as possible. `owner` is that of a format whose manifest has none.
pub(crate) fn draft(format: Format, text: &str, owner: Option<&str>) -> Draft {
    if format == Format::Zig {
        return zig::draft(text, owner);
    }
    let table = match parse(text) {
        Ok(table) => table,
        Err(detail) => return Draft::unreadable(detail),
    };
    let root = Section::root(&table);
    let mut draft = Draft::default();
    // `project` is Cargo's first name for it.
    let key = if format == Format::Cargo && root.get("package").is_none() { "project" } else { "package" };
    if root.get(key).is_none() {
        return Draft::unreadable("the manifest has no table `package`");
    }
    if let Some(package) = root.section(key, &mut draft.problems) {
        match format {
            Format::Cargo => cargo::read(&mut draft, &root, &package),
            Format::Generic => generic::read(&mut draft, &root, &package),
            Format::Zig => unreachable!("its manifest is not TOML"),
        }
    }
    draft
}

/// A manifest that may have problems: what could be read is there all the same.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) name_text: Option<String>,
    pub(crate) vers_text: Option<String>,
    pub(crate) name: Option<PackageName>,
    pub(crate) vers: Option<Version>,
    pub(crate) details: Details,
    pub(crate) problems: Problems,
}

impl Draft {
    /// A draft of what cannot be read at all.
    pub(crate) fn unreadable(detail: impl Into<String>) -> Self {
        let problems = Problems(vec![Problem::new(Code::ManifestInvalid, detail)]);
        Self { problems, ..Self::default() }
    }

    /// Reads name and version.
    fn identify(&mut self, package: &Section<'_>, scoped: bool) {
        let name = package.required_text("name", &mut self.problems);
        let version = package.required_text("version", &mut self.problems);
        self.identified(name, version, scoped);
    }

    /// Checks name and version.
    fn identified(&mut self, name: Option<String>, version: Option<String>, scoped: bool) {
        let problems = &mut self.problems;
        (self.name_text, self.vers_text) = (name, version);
        if let Some(text) = &self.name_text {
            match PackageName::new(text) {
                Ok(name) if name.owner().is_some() && !scoped => problems.push(
                    Problem::new(
                        Code::InvalidName,
                        format!("`{text}` is not a package name: Cargo has no owners in names"),
                    )
                    .fact("name", text),
                ),
                Ok(name) => self.name = Some(name),
                Err(error) => {
                    problems.push(Problem::new(Code::InvalidName, error.to_string()).fact("name", text))
                }
            }
        }
        if let Some(text) = &self.vers_text {
            match Version::new(text) {
                Ok(version) => self.vers = Some(version),
                Err(error) => {
                    problems
                        .push(Problem::new(Code::InvalidVersion, error.to_string()).fact("version", text));
                }
            }
        }
    }

    /// Reads what all formats write alike.
    fn describe(&mut self, package: &Section<'_>) {
        let (details, problems) = (&mut self.details, &mut self.problems);
        details.description = package.text("description", problems);
        details.license = package.text("license", problems);
        details.authors = package.texts("authors", problems);
        details.keywords = package.texts("keywords", problems);
        details.categories = package.texts("categories", problems);
        details.homepage = package.text("homepage", problems);
        details.repository = package.text("repository", problems);
        details.documentation = package.text("documentation", problems);
        details.readme = package.readme(problems);
    }

    fn read_features(&mut self, root: &Section<'_>) {
        if let Some(features) = root.section("features", &mut self.problems) {
            for name in features.keys() {
                let list = features.texts(name, &mut self.problems);
                self.details.features.insert(name.into(), list);
            }
        }
    }

    fn warn(&mut self, warning: String) {
        if self.details.warnings.len() < PROBLEMS_MAX {
            self.details.warnings.push(warning);
        }
    }

    /// The manifest, if it has no problems.
    pub(crate) fn finish(self) -> Result<Manifest, Vec<Problem>> {
        match (self.name, self.vers) {
            (Some(name), Some(vers)) if self.problems.0.is_empty() => {
                Ok(Manifest { name, vers, details: self.details })
            }
            _ => Err(self.problems.0),
        }
    }
}

/// Parses TOML; the error says where.
fn parse(text: &str) -> Result<toml::Table, String> {
    text.parse().map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
        format!("line {line} of the manifest: {}", error.message().trim_end())
    })
}

/// Most problems and most warnings that are reported of one manifest.
const PROBLEMS_MAX: usize = 20;

/// The problems of one manifest; those past the first 20 are dropped.
#[derive(Debug, Default)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl Problems {
    pub(crate) fn push(&mut self, problem: Problem) {
        if self.0.len() < PROBLEMS_MAX {
            self.0.push(problem);
        }
    }
}

/// One dependency as it is written, whatever the format.
struct DepText<'a> {
    /// Where it is written, for messages.
    place: String,
    key: &'a str,
    kind: DepKind,
    target: Option<&'a str>,
    /// Whether names may have owners.
    scoped: bool,
}

impl DepText<'_> {
    fn invalid(&self, what: impl std::fmt::Display) -> Problem {
        Problem::new(Code::InvalidDependency, format!("`{}` {what}", self.place)).fact("dependency", self.key)
    }

    /// A dependency with nothing but a requirement.
    fn plain(&self, req: &str, problems: &mut Problems) -> Option<RecordDep> {
        self.check(self.key, req, problems).map(|req| self.record(self.key, req))
    }

    /// A dependency with a table of its own.
    fn detailed(&self, section: &Section<'_>, problems: &mut Problems) -> Option<RecordDep> {
        let before = problems.0.len();
        let has = |key| section.get(key).is_some();
        let package = section.text("package", problems);
        let Some(req) = section.text("version", problems) else {
            if problems.0.len() == before {
                problems.push(self.invalid(if has("workspace") {
                    "is inherited from a workspace, which is not in the archive"
                } else if has("path") || has("git") {
                    "has a path or Git source but no version"
                } else {
                    "has no version"
                }));
            }
            return None;
        };
        let features = section.texts("features", problems);
        let optional = section.flag("optional", problems).unwrap_or(false);
        let default_features =
            section.either_flag("default-features", "default_features", problems).unwrap_or(true);
        let registry_index = section.text("registry-index", problems).filter(|url| !is_crates_io(url));
        // A name that only the author's own settings explain. To ignore it would be to look elsewhere for the package.
        let unexplained = section.text("registry", problems).filter(|name| name != "crates-io");
        if let Some(name) = unexplained.filter(|_| !has("registry-index")) {
            problems.push(self.invalid(format_args!("names the registry `{name}` without `registry-index`")));
        }
        if registry_index
            .as_ref()
            .is_some_and(|url| !url.contains("://") || url.chars().any(crate::path::is_invisible))
        {
            problems.push(self.invalid("has a `registry-index` that is not a URL"));
        }
        let req = self.check(package.as_deref().unwrap_or(self.key), &req, problems)?;
        if problems.0.len() > before {
            return None;
        }
        let plain = self.record(package.as_deref().unwrap_or(self.key), req);
        Some(RecordDep { features, optional, default_features, registry_index, ..plain })
    }

    /// Checks names and requirement, and gives the requirement in the spelling of Cargo's index.
    fn check(&self, package: &str, req: &str, problems: &mut Problems) -> Option<String> {
        let before = problems.0.len();
        match PackageName::new(package) {
            Ok(name) if name.owner().is_some() && !self.scoped => {
                problems
                    .push(self.invalid(format_args!("means `{package}`, but Cargo has no owners in names")));
            }
            Ok(_) => {}
            Err(error) => problems.push(self.invalid(format_args!("cannot be meant: {error}"))),
        }
        // A new name is only an identifier: `_serde` is one, `con` too.
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if package != self.key && (self.key.is_empty() || self.key.len() > 64 || !self.key.chars().all(plain))
        {
            problems.push(
                self.invalid(
                    "gives a dependency a name of other characters than letters, digits, `-` and `_`",
                ),
            );
        }
        if self
            .target
            .is_some_and(|target| target.is_empty() || target.chars().any(crate::path::is_invisible))
        {
            problems.push(self.invalid("is for a platform whose name is empty or has control characters"));
        }
        match VersionReq::new(req) {
            Ok(req) if problems.0.len() == before => Some(req.to_string()),
            Ok(_) => None,
            Err(error) => {
                problems.push(self.invalid(format_args!("has a bad requirement: {error}")));
                None
            }
        }
    }

    fn record(&self, package: &str, req: String) -> RecordDep {
        RecordDep {
            name: package.into(),
            rename: (package != self.key).then(|| self.key.into()),
            req,
            features: Vec::new(),
            optional: false,
            default_features: true,
            target: self.target.map(Into::into),
            kind: self.kind,
            registry_index: None,
        }
    }
}

/// Whether an index URL is that of Cargo's own registry, under its Git or its sparse name.
fn is_crates_io(url: &str) -> bool {
    matches!(url.trim_end_matches('/'), CRATES_IO_INDEX | "sparse+https://index.crates.io")
}
