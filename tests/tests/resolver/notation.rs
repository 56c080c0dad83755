//! Small worlds of packages, written line by line.
//!
//! `> b ^1 +f; c *` is what the project asks for. Every other line is a release:
//! `a 1.0.0 | b ^1 +f; c? =1.2.0 -d as:x | f: dep:x b/g | links z | rust 1.99 | yanked`: its dependencies (`?` optional,
//! `+` feature, `-d` without default features, `as:` renamed, `dev`, `build`, `for:` platform), its features, and the rest.

use std::collections::BTreeMap;

use drystone_client::resolve::Requirement;
use drystone_schemas::{
    DepKind, Format, IndexDep, IndexLine, PackageName, Sha256Digest, Version, VersionReq,
};

/// What one project asks for, and what there is.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// The lines that it was written in, to be shown.
    pub(crate) text: String,
    pub(crate) asks: Vec<IndexDep>,
    pub(crate) releases: Vec<IndexLine>,
}

impl Case {
    /// Reads a case. Real names begin with `prefix`, so that several cases fit into one registry.
    pub(crate) fn new(prefix: &str, text: &str) -> Self {
        let mut case = Self { text: text.into(), asks: vec![], releases: vec![] };
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            match line.strip_prefix("> ") {
                Some(asks) => case.asks.extend(asks.split("; ").map(|dep| self::dep(prefix, dep))),
                None => case.releases.push(release(prefix, line)),
            }
        }
        case
    }

    /// What it asks for, as requirements.
    pub(crate) fn requirements(&self) -> Vec<Requirement> {
        let requirement = |dep: &IndexDep| Requirement {
            features: dep.features.clone(),
            default_features: dep.default_features,
            ..Requirement::new(
                PackageName::new(dep.package_name()).unwrap(),
                VersionReq::new(&dep.req).unwrap(),
            )
        };
        self.asks.iter().map(requirement).collect()
    }
}

fn dep(prefix: &str, text: &str) -> IndexDep {
    let mut words = text.split(' ');
    let name = words.next().unwrap();
    let (name, optional) = (name.trim_end_matches('?'), name.ends_with('?'));
    let mut dep = IndexDep {
        name: name.into(),
        req: words.next().unwrap_or_else(|| panic!("`{text}` has no requirement")).replace(',', ", "),
        features: vec![],
        optional,
        default_features: true,
        target: None,
        kind: DepKind::Normal,
        registry: None,
        package: Some(format!("{prefix}{name}")),
    };
    for word in words {
        match word {
            "-d" => dep.default_features = false,
            "dev" => dep.kind = DepKind::Dev,
            "build" => dep.kind = DepKind::Build,
            _ => match word.split_once(':') {
                Some(("as", name)) => dep.name = name.into(),
                Some(("for", target)) => dep.target = Some(format!("cfg({target})")),
                _ => dep.features.push(word.strip_prefix('+').unwrap_or_else(|| panic!("{text}")).into()),
            },
        }
    }
    dep
}

fn release(prefix: &str, text: &str) -> IndexLine {
    let mut parts = text.split(" | ");
    let (name, vers) = parts.next().and_then(|head| head.split_once(' ')).unwrap_or_else(|| panic!("{text}"));
    let mut line = IndexLine {
        name: PackageName::new(format!("{prefix}{name}")).unwrap(),
        vers: Version::new(vers).unwrap(),
        deps: vec![],
        cksum: Sha256Digest::of(format!("{prefix}{name} {vers}").as_bytes()).hex(),
        features: BTreeMap::new(),
        yanked: false,
        links: None,
        v: 1,
        features2: BTreeMap::new(),
        rust_version: None,
        pubtime: "2026-01-01T00:00:00Z".into(),
        seq: 1,
        published: 1,
        size: 1,
        format: Format::Cargo,
        record: Sha256Digest::of(b""),
        sigs: Default::default(),
        zig: None,
        yank_reason: None,
        deleted: None,
    };
    for part in parts {
        if part == "yanked" {
            line.yanked = true;
        } else if let Some(library) = part.strip_prefix("links ") {
            line.links = Some(format!("{prefix}{library}"));
        } else if let Some(version) = part.strip_prefix("rust ") {
            line.rust_version = Some(version.into());
        } else if let Some((feature, values)) = part.split_once(':').filter(|(name, _)| !name.contains(' ')) {
            let values: Vec<String> = values.split_whitespace().map(str::to_owned).collect();
            let new = values.iter().any(|value| value.starts_with("dep:") || value.contains("?/"));
            let features = if new { &mut line.features2 } else { &mut line.features };
            features.insert(feature.into(), values);
        } else {
            line.deps.extend(part.split("; ").map(|dep| self::dep(prefix, dep)));
        }
    }
    // Plain features may name those of the new syntax, so both go together, as in the real index.
    if !line.features2.is_empty() {
        line.v = 2;
    }
    line
}
