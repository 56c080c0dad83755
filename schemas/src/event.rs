//! Events: the lines of the log, from which everything else follows.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    AccountId, Alias, AuthorKey, AuthorSignatures, PackageName, Role, Sha256Digest, TrustedPublisher,
    Version, account::is_ulid, canonical_json,
};

/// Longest event, in bytes, newline included. The log format ends at 65,535; events hold only codes, ids and digests.
const EVENT_BYTES_MAX: usize = 4096;

/// The version of the event format that this code writes and reads.
const EVENT_FORMAT: u32 = 1;

/// One event: a line of canonical JSON in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Format of the line; 1.
    pub v: u32,
    /// Position in the log.
    pub seq: u64,
    /// Idempotency key of the intent that led here.
    pub id: EventId,
    /// When it was committed, in seconds since 1970; never less than the event before.
    pub time: u64,
    /// Who asked for it.
    pub actor: AccountId,
    /// Root of the state map after this event.
    pub state: Sha256Digest,
    /// Every state-mapped file that the event changes, as it is afterwards.
    pub files: Vec<FileChange>,
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
}

/// What an event says. An unknown kind stops replayers and writers; readers do not look at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum EventBody {
    /// The first event: which log this is.
    Genesis {
        /// Origin of the log, as in its checkpoints.
        origin: String,
        /// Verifier key of the log.
        log_key: String,
        /// The registry's settings, as an object.
        config: Sha256Digest,
        /// Version of the projections in force from here on.
        projection: u32,
    },
    /// The operator changed the registry's settings.
    Config {
        /// The new settings, as an object.
        config: Sha256Digest,
    },
    /// A release. The first one of a name creates the package, owned by the actor.
    Publish {
        /// Package.
        pkg: PackageName,
        /// Version.
        vers: Version,
        /// The archive.
        tarball: Sha256Digest,
        /// The version record made from it.
        record: Sha256Digest,
        /// What its authors have signed.
        #[serde(default, skip_serializing_if = "AuthorSignatures::is_empty")]
        sigs: AuthorSignatures,
    },
    /// A release must not be chosen any more, except by a lock file.
    Yank {
        /// Package.
        pkg: PackageName,
        /// Version.
        vers: Version,
        /// Why, as an object.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<Sha256Digest>,
    },
    /// The yank is taken back.
    Unyank {
        /// Package.
        pkg: PackageName,
        /// Version.
        vers: Version,
    },
    /// The package should not be used for new work.
    Deprecate {
        /// Package.
        pkg: PackageName,
        /// Why and what instead, as an object.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<Sha256Digest>,
    },
    /// The deprecation is taken back.
    Undeprecate {
        /// Package.
        pkg: PackageName,
    },
    /// A takedown: the release stays as a tombstone, its objects may go.
    Delete {
        /// Package.
        pkg: PackageName,
        /// Version.
        vers: Version,
        /// Why.
        code: DeleteCode,
    },
    /// An account may act for the package, or its role changes.
    OwnerAdd {
        /// Package.
        pkg: PackageName,
        /// Who.
        account: AccountId,
        /// As what.
        role: Role,
        /// Why an administrator let it take force at once, as an object.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exception: Option<Sha256Digest>,
    },
    /// An account may no longer act for the package.
    OwnerRemove {
        /// Package.
        pkg: PackageName,
        /// Who.
        account: AccountId,
        /// Why an administrator let it take force at once, as an object.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exception: Option<Sha256Digest>,
    },
    /// The package is offered to an account or organisation, in place of every offer before.
    TransferOffer {
        /// Package.
        pkg: PackageName,
        /// To whom.
        to: AccountId,
        /// When the offer ends, in seconds since 1970.
        until: u64,
    },
    /// The offer is taken back by an owner, or declined by whom it was made to.
    TransferWithdraw {
        /// Package.
        pkg: PackageName,
    },
    /// The offer is accepted: whom it was made to is the one owner now, and nobody else acts for the package any more.
    Transfer {
        /// Package.
        pkg: PackageName,
        /// The new owner.
        to: AccountId,
    },
    /// A key of an author is known from here on.
    AuthorKeyAdd {
        /// Package.
        pkg: PackageName,
        /// The key.
        key: AuthorKey,
    },
    /// A key of an author counts no more, and never again.
    AuthorKeyRemove {
        /// Package.
        pkg: PackageName,
        /// The key.
        key: AuthorKey,
    },
    /// Which of its authors' keys must sign the releases of a package.
    Policy {
        /// Package.
        pkg: PackageName,
        /// How many of the keys.
        threshold: u32,
        /// The keys.
        keys: BTreeSet<AuthorKey>,
        /// How many hours a weaker rule waits after this one.
        lock_hours: u32,
        /// Why an administrator let it take force at once, as an object.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exception: Option<Sha256Digest>,
    },
    /// A short name now means this package.
    AliasSet {
        /// The package meant.
        pkg: PackageName,
        /// The short name.
        alias: Alias,
    },
    /// A short name means nothing any more.
    AliasRemove {
        /// The package that it meant.
        pkg: PackageName,
        /// The short name.
        alias: Alias,
    },
    /// A CI identity may publish versions of the package.
    PublisherAdd {
        /// Package.
        pkg: PackageName,
        /// Who.
        publisher: TrustedPublisher,
    },
    /// It no longer may.
    PublisherRemove {
        /// Package.
        pkg: PackageName,
        /// Its id.
        publisher: AccountId,
    },
    /// The next document of the root of trust is in force.
    Trust {
        /// Its position in the chain; from 1.
        version: u64,
        /// The document, as an object; `log/trust/<version>` has the same bytes.
        document: Sha256Digest,
        /// The policy that it names, as an object.
        policy: Sha256Digest,
    },
    /// Nothing happened; the log is alive.
    Heartbeat {},
}

/// Every kind that this code knows, as written in `kind`.
const KINDS: &[&str] = &[
    "genesis",
    "config",
    "publish",
    "yank",
    "unyank",
    "deprecate",
    "undeprecate",
    "delete",
    "owner-add",
    "owner-remove",
    "transfer-offer",
    "transfer-withdraw",
    "transfer",
    "author-key-add",
    "author-key-remove",
    "policy",
    "alias-set",
    "alias-remove",
    "publisher-add",
    "publisher-remove",
    "trust",
    "heartbeat",
];

/// Why a release was taken down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeleteCode {
    /// It attacks those who install it.
    Malware,
    /// A court or a law demands it.
    Legal,
    /// It holds personal data or secrets.
    Privacy,
    /// It holds nothing but noise.
    Spam,
}

impl DeleteCode {
    /// The code as written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malware => "malware",
            Self::Legal => "legal",
            Self::Privacy => "privacy",
            Self::Spam => "spam",
        }
    }
}

/// The class of a state-mapped file, as one letter in events and shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum FileClass {
    /// A shard of the alias map.
    #[serde(rename = "a")]
    Alias,
    /// A package document.
    #[serde(rename = "d")]
    Document,
    /// What happened to the aliases of a shard.
    #[serde(rename = "h")]
    History,
    /// A package's index file.
    #[serde(rename = "i")]
    Index,
    /// The keys of a package's authors.
    #[serde(rename = "k")]
    Keys,
    /// A package's resolve record.
    #[serde(rename = "r")]
    Resolve,
}

impl FileClass {
    /// Every class.
    pub const ALL: [Self; 6] =
        [Self::Alias, Self::Document, Self::History, Self::Index, Self::Keys, Self::Resolve];

    /// The class with this letter.
    pub fn of_letter(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.letter() == letter)
    }

    /// The letter.
    pub const fn letter(self) -> char {
        match self {
            Self::Alias => 'a',
            Self::Document => 'd',
            Self::History => 'h',
            Self::Index => 'i',
            Self::Keys => 'k',
            Self::Resolve => 'r',
        }
    }

    /// Whether each state of the file is kept by its hash too. A resolve record says nothing that the index file does not
    /// say, so that whoever finds another one than the state names reads the index file.
    pub const fn is_kept_by_hash(self) -> bool {
        !matches!(self, Self::Resolve)
    }
}

/// A state-mapped file after an event: `[class, name, digest, length]`.
///
/// The name is the package's canonical name, or the shard of the alias map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileChange(pub FileClass, pub String, pub Sha256Digest, pub u64);

/// The part of an event that every reader understands, whatever its kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventHead {
    /// Format of the line.
    pub v: u32,
    /// Position in the log.
    pub seq: u64,
    /// Root of the state map after this event.
    pub state: Sha256Digest,
}

/// A ULID that names an intent; chosen by the client or by the publisher.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct EventId(String);

/// The text is not a ULID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a ULID")]
pub struct InvalidEventId(String);

impl EventId {
    /// Parses a ULID in its canonical form.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidEventId> {
        let text = text.into();
        if is_ulid(&text) { Ok(Self(text)) } else { Err(InvalidEventId(text.chars().take(40).collect())) }
    }

    /// The ULID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The time inside the ULID, in milliseconds since 1970 (its first ten characters).
    pub fn unix_ms(&self) -> u64 {
        const ALPHABET: &[u8] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        self.0.bytes().take(10).fold(0, |ms, b| {
            let digit =
                ALPHABET.iter().position(|a| *a == b).expect("a ULID has only characters of the alphabet");
            ms << 5 | digit as u64
        })
    }
}

crate::account::text_conversions!(EventId, InvalidEventId);

/// Why bytes of the log are not an event that this code can replay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// A newer Drystone wrote it.
    #[error("event {seq} is of the unknown kind `{kind}`: upgrade to replay this log")]
    UnknownKind {
        /// Position in the log.
        seq: u64,
        /// The kind.
        kind: String,
    },
    /// A newer Drystone wrote it.
    #[error("event {seq} has format {v}: upgrade to replay this log")]
    UnknownFormat {
        /// Position in the log.
        seq: u64,
        /// The format.
        v: u32,
    },
    /// It is not an event at all.
    #[error("not an event: {0}")]
    Malformed(String),
    /// It is an event, but not written in the one canonical way.
    #[error("event {seq} is not canonical JSON")]
    NotCanonical {
        /// Position in the log.
        seq: u64,
    },
    /// It is longer than 4 KiB.
    #[error("event has {len} bytes, at most 4,096 are allowed")]
    TooLong {
        /// Its length, in bytes.
        len: usize,
    },
}

impl Event {
    /// The line as it stands in the log, newline included.
    pub fn to_line(&self) -> Result<Vec<u8>, EventError> {
        let line = canonical_json(self);
        if line.len() > EVENT_BYTES_MAX { Err(EventError::TooLong { len: line.len() }) } else { Ok(line) }
    }

    /// Reads a line of the log, strictly: known format, known kind, canonical bytes.
    pub fn from_line(line: &[u8]) -> Result<Self, EventError> {
        #[derive(Deserialize)]
        struct Probe {
            v: u32,
            seq: u64,
            kind: String,
        }
        if line.len() > EVENT_BYTES_MAX {
            return Err(EventError::TooLong { len: line.len() });
        }
        let malformed = |e: serde_json::Error| EventError::Malformed(e.to_string());
        let event = match serde_json::from_slice::<Self>(line) {
            Ok(event) if event.v == EVENT_FORMAT => event,
            // What it is, if it is not what it should be.
            read => {
                let Probe { v, seq, kind } = serde_json::from_slice(line).map_err(malformed)?;
                if v != EVENT_FORMAT {
                    return Err(EventError::UnknownFormat { seq, v });
                }
                if !KINDS.contains(&&*kind) {
                    return Err(EventError::UnknownKind { seq, kind });
                }
                read.map_err(malformed)?
            }
        };
        let seq = event.seq;
        if canonical_json(&event) != line {
            return Err(EventError::NotCanonical { seq });
        }
        Ok(event)
    }

    /// The objects that the event names for ever: archives, records, reasons, settings.
    ///
    /// State-mapped files are not among them: they are copies, and go when the state is no longer needed.
    pub fn objects(&self) -> Vec<Sha256Digest> {
        match &self.body {
            EventBody::Genesis { config, .. } | EventBody::Config { config } => vec![*config],
            EventBody::Publish { tarball, record, .. } => vec![*tarball, *record],
            EventBody::Trust { document, policy, .. } => vec![*document, *policy],
            EventBody::Yank { reason, .. } | EventBody::Deprecate { reason, .. } => {
                reason.iter().copied().collect()
            }
            EventBody::OwnerAdd { exception, .. }
            | EventBody::OwnerRemove { exception, .. }
            | EventBody::Policy { exception, .. } => exception.iter().copied().collect(),
            EventBody::Unyank { .. }
            | EventBody::Undeprecate { .. }
            | EventBody::Delete { .. }
            | EventBody::TransferOffer { .. }
            | EventBody::TransferWithdraw { .. }
            | EventBody::Transfer { .. }
            | EventBody::AuthorKeyAdd { .. }
            | EventBody::AuthorKeyRemove { .. }
            | EventBody::AliasSet { .. }
            | EventBody::AliasRemove { .. }
            | EventBody::PublisherAdd { .. }
            | EventBody::PublisherRemove { .. }
            | EventBody::Heartbeat {} => Vec::new(),
        }
    }

    /// The package that the event is about, if it is about one.
    pub fn package(&self) -> Option<&PackageName> {
        self.body.package()
    }
}

impl EventBody {
    /// The package that the event is about, if it is about one.
    pub fn package(&self) -> Option<&PackageName> {
        match self {
            Self::Genesis { .. } | Self::Config { .. } | Self::Trust { .. } | Self::Heartbeat {} => None,
            Self::Publish { pkg, .. }
            | Self::Yank { pkg, .. }
            | Self::Unyank { pkg, .. }
            | Self::Deprecate { pkg, .. }
            | Self::Undeprecate { pkg }
            | Self::Delete { pkg, .. }
            | Self::OwnerAdd { pkg, .. }
            | Self::OwnerRemove { pkg, .. }
            | Self::TransferOffer { pkg, .. }
            | Self::TransferWithdraw { pkg }
            | Self::Transfer { pkg, .. }
            | Self::AuthorKeyAdd { pkg, .. }
            | Self::AuthorKeyRemove { pkg, .. }
            | Self::Policy { pkg, .. }
            | Self::PublisherAdd { pkg, .. }
            | Self::PublisherRemove { pkg, .. }
            | Self::AliasSet { pkg, .. }
            | Self::AliasRemove { pkg, .. } => Some(pkg),
        }
    }
}

impl EventHead {
    /// Reads the head of any event, also of kinds that are not known here.
    pub fn from_line(line: &[u8]) -> Result<Self, EventError> {
        serde_json::from_slice(line).map_err(|e| EventError::Malformed(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            v: 1,
            seq: 999,
            id: EventId::new("01JD3K6Q0Z0000000000000000").unwrap(),
            time: 1_760_000_999,
            actor: AccountId::new("acct:01JD3K6Q0Z0000000000000000").unwrap(),
            state: Sha256Digest::of(b"state"),
            files: vec![FileChange(FileClass::Index, "acme/http".into(), Sha256Digest::of(b"index"), 1499)],
            body: EventBody::Publish {
                pkg: PackageName::new("acme/http").unwrap(),
                vers: Version::new("1.3.0").unwrap(),
                tarball: Sha256Digest::of(b"tarball"),
                record: Sha256Digest::of(b"record"),
                sigs: AuthorSignatures::new(),
            },
        }
    }

    #[test]
    fn a_line_reads_back_and_starts_with_its_sorted_keys() {
        let line = event().to_line().unwrap();
        assert!(line.starts_with(
            br#"{"actor":"acct:01JD3K6Q0Z0000000000000000","files":[["i","acme/http","sha256:"#
        ));
        assert_eq!(Event::from_line(&line), Ok(event()));
    }

    #[test]
    fn unknown_kinds_and_formats_are_typed_errors_but_have_a_head() {
        let text = String::from_utf8(event().to_line().unwrap()).unwrap();
        let strange = text.replace("\"publish\"", "\"teleport\"");
        assert_eq!(
            Event::from_line(strange.as_bytes()),
            Err(EventError::UnknownKind { seq: 999, kind: "teleport".into() })
        );
        assert_eq!(EventHead::from_line(strange.as_bytes()).unwrap().seq, 999);
        let newer = text.replace("\"v\":1", "\"v\":2");
        assert_eq!(Event::from_line(newer.as_bytes()), Err(EventError::UnknownFormat { seq: 999, v: 2 }));
    }

    #[test]
    fn only_the_canonical_spelling_is_an_event() {
        let text = String::from_utf8(event().to_line().unwrap()).unwrap();
        let spaced = text.replacen(',', ", ", 1);
        assert_eq!(Event::from_line(spaced.as_bytes()), Err(EventError::NotCanonical { seq: 999 }));
        let unknown_field = text.replacen('{', "{\"aaa\":1,", 1);
        assert_eq!(Event::from_line(unknown_field.as_bytes()), Err(EventError::NotCanonical { seq: 999 }));
    }

    #[test]
    fn every_kind_is_listed() {
        let schema = serde_json::to_value(schemars::schema_for!(EventBody)).unwrap();
        let in_schema: Vec<String> = schema["oneOf"]
            .as_array()
            .unwrap()
            .iter()
            .map(|kind| kind["properties"]["kind"]["const"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(in_schema, KINDS);
    }

    #[test]
    fn the_time_inside_an_id() {
        assert_eq!(EventId::new("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap().unix_ms(), 1_469_922_850_259);
    }
}
