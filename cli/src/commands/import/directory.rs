//! Crates that lie in a directory: as archives, as a local registry of cargo's, or vendored.
//!
//! Format: the Cargo book, "Source replacement".

use std::path::{Path, PathBuf};

use drystone_client::{
    CHECKSUM_FILE, ClientError, LocalArchive, Registry, VerificationError, pack_vendored, parse_cargo_index,
};
use drystone_schemas::Code;
use ignore::WalkBuilder;

use super::{super::publish::blocking, Found, Summary, pipeline::failed};
use crate::{
    context::{Context, read_limits},
    failure::Failure,
};

/// Every `.crate` file below a directory.
pub(super) fn crates(dir: &Path, summary: &mut Summary) -> Result<Found, Failure> {
    let is_crate = |path: &Path| path.extension().is_some_and(|extension| extension == "crate");
    let files = files_below(dir, is_crate)?;
    if files.is_empty() {
        return Err(nothing(dir, "`.crate` file"));
    }
    summary.found = files.len();
    Ok(Found { files, ..Found::default() })
}

/// The archives of a local registry that are as its index says, and what its index says is yanked.
pub(super) async fn local_registry(
    cx: &Context,
    dir: &Path,
    summary: &mut Summary,
) -> Result<Found, Failure> {
    let index = dir.join("index");
    let mut found = Found::default();
    for file in files_below(&index, |path| path.file_name().is_some_and(|name| name != "config.json"))? {
        for release in parse_cargo_index(&fs_err::read(&file)?, &file.display().to_string())? {
            let path = dir.join(release.file_name());
            summary.found += 1;
            let checked = path.clone();
            let digest = blocking(move || Ok(LocalArchive::open(&checked, None)?.digest)).await;
            match digest {
                Ok(digest) if digest == release.checksum => {
                    found.files.push(path);
                    if release.yanked {
                        found.yanked.push((release.name, release.version));
                    }
                }
                Ok(actual) => {
                    let what = format!("`{}`", path.display());
                    let error = VerificationError::Digest { what, expected: release.checksum, actual };
                    summary.failed.push(failed(cx, &path, ClientError::from(error).into()));
                }
                Err(failure) => summary.failed.push(failed(cx, &path, failure)),
            }
        }
    }
    if summary.found == 0 { Err(nothing(&index, "index file")) } else { Ok(found) }
}

/// The crates that `cargo vendor` unpacked below a directory, packed again.
pub(super) async fn vendored(
    cx: &Context,
    to: &Registry,
    dir: &Path,
    summary: &mut Summary,
) -> Result<Found, Failure> {
    let limits = read_limits(to).await;
    let made = tempfile::tempdir()?;
    let mut found = Found::default();
    for checksums in files_below(dir, |path| path.ends_with(CHECKSUM_FILE))? {
        let Some(package) = checksums.parent().map(Path::to_owned) else { continue };
        summary.found += 1;
        let (from, to, limits) = (package.clone(), made.path().to_owned(), limits.clone());
        match blocking(move || pack_vendored(&from, &limits, &to)).await {
            Ok(archive) => found.files.push(archive),
            Err(failure) => summary.failed.push(failed(cx, &package, failure)),
        }
    }
    if summary.found == 0 {
        return Err(nothing(dir, "vendored crate"));
    }
    cx.printer.warning(
        "vendored crates are packed again: their checksums are new, and lock files that name the old ones must be made anew",
    );
    Ok(Found { _made: Some(made), ..found })
}

/// Files below a directory, sorted by path.
fn files_below(dir: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for entry in WalkBuilder::new(dir).standard_filters(false).build() {
        let entry = entry.map_err(|e| Failure::new(Code::LocalIo, e.to_string()))?;
        let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
        if is_file && wanted(entry.path()) {
            files.push(entry.into_path());
        }
    }
    files.sort();
    Ok(files)
}

fn nothing(dir: &Path, what: &str) -> Failure {
    Failure::new(Code::LocalIo, format!("there is no {what} below `{}`", dir.display()))
}
