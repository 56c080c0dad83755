//! A made-up language with a manifest of its own: published, resolved and installed through configuration alone.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use axum::http::Method;
use drystone_archive::{PackFile, pack};
use drystone_schemas::{Language, Limits, ManifestFields, Settings};
use drystone_storage::Store;
use drystone_tests::{
    TestRegistry,
    process::{Server, User},
};

/// The example of the client library, which the guide for languages shows.
#[path = "../../client/examples/embed.rs"]
#[expect(dead_code, reason = "its `main` is for its own program")]
mod embed;

/// Ten lines of configuration.
const QUILL: &str = r#"[language]
name = "quill"
manifest = "quill.toml"
entry = ["main.quill", "lib.quill"]
[language.fields]
name = "project.title"
version = "project.release"
description = "project.about"
dependencies = "needs"
requirement = "at"
"#;

fn serve(dir: &Path, config: &str) -> (Server, User) {
    let (data, token, file) = (dir.join("data"), dir.join("token"), dir.join("serve.toml"));
    fs_err::write(&file, config).unwrap();
    let [data, token_file, file] = [&data, &token, &file].map(|path| path.to_str().unwrap());
    let arguments = ["--data", data, "--listen", "127.0.0.1:0", "--token-file", token_file, "--config", file];
    let server = Server::start(&arguments, &[]);
    let user = User::new(&server.url, Some(fs_err::read_to_string(&token).unwrap().trim()));
    (server, user)
}

fn package(dir: &Path, manifest: &str, text: &str) {
    fs_err::create_dir_all(dir).unwrap();
    fs_err::write(dir.join(manifest), text).unwrap();
    fs_err::write(dir.join("lib.quill"), "let ink = black\n").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_language_by_configuration_alone() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let (server, user) = serve(here, QUILL);
    let manifest = |name: &str, version: &str, needs: &str| {
        format!(
            "[project]\ntitle = \"{name}\"\nrelease = \"{version}\"\nabout = \"writes\"\n[needs]\n{needs}\n[colour]\nof = \"ink\"\n"
        )
    };
    package(&here.join("paper"), "quill.toml", &manifest("paper", "1.2.0", ""));
    user.ok(&here.join("paper"), &["publish"]);
    package(&here.join("pen"), "quill.toml", &manifest("acme/pen", "0.3.0", "paper = { at = \"^1.1\" }"));
    user.ok(&here.join("pen"), &["publish"]);
    let info = user.ok(here, &["info", "acme/pen@0.3.0"]);
    assert!(info.contains("writes") && info.contains("paper ^1.1"), "{info}");

    // A project of somebody else, with the manifest that the registry's language has.
    let app = here.join("app");
    user.ok(here, &["init", "app", "--language", "quill"]);
    let written = fs_err::read_to_string(app.join("quill.toml")).unwrap();
    assert!(written.contains("title = \"app\"") && !app.join("drystone.toml").exists(), "{written}");
    user.ok(&app, &["add", "acme/pen"]);
    let edited = fs_err::read_to_string(app.join("quill.toml")).unwrap();
    assert!(edited.contains("[needs]\n\"acme/pen\" = \"0.3.0\""), "{edited}");
    for file in ["@acme/pen/lib.quill", "paper/lib.quill", "paper/quill.toml"] {
        assert!(app.join("drystone_packages").join(file).is_file(), "{file}");
    }
    let tree = user.ok(&app, &["tree"]);
    assert!(tree.contains("acme/pen 0.3.0") && tree.contains("paper 1.2.0"), "{tree}");

    // What the language demands is demanded, in its own words.
    let bad = here.join("bad");
    fs_err::create_dir_all(&bad).unwrap();
    fs_err::write(bad.join("quill.toml"), "[project]\ntitle = \"bad\"\n").unwrap();
    let refused = user.run(&bad, &["publish"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("`project.release` is missing"), "{told}");
    fs_err::write(bad.join("quill.toml"), manifest("bad", "1.0.0", "")).unwrap();
    let refused = user.run(&bad, &["publish"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("there is no `main.quill` or `lib.quill`"), "{told}");
    let other = user.run(here, &["init", "x", "--language", "latin"]);
    let told = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(other.status.code() == Some(2) && told.contains("the registry's language is `quill`"), "{told}");

    // The language's own tool, with the client as a library.
    let embedded = here.join("embedded");
    fs_err::create_dir_all(&embedded).unwrap();
    fs_err::write(embedded.join("quill.toml"), manifest("tool", "0.1.0", "\"acme/pen\" = \"^0.3\"")).unwrap();
    let report = embed::install(&embedded, &server.url, &here.join("home")).await.unwrap();
    assert_eq!((report.downloaded, report.linked.len()), (2, 2));
    assert!(embedded.join("drystone_packages/paper/lib.quill").is_file());
    assert!(embedded.join("drystone.lock").is_file());
}

#[test]
fn a_manifest_in_json_and_archives_without_a_root_directory() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let config = "[language]\nname = \"nib\"\nmanifest = \"nib.json\"\nflat = true\n\
                  [language.fields]\nname = \"id\"\nversion = \"rev\"\ndependencies = \"uses\"\n";
    let (_server, user) = serve(here, config);
    package(
        &here.join("tip"),
        "nib.json",
        r#"{"id": "tip", "rev": "2.0.0", "uses": {}, "shape": ["round", null]}"#,
    );
    user.ok(&here.join("tip"), &["publish"]);
    let app = here.join("app");
    user.ok(here, &["init", "app"]);
    let made = fs_err::read_to_string(app.join("nib.json")).unwrap();
    assert!(made.contains("\"id\": \"app\""), "{made}");
    fs_err::write(app.join("nib.json"), r#"{"id": "app", "rev": "0.1.0", "uses": {"tip": "^2"}}"#).unwrap();
    user.ok(&app, &["install"]);
    assert!(app.join("drystone_packages/tip/lib.quill").is_file());
    let refused = user.run(&app, &["add", "tip"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("edited by hand"), "{told}");
    user.ok(here, &["verify", "tip@2.0.0"]);
}

#[tokio::test]
async fn a_language_is_an_event_and_decides_from_then_on() {
    let registry =
        TestRegistry::with_settings(Store::memory(), Settings::new("test", "http://registry.test")).await;
    let fields =
        ManifestFields { name: "title".into(), version: "release".into(), ..ManifestFields::default() };
    let language = Language { fields, flat: true, ..Language::new("quill") };
    let settings = Settings {
        generic_manifest: "quill.toml".into(),
        language: Some(language),
        ..Settings::new("test", "http://registry.test")
    };
    let manifest = b"title = 'ink'\nrelease = '1.0.0'\n";
    let flat = pack(Vec::new(), "", vec![PackFile::bytes("quill.toml", false, manifest)], &Limits::default())
        .unwrap();
    let before = registry.publish_bytes(&registry.admin, None, &flat).await;
    assert_eq!(before.status, 422, "{}", before.json());
    assert_eq!(registry.service.configure(settings).await.unwrap(), Some(1));
    let after = registry.publish_bytes(&registry.admin, None, &flat).await;
    assert_eq!((after.status, &after.json()["warnings"]), (201, &serde_json::json!([])), "{}", after.json());
    let package = registry.ask(Method::GET, "/api/v1/packages/ink", None).await.json();
    assert_eq!(
        (&package["name"], &package["latest"]),
        (&serde_json::json!("ink"), &serde_json::json!("1.0.0"))
    );
    registry.assert_clean("after a change of language").await;
    // An archive of the old form is told what is missing.
    let rooted = drystone_tests::Pkg::new("old", "1.0.0");
    assert_eq!(registry.publish(&rooted).await.codes(), ["manifest-missing"]);
}
