//! The chain of one release, from the bytes of its archive to the key of the log, link by link.
//!
//! Owns the walk and its words. Does not own the single checks.
//! Invariant: a chain exists only if every link holds.

mod manifest;

use std::{collections::BTreeSet, io::Read, path::Path};

use drystone_schemas::{
    AccountId, AuthorKey, Event, EventBody, IndexLine, Limits, PackageName, PublishMetadata, Settings,
    Sha256Digest, Version, VersionRecord, rfc3339,
};
use serde::Serialize;

use crate::{
    Authored, ClientError, LocalArchive, Snapshot, VerificationError, defences::Defence, download::download,
    install::blocking, plan::deleted, tiles,
};

/// A release whose every link holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chain {
    /// Package.
    pub name: PackageName,
    /// Version.
    pub vers: Version,
    /// The archive.
    pub tarball: Sha256Digest,
    /// Position of the release in the log.
    pub event: u64,
    /// When it was published, RFC 3339.
    pub published: String,
    /// Who published it.
    pub actor: AccountId,
    /// Whether it has been yanked since.
    pub yanked: bool,
    /// Origin of the log.
    pub origin: String,
    /// Size of the log that all was checked against.
    pub log_size: u64,
    /// Its root, in base64.
    pub log_root: String,
    /// The pinned key of the log.
    pub log_key: String,
    /// The keys of authors that have signed it.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub authors: BTreeSet<AuthorKey>,
    /// Every link, from the bytes to the key.
    pub links: Vec<Link>,
}

/// One link of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// What is checked.
    pub what: &'static str,
    /// With which result, in words.
    pub finding: String,
}

/// Verifies a release, downloading its archive, which is read within `limits`.
pub async fn verify_release(
    snapshot: &Snapshot<'_>,
    name: &PackageName,
    version: &Version,
    limits: &Limits,
) -> Result<Chain, ClientError> {
    let (line, index_digest) = find(snapshot, name, version).await?;
    if let Some(code) = line.deleted {
        return Err(deleted(&line.name, &line.vers, code));
    }
    let expected = Sha256Digest::from_hex(&line.cksum)
        .map_err(|e| ClientError::proof(format!("the index line of `{name}` {version}"), e))?;
    let dir = tempfile::tempdir()?;
    let what = format!("`{name}` {version}");
    let file = download(snapshot.registry(), dir.path(), &what, &expected, line.size, &|_| ()).await?;
    let (settings, limits) = (snapshot.registry().config().await?.settings.clone(), limits.clone());
    let record = blocking(move || inspect(file.as_file(), &limits, &settings)).await;
    let record = record.map_err(|error| match error {
        // It is what the index names, and no publisher can have accepted it.
        ClientError::Problems(_) => {
            VerificationError::Contradiction(format!("the archive of {what}: {error}")).into()
        }
        other => other,
    })?;
    chain(snapshot, &line, index_digest, expected, &record).await
}

/// Verifies an archive on disk: whichever release it says it is.
pub async fn verify_file(
    snapshot: &Snapshot<'_>,
    path: &Path,
    limits: &Limits,
) -> Result<Chain, ClientError> {
    let settings = snapshot.registry().config().await?.settings.clone();
    let (owned, limits) = (path.to_owned(), limits.clone());
    let (archive, record) = blocking(move || {
        let archive = LocalArchive::open(&owned, None)?;
        Ok((archive, inspect(fs_err::File::open(&owned)?, &limits, &settings)?))
    })
    .await?;
    let (line, index_digest) = find(snapshot, &record.name, &record.vers).await?;
    if line.cksum != archive.digest.hex() {
        let expected = Sha256Digest::from_hex(&line.cksum).map_err(|e| {
            ClientError::proof(format!("the index line of `{}` {}", record.name, record.vers), e)
        })?;
        let what = format!("`{}`, which says that it is `{}` {},", path.display(), record.name, record.vers);
        return Err(VerificationError::Digest { what, expected, actual: archive.digest }.into());
    }
    chain(snapshot, &line, index_digest, archive.digest, &record).await
}

/// The version record that follows from an archive. Blocks.
fn inspect(archive: impl Read, limits: &Limits, settings: &Settings) -> Result<VersionRecord, ClientError> {
    let archive = std::io::BufReader::new(archive);
    drystone_archive::inspect(archive, limits, settings, &settings.formats, &PublishMetadata::default())
        .map(|inspected| inspected.record)
        .map_err(ClientError::Problems)
}

async fn find(
    snapshot: &Snapshot<'_>,
    name: &PackageName,
    version: &Version,
) -> Result<(IndexLine, Sha256Digest), ClientError> {
    let index =
        snapshot.index(name).await?.ok_or_else(|| ClientError::PackageNotFound { name: name.clone() })?;
    let line = index.file.find(version).cloned();
    let line =
        line.ok_or_else(|| ClientError::VersionNotFound { name: name.clone(), wanted: version.to_string() })?;
    Ok((line, index.digest))
}

/// Walks from a release whose archive has been hashed to the event that published it, and puts all into words.
async fn chain(
    snapshot: &Snapshot<'_>,
    line: &IndexLine,
    index_digest: Sha256Digest,
    digest: Sha256Digest,
    record: &VersionRecord,
) -> Result<Chain, ClientError> {
    let agrees = manifest::compare(line, record).map_err(|what| {
        let (name, vers) = (&line.name, &line.vers);
        VerificationError::Contradiction(format!(
            "the index of `{name}` {vers} has another {what} than its archive"
        ))
    });
    snapshot.registry().defences().hold(Defence::Manifest, agrees)?;
    let checkpoint = snapshot.checkpoint();
    let entry = tiles::entry(snapshot.registry(), checkpoint, line.published).await?;
    let event =
        Event::from_line(&entry).map_err(|e| ClientError::proof(format!("event {}", line.published), e))?;
    check_event(&event, line, &digest)?;
    let authored = snapshot.check_authors(line).await?;
    let log = snapshot.log();
    let key = log.key.to_string();
    let state = snapshot.state_root();
    let links = vec![
        Link { what: "archive", finding: format!("{} bytes hash to {digest}", record.size) },
        Link {
            what: "manifest",
            finding: format!("in that archive; it makes the version record {}", line.record),
        },
        Link {
            what: "index line",
            finding: format!("`{}` {} names both, and says what the manifest says", line.name, line.vers),
        },
        Link { what: "index file", finding: format!("hashes to {index_digest}") },
        Link {
            what: "state map",
            finding: format!("names that digest as the newest, under the root {state}"),
        },
        Link { what: "newest event", finding: format!("event {} names that root", checkpoint.size() - 1) },
        Link {
            what: "release event",
            finding: format!("event {} by {} published that archive", event.seq, event.actor),
        },
        Link { what: "authors", finding: authors_in_words(&authored, line) },
        Link {
            what: "checkpoint",
            finding: format!(
                "size {}, root {}, includes both events",
                checkpoint.size(),
                checkpoint.root().to_base64()
            ),
        },
        Link { what: "signature", finding: format!("by the pinned key {key}") },
    ];
    Ok(Chain {
        name: line.name.clone(),
        vers: line.vers.clone(),
        tarball: digest,
        event: event.seq,
        published: rfc3339(event.time),
        actor: event.actor,
        yanked: line.yanked,
        authors: authored.signers,
        origin: log.origin.clone(),
        log_size: checkpoint.size(),
        log_root: checkpoint.root().to_base64(),
        log_key: key,
        links,
    })
}

/// Who has signed a release, and what they had to.
fn authors_in_words(authored: &Authored, line: &IndexLine) -> String {
    let keys: Vec<&str> = authored.signers.iter().map(AuthorKey::as_str).collect();
    let signed = match &*keys {
        [] => "no author has signed it".to_owned(),
        keys => format!("signed over archive, name and version by {}", keys.join(" and ")),
    };
    match &authored.rule {
        Some(rule) => format!(
            "{signed}; the rule of event {}, in force before event {}, asks for {} of {} keys",
            rule.seq,
            line.published,
            rule.threshold,
            rule.keys.len()
        ),
        None => format!("{signed}; no rule asked for it"),
    }
}

/// The event must be this release's, with this archive and this record.
pub(crate) fn check_event(event: &Event, line: &IndexLine, digest: &Sha256Digest) -> Result<(), ClientError> {
    let matches = match &event.body {
        EventBody::Publish { pkg, vers, tarball, record, sigs } => {
            pkg.canonical() == line.name.canonical()
                && *vers == line.vers
                && tarball == digest
                && *record == line.record
                && *sigs == line.sigs
        }
        _ => false,
    };
    if matches && event.seq == line.published {
        return Ok(());
    }
    Err(VerificationError::Contradiction(format!(
        "event {} does not publish `{}` {} as the index says",
        line.published, line.name, line.vers
    ))
    .into())
}
