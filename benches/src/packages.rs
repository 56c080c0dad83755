//! Packages to publish, as bytes that are ready to be sent.

use drystone_schemas::CRATES_IO_INDEX;
use drystone_tests::{Pkg, multipart_body};
use serde_json::json;

/// Payload of a small package, in bytes.
const SMALL_BYTES: usize = 1 << 10;
/// What a small package depends on.
const DEPENDENCIES: &str =
    "[dependencies]\nserde = \"1.0\"\ntokio = { version = \"1.40\", features = [\"rt\"] }\n";

/// Small packages in the cargo format, version by version, so that most publishes are of a package that exists.
pub(crate) fn small(packages: usize, versions: usize) -> Vec<Vec<u8>> {
    let names = |version: usize| (0..packages).map(move |package| (package, version));
    let archive = |(package, version): (usize, usize)| {
        Pkg::cargo(&format!("small-{package}"), &format!("1.{version}.0"))
            .with_manifest(DEPENDENCIES)
            .with_payload(noise(SMALL_BYTES, (package * versions + version) as u64))
            .archive()
    };
    (0..versions).flat_map(names).map(archive).collect()
}

/// The bodies of `cargo publish` for the same packages.
pub(crate) fn cargo_bodies(packages: usize, versions: usize) -> Vec<Vec<u8>> {
    let names = (0..versions).flat_map(|version| (0..packages).map(move |package| (package, version)));
    let dep = |name: &str, req: &str, features: &[&str]| {
        json!({
            "name": name, "version_req": req, "features": features, "optional": false, "default_features": true,
            "target": null, "kind": "normal", "registry": CRATES_IO_INDEX, "explicit_name_in_toml": null,
        })
    };
    let deps = [dep("serde", "^1.0", &[]), dep("tokio", "^1.40", &["rt"])];
    let body = |((package, version), archive): ((usize, usize), Vec<u8>)| {
        let metadata = json!({
            "name": format!("small-{package}"), "vers": format!("1.{version}.0"), "deps": deps, "features": {},
            "authors": [], "description": "a package of a test", "documentation": null, "homepage": null,
            "readme": null, "readme_file": null, "keywords": [], "categories": [], "license": "MIT",
            "license_file": null, "repository": null, "badges": {}, "links": null, "rust_version": null,
        });
        let metadata = metadata.to_string();
        let len = |len: usize| u32::try_from(len).expect("a small package is small").to_le_bytes();
        [&len(metadata.len())[..], metadata.as_bytes(), &len(archive.len()), &archive].concat()
    };
    names.zip(small(packages, versions)).map(body).collect()
}

/// One package whose archive does not compress, of the format that may be longest.
pub(crate) fn large(payload_bytes: usize) -> Vec<u8> {
    Pkg::new("large", "1.0.0").with_payload(noise(payload_bytes, 1)).archive()
}

/// The body of a publish, with its content type.
pub(crate) fn publish_body(archive: &[u8]) -> (String, Vec<u8>) {
    multipart_body(None, archive)
}

/// Bytes without a pattern: the splitmix64 generator of Steele, Lea and Flood (2014).
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::from_fn(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some(word ^ (word >> 31))
    });
    words.flat_map(u64::to_le_bytes).take(len).collect()
}
