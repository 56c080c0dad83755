//! Every command of cargo's that talks to a registry, word for word.

use std::process::Command;

use drystone_tests::process::program;

use crate::{
    cargo::{Cargo, serve},
    proxy::Proxy,
};

const PUBLISHED: &str = "    Updating `dry` index
   Packaging dry-lib v0.1.0 (DIR/lib)
    Packaged 4
   Verifying dry-lib v0.1.0 (DIR/lib)
   Compiling dry-lib v0.1.0 (DIR/target/package/dry-lib-0.1.0)
    Finished `dev` profile [unoptimized] target(s)
   Uploading dry-lib v0.1.0 (DIR/lib)
    Uploaded dry-lib v0.1.0 to registry `dry`
note: waiting for dry-lib v0.1.0 to be available at registry `dry`
help: you may press ctrl-c to skip waiting; the crate should be available shortly
   Published dry-lib v0.1.0 at registry `dry`
";

#[test]
fn the_whole_life_of_a_crate() {
    let folder = tempfile::tempdir().unwrap();
    let (server, token) = serve(folder.path(), &[]);
    let cargo = Cargo::new(&server.url);
    cargo.write_crate("lib", "dry-lib", "0.1.0", "[workspace]\n", "pub fn one() -> u32 { 1 }\n");
    let dry = ["--registry", "dry"];
    let with = |words: &[&'static str]| -> Vec<&'static str> { words.iter().chain(&dry).copied().collect() };
    let expect = |words: &[&'static str], expected: &str| cargo.expect("lib", &with(words), expected);

    // Without a token, with a wrong one, with a good one.
    expect(
        &["publish"],
        "    Updating `dry` index
error: no token found for `dry`, please run `cargo login --registry dry`
or use environment variable CARGO_REGISTRIES_DRY_TOKEN
exit code 101
",
    );
    let saved = "       Login token for `dry` saved\n";
    cargo.expect_with("lib", &with(&["login"]), "not-a-token\n", saved);
    expect(
        &["yank", "dry-lib@0.1.0"],
        "    Updating `dry` index
        Yank dry-lib@0.1.0
error: failed to yank from the registry at URL

Caused by:
  the remote server responded with an error (status 401 Unauthorized): the request's token is not a token of this registry
  hint: sign in with `cargo login --registry NAME`; URL/me says where tokens come from
exit code 101
",
    );
    cargo.expect_with("lib", &with(&["login"]), &format!("{token}\n"), saved);

    // The index shows it at once: the wait ends at cargo's first look.
    expect(&["publish"], PUBLISHED);
    expect(
        &["publish"],
        "    Updating `dry` index
error: crate dry-lib@0.1.0 already exists on `dry` index
exit code 101
",
    );

    let yanked = "    Updating `dry` index\n        Yank dry-lib@0.1.0\n";
    expect(&["yank", "dry-lib@0.1.0"], yanked);
    expect(&["yank", "dry-lib@0.1.0"], yanked);
    expect(&["search", "dry-lib"], "");
    expect(&["yank", "--undo", "dry-lib@0.1.0"], "    Updating `dry` index\n      Unyank dry-lib@0.1.0\n");
    expect(
        &["yank", "dry-lib@9.9.9"],
        "    Updating `dry` index
        Yank dry-lib@9.9.9
error: failed to yank from the registry at URL

Caused by:
  the remote server responded with an error (status 404 Not Found): `dry-lib` has no version 9.9.9
  hint: list the versions with `cargo info --registry NAME`
exit code 101
",
    );

    let found = "dry-lib = \"0.1.0\"    # A crate of a test.
note: to learn more about a package, run `cargo info <name>`
";
    for query in ["dry-lib", "DRY_LIB", "dry", "lib"] {
        expect(&["search", query], found);
    }
    expect(&["search", "ry"], "");
    expect(
        &["info", "dry-lib"],
        "dry-lib
A crate of a test.
version: 0.1.0 (from registry `dry`)
license: MIT
rust-version: unknown
    Updating `dry` index
 Downloading crates ...
  Downloaded dry-lib v0.1.0 (registry `dry`)
",
    );
}

#[test]
fn owners_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let (server, token) = serve(folder.path(), &[]);
    let data = folder.path().join("data").display().to_string();
    let made = Command::new(program("drystone"))
        .args(["admin", "token", "--data", &data, "--login", "ann"])
        .output()
        .unwrap();
    let ann_token = String::from_utf8(made.stdout).unwrap();
    let (first, ann) = (Cargo::signed_in(&server.url, &token), Cargo::signed_in(&server.url, &ann_token));
    let owner = |cargo: &Cargo, words: &[&str], expected: &str| {
        let words: Vec<&str> = ["owner", "--registry", "dry"].iter().chain(words).copied().collect();
        cargo.expect("lib", &words, expected);
    };
    for cargo in [&first, &ann] {
        cargo.write_crate("lib", "dry-lib", "0.1.0", "[workspace]\n", "");
    }
    first.run("lib", &["publish", "--registry", "dry", "--no-verify"]);
    owner(&first, &["--list"], "operator\n    Updating `dry` index\n");

    // Whoever is no owner may not publish.
    ann.write_crate("lib", "dry-lib", "0.2.0", "[workspace]\n", "");
    let refused = ann.try_run("lib", &["publish", "--registry", "dry", "--no-verify"]).unwrap_err();
    assert!(
        refused.ends_with(
            "error: failed to publish dry-lib v0.2.0 to registry at URL

Caused by:
  the remote server responded with an error (status 403 Forbidden): the account may not act for `dry-lib`
  hint: ask an owner to run `cargo owner --add LOGIN --registry NAME`
exit code 101
"
        ),
        "{refused}"
    );

    owner(&first, &["--add", "ann"], "    Updating `dry` index\n       Owner `ann` may act for `dry-lib`\n");
    owner(&ann, &["--list"], "operator\nann\n    Updating `dry` index\n");
    ann.run("lib", &["publish", "--registry", "dry", "--no-verify"]);
    owner(
        &ann,
        &["--remove", "operator"],
        "    Updating `dry` index\n       Owner removing [\"operator\"] from crate dry-lib\n",
    );
    owner(
        &ann,
        &["--remove", "ann"],
        "    Updating `dry` index
       Owner removing [\"ann\"] from crate dry-lib
error: failed to remove owners from crate `dry-lib` on registry at URL

Caused by:
  the remote server responded with an error (status 409 Conflict): `dry-lib` would have no owner left
  hint: add another owner first
exit code 101
",
    );
    owner(
        &ann,
        &["--add", "nobody"],
        "    Updating `dry` index
error: failed to invite owners to crate `dry-lib` on registry at URL

Caused by:
  the remote server responded with an error (status 404 Not Found): there is no account `nobody`
  hint: check the spelling
exit code 101
",
    );
}

/// Cargo asks before it sends a large body, and the registry lets it.
#[test]
fn a_crate_of_several_megabytes() {
    let folder = tempfile::tempdir().unwrap();
    let proxy = Proxy::start();
    let (server, token) = serve(folder.path(), &["--public-url", proxy.url()]);
    proxy.lead_to(&server.local);
    let cargo = Cargo::signed_in(proxy.url(), &token);
    // What does not compress stays long.
    let noise: Vec<u8> = (0..1_200_000_u32)
        .flat_map(|i| i.wrapping_mul(2_654_435_761).rotate_left(i % 31).to_le_bytes())
        .collect();
    cargo.write_crate(
        "big",
        "dry-big",
        "1.0.0",
        "[workspace]\n",
        "pub const NOISE: &[u8] = include_bytes!(\"noise\");\n",
    );
    cargo.write("big/src/noise", noise);
    cargo.run("big", &["publish", "--registry", "dry"]);
    let heads = proxy.publish_heads();
    let [head] = &heads[..] else { panic!("{heads:?}") };
    let head = head.to_ascii_lowercase();
    assert!(head.contains("expect: 100-continue") && !head.contains("content-type"), "{head}");
    assert!(head.contains(&format!("authorization: {}", token.to_ascii_lowercase())), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert!(length.parse::<u64>().unwrap() > 3 << 20, "{length}");

    cargo.write_crate(
        "user",
        "user",
        "0.1.0",
        "[dependencies]\ndry-big = { version = \"1\", registry = \"dry\" }\n[workspace]\n",
        "pub fn len() -> usize { dry_big::NOISE.len() }\n",
    );
    cargo.run("user", &["check"]);
}
