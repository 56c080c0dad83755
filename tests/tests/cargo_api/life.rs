//! Every command of cargo's that talks to a registry, word for word, on every way of running one.

use drystone_tests::deployment::{Deployment, Kind};

use crate::{cargo::Cargo, transcript::Transcript};

const DRY: &str = "--registry dry";

fn write_lib(cargo: &Cargo, vers: &str) {
    cargo.write_crate("lib", "dry-lib", vers, "[workspace]\n", "pub fn one() -> u32 { 1 }\n");
}

/// From the first token to a crate that others use.
pub(crate) fn live(t: &mut Transcript, deployment: &Deployment) {
    let cargo = Cargo::new(&deployment.url);
    write_lib(&cargo, "0.1.0");
    t.heading("without a token, with a wrong one, with a good one");
    t.run(&cargo, "lib", &format!("publish {DRY}"));
    t.run_with(&cargo, "lib", &format!("login {DRY}"), "not-a-token\n");
    t.run(&cargo, "lib", &format!("yank {DRY} dry-lib@0.1.0"));
    t.run_with(&cargo, "lib", &format!("login {DRY}"), &format!("{}\n", deployment.token));

    t.heading("the index shows it at once: the wait ends at cargo's first look");
    t.run(&cargo, "lib", &format!("publish {DRY}"));
    t.run(&cargo, "lib", &format!("publish {DRY}"));

    t.heading("yank and search");
    for command in ["yank", "yank"] {
        t.run(&cargo, "lib", &format!("{command} {DRY} dry-lib@0.1.0"));
    }
    t.run(&cargo, "lib", &format!("search {DRY} dry-lib"));
    t.run(&cargo, "lib", &format!("yank --undo {DRY} dry-lib@0.1.0"));
    t.run(&cargo, "lib", &format!("yank {DRY} dry-lib@9.9.9"));
    for query in ["dry-lib", "DRY_LIB", "dry", "lib", "ry"] {
        t.run(&cargo, "lib", &format!("search {DRY} {query}"));
    }
    t.run(&cargo, "lib", &format!("info {DRY} dry-lib"));

    owners(t, deployment, &cargo);
    others(t, &cargo);
}

fn owners(t: &mut Transcript, deployment: &Deployment, first: &Cargo) {
    let ann = Cargo::signed_in(&deployment.url, &deployment.token_of("ann", &[]));
    let owner = |words: &str| format!("owner {DRY} {words}");
    write_lib(&ann, "0.2.0");
    t.heading("owners: another account may not publish, then it may");
    t.run(first, "lib", &owner("--list"));
    t.run(&ann, "lib", &format!("publish --no-verify {DRY}"));
    t.run(first, "lib", &owner("--add ann"));
    t.run(&ann, "lib", &owner("--list"));
    t.run(&ann, "lib", &format!("publish --no-verify {DRY}"));
    t.run(&ann, "lib", &owner("--remove operator"));
    t.run(&ann, "lib", &owner("--remove ann"));
    t.run(&ann, "lib", &owner("--add nobody"));
    t.run(&ann, "lib", &owner("--add operator"));
}

fn others(t: &mut Transcript, cargo: &Cargo) {
    t.heading("a project uses it");
    let manifest = "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n";
    cargo.write("app/Cargo.toml", manifest);
    cargo.write("app/src/main.rs", "fn main() { assert_eq!(dry_lib::one(), 1); }\n");
    t.run(cargo, "app", &format!("add {DRY} dry_lib"));
    t.run(cargo, "app", &format!("add {DRY} nothing-there"));
    t.run(cargo, "app", "run");
    t.run(cargo, "app", "tree");
    write_lib(cargo, "0.2.1");
    cargo.run("lib", &["publish", "--registry", "dry", "--no-verify"]);
    t.run(cargo, "app", "update");
    t.run(cargo, "app", "fetch --locked");
    t.run(cargo, "app", "build --locked --offline");
    cargo.run("lib", &["yank", "--registry", "dry", "dry-lib@0.2.1"]);
    t.run(cargo, "app", "build --locked");
    t.run(cargo, "app", "update");
    t.run(cargo, "app", "vendor --quiet ../vendored");
    let vendored = fs_err::read_to_string(cargo.path("vendored/dry-lib/Cargo.toml")).unwrap();
    assert!(vendored.contains("version = \"0.2.0\""), "{vendored}");

    t.heading("signed out again");
    t.run(cargo, "lib", &format!("logout {DRY}"));
    t.run(cargo, "lib", &format!("logout {DRY}"));
    t.run(cargo, "lib", &format!("yank {DRY} dry-lib@0.1.0"));
}

fn life(kind: Kind) {
    let Some(deployment) = Deployment::start(kind, &[]) else { return };
    let mut transcript = Transcript::new("public");
    live(&mut transcript, &deployment);
    transcript.compare(kind);
}

#[test]
fn on_serve() {
    life(Kind::Serve);
}

#[test]
fn on_nginx_function_and_bucket() {
    life(Kind::Nginx);
}

#[test]
fn on_nginx_lambda_and_bucket() {
    life(Kind::Lambda);
}
