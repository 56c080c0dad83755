//! Workspaces, packages at paths, and packages that the root replaces.

use crate::session::Session;

const ROOT: &str =
    "# All of it.\n[workspace]\nmembers = [\"crates/*\", \"tool\"]\nexclude = [\"crates/old\"]\n";

/// A workspace of three, one of which uses another by its path.
fn workspace() -> Session {
    let session = Session::new();
    session.publish("acme/log", "1.0.0", "");
    session.publish("acme/log", "1.1.0", "");
    session.publish("acme/http", "1.0.0", "[dependencies]\n\"acme/log\" = \"^1\"\n");
    session.write("all/drystone.toml", ROOT);
    session.write_package(
        "all/crates/base",
        "acme/base",
        "0.2.0",
        "\n[dependencies]\n\"acme/log\" = \"^1\"\n",
    );
    session.write_package(
        "all/crates/app",
        "acme/app",
        "0.1.0",
        "\n[dependencies]\n# Ours.\n\"acme/base\" = { path = \"../base\", version = \"^0.2\" } # beside\n\"acme/http\" = \"^1\"\n",
    );
    session.write_package("all/crates/old", "acme/old", "0.1.0", "\n[dependencies]\nno-such = \"1\"\n");
    session.write_package("all/tool", "tool", "0.1.0", "");
    session.write("all/crates/notes.txt", "no package");
    session
}

#[test]
fn a_workspace_has_one_lock_and_one_place_for_what_is_installed() {
    let mut session = workspace();
    session.heading("From a member, for all");
    session.tell("all/crates/app", "install");
    assert!(session.path("all/drystone.lock").is_file());
    assert!(!session.path("all/crates/app/drystone.lock").exists());
    assert_eq!(session.installed("all", "@acme/log"), "acme/log 1.1.0");
    assert_eq!(session.installed("all", "@acme/base"), "acme/base 0.2.0");
    session.write("all/crates/base/src/code.txt", "changed in place\n");
    assert_eq!(session.installed("all", "@acme/base"), "changed in place", "it is the package itself");
    session.tell("all/tool", "install --frozen");
    session.tell("all", "tree");
    session.tell("all", "why acme/log");
    session.tell("all", "tree -i acme/base");

    session.heading("An edit is that of the member at hand");
    session.tell("all/tool", "add acme/log@=1.0.0");
    session.tell("all/tool", "add --path ../crates/base");
    session.tell("all/tool", "remove acme/log");
    assert!(
        session
            .read("all/tool/drystone.toml")
            .ends_with("[dependencies]\n\"acme/base\" = { path = \"../crates/base\" }\n")
    );
    session.tell("all/crates/app", "add --path ../base");
    assert!(
        session
            .read("all/crates/app/drystone.toml")
            .contains("# Ours.\n\"acme/base\" = { path = \"../base\", version = \"^0.2\" } # beside\n")
    );

    session.heading("A package on disk that changes what it needs changes the lock");
    session.write_package("all/crates/base", "acme/base", "0.2.1", "");
    session.tell("all", "install --locked");
    session.tell("all", "install");
    session.tell("all", "install --frozen");
    session.compare("workspace");
    assert!(
        session
            .read("all/drystone.lock")
            .contains("[[local]]\nname = \"acme/base\"\nversion = \"0.2.1\"\npath = \"crates/base\"\n")
    );
}

#[test]
fn the_root_replaces_packages_for_whoever_asks() {
    let mut session = workspace();
    session.user.ok(&session.path("all"), &["install"]);
    session.heading("Another version than anybody asks for");
    session.publish("acme/log", "3.0.0", "");
    session.write("all/drystone.toml", &format!("{ROOT}\n[overrides]\n\"acme/log\" = \"^3\"\n"));
    session.tell("all", "install");
    assert_eq!(session.installed("all", "@acme/log"), "acme/log 3.0.0");

    session.heading("A directory in place of a package");
    session.write_package("log-fork", "Acme/Log", "9.0.0-dev", "\n[dependencies]\nplain = \"1\"\n");
    session.publish("plain", "1.0.0", "");
    session.write(
        "all/drystone.toml",
        &format!("{ROOT}\n[overrides]\n\"acme/log\" = {{ path = \"../log-fork\" }}\n"),
    );
    session.tell("all", "install --locked");
    session.tell("all", "install");
    session.tell("all", "tree");
    assert_eq!(session.installed("all", "@Acme/Log"), "Acme/Log 9.0.0-dev");
    session.tell("all", "install --frozen");

    session.heading("And back");
    session.write("all/drystone.toml", ROOT);
    session.tell("all", "install");
    assert_eq!(session.installed("all", "@acme/log"), "acme/log 1.1.0");
    assert!(!session.path("all/drystone_packages/plain").exists());
    assert!(session.path("log-fork/src/code.txt").is_file(), "what was linked to is still there");

    session.heading("What cannot be meant");
    let root = |more: &str| format!("{ROOT}{more}");
    for (path, text) in [
        ("all/drystone.toml", root("\n[overrides]\n\"acme/log\" = { path = \"../nowhere\" }\n")),
        ("all/drystone.toml", root("\n[overrides]\n\"acme/http\" = { path = \"../log-fork\" }\n")),
        ("all/drystone.toml", ROOT.replace("\"tool\"", "\"tools\"")),
        ("all/tool/drystone.toml", "[package]\nname = \"tool\"\n\n[overrides]\nplain = \"1\"\n".into()),
        ("all/tool/drystone.toml", "[package]\nname = \"tool\"\n\n[dependencies]\n\"acme/base\" = { path = \"../crates/base\", version = \"^1\" }\n".into()),
        ("all/tool/drystone.toml", "[package]\nname = \"tool\"\n\n[dependencies]\nplain.workspace = true\n".into()),
        ("all/tool/drystone.toml", "[package]\nname = \"tool\"\n\n[dependencies]\n\"acme/base\" = \"^7\"\n".into()),
    ] {
        let before = session.read(path);
        session.write(path, &text);
        session.tell("all", "install");
        session.write(path, &before);
    }
    session.compare("overrides");
}
