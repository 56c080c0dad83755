//! The metadata of a publish: what Cargo says of a crate, beside the archive that says it as well.
//!
//! Owns: reading the metadata and comparing it with the record made from the archive, field by field. What Cargo
//! leaves out or writes otherwise than the manifest is no disagreement: the order of dependencies and features, the
//! spelling of requirements and of `cfg` expressions, and how registries are named. Pure.

use std::collections::{BTreeMap, BTreeSet};

use drystone_schemas::{
    CRATES_IO_INDEX, Code, DepKind, Problem, RecordDep, Settings, VersionRecord, VersionReq,
};
use serde::{Deserialize, Deserializer};

use crate::Refusal;

/// Most disagreements that are told.
const PROBLEMS_MAX: usize = 20;
/// Longest value that is told, in characters.
const SHOWN_CHARS_MAX: usize = 160;

/// What the index line depends on. Everything else that Cargo sends is read from the archive alone.
#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    name: String,
    vers: String,
    deps: Vec<Dep>,
    features: BTreeMap<String, Vec<String>>,
    #[serde(default, deserialize_with = "stated")]
    links: Option<Option<String>>,
    /// Older versions of Cargo do not send it.
    #[serde(default, deserialize_with = "stated")]
    rust_version: Option<Option<String>>,
}

/// A field that is there, be it null.
fn stated<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[derive(Debug, Deserialize)]
struct Dep {
    /// The package that is meant.
    name: String,
    version_req: String,
    #[serde(default)]
    features: Vec<String>,
    #[serde(default)]
    optional: bool,
    default_features: bool,
    target: Option<String>,
    kind: Option<DepKind>,
    /// Index of another registry; none means the one that is published to.
    registry: Option<String>,
    /// The name in the manifest, where it is another one.
    explicit_name_in_toml: Option<String>,
}

impl Metadata {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        serde_json::from_slice(bytes).map_err(|e| {
            Refusal::code(Code::MalformedRequest, format!("the metadata is not what it should be: {e}"))
        })
    }

    /// Every field that says something else than the archive; at most [`PROBLEMS_MAX`].
    pub(super) fn disagreements(&self, record: &VersionRecord, settings: &Settings) -> Vec<Problem> {
        let mut found = Disagreements { problems: Vec::new(), settings };
        found.compare("name", Some(&self.name), Some(record.name.as_str()));
        found.compare("vers", Some(&self.vers), Some(&record.vers.to_string()));
        for (field, said, written) in [
            ("links", &self.links, &record.links),
            ("rust_version", &self.rust_version, &record.rust_version),
        ] {
            if let Some(said) = said {
                found.compare(field, said.as_deref(), written.as_deref());
            }
        }
        let names: BTreeSet<&String> = self.features.keys().chain(record.features.keys()).collect();
        for name in names {
            let list = |features: &BTreeMap<String, Vec<String>>| features.get(name).map(|list| joined(list));
            let (said, written) = (list(&self.features), list(&record.features));
            found.compare(&format!("features.{name}"), said.as_deref(), written.as_deref());
        }
        let deps_max = settings.limits.dependencies_max;
        if self.deps.len() as u64 > deps_max {
            // More than a manifest may have, so they disagree; to say in what is not worth the work.
            let detail = format!("the request names {} dependencies, more than {deps_max}", self.deps.len());
            found.problems.push(Problem::new(Code::TooManyDependencies, detail).fact("limit", deps_max));
            return found.problems;
        }
        let said = self.deps.iter().map(|dep| Plain::said(dep, settings)).collect();
        let written = record.deps.iter().map(|dep| Plain::written(dep, settings)).collect();
        found.compare_deps(said, written);
        found.problems
    }
}

/// A list without order and repetition.
fn joined(list: &[String]) -> String {
    let set: BTreeSet<&str> = list.iter().map(String::as_str).collect();
    let texts: Vec<&str> = set.into_iter().collect();
    texts.join(", ")
}

/// A dependency in one spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Plain {
    /// Name in the manifest.
    key: String,
    package: String,
    kind: DepKind,
    target: Option<String>,
    req: String,
    optional: bool,
    default_features: bool,
    features: String,
    registry: String,
}

impl Plain {
    fn said(dep: &Dep, settings: &Settings) -> Self {
        Self {
            key: dep.explicit_name_in_toml.as_ref().unwrap_or(&dep.name).clone(),
            package: dep.name.clone(),
            kind: dep.kind.unwrap_or(DepKind::Normal),
            target: dep.target.as_deref().map(platform),
            // A requirement that does not parse differs from every one that does.
            req: VersionReq::new(&dep.version_req)
                .map_or_else(|_| dep.version_req.clone(), |r| r.to_string()),
            optional: dep.optional,
            default_features: dep.default_features,
            features: joined(&dep.features),
            registry: dep.registry.as_deref().map_or_else(|| "this".into(), |url| registry(url, settings)),
        }
    }

    fn written(dep: &RecordDep, settings: &Settings) -> Self {
        Self {
            key: dep.rename.as_ref().unwrap_or(&dep.name).clone(),
            package: dep.name.clone(),
            kind: dep.kind,
            target: dep.target.as_deref().map(platform),
            req: dep.req.clone(),
            optional: dep.optional,
            default_features: dep.default_features,
            features: joined(&dep.features),
            registry: registry(dep.registry_index.as_deref().unwrap_or(CRATES_IO_INDEX), settings),
        }
    }

    /// By what dependencies of the request and of the manifest find each other, the surest first.
    const ALIKE: [fn(&Self, &Self) -> bool; 4] = [
        |a, b| a == b,
        |a, b| (&a.key, a.kind, &a.target) == (&b.key, b.kind, &b.target),
        |a, b| a.key == b.key,
        |a, b| a.package == b.package,
    ];

    /// The fields, by the names of the request.
    fn fields(&self) -> [(&'static str, String); 8] {
        [
            ("name", self.package.clone()),
            ("explicit_name_in_toml", self.key.clone()),
            ("kind", format!("{:?}", self.kind).to_lowercase()),
            ("target", self.target.clone().unwrap_or_else(|| "none".into())),
            ("version_req", self.req.clone()),
            ("optional", self.optional.to_string()),
            ("default_features", self.default_features.to_string()),
            ("features", self.features.clone()),
        ]
    }
}

/// The name of a registry in one spelling: "this", or the URL of its index.
fn registry(url: &str, settings: &Settings) -> String {
    let bare = |url: &str| url.strip_prefix("sparse+").unwrap_or(url).trim_end_matches('/').to_owned();
    let here = bare(url) == bare(&settings.cargo_index_url());
    let instead = settings.mirrors_crates_io && bare(url) == CRATES_IO_INDEX;
    if here || instead { "this".into() } else { url.trim_end_matches('/').to_owned() }
}

/// A platform as Cargo writes it, save for spaces: `cfg( any(unix, windows,) )` is `cfg(any(unix,windows))`.
fn platform(text: &str) -> String {
    if !text.starts_with("cfg(") {
        return text.to_owned();
    }
    let (mut out, mut quoted) = (String::with_capacity(text.len()), false);
    for character in text.chars() {
        quoted ^= character == '"';
        if quoted || !character.is_whitespace() {
            if character == ')' && !quoted && out.ends_with(',') {
                out.pop();
            }
            out.push(character);
        }
    }
    out
}

struct Disagreements<'a> {
    problems: Vec<Problem>,
    settings: &'a Settings,
}

impl Disagreements<'_> {
    fn compare(&mut self, field: &str, said: Option<&str>, written: Option<&str>) {
        if said != written {
            self.add(field, said.unwrap_or("nothing"), written.unwrap_or("nothing"), None);
        }
    }

    fn add(&mut self, field: &str, said: &str, written: &str, hint: Option<String>) {
        if self.problems.len() >= PROBLEMS_MAX {
            return;
        }
        let (field, said, written) = (shown(field), shown(said), shown(written));
        let detail = format!("the request says `{field}` is `{said}`, the manifest says `{written}`");
        let problem = Problem::new(Code::ManifestDisagrees, detail)
            .fact("field", field)
            .fact("request", said)
            .fact("manifest", written);
        self.problems.push(problem.with_hint(
            hint.unwrap_or_else(|| "publish with `cargo publish`, which reads both from one manifest".into()),
        ));
    }

    fn compare_deps(&mut self, mut said: Vec<Plain>, mut written: Vec<Plain>) {
        for alike in Plain::ALIKE {
            said.retain(|dep| match written.iter().position(|other| alike(dep, other)) {
                Some(at) => {
                    self.compare_dep(dep, &written.swap_remove(at));
                    false
                }
                None => true,
            });
        }
        for dep in said {
            self.add(&format!("deps.{}", dep.key), &dep.req, "nothing", None);
        }
        for dep in written {
            self.add(&format!("deps.{}", dep.key), "nothing", &dep.req, None);
        }
    }

    fn compare_dep(&mut self, said: &Plain, written: &Plain) {
        let place = |field: &str| format!("deps.{}.{field}", written.key);
        for ((field, said), (_, written)) in said.fields().iter().zip(&written.fields()) {
            if said != written {
                self.add(&place(field), said, written, None);
            }
        }
        if said.registry != written.registry {
            // Mostly this registry under another address than its own: cargo would look for the crate elsewhere.
            let hint = format!(
                "this registry is `{}`: write just that into cargo's configuration",
                self.settings.cargo_index_url()
            );
            self.add(&place("registry"), &said.registry, &written.registry, Some(hint));
        }
    }
}

fn shown(text: &str) -> String {
    let mut chars = text.chars();
    let mut out: String = chars.by_ref().take(SHOWN_CHARS_MAX).collect();
    if chars.next().is_some() {
        out.push('…');
    }
    out
}
