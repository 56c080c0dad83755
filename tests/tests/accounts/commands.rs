//! The commands about who somebody is: signing in and out, a second factor, organisations, packages that change hands.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Output, Stdio},
};

use drystone_storage::{Clock, SystemClock};
use drystone_tests::process::{Server, User, http_client};

use super::{PASSWORD, second_factor::App};

/// A registry with accounts for `ann` and `bob`.
struct Town {
    dir: tempfile::TempDir,
    server: Server,
}

impl Town {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let server = Server::start(&["--data", data.to_str().unwrap(), "--listen", "127.0.0.1:0"], &[]);
        let town = Self { dir, server };
        for login in ["ann", "bob"] {
            let made = ["admin", "account", "--data", data.to_str().unwrap(), "--login", login];
            fine(&town.stranger().told(town.here(), &made, PASSWORD));
        }
        town
    }

    fn here(&self) -> &Path {
        self.dir.path()
    }

    fn stranger(&self) -> User {
        User::new(&self.server.url, None)
    }
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a command printed that must have succeeded.
fn fine(output: &Output) -> String {
    assert!(output.status.success(), "{}: {}", output.status, err(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Checks that a command was refused for want of a sign-in, and why.
fn refused(output: &Output, number: &str) {
    assert!(
        output.status.code() == Some(4) && err(output).contains(number),
        "{}: {}",
        output.status,
        err(output)
    );
}

#[test]
fn signing_in_and_out_from_the_command_line() {
    let town = Town::new();
    let (here, ann) = (town.here(), town.stranger());
    let login = ["login", "--username", "ann", "--token-name", "this machine", "--days", "7"];
    refused(&ann.told(here, &login, "four words of hers"), "DRY0510");
    assert!(!ann.home().join("drystone/credentials.toml").exists() || !kept(&ann).contains("dry_"));
    fine(&ann.told(here, &login, PASSWORD));
    let token = token_of(&ann);
    let file = ann.home().join("drystone/credentials.toml");
    let status = ann.ok(here, &["auth", "status"]);
    assert!(status.starts_with(&format!("ann at {} (", town.server.url)), "{status}");
    assert!(status.contains(&*file.to_string_lossy()) && !status.contains(&token), "{status}");
    let tokens = ann.ok(here, &["auth", "tokens"]);
    assert!(tokens.lines().count() == 1 && tokens.contains("this machine"), "{tokens}");
    let by_variable = || town.stranger().with("DRYSTONE_TOKEN", &token);
    let status = by_variable().ok(here, &["auth", "status"]);
    assert!(status.contains("DRYSTONE_TOKEN") && !status.contains(&token), "{status}");
    // A token that was made elsewhere is only forgotten, unless it is to be revoked.
    let other = town.stranger();
    fine(&other.told(here, &["login", "--with-token"], &token));
    fine(&other.run(here, &["logout"]));
    refused(&other.run(here, &["auth", "status"]), "DRY0706");
    fine(&by_variable().run(here, &["auth", "status"]));
    // One that signing in made is revoked by signing out.
    fine(&ann.run(here, &["logout"]));
    refused(&by_variable().run(here, &["auth", "status"]), "DRY0502");
    assert!(!kept(&ann).contains("dry_"));
}

fn kept(user: &User) -> String {
    fs_err::read_to_string(user.home().join("drystone/credentials.toml")).unwrap()
}

fn token_of(user: &User) -> String {
    let kept = kept(user);
    let begin = kept.find("dry_pat_").unwrap();
    kept[begin..].split('"').next().unwrap().to_owned()
}

#[test]
fn a_second_factor_from_the_command_line() {
    let town = Town::new();
    let (here, ann) = (town.here(), town.stranger());
    let factor = |more: &[&str]| {
        let all = [&["auth", "second-factor"][..], more, &["--username", "ann"]].concat();
        ann.told(here, &all, PASSWORD)
    };
    fine(&ann.told(here, &["login", "--username", "ann"], PASSWORD));
    assert_eq!(ann.ok(here, &["auth", "second-factor", "status"]), "off\n");
    assert_eq!(
        ann.run(here, &["auth", "second-factor", "enable"]).status.code(),
        Some(2),
        "it takes a password"
    );
    let begun = fine(&factor(&["enable"]));
    let mut lines = begun.lines();
    let app = App::told(lines.next().unwrap());
    assert!(lines.next().unwrap().starts_with("otpauth://totp/"), "{begun}");
    let now_s = SystemClock.now_unix_s();
    let codes = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let first = codes(fine(&factor(&["confirm", &app.code_at(now_s)])));
    assert_eq!(first.len(), 10);
    let status = ann.ok(here, &["auth", "second-factor", "status"]);
    assert!(status.starts_with("on since ") && status.contains("10 recovery codes"), "{status}");

    // Signing in takes a code now. Not more is tried here: passwords may be shown ten times in five minutes.
    let login = ["login", "--username", "ann"];
    refused(&ann.told(here, &login, PASSWORD), "DRY0535");
    fine(&ann.told(here, &[&login[..], &["--code", &first[0]]].concat(), PASSWORD));
    // Other recovery codes, and none at all: the app's next code, then two of the new ones.
    let next = app.code_at(now_s + 30);
    let second = codes(fine(&factor(&["recovery-codes", &next, "--code", &first[1]])));
    assert!(second.len() == 10 && second[0] != first[0]);
    fine(&factor(&["disable", &second[0], "--code", &second[1]]));
    assert_eq!(ann.ok(here, &["auth", "second-factor", "status"]), "off\n");
}

/// `drystone login` shows a code, waits, and has a token once somebody said yes on the page; then packages change hands.
#[test]
fn a_machine_is_signed_in_on_the_page_and_takes_a_package_over() {
    let town = Town::new();
    let (here, ann, bob) = (town.here(), town.stranger(), town.stranger());
    let mut waiting =
        bob.command(here, &["login"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(waiting.stderr.take().unwrap()).lines().map(Result::unwrap);
    let shown = lines.find(|line| line.contains("/device?user_code=")).unwrap();
    let code = shown.trim().rsplit('=').next().unwrap().to_owned();
    let form = [("user_code", &*code), ("username", "bob"), ("password", PASSWORD), ("answer", "yes")];
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let answered = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let page = format!("{}/device", town.server.local);
        let request = http_client().post(page).header("content-type", "application/x-www-form-urlencoded");
        request.body(form).send().await.unwrap().text().await.unwrap()
    });
    assert!(answered.contains("the machine is signed in"), "{answered}");
    let rest: Vec<String> = lines.collect();
    assert!(waiting.wait().unwrap().success(), "{rest:?}");
    assert!(bob.ok(here, &["auth", "status"]).starts_with("bob at "));

    fine(&ann.told(here, &["login", "--username", "ann"], PASSWORD));
    let folder = here.join("http");
    ann.ok(here, &["init", "http"]);
    fs_err::write(folder.join("http.txt"), "one\n").unwrap();
    ann.ok(&folder, &["publish"]);
    assert_eq!(bob.run(here, &["owner", "transfer", "accept", "http"]).status.code(), Some(1));
    ann.ok(here, &["owner", "transfer", "offer", "http", "bob"]);
    let listed = ann.ok(here, &["owner", "list", "http"]);
    assert!(listed.contains("ann (owner)") && listed.contains("(offered the package, until "), "{listed}");
    bob.ok(here, &["owner", "transfer", "withdraw", "http"]);
    ann.ok(here, &["owner", "transfer", "offer", "http", "bob"]);
    bob.ok(here, &["owner", "transfer", "accept", "http"]);
    assert_eq!(ann.ok(here, &["owner", "list", "http"]), "bob (owner)\n");

    // A team of an organisation of his, beside him.
    let org =
        |more: &[&str]| fine(&bob.told(here, &[&["org", "--username", "bob"][..], more].concat(), PASSWORD));
    assert!(org(&["create", "acme"]).starts_with("acme acct:"));
    org(&["team", "create", "acme", "core"]);
    org(&["team", "add", "acme", "core", "bob"]);
    bob.ok(here, &["owner", "add", "http", "acme/core", "--role", "collaborator"]);
    let listed = ann.ok(here, &["owner", "list", "http"]);
    assert!(listed.contains("acme/core (collaborator)"), "{listed}");
    assert!(bob.ok(here, &["org", "show", "acme"]).contains("acme/core: bob"));
    org(&["team", "remove", "acme", "core", "bob"]);
    org(&["team", "delete", "acme", "core"]);
    ann.ok(here, &["fsck", &town.server.url]);
}
