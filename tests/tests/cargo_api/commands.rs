//! What cargo does with long crates.

use drystone_tests::{
    deployment::{Deployment, Kind},
    process::User,
};

use crate::{
    cargo::{Cargo, serve},
    proxy::Proxy,
};

/// A crate that stays longer than this when it is packed: what has no pattern does not compress.
fn write_big_crate(cargo: &Cargo, len: u32) {
    let noise: Vec<u8> =
        (0..len / 4).flat_map(|i| i.wrapping_mul(2_654_435_761).rotate_left(i % 31).to_le_bytes()).collect();
    let code = "pub const NOISE: &[u8] = include_bytes!(\"noise\");\n";
    cargo.write_crate("big", "dry-big", "1.0.0", "[workspace]\n", code);
    cargo.write("big/src/noise", noise);
}

fn write_user_of_it(cargo: &Cargo) {
    let dependency = "[dependencies]\ndry-big = { version = \"1\", registry = \"dry\" }\n[workspace]\n";
    cargo.write_crate(
        "user",
        "user",
        "0.1.0",
        dependency,
        "pub fn len() -> usize { dry_big::NOISE.len() }\n",
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
    write_big_crate(&cargo, 4_800_000);
    cargo.run("big", &["publish", "--registry", "dry"]);
    let heads = proxy.publish_heads();
    let [head] = &heads[..] else { panic!("{heads:?}") };
    let head = head.to_ascii_lowercase();
    assert!(head.contains("expect: 100-continue") && !head.contains("content-type"), "{head}");
    assert!(head.contains(&format!("authorization: {}", token.to_ascii_lowercase())), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert!(length.parse::<u64>().unwrap() > 3 << 20, "{length}");

    write_user_of_it(&cargo);
    cargo.run("user", &["check"]);
}

/// A request to a Lambda function ends at 6 MB: cargo is told of the other way, and that way works.
#[test]
fn a_crate_that_is_too_long_for_lambda() {
    let Some(deployment) = Deployment::start(Kind::Lambda, &[]) else { return };
    let cargo = Cargo::signed_in(&deployment.url, &deployment.token);
    write_big_crate(&cargo, 4_800_000);
    let refused = cargo.try_run("big", &["publish", "--registry", "dry", "--no-verify"]).unwrap_err();
    let expected = "  the remote server responded with an error (status 413 Payload Too Large): the crate is too long for one request here
  hint: run `drystone publish --archive target/package/NAME-VERSION.crate`, which takes another way
";
    assert!(refused.contains(expected), "{refused}");
    cargo.run("big", &["package", "--no-verify"]);
    let author = User::new(&deployment.url, Some(&deployment.token));
    author.ok(&cargo.path("target/package"), &["publish", "--archive", "dry-big-1.0.0.crate"]);
    write_user_of_it(&cargo);
    cargo.run("user", &["check"]);
}
