//! A workspace of cargo's, as `cargo metadata --no-deps` tells it: what its members ask for.
//!
//! Format: cargo-metadata(1). Owns reading it, and naming what cannot be resolved here. Does not own running cargo, which
//! reads the manifests: inheritance, targets and defaults are its business.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use drystone_schemas::{CRATES_IO_INDEX, PackageName, Version, VersionReq};
use serde::Deserialize;

use crate::{
    ClientError,
    resolve::{Requirement, cargo_lock::Member},
};

/// A workspace whose lock file is to be made.
#[derive(Debug, Clone)]
pub struct CargoWorkspace {
    /// Directory of the root.
    pub root: PathBuf,
    /// The packages of the workspace, with what they ask for by position.
    pub members: Vec<Member>,
    /// What all of them ask for; registries are named as in index files.
    pub requirements: Vec<Requirement>,
    /// Whether releases for a newer compiler are set back: resolver 3 does so.
    pub minds_compiler: bool,
    /// The oldest compiler that some member is for, if each of them says one.
    pub rust_version: Option<semver::Version>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: Version,
    edition: String,
    rust_version: Option<String>,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
    features: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    source: Option<String>,
    req: String,
    rename: Option<String>,
    uses_default_features: bool,
    features: Vec<String>,
    path: Option<PathBuf>,
}

/// What only the text of the root's manifest says.
#[derive(Default, Deserialize)]
struct Root {
    workspace: Option<Resolver>,
    package: Option<Resolver>,
    patch: Option<toml::Table>,
    replace: Option<toml::Table>,
}

#[derive(Default, Deserialize)]
struct Resolver {
    resolver: Option<String>,
}

impl CargoWorkspace {
    /// Reads what cargo tells, and the text of the root's manifest.
    ///
    /// # Errors
    ///
    /// [`ClientError::LeftToCargo`] where something comes neither from a registry nor from the workspace.
    pub fn parse(metadata: &[u8], root_manifest: &str) -> Result<Self, ClientError> {
        let unreadable =
            |detail: String| ClientError::LeftToCargo { what: "the workspace".into(), why: detail };
        let metadata: Metadata = serde_json::from_slice(metadata).map_err(|e| unreadable(e.to_string()))?;
        let root: Root = toml::from_str(root_manifest).map_err(|e| unreadable(e.message().to_owned()))?;
        for (table, found) in [("patch", &root.patch), ("replace", &root.replace)] {
            if found.as_ref().is_some_and(|table| !table.is_empty()) {
                let what = format!("`[{table}]` of the workspace");
                return Err(ClientError::LeftToCargo {
                    what,
                    why: "it changes where crates come from".into(),
                });
            }
        }
        let mut workspace = Self {
            minds_compiler: minds_compiler(&root, &metadata),
            rust_version: oldest(&metadata.packages),
            root: metadata.workspace_root,
            members: Vec::new(),
            requirements: Vec::new(),
        };
        let dirs: Vec<&Path> =
            metadata.packages.iter().filter_map(|package| package.manifest_path.parent()).collect();
        for package in &metadata.packages {
            let mut member = Member {
                name: package.name.clone(),
                version: package.version.clone(),
                requirements: Vec::new(),
                members: Vec::new(),
            };
            for dependency in &package.dependencies {
                match (&dependency.path, &dependency.source) {
                    (Some(path), _) => {
                        let at = dirs.iter().position(|dir| dir == path);
                        member.members.push(
                            at.ok_or_else(|| left(package, dependency, "it lies outside of the workspace"))?,
                        );
                    }
                    (None, Some(source)) => {
                        let index = index_of(source)
                            .ok_or_else(|| left(package, dependency, "it comes from no registry"))?;
                        member.requirements.push(workspace.requirements.len());
                        workspace.requirements.push(requirement(package, dependency, index)?);
                    }
                    (None, None) => return Err(left(package, dependency, "it comes from nowhere")),
                }
            }
            workspace.members.push(member);
        }
        Ok(workspace)
    }
}

/// The URL of a registry's index as index files name it; none for crates.io's own, and nothing where it is no registry.
fn index_of(source: &str) -> Option<Option<String>> {
    let url = source.strip_prefix("registry+").or_else(|| source.starts_with("sparse+").then_some(source))?;
    Some((url != CRATES_IO_INDEX).then(|| url.to_owned()))
}

fn requirement(
    package: &Package,
    dependency: &Dependency,
    registry: Option<String>,
) -> Result<Requirement, ClientError> {
    let name = PackageName::new(&dependency.name).map_err(|e| left(package, dependency, &e.to_string()))?;
    let req = VersionReq::new(&dependency.req).map_err(|e| left(package, dependency, &e.to_string()))?;
    // A lock file is for all features of the workspace at once: also for those that they turn on in what they use.
    let key = dependency.rename.as_deref().unwrap_or(&dependency.name);
    let turned_on = package.features.values().flatten().filter_map(|item| {
        let (name, feature) = item.split_once('/')?;
        (name.trim_end_matches('?') == key).then(|| feature.to_owned())
    });
    Ok(Requirement {
        features: dependency.features.iter().cloned().chain(turned_on).collect(),
        default_features: dependency.uses_default_features,
        registry,
        ..Requirement::new(name, req)
    })
}

fn left(package: &Package, dependency: &Dependency, why: &str) -> ClientError {
    let what = format!("`{}` of `{}`", dependency.name, package.name);
    ClientError::LeftToCargo { what, why: why.to_owned() }
}

/// The Cargo book, "Resolver versions": the root says it, else the edition of its package.
fn minds_compiler(root: &Root, metadata: &Metadata) -> bool {
    let said = |table: &Option<Resolver>| table.as_ref().and_then(|table| table.resolver.clone());
    if let Some(resolver) = said(&root.workspace).or_else(|| said(&root.package)) {
        return resolver == "3";
    }
    let of_root = metadata.packages.iter().find(|package| {
        root.package.is_some() && package.manifest_path.parent() == Some(&metadata.workspace_root)
    });
    of_root.is_some_and(|package| !["2015", "2018", "2021"].contains(&package.edition.as_str()))
}

fn oldest(packages: &[Package]) -> Option<semver::Version> {
    let full = |text: &str| match text.split('.').count() {
        1 => format!("{text}.0.0"),
        2 => format!("{text}.0"),
        _ => text.to_owned(),
    };
    let said = packages.iter().map(|package| full(package.rust_version.as_deref()?).parse().ok());
    said.collect::<Option<Vec<semver::Version>>>()?.into_iter().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"{"packages":[
        {"name":"app","version":"0.1.0","edition":"2024","rust_version":"1.85","manifest_path":"/w/Cargo.toml",
         "features":{"fast":["dep:serde","serde/rc","other?/simd"]},"dependencies":[
            {"name":"serde","source":"registry+https://github.com/rust-lang/crates.io-index","req":"^1","kind":null,
             "rename":null,"optional":true,"uses_default_features":false,"features":["derive"],"target":null,"registry":null},
            {"name":"real","source":"sparse+https://r.example/index/","req":"*","kind":"dev","rename":"other",
             "optional":false,"uses_default_features":true,"features":[],"target":"cfg(unix)","registry":"sparse+https://r.example/index/"},
            {"name":"base","source":null,"req":"*","kind":null,"rename":null,"optional":false,
             "uses_default_features":true,"features":[],"target":null,"registry":null,"path":"/w/base"}]},
        {"name":"base","version":"0.2.0","edition":"2021","rust_version":"1.70.1","manifest_path":"/w/base/Cargo.toml",
         "features":{},"dependencies":[]}],"workspace_root":"/w"}"#;

    #[test]
    fn members_and_what_they_ask_for_are_read() {
        let workspace = CargoWorkspace::parse(METADATA.as_bytes(), "[package]\nname = \"app\"\n").unwrap();
        let [serde, real] = &workspace.requirements[..] else { panic!("{workspace:?}") };
        assert_eq!((serde.features.join(" "), serde.default_features), ("derive rc".into(), false));
        assert_eq!(serde.registry, None);
        assert_eq!((real.features.join(" "), real.default_features), ("simd".into(), true));
        assert_eq!(real.registry.as_deref(), Some("sparse+https://r.example/index/"));
        let members = workspace.members.iter().map(|m| (&*m.name, &m.requirements[..], &m.members[..]));
        let expected: [(&str, &[usize], &[usize]); 2] = [("app", &[0, 1], &[1]), ("base", &[], &[])];
        assert_eq!(members.collect::<Vec<_>>(), expected);
        assert!(workspace.minds_compiler, "the root's edition has resolver 3");
        assert_eq!(workspace.rust_version, Some(semver::Version::new(1, 70, 1)));
    }

    #[test]
    fn the_root_says_which_resolver_and_what_is_left_to_cargo() {
        let minds =
            |manifest: &str| CargoWorkspace::parse(METADATA.as_bytes(), manifest).map(|w| w.minds_compiler);
        assert!(!minds("[workspace]\nresolver = \"2\"\n[package]\n").unwrap());
        assert!(!minds("[workspace]\n").unwrap(), "a root without a package has the oldest resolver");
        assert!(minds("[workspace]\nresolver = \"3\"\n").unwrap());
        let patched = minds("[patch.crates-io]\nserde = { path = \"x\" }\n").unwrap_err().to_string();
        assert!(patched.contains("`[patch]` of the workspace"), "{patched}");
        for (from, to, why) in [
            (
                "registry+https://github.com/rust-lang/crates.io-index",
                "git+https://g",
                "it comes from no registry",
            ),
            ("/w/base\"}", "/elsewhere\"}", "it lies outside of the workspace"),
        ] {
            let error =
                CargoWorkspace::parse(METADATA.replace(from, to).as_bytes(), "").unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
