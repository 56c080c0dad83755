//! Packages to publish, as bytes that are ready to be sent.

use drystone_tests::{Pkg, multipart_body};

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

/// One package whose archive does not compress.
pub(crate) fn large(payload_bytes: usize) -> Vec<u8> {
    Pkg::cargo("large", "1.0.0").with_payload(noise(payload_bytes, 1)).archive()
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
