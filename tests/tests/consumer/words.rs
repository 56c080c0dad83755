//! What the commands of a project say, and what those say that are refused.

use crate::session::Session;

/// A project that asks for a package that needs another, of which there is a newer one than is locked.
fn project() -> Session {
    let session = Session::new();
    session.publish("acme/log", "1.0.0", "");
    session.publish("acme/http", "1.2.0", "[dependencies]\n\"acme/log\" = \"^1\"\n");
    session.publish("plain", "0.3.0", "[dependencies]\n\"acme/log\" = \"^1\"\n");
    session.write(
        "app/drystone.toml",
        "# The app.\n[package]\nname = \"app\"\nversion = \"0.1.0\"\n\n[dependencies]\n\"acme/http\" = \"^1\" # talks\nplain = \"^0.3\"\n",
    );
    session
}

#[test]
fn what_is_locked_is_shown_updated_and_removed() {
    let mut session = project();
    session.user.ok(&session.path("app"), &["install"]);
    session.publish("acme/log", "1.1.0", "");
    session.publish("acme/http", "1.3.0", "[dependencies]\n\"acme/log\" = \"^1.1\"\n");
    session.publish("acme/http", "2.0.0", "");
    session.heading("What is there");
    session.tell("app", "tree");
    session.tell("app", "tree -i acme/log");
    session.tell("app", "why acme/log");
    session.tell("app", "why acme/http");
    session.tell("app", "why no/such");
    session.heading("What is newer");
    session.tell("app", "outdated");
    session.tell("app", "install --locked");
    session.tell("app", "update -p acme/log");
    session.tell("app", "update -p acme/http");
    session.tell("app", "outdated");
    session.heading("What goes");
    session.tell("app", "remove no/such");
    session.tell("app", "remove acme/http");
    session.tell("app", "tree");
    assert_eq!(
        session.read("app/drystone.toml"),
        "# The app.\n[package]\nname = \"app\"\nversion = \"0.1.0\"\n\n[dependencies]\nplain = \"^0.3\"\n"
    );
    assert!(!session.path("app/drystone_packages/@acme/http").exists());
    session.compare("shown");
}

#[test]
fn every_mode_refuses_in_words_and_changes_nothing() {
    let mut session = project();
    session.heading("Nothing is known yet");
    session.tell("app", "install --offline");
    session.tell("app", "install --locked");
    session.tell("app", "install --frozen");
    assert!(!session.path("app/drystone.lock").exists() && !session.path("app/drystone_packages").exists());
    session.user.ok(&session.path("app"), &["lock"]);
    session.heading("Locked, and not fetched");
    session.tell("app", "install --frozen");
    session.tell("app", "fetch --offline");
    session.user.ok(&session.path("app"), &["install"]);
    session.heading("The manifest asks for more than is locked");
    session.publish("more", "1.0.0", "");
    let manifest = session.read("app/drystone.toml");
    session.write("app/drystone.toml", &format!("{manifest}more = \"1\"\n"));
    session.tell("app", "install --locked");
    session.tell("app", "install --frozen");
    session.tell("app", "install --offline");
    session.tell("app", "--json install --locked");
    session.heading("What the registry has not");
    session.write("app/drystone.toml", &format!("{manifest}no-such = \"1\"\n"));
    session.tell("app", "install");
    session.write("app/drystone.toml", &format!("{manifest}more = \"^2\"\n"));
    session.tell("app", "install");
    session.write("app/drystone.toml", &format!("{manifest}\"acme/log\" = \"^2\"\n"));
    session.publish("acme/log", "2.0.0", "");
    session.tell("app", "install");
    session.write("app/drystone.toml", &manifest);
    session.tell("app", "add more@^7");
    session.tell("app", "add no/such");
    assert_eq!(session.read("app/drystone.toml"), manifest, "nothing was changed");
    session.heading("Yanked after it was locked");
    session.author.ok(&session.path("app"), &["yank", "acme/http@1.2.0", "--reason", "a test"]);
    fs_err::remove_dir_all(session.user.home().join("drystone/store")).unwrap();
    session.tell("app", "install");
    session.tell("app", "outdated");
    session.tell("app", "lock --update");
    session.compare("refused");
    assert_eq!(session.read("app/drystone.toml"), manifest);
}
