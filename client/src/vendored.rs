//! Crates that `cargo vendor` unpacked into a directory: checked against their checksums, and packed again.
//!
//! Format: the Cargo book, "Source replacement", directory sources. Does not own publishing.
//! Invariant: every file that is packed has the checksum that `.cargo-checksum.json` names.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use drystone_archive::{PackFile, pack};
use drystone_schemas::{Code, Limits, Problem, Sha256Digest};
use serde::Deserialize;

use crate::{
    ClientError, VerificationError,
    pack::{is_executable, pack_error},
};

/// What cargo writes beside the files.
pub const CHECKSUM_FILE: &str = ".cargo-checksum.json";

#[derive(Deserialize)]
struct Checksums {
    /// SHA-256 of the archive that it was unpacked from; none if it came from git.
    package: Option<String>,
    files: BTreeMap<String, String>,
}

/// Checks a vendored crate and packs it into `to` as `name-version.crate`, as its manifest calls it. Blocks.
///
/// The archive is another one than that it was unpacked from, because that cannot be made again: cargo leaves files
/// out, and compression differs. Lock files that name the old checksum must be made anew.
///
/// # Errors
///
/// [`VerificationError::Digest`] for a file that was changed; [`ClientError::Unexpected`] for one from git, whose
/// manifest is not that of a published crate.
pub fn pack_vendored(dir: &Path, limits: &Limits, to: &Path) -> Result<PathBuf, ClientError> {
    let unexpected = |detail: String| ClientError::Unexpected {
        url: dir.join(CHECKSUM_FILE).display().to_string(),
        detail,
    };
    let bytes = fs_err::read(dir.join(CHECKSUM_FILE))?;
    let checksums: Checksums = serde_json::from_slice(&bytes).map_err(|e| unexpected(e.to_string()))?;
    if checksums.package.is_none() {
        return Err(unexpected("it was not published by any registry: it came from git".into()));
    }
    let mut files = Vec::new();
    for (path, expected) in &checksums.files {
        let is_below = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        if !is_below {
            return Err(unexpected(format!("`{path}` leads outside")));
        }
        let content = fs_err::read(dir.join(path))?;
        let expected = Sha256Digest::from_hex(expected).map_err(|e| unexpected(e.to_string()))?;
        let actual = Sha256Digest::of(&content);
        if actual != expected {
            let what = format!("`{}`", dir.join(path).display());
            return Err(VerificationError::Digest { what, expected, actual }.into());
        }
        files.push((path, is_executable(&fs_err::metadata(dir.join(path))?), content));
    }
    let root = root_of(dir)?;
    let path = to.join(format!("{root}.crate"));
    let out = tempfile::Builder::new().prefix("packing-").tempfile_in(to)?;
    let packed = files.iter().map(|(path, executable, content)| PackFile::bytes(*path, *executable, content));
    let out = pack(out, &root, packed, limits).map_err(pack_error)?;
    out.persist(&path).map_err(|e| e.error)?;
    Ok(path)
}

/// `name-version`, as the manifest says.
fn root_of(dir: &Path) -> Result<String, ClientError> {
    #[derive(Deserialize)]
    struct Manifest {
        package: Package,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
    }
    let path = dir.join("Cargo.toml");
    let Manifest { package } = toml::from_str(&fs_err::read_to_string(&path)?).map_err(|e| {
        let detail = format!("`{}`: {e}", path.display());
        ClientError::Problems(vec![Problem::new(Code::ManifestInvalid, detail)])
    })?;
    Ok(format!("{}-{}", package.name, package.version))
}
