//! From a directory to the canonical archive of a package.
//!
//! Owns which files belong to a package. Does not own the form of archives, which is the archive library's.
//! Invariant: what is packed is what was listed; a file that cannot be part of a package is a problem, never skipped.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
};

use drystone_archive::{Generic, Manifest, PackError, PackFile, pack, root_directory};
use drystone_schemas::{Code, Format, Limits, Problem, Sha256Digest};
use ignore::{WalkBuilder, overrides::OverrideBuilder};
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::{ClientError, install::PACKAGES_DIR};

/// File with patterns of what not to pack, beside `.gitignore` and `.ignore`.
pub const IGNORE_FILE: &str = ".drystoneignore";

/// Directories that are never packed, wherever they are.
const NEVER: [&str; 1] = ["node_modules"];
/// Directories that are never packed from the package's own root.
const NEVER_AT_ROOT: [&str; 4] = ["target", PACKAGES_DIR, "zig-out", "zig-pkg"];

/// A file that is part of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackedFile {
    /// Path below the package's root, with `/`.
    pub path: String,
    /// Length in bytes.
    pub size: u64,
    /// Whether it may be executed.
    pub executable: bool,
}

/// A packed package, in a temporary file that goes away with this value.
#[derive(Debug)]
pub struct Packed {
    /// The manifest.
    pub manifest: Manifest,
    /// What is in it, sorted by path.
    pub files: Vec<PackedFile>,
    /// The archive.
    pub archive: LocalArchive,
    pub(crate) _file: NamedTempFile,
}

/// An archive on disk, ready to be uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalArchive {
    /// Where it is.
    pub path: PathBuf,
    /// File name that the upload is given.
    pub file_name: String,
    /// SHA-256 of its bytes.
    pub digest: Sha256Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Its format, if it is known.
    pub format: Option<Format>,
    /// The owner of a package whose manifest cannot tell.
    pub owner: Option<String>,
}

impl LocalArchive {
    /// Hashes an archive that is there already. Blocks.
    pub fn open(path: &Path, format: Option<Format>) -> Result<Self, ClientError> {
        let mut hash = HashingWriter::new(io::sink());
        io::copy(&mut fs_err::File::open(path)?, &mut hash)?;
        let file_name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let (digest, size, _) = hash.finish();
        Ok(Self { path: path.into(), file_name, digest, size, format, owner: None })
    }
}

/// Packs the package in a directory, in the generic format as a registry reads it. Blocks.
///
/// # Errors
///
/// [`ClientError::Problems`] with everything that is wrong with manifest and files.
pub fn pack_directory<'g>(
    dir: &Path,
    generic: impl Into<Generic<'g>>,
    limits: &Limits,
) -> Result<Packed, ClientError> {
    let generic = generic.into();
    let text = read_limited(dir, generic.manifest(), limits)?;
    let manifest = generic.parse(&text).map_err(ClientError::Problems)?;
    let details = &manifest.details;
    let files = package_files(dir, generic.manifest(), &details.include, &details.exclude)?;
    let root = generic.root_directory(&manifest.name, &manifest.vers);
    pack_files(dir, &root, manifest, files, Format::Generic, limits)
}

/// Packs these files of a directory below a root directory.
pub(crate) fn pack_files(
    dir: &Path,
    root: &str,
    manifest: Manifest,
    files: Vec<PackedFile>,
    format: Format,
    limits: &Limits,
) -> Result<Packed, ClientError> {
    let to_pack = files.iter().map(|file| {
        let path = dir.join(&file.path);
        PackFile::lazy(file.path.clone(), file.executable, file.size, move || {
            Ok(Box::new(io::BufReader::new(fs_err::File::open(path)?)) as Box<dyn io::Read>)
        })
    });
    let mut temp = NamedTempFile::with_prefix("drystone-pack-")?;
    let hashed = pack(HashingWriter::new(io::BufWriter::new(temp.as_file_mut())), root, to_pack, limits);
    let (digest, size, writer) = hashed.map_err(pack_error)?.finish();
    writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    let archive = LocalArchive {
        path: temp.path().into(),
        file_name: format!("{}.tar.gz", root_directory(&manifest.name, &manifest.vers)),
        digest,
        size,
        format: Some(format),
        owner: None,
    };
    Ok(Packed { manifest, files, archive, _file: temp })
}

/// The text of a manifest that is not too long.
pub(crate) fn read_limited(dir: &Path, manifest_name: &str, limits: &Limits) -> Result<String, ClientError> {
    let path = dir.join(manifest_name);
    let metadata = match fs_err::metadata(&path) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(ClientError::ProjectNotFound { file_name: manifest_name.into(), dir: dir.into() });
        }
        Err(e) => return Err(e.into()),
    };
    if metadata.len() > limits.manifest_bytes_max {
        let detail = format!(
            "`{manifest_name}` has {} bytes, at most {} are allowed",
            metadata.len(),
            limits.manifest_bytes_max
        );
        return Err(ClientError::Problems(vec![Problem::new(Code::ManifestTooBig, detail)]));
    }
    Ok(fs_err::read_to_string(&path)?)
}

/// The files of a package: all that no ignore file, no pattern and no rule of this module leaves out.
///
/// Hidden files, `.git`, `node_modules`, and `target` and the like at the root are never packed. With `include`, only what a pattern
/// names; the manifest always. Ignore files above `dir` count only inside a Git work tree.
///
/// # Errors
///
/// [`ClientError::Problems`] with every symbolic link, special file and name that is not UTF-8.
pub fn package_files(
    dir: &Path,
    manifest_name: &str,
    include: &[String],
    exclude: &[String],
) -> Result<Vec<PackedFile>, ClientError> {
    let in_work_tree = std::path::absolute(dir)?.ancestors().any(|above| above.join(".git").exists());
    let root = dir.to_owned();
    let mut builder = WalkBuilder::new(dir);
    builder
        .hidden(true)
        .parents(in_work_tree)
        .require_git(false)
        .git_global(false)
        .follow_links(false)
        .overrides(overrides(dir, include, exclude)?)
        .add_custom_ignore_filename(IGNORE_FILE)
        .filter_entry(move |entry| !is_never_packed(&root, entry.path()));
    builder.sort_by_file_name(OsStr::cmp);
    let mut files = Vec::new();
    let mut problems = Vec::new();
    for entry in builder.build() {
        let entry = entry.map_err(|e| ClientError::Io(io::Error::other(e.to_string())))?;
        let Ok(relative) = entry.path().strip_prefix(dir) else { continue };
        match entry.file_type() {
            Some(kind) if kind.is_dir() => {}
            Some(kind) if kind.is_file() => match packed_file(entry.path(), relative)? {
                Ok(file) => files.push(file),
                Err(problem) => problems.push(problem),
            },
            Some(kind) => problems.push(special_file(relative, kind)),
            None => {}
        }
    }
    if !files.iter().any(|file| file.path == manifest_name) {
        match packed_file(&dir.join(manifest_name), Path::new(manifest_name))? {
            Ok(file) => files.push(file),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(ClientError::Problems(problems));
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn overrides(
    dir: &Path,
    include: &[String],
    exclude: &[String],
) -> Result<ignore::overrides::Override, ClientError> {
    let mut builder = OverrideBuilder::new(dir);
    // In overrides the later pattern wins, and `!` leaves out.
    let patterns = include.iter().cloned().chain(exclude.iter().map(|pattern| format!("!{pattern}")));
    let bad = |e: ignore::Error| {
        ClientError::Problems(vec![Problem::new(
            Code::ManifestInvalid,
            format!("`include` or `exclude`: {e}"),
        )])
    };
    for pattern in patterns {
        builder.add(&pattern).map_err(bad)?;
    }
    builder.build().map_err(bad)
}

/// Rules that no pattern of the manifest can lift.
fn is_never_packed(root: &Path, path: &Path) -> bool {
    if path == root {
        return false;
    }
    let Some(name) = path.file_name().and_then(OsStr::to_str) else { return false };
    name.starts_with('.')
        || NEVER.contains(&name)
        || (NEVER_AT_ROOT.contains(&name) && path.parent() == Some(root))
}

fn packed_file(path: &Path, relative: &Path) -> Result<Result<PackedFile, Problem>, ClientError> {
    let parts: Option<Vec<&str>> = relative.iter().map(OsStr::to_str).collect();
    let Some(parts) = parts else {
        let detail = format!("the name of `{}` is not UTF-8", relative.display());
        return Ok(Err(Problem::new(Code::UnsafePath, detail).fact("path", relative.display())));
    };
    let metadata = fs_err::metadata(path)?;
    Ok(Ok(PackedFile { path: parts.join("/"), size: metadata.len(), executable: is_executable(&metadata) }))
}

fn special_file(relative: &Path, kind: std::fs::FileType) -> Problem {
    let path = relative.display().to_string();
    let what = if kind.is_symlink() { "a symbolic link" } else { "neither a file nor a directory" };
    Problem::new(Code::EntryType, format!("`{path}` is {what}"))
        .fact("path", &path)
        .with_hint(format!("remove it, or add `{path}` to `exclude` in the manifest"))
}

#[cfg(unix)]
pub(crate) fn is_executable(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
pub(crate) fn is_executable(_: &std::fs::Metadata) -> bool {
    false
}

pub(crate) fn pack_error(error: PackError) -> ClientError {
    match error {
        PackError::Refused(refusals) => {
            ClientError::Problems(refusals.iter().map(|refusal| refusal.problem()).collect())
        }
        PackError::File { path, source } => {
            ClientError::Io(io::Error::new(source.kind(), format!("`{path}` cannot be read: {source}")))
        }
        PackError::Changed { .. } => ClientError::Io(io::Error::other(error.to_string())),
        PackError::Io(error) => ClientError::Io(error),
    }
}

/// Hashes and counts what passes through.
pub(crate) struct HashingWriter<W> {
    inner: W,
    hasher: sha2::Sha256,
    len: u64,
}

impl<W: io::Write> HashingWriter<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, hasher: sha2::Digest::new(), len: 0 }
    }

    pub(crate) fn finish(self) -> (Sha256Digest, u64, W) {
        let digest = sha2::Digest::finalize(self.hasher);
        (Sha256Digest::from_bytes(digest.into()), self.len, self.inner)
    }
}

impl<W: io::Write> io::Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        sha2::Digest::update(&mut self.hasher, &bytes[..written]);
        self.len += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests;
