//! Inspection: from the bytes of an upload to its version record, or to all of its problems.
//!
//! Owns: finding the manifest, comparing it with the archive and the request, and assembling the record. Does not own:
//! whether the name is free and who may publish. Invariant: everything in the record is read from the archive.

use std::io::{self, Read};

use drystone_schemas::{
    Code, Format, Limits, Problem, PublishMetadata, RecordFile, Sha256Digest, VcsInfo, VersionRecord,
    ZigRecord,
};
use sha2::{Digest as _, Sha256};

use crate::{
    ZigManifest,
    contents::{read_problems, unreadable},
    error::{ReadError, shown},
    generic::{Generic, root_directory},
    manifest::{Draft, ZIG_MANIFEST, draft},
    read::{ArchiveFacts, Entry, read_archive_as},
    readme::{Readme, Readmes},
    vcs,
    zig_hash::{FileHash, FileHashes, ZigHash},
};

/// File name of Cargo's manifest.
const CARGO_MANIFEST: &str = "Cargo.toml";

/// An archive that may be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// What the archive says.
    pub record: VersionRecord,
    /// What the author should know, though it is no error.
    pub warnings: Vec<String>,
}

/// Reads an archive once, from beginning to end, and makes its version record.
///
/// `generic` says how packages of the generic format are read. `expected.format` decides which manifest is
/// read; without it the one that is there, and of two the one whose format is `allowed`. Whatever else `expected`
/// says must be equal to what was read. The owner of a Zig package is that of `expected`, since its manifest has none.
///
/// # Errors
///
/// All problems of the archive, the manifest and the request at once; [`Code::LocalIo`] alone if the source fails.
pub fn inspect<'g, R: Read>(
    reader: R,
    limits: &Limits,
    generic: impl Into<Generic<'g>>,
    allowed: &[Format],
    expected: &PublishMetadata,
) -> Result<Inspected, Vec<Problem>> {
    let generic = generic.into();
    let mut problems = Vec::new();
    let wanted = expected.format.as_ref().and_then(|text| {
        text.parse::<Format>()
            .map_err(|error| {
                problems.push(Problem::new(Code::UnknownFormat, error.to_string()).fact("format", text))
            })
            .ok()
    });
    let mut source = Hashing { inner: reader, hash: Sha256::new(), bytes: 0 };
    let named = expected.name.as_deref().and_then(|name| name.split_once('/')).map(|(owner, _)| owner);
    let owner = expected.owner.as_deref().or(named);
    let mut walk = Walk::new(limits, generic, wanted, allowed, owner);
    let layout = generic.layout(wanted, allowed);
    let read = read_archive_as(&mut source, limits, layout, &mut |entry, body| walk.file(entry, body));
    let facts = match read {
        Ok(facts) => Some(facts),
        Err(ReadError::Refused(refusals)) => {
            problems.extend(refusals.iter().map(|refusal| refusal.problem()));
            None
        }
        Err(error) => return Err(read_problems(error)),
    };
    if facts.is_none() {
        source.finish(limits.tarball_bytes_max).map_err(|error| vec![unreadable(&error)])?;
    }
    let (tarball, size) = (Sha256Digest::from_bytes(source.hash.finalize().into()), source.bytes);
    // Past the limit the rest was not read, and nothing is known of the whole.
    if size <= limits.tarball_bytes_max {
        compare_bytes(expected, tarball, size, &mut problems);
    }
    // Which `build.zig.zon` is the manifest is not known before the root is: nothing is told of any.
    let misplaced = problems.iter().any(|problem| problem.code == Code::WrongRoot);
    if misplaced && wanted == Some(Format::Zig) {
        return Err(problems);
    }
    let unknown = expected.format.is_some() && wanted.is_none();
    let chosen = if unknown { None } else { walk.choose(wanted, facts.is_some(), &mut problems) };
    let Some((format, draft)) = chosen else { return Err(problems) };
    if format == Format::Generic && facts.is_some() {
        walk.check_entry(&mut problems);
    }
    if facts.is_some() && size > limits.archive_bytes_max(format) {
        problems.push(archive_too_big(limits, format));
    }
    compare_manifest(&walk, &draft, expected, limits, &mut problems);
    if facts.is_some() {
        walk.check_selection(&draft, &mut problems);
    }
    let (mut warnings, readme) = readme(walk.readmes, &draft, facts.as_ref(), format, limits, &mut problems);
    let vcs = match walk.vcs.filter(|_| format == Format::Cargo).transpose() {
        Ok(vcs) => vcs,
        Err(unusable) => {
            warnings.push(unusable);
            None
        }
    };
    let record = match (facts, draft.name, draft.vers) {
        (Some(facts), Some(name), Some(vers)) if problems.is_empty() => {
            walk.files.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            VersionRecord {
                v: VersionRecord::V,
                name,
                vers,
                format,
                tarball,
                size,
                unpacked: facts.unpacked,
                deps: draft.details.deps,
                features: draft.details.features,
                links: draft.details.links,
                rust_version: draft.details.rust_version,
                description: draft.details.description,
                license: draft.details.license,
                authors: draft.details.authors,
                keywords: draft.details.keywords,
                categories: draft.details.categories,
                homepage: draft.details.homepage,
                repository: draft.details.repository,
                documentation: draft.details.documentation,
                readme,
                vcs,
                zig: draft.details.zig.map(|manifest| zig_record(walk.zig, manifest)),
                files: walk.files,
            }
        }
        _ => return Err(problems),
    };
    let length = record.to_bytes().len() as u64;
    if length > limits.record_bytes_max {
        let detail = format!("the version record has {length} bytes, more than {}", limits.record_bytes_max);
        return Err(vec![Problem::new(Code::RecordTooBig, detail).fact("limit", limits.record_bytes_max)]);
    }
    Ok(Inspected { record, warnings })
}

/// The refusal of an archive that has more bytes than the registry takes of its format.
pub fn archive_too_big(limits: &Limits, format: Format) -> Problem {
    let bytes_max = limits.archive_bytes_max(format);
    let name = if bytes_max < limits.tarball_bytes_max { "crate_bytes_max" } else { "tarball_bytes_max" };
    let detail = format!("the archive has more than {bytes_max} bytes");
    let problem = Problem::new(Code::TarballTooBig, detail).fact("bytes_max", bytes_max).fact("limit", name);
    problem.with_hint(format!(
        "exclude files that users do not need; the registry's operator may raise `{name}`"
    ))
}

/// What the record says of a Zig package.
fn zig_record(hashes: FileHashes, manifest: ZigManifest) -> ZigRecord {
    let ZigHash { hash, legacy } = hashes.finish(Some(&manifest));
    ZigRecord {
        name: manifest.name,
        hash,
        legacy_hash: legacy,
        fingerprint: manifest.fingerprint.map(|value| format!("{value:#018x}")),
        minimum_zig_version: manifest.minimum_zig_version,
        paths: manifest.paths,
        dependencies: manifest.dependencies,
    }
}

fn compare_bytes(expected: &PublishMetadata, tarball: Sha256Digest, size: u64, problems: &mut Vec<Problem>) {
    if let Some(text) = &expected.sha256 {
        let digest = text.parse().or_else(|_| Sha256Digest::from_hex(text));
        match digest {
            Ok(digest) if digest == tarball => {}
            Ok(digest) => problems.push(
                Problem::new(
                    Code::DigestMismatch,
                    format!("the archive is {tarball}, declared was {digest}"),
                )
                .fact("found", tarball)
                .fact("declared", digest),
            ),
            Err(error) => {
                problems.push(Problem::new(Code::MalformedRequest, error.to_string()).fact("field", "sha256"))
            }
        }
    }
    if let Some(declared) = expected.size.filter(|declared| *declared != size) {
        problems.push(
            Problem::new(
                Code::LengthMismatch,
                format!("the archive has {size} bytes, declared were {declared}"),
            )
            .fact("found", size)
            .fact("declared", declared),
        );
    }
}

fn compare_manifest(
    walk: &Walk<'_>,
    draft: &Draft,
    expected: &PublishMetadata,
    limits: &Limits,
    problems: &mut Vec<Problem>,
) {
    problems.extend(draft.problems.0.iter().cloned());
    let owned = draft.name_text.as_deref().and_then(|name| name.split_once('/'));
    // With an owner beside it, the name may be the rest of it.
    let name = match (&expected.name, &expected.owner, owned) {
        (Some(said), Some(_), Some((_, short))) if !said.contains('/') => Some((said, short)),
        (said, ..) => said.as_ref().zip(draft.name_text.as_deref()),
    };
    let owner = expected.owner.as_ref().zip(draft.name_text.as_ref());
    let owner = owner.map(|(said, _)| (said, owned.map_or("", |(owner, _)| owner)));
    let vers = expected.vers.as_ref().zip(draft.vers_text.as_deref());
    for (field, pair) in [("name", name), ("owner", owner), ("vers", vers)] {
        let Some((said, written)) = pair else { continue };
        if said != written {
            let detail = format!("the request says `{field}` is `{said}`, the manifest says `{written}`");
            let problem = Problem::new(Code::ManifestDisagrees, detail).fact("field", field);
            problems.push(problem.fact("request", said).fact("manifest", written));
        }
    }
    let zig_deps = draft.details.zig.as_ref().map_or(0, |zig| zig.dependencies.len());
    let count = (draft.details.deps.len() + zig_deps) as u64;
    if count > limits.dependencies_max {
        let detail =
            format!("the manifest names {count} dependencies, more than {}", limits.dependencies_max);
        problems.push(Problem::new(Code::TooManyDependencies, detail).fact("limit", limits.dependencies_max));
    }
    let root = walk.root.as_ref().filter(|root| !root.is_empty());
    if let (Some(name), Some(vers), Some(root)) = (&draft.name, &draft.vers, root) {
        let right = root_directory(name, vers);
        if *root != right {
            let detail = format!("the root directory is `{root}/`; the manifest makes it `{right}/`");
            problems.push(Problem::new(Code::WrongRoot, detail).fact("root", root).fact("expected", right));
        }
    }
}

/// The warnings of the whole inspection, and the README.
fn readme(
    readmes: Readmes,
    draft: &Draft,
    facts: Option<&ArchiveFacts>,
    format: Format,
    limits: &Limits,
    problems: &mut Vec<Problem>,
) -> (Vec<String>, Option<String>) {
    let mut warnings = draft.details.warnings.clone();
    if format == Format::Generic && facts.is_some_and(|facts| !facts.canonical) {
        warnings.push("the archive is not in canonical form; `drystone publish` packs it so".into());
    }
    let mut text = None;
    match readmes.choose(&draft.details.readme) {
        Readme::Absent => {}
        Readme::Text(found) => text = Some(found),
        Readme::Unusable(warning) => warnings.push(warning),
        Readme::TooLong { path, size } => {
            let detail =
                format!("the README `{path}` has {size} bytes, more than {}", limits.readme_bytes_max);
            let problem = Problem::new(Code::ReadmeTooBig, detail).fact("path", path);
            problems.push(problem.fact("limit", limits.readme_bytes_max));
        }
    }
    (warnings, text)
}

/// What one pass over the files gathers.
struct Walk<'a> {
    limits: &'a Limits,
    generic: Generic<'a>,
    /// The formats that come into question, each with its manifest's name.
    formats: Vec<(Format, &'a str)>,
    root: Option<String>,
    files: Vec<RecordFile>,
    manifests: Vec<(Format, Draft)>,
    /// Files that are a manifest but for letter case.
    variants: Vec<(Format, String)>,
    readmes: Readmes,
    /// What Cargo noted of the version control system, or why it cannot be used.
    vcs: Option<Result<VcsInfo, String>>,
    /// Formats that the registry takes.
    allowed: &'a [Format],
    /// The owner of a package whose manifest cannot tell.
    owner: Option<&'a str>,
    /// What Zig's hash is made of; empty if Zig is out of the question.
    zig: FileHashes,
    buffer: Box<[u8]>,
}

impl<'a> Walk<'a> {
    fn new(
        limits: &'a Limits,
        generic: Generic<'a>,
        wanted: Option<Format>,
        allowed: &'a [Format],
        owner: Option<&'a str>,
    ) -> Self {
        let all = [
            (Format::Generic, generic.manifest()),
            (Format::Cargo, CARGO_MANIFEST),
            (Format::Zig, ZIG_MANIFEST),
        ];
        Self {
            limits,
            generic,
            formats: all
                .into_iter()
                .filter(|(format, _)| wanted.is_none_or(|wanted| wanted == *format))
                .collect(),
            root: None,
            files: Vec::new(),
            manifests: Vec::new(),
            variants: Vec::new(),
            readmes: Readmes::default(),
            vcs: None,
            allowed,
            owner,
            zig: FileHashes::default(),
            buffer: vec![0; 64 << 10].into_boxed_slice(),
        }
    }

    fn file(&mut self, entry: &Entry<'_>, body: &mut dyn Read) -> io::Result<()> {
        self.root.get_or_insert_with(|| entry.root.into());
        let manifest = self.formats.iter().find(|(_, name)| *name == entry.path).copied();
        let settled = self.manifests.len() == self.formats.len();
        let readme = self.readmes.wants(entry.path, settled);
        let limit = match manifest {
            Some(_) => Some(self.limits.manifest_bytes_max),
            None if entry.path == vcs::FILE => Some(vcs::BYTES_MAX),
            None if readme => Some(self.limits.readme_bytes_max),
            None => None,
        };
        let mut kept = Vec::new();
        let keep = limit.is_some_and(|limit| entry.size <= limit);
        let digest = self.hash(entry.path, body, keep.then_some(&mut kept))?;
        self.files.push(RecordFile(entry.path.into(), entry.size, digest.hex()));
        if let Some((format, _)) = manifest {
            let draft = if keep {
                std::str::from_utf8(&kept).map_or_else(
                    |_| Draft::unreadable("the manifest is not UTF-8"),
                    |text| match format {
                        Format::Generic => self.generic.draft(text),
                        Format::Cargo | Format::Zig => draft(format, text, self.owner),
                    },
                )
            } else {
                self.too_long(entry)
            };
            self.readmes.name(&draft.details.readme);
            self.manifests.push((format, draft));
        } else if entry.path == vcs::FILE {
            self.vcs = Some(vcs::read(keep.then_some(&*kept)));
        } else if keep {
            self.readmes.keep(entry.path, kept);
        } else if readme {
            self.readmes.too_long(entry.path, entry.size);
        }
        for (format, name) in &self.formats {
            if entry.path != *name && entry.path.eq_ignore_ascii_case(name) {
                self.variants.push((*format, entry.path.into()));
            }
        }
        Ok(())
    }

    /// A package of a language begins with one of certain files.
    fn check_entry(&self, problems: &mut Vec<Problem>) {
        let entry = self.generic.entry();
        if !entry.is_empty() && !self.files.iter().any(|file| entry.contains(&file.0)) {
            let names: Vec<_> = entry.iter().map(|name| format!("`{name}`")).collect();
            let detail = format!("there is no {} in the archive", names.join(" or "));
            problems.push(Problem::new(Code::EntryMissing, detail));
        }
    }

    /// A Zig package without files: Zig until 0.16 computes its hash and then cannot fetch it, and 0.17 keeps nothing of it.
    fn check_selection(&self, draft: &Draft, problems: &mut Vec<Problem>) {
        let Some(manifest) = draft.details.zig.as_ref().filter(|manifest| !manifest.paths.is_empty()) else {
            return;
        };
        if !self.files.iter().any(|file| manifest.selects(&file.0)) {
            let detail = format!("`{ZIG_MANIFEST}`: `.paths` names none of the files in the archive");
            let problem = Problem::new(Code::ManifestInvalid, detail).fact("field", "paths");
            problems.push(
                problem.with_hint("name the files of the package in `.paths`; `.{\"\"}` means everything"),
            );
        }
    }

    fn too_long(&self, entry: &Entry<'_>) -> Draft {
        let limit = self.limits.manifest_bytes_max;
        let detail = format!(
            "the manifest `{}` has {} bytes, more than {limit}",
            shown(entry.path.as_bytes()),
            entry.size
        );
        let mut draft = Draft::default();
        draft.problems.push(Problem::new(Code::ManifestTooBig, detail).fact("limit", limit));
        draft
    }

    /// Whether the package may still turn out to be Zig's.
    fn may_be_zig(&self) -> bool {
        let another = |format: &Format| *format != Format::Zig && self.allowed.contains(format);
        self.formats.iter().any(|(format, _)| *format == Format::Zig)
            && self.allowed.contains(&Format::Zig)
            && !self.manifests.iter().any(|(format, _)| another(format))
    }

    fn hash(
        &mut self,
        path: &str,
        body: &mut dyn Read,
        mut keep: Option<&mut Vec<u8>>,
    ) -> io::Result<Sha256Digest> {
        let mut hash = Sha256::new();
        let mut zig = self.may_be_zig().then(|| FileHash::new(path));
        loop {
            let read = body.read(&mut self.buffer)?;
            if read == 0 {
                self.zig.extend(zig);
                return Ok(Sha256Digest::from_bytes(hash.finalize().into()));
            }
            hash.update(&self.buffer[..read]);
            if let Some(zig) = &mut zig {
                zig.update(&self.buffer[..read]);
            }
            if let Some(kept) = &mut keep {
                kept.extend_from_slice(&self.buffer[..read]);
            }
        }
    }

    /// Settles the format and takes its manifest; `whole` says that the archive was read to its end.
    fn choose(
        &mut self,
        wanted: Option<Format>,
        whole: bool,
        problems: &mut Vec<Problem>,
    ) -> Option<(Format, Draft)> {
        let allowed = self.allowed;
        let mut found: Vec<_> = self.manifests.iter().map(|(format, _)| *format).collect();
        if wanted.is_none() && found.iter().any(|format| allowed.contains(format)) {
            found.retain(|format| allowed.contains(format));
        }
        let format = match found[..] {
            [format] => Some(format),
            [] => wanted,
            _ => {
                let held = self.formats.iter().filter(|(format, _)| found.contains(format));
                let names: Vec<_> = held.map(|(_, name)| format!("`{name}`")).collect();
                let detail =
                    format!("the archive holds {}, and the request names no format", names.join(" and "));
                let problem = Problem::new(Code::ManifestAmbiguous, detail);
                problems.push(problem.with_hint("say which with `--format`, or `format` in the metadata"));
                return None;
            }
        };
        let mut varied = false;
        for (of, path) in &self.variants {
            if format.is_none_or(|format| format == *of) {
                varied = true;
                let name = self.formats.iter().find(|(format, _)| format == of).map_or("", |(_, name)| name);
                let detail = format!("`{path}` is not spelled `{name}`, and some systems take it for that");
                problems.push(Problem::new(Code::ManifestAmbiguous, detail).fact("path", path));
            }
        }
        if let Some(format) = format.filter(|format| !allowed.contains(format)) {
            let detail = format!("this registry takes no packages of the format `{format}`");
            problems.push(Problem::new(Code::FormatDisabled, detail).fact("format", format));
        }
        let manifest = self.manifests.iter().position(|(found, _)| Some(*found) == format);
        // Of an archive that ends too early, nobody knows what is missing.
        if manifest.is_none() && whole && !varied {
            let named =
                self.formats.iter().filter(|(format, _)| wanted.is_some() || allowed.contains(format));
            let names: Vec<_> = named.map(|(_, name)| format!("`{name}`")).collect();
            let detail = format!("there is no {} in the archive's root directory", names.join(" or "));
            problems.push(Problem::new(Code::ManifestMissing, detail));
        }
        manifest.map(|index| self.manifests.swap_remove(index))
    }
}

/// Hashes and counts what passes through.
struct Hashing<R> {
    inner: R,
    hash: Sha256,
    bytes: u64,
}

impl<R: Read> Hashing<R> {
    /// Reads the rest, so that length and digest are those of everything; gives up past the limit.
    fn finish(&mut self, bytes_max: u64) -> io::Result<()> {
        let mut buffer = [0; 8 << 10];
        while self.bytes <= bytes_max {
            match self.read(&mut buffer) {
                Ok(0) => break,
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out)?;
        self.hash.update(&out[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}
