//! Manifests as they are read and edited.

use std::path::Path;

use drystone_schemas::PackageName;

use super::*;

const MANIFEST: &str = r#"# The app.
[package]
name = "app" # ours
version = "0.1.0"

[dependencies]
# Talks HTTP.
"acme/http" = "^1.2" # pinned by hand
url_x = { version = "1", features = ["a"] } # keep
extra = { version = "1", optional = true }
other = { package = "real-name", version = "2" }

[registry]
url = "https://registry.example"
"#;

fn project() -> Project {
    Project::parse(Path::new("drystone.toml"), MANIFEST).unwrap()
}

/// The dependencies of a manifest, in words.
fn told(project: &Project) -> Vec<String> {
    let told = |dependency: &Dependency| {
        let from = match &dependency.source {
            Source::Registry(req) => req.to_string(),
            Source::Path { dir, .. } => dir.display().to_string(),
        };
        let optional = if dependency.optional { " optional" } else { "" };
        format!("{} {from}{optional} {}", dependency.name, dependency.features.join(" "))
            .trim_end()
            .to_owned()
    };
    project.dependencies().unwrap().iter().map(told).collect()
}

fn name(text: &str) -> PackageName {
    PackageName::new(text).unwrap()
}

#[test]
fn dependencies_are_read_in_order() {
    assert_eq!(told(&project()), ["acme/http ^1.2", "url_x ^1 a", "extra ^1 optional", "real-name ^2"]);
    assert_eq!(project().registry_url(), Some("https://registry.example"));
    assert_eq!((project().name(), project().version()), (Some("app"), Some("0.1.0")));
}

#[test]
fn edits_keep_comments_and_everything_else() {
    let mut project = project();
    assert_eq!(project.add(DependencyTable::Normal, &name("Acme/HTTP"), "^2").unwrap(), Edit::Changed);
    assert_eq!(project.add(DependencyTable::Normal, &name("url-x"), "1.5").unwrap(), Edit::Changed);
    assert_eq!(project.add(DependencyTable::Normal, &name("url-x"), "1.5").unwrap(), Edit::Unchanged);
    assert_eq!(project.add(DependencyTable::Normal, &name("log"), "^0.4").unwrap(), Edit::Added);
    assert_eq!(project.add(DependencyTable::Dev, &name("acme/test"), "1").unwrap(), Edit::Added);
    assert!(project.remove(DependencyTable::Normal, &name("real_name")));
    assert!(!project.remove(DependencyTable::Normal, &name("real_name")));
    let expected = MANIFEST
        .replace("\"^1.2\" #", "\"^2\" #")
        .replace("version = \"1\", features", "version = \"1.5\", features")
        .replace("other = { package = \"real-name\", version = \"2\" }\n", "log = \"^0.4\"\n")
        + "\n[dev-dependencies]\n\"acme/test\" = \"1\"\n";
    assert_eq!(project.text(), expected);
    assert_eq!(project.find_dependency(&name("acme/TEST")), Some(DependencyTable::Dev));
    assert_eq!(project.find_dependency(&name("real-name")), None);
}

#[test]
fn a_path_takes_the_place_of_a_requirement_and_keeps_it() {
    let mut project = project();
    let dir = Path::new("../near");
    for (wanted, edit) in [
        ("acme/http", Edit::Changed),
        ("acme/http", Edit::Unchanged),
        ("url-x", Edit::Changed),
        ("log", Edit::Added),
    ] {
        assert_eq!(project.add_path(DependencyTable::Normal, &name(wanted), dir).unwrap(), edit, "{wanted}");
    }
    let expected = MANIFEST
        .replace("\"^1.2\" #", "{ path = \"../near\", version = \"^1.2\" } #")
        .replace("features = [\"a\"] }", "features = [\"a\"] , path = \"../near\" }")
        .replace("version = \"2\" }\n", "version = \"2\" }\nlog = { path = \"../near\" }\n");
    assert_eq!(project.text(), expected);
    assert_eq!(project.add(DependencyTable::Normal, &name("acme/http"), "^2").unwrap(), Edit::Changed);
    assert!(project.text().contains("{ path = \"../near\", version = \"^2\" } # pinned by hand"));
}

#[test]
fn what_cannot_be_read_is_named() {
    for (text, what) in [
        ("dependencies = 1", "`dependencies` is not a table"),
        ("[dependencies]\na = 1", "`dependencies.a` has no version requirement"),
        ("[dependencies]\na = { git = \"../a\" }", "`dependencies.a` has no version requirement"),
        ("[dependencies]\na.workspace = true", "`dependencies.a` is inherited from a workspace"),
        ("[dependencies]\na = \"one\"", "`dependencies.a`: `one` is not a version requirement"),
        ("[dependencies]\n\"a/b/c\" = \"1\"", "`dependencies.a/b/c`: `a/b/c` is not a package name"),
    ] {
        let project = Project::parse(Path::new("drystone.toml"), text).unwrap();
        let error = project.dependencies().unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
    assert!(Project::parse(Path::new("drystone.toml"), "[").is_err());
}

#[test]
fn a_languages_own_manifest_in_both_notations() {
    let fields = ManifestFields {
        name: "project.title".into(),
        version: "project.release".into(),
        dependencies: "project.needs".into(),
        requirement: "at".into(),
        ..ManifestFields::default()
    };
    let toml = "[project]\ntitle = \"ink\"\nrelease = \"1.0.0\"\n\n[project.needs]\npen = { at = \"1\" }\n";
    let json =
        r#"{"project": {"title": "ink", "release": "1.0.0", "x": null, "needs": {"pen": {"at": "1"}}}}"#;
    for (file, text) in [("quill.toml", toml), ("quill.json", json)] {
        let mut project = Project::parse(Path::new(file), text).unwrap().with_fields(fields.clone());
        assert_eq!((project.name(), project.version()), (Some("ink"), Some("1.0.0")));
        assert_eq!(told(&project), ["pen ^1"], "{file}");
        assert_eq!(project.add(DependencyTable::Normal, &name("pen"), "2").unwrap(), Edit::Changed);
        assert_eq!(project.add(DependencyTable::Dev, &name("t"), "1").unwrap(), Edit::Added);
        let text = project.text();
        assert!(text.contains("at = \"2\"") && text.contains("[dev-dependencies]\nt = \"1\""), "{text}");
        assert!(project.remove(DependencyTable::Normal, &name("pen")));
        assert_eq!(project.find_dependency(&name("pen")), None);
    }
    let dir = tempfile::tempdir().unwrap();
    for file in ["quill.toml", "quill.json"] {
        let path = dir.path().join(file);
        Project::init_language(&path, &name("ink"), &fields).unwrap();
        let project = Project::open(&path).unwrap().with_fields(fields.clone());
        assert_eq!((project.name(), project.version()), (Some("ink"), Some("0.1.0")));
        assert_eq!(project.dependencies().unwrap(), []);
        assert_eq!(project.save().is_err(), file.ends_with("json"));
    }
}

#[test]
fn the_manifest_is_found_above_and_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raven.toml");
    Project::init(&path, &name("acme/app"), Some("https://registry.example")).unwrap();
    assert!(matches!(Project::init(&path, &name("acme/app"), None), Err(ClientError::AlreadyExists { .. })));
    let deep = dir.path().join("a/b");
    fs_err::create_dir_all(&deep).unwrap();
    let project = Project::find(&deep, "raven.toml").unwrap();
    assert_eq!(project.path(), path);
    assert_eq!(
        (project.name(), project.registry_url()),
        (Some("acme/app"), Some("https://registry.example"))
    );
    assert_eq!(project.dependencies().unwrap(), []);
    assert!(matches!(Project::find(&deep, "drystone.toml"), Err(ClientError::ProjectNotFound { .. })));
}
