//! Intents: what somebody wants to change, before it is known whether they may.

use std::{collections::BTreeSet, sync::Arc};

use drystone_log::SignedTrust;
use drystone_schemas::{
    AccountId, Alias, AuthorKey, AuthorSignatures, DeleteCode, EventId, PackageName, Role, Settings,
    Sha256Digest, TrustedPublisher, Version, VersionRecord, canonical_json,
};
use drystone_storage::NewObject;

use crate::{Refusal, Scope};

/// One change that somebody asks for.
#[derive(Debug, Clone)]
pub enum Action {
    /// Publish what an inspected archive says it is.
    Publish {
        /// The record made from the archive.
        record: Arc<VersionRecord>,
        /// Digest of the record's bytes.
        digest: Sha256Digest,
        /// What its authors have signed.
        sigs: AuthorSignatures,
    },
    /// Yank a release.
    Yank {
        /// Package.
        pkg: PackageName,
        /// Version.
        vers: Version,
        /// Why, as an object.
        reason: Option<Sha256Digest>,
    },
    /// Take a yank back.
    Unyank {
        /// Package.
        pkg: PackageName,
        /// Version.
        vers: Version,
    },
    /// Deprecate a package.
    Deprecate {
        /// Package.
        pkg: PackageName,
        /// Why, as an object.
        reason: Option<Sha256Digest>,
    },
    /// Take a deprecation back.
    Undeprecate {
        /// Package.
        pkg: PackageName,
    },
    /// Take a release down.
    Delete {
        /// Package.
        pkg: PackageName,
        /// Version.
        vers: Version,
        /// Why.
        code: DeleteCode,
    },
    /// Let an account act for a package.
    OwnerAdd {
        /// Package.
        pkg: PackageName,
        /// Who.
        account: AccountId,
        /// As what.
        role: Role,
        /// Why it takes force at once, as an object.
        exception: Option<Sha256Digest>,
    },
    /// Let it no longer.
    OwnerRemove {
        /// Package.
        pkg: PackageName,
        /// Who.
        account: AccountId,
        /// Why it takes force at once, as an object.
        exception: Option<Sha256Digest>,
    },
    /// Offer a package to an account or organisation.
    TransferOffer {
        /// Package.
        pkg: PackageName,
        /// To whom.
        to: AccountId,
    },
    /// Take the offer back, or decline it.
    TransferWithdraw {
        /// Package.
        pkg: PackageName,
    },
    /// Take a package over that is offered.
    TransferAccept {
        /// Package.
        pkg: PackageName,
    },
    /// Register a key of an author.
    AuthorKeyAdd {
        /// Package.
        pkg: PackageName,
        /// The key.
        key: AuthorKey,
    },
    /// Revoke a key of an author.
    AuthorKeyRemove {
        /// Package.
        pkg: PackageName,
        /// The key.
        key: AuthorKey,
    },
    /// Say which keys must sign the releases of a package.
    Policy {
        /// Package.
        pkg: PackageName,
        /// What is asked for.
        rule: Rule,
    },
    /// Let a short name mean a package.
    AliasSet {
        /// Short name.
        alias: Alias,
        /// Package.
        pkg: PackageName,
    },
    /// Let it mean nothing.
    AliasRemove {
        /// Short name.
        alias: Alias,
        /// The package that it means now.
        pkg: PackageName,
    },
    /// Let a CI identity publish versions.
    PublisherAdd {
        /// Package.
        pkg: PackageName,
        /// Who.
        publisher: Box<TrustedPublisher>,
    },
    /// Let it no longer.
    PublisherRemove {
        /// Package.
        pkg: PackageName,
        /// Its id.
        publisher: AccountId,
    },
    /// Change the registry's settings.
    Configure {
        /// The new ones.
        settings: Arc<Settings>,
    },
    /// Put the next document of the root of trust in force.
    Trust {
        /// The document, signed.
        document: Arc<SignedTrust>,
    },
}

/// Which keys are to sign, as somebody asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// How many of the keys.
    pub threshold: u32,
    /// The keys.
    pub keys: BTreeSet<AuthorKey>,
    /// How many hours a weaker rule waits after this one.
    pub lock_hours: u32,
    /// Why it takes force at once, as an object.
    pub exception: Option<Sha256Digest>,
}

impl Action {
    /// Why a time-lock is to be lifted, if it is.
    pub(crate) fn exception(&self) -> Option<&Sha256Digest> {
        match self {
            Self::OwnerAdd { exception, .. }
            | Self::OwnerRemove { exception, .. }
            | Self::Policy { rule: Rule { exception, .. }, .. } => exception.as_ref(),
            _ => None,
        }
    }

    /// The package that it is about.
    pub fn package(&self) -> Option<&PackageName> {
        match self {
            Self::Publish { record, .. } => Some(&record.name),
            Self::Yank { pkg, .. }
            | Self::Unyank { pkg, .. }
            | Self::Deprecate { pkg, .. }
            | Self::Undeprecate { pkg }
            | Self::Delete { pkg, .. }
            | Self::OwnerAdd { pkg, .. }
            | Self::OwnerRemove { pkg, .. }
            | Self::TransferOffer { pkg, .. }
            | Self::TransferWithdraw { pkg }
            | Self::TransferAccept { pkg }
            | Self::AuthorKeyAdd { pkg, .. }
            | Self::AuthorKeyRemove { pkg, .. }
            | Self::Policy { pkg, .. }
            | Self::AliasSet { pkg, .. }
            | Self::AliasRemove { pkg, .. }
            | Self::PublisherAdd { pkg, .. }
            | Self::PublisherRemove { pkg, .. } => Some(pkg),
            Self::Configure { .. } | Self::Trust { .. } => None,
        }
    }

    /// The alias that it is about.
    pub fn alias(&self) -> Option<&Alias> {
        match self {
            Self::AliasSet { alias, .. } | Self::AliasRemove { alias, .. } => Some(alias),
            _ => None,
        }
    }

    /// The scope that it takes, once it is known whether the package exists.
    pub fn scope(&self, package_exists: bool) -> Scope {
        match self {
            Self::Publish { .. } if package_exists => Scope::PublishUpdate,
            Self::Publish { .. } => Scope::PublishNew,
            Self::Yank { .. } | Self::Unyank { .. } | Self::Deprecate { .. } | Self::Undeprecate { .. } => {
                Scope::Yank
            }
            Self::OwnerAdd { .. }
            | Self::OwnerRemove { .. }
            | Self::TransferOffer { .. }
            | Self::TransferWithdraw { .. }
            | Self::TransferAccept { .. }
            | Self::AuthorKeyAdd { .. }
            | Self::AuthorKeyRemove { .. }
            | Self::Policy { .. } => Scope::Owners,
            Self::AliasSet { .. } | Self::AliasRemove { .. } => Scope::Alias,
            Self::PublisherAdd { .. } | Self::PublisherRemove { .. } => Scope::TrustedPublishing,
            Self::Delete { .. } | Self::Configure { .. } | Self::Trust { .. } => Scope::Admin,
        }
    }

    /// Digest of what is asked, without who asks and when.
    pub(crate) fn digest(&self) -> Sha256Digest {
        let text = match self {
            Self::Publish { record, digest, sigs } if sigs.is_empty() => {
                format!("publish {} {} {digest}", record.name, record.vers)
            }
            Self::Publish { record, digest, sigs } => {
                format!("publish {} {} {digest} {sigs:?}", record.name, record.vers)
            }
            Self::Yank { pkg, vers, reason } => format!("yank {pkg} {vers} {reason:?}"),
            Self::Unyank { pkg, vers } => format!("unyank {pkg} {vers}"),
            Self::Deprecate { pkg, reason } => format!("deprecate {pkg} {reason:?}"),
            Self::Undeprecate { pkg } => format!("undeprecate {pkg}"),
            Self::Delete { pkg, vers, code } => format!("delete {pkg} {vers} {}", code.as_str()),
            Self::OwnerAdd { pkg, account, role, .. } => format!("owner-add {pkg} {account} {role:?}"),
            Self::OwnerRemove { pkg, account, .. } => format!("owner-remove {pkg} {account}"),
            Self::TransferOffer { pkg, to } => format!("transfer-offer {pkg} {to}"),
            Self::TransferWithdraw { pkg } => format!("transfer-withdraw {pkg}"),
            Self::TransferAccept { pkg } => format!("transfer {pkg}"),
            Self::AuthorKeyAdd { pkg, key } => format!("author-key-add {pkg} {key}"),
            Self::AuthorKeyRemove { pkg, key } => format!("author-key-remove {pkg} {key}"),
            Self::Policy { pkg, rule } => format!("policy {pkg} {rule:?}"),
            Self::AliasSet { alias, pkg } => format!("alias-set {alias} {pkg}"),
            Self::AliasRemove { alias, .. } => return Self::removal_digest(alias),
            // Without the id, which is another one whenever the same is asked again.
            Self::PublisherAdd { pkg, publisher } => {
                let who = Sha256Digest::of(&canonical_json(&(&publisher.issuer, &publisher.identity)));
                format!("publisher-add {pkg} {who}")
            }
            Self::PublisherRemove { pkg, publisher } => format!("publisher-remove {pkg} {publisher}"),
            Self::Configure { settings } => format!("config {}", Sha256Digest::of(&canonical_json(settings))),
            Self::Trust { document } => format!("trust {}", Sha256Digest::of(&document.to_bytes())),
        };
        Sha256Digest::of(text.as_bytes())
    }
}

impl Action {
    /// Digest of the removal of an alias, whatever it means: when it is asked again, it means nothing any more.
    pub(crate) fn removal_digest(alias: &Alias) -> Sha256Digest {
        Sha256Digest::of(format!("alias-remove {alias}").as_bytes())
    }
}

/// Seconds for which a request may be repeated under its id.
const INTENT_AGE_S_MAX: u64 = 24 * 3600;

/// Whether an id was made within 24 hours of this time: outcomes are kept long enough for those alone.
pub(crate) fn is_of_the_day(id: &EventId, now_s: u64) -> bool {
    (id.unix_ms() / 1000).abs_diff(now_s) <= INTENT_AGE_S_MAX
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The bearer of the token with this digest; looked up when the commit is prepared.
    Token(Sha256Digest),
    /// The operator, at the machine.
    Operator(AccountId),
    /// An account, as it asked before.
    Account(AccountId),
}

/// A change that somebody asks for, with what must be stored before it can be committed.
#[derive(Debug, Clone)]
pub struct Intent {
    /// Idempotency key.
    pub(crate) id: EventId,
    pub(crate) caller: Caller,
    pub(crate) action: Action,
    /// Objects that the event will name.
    pub(crate) objects: Vec<NewObject>,
}

/// What an intent came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Position in the log of the event, or of the one that had done the same before.
    pub seq: Option<u64>,
    /// Whether things were so already.
    pub already: bool,
    /// The event's `.tlog-proof`, once its checkpoint is published.
    pub proof: Option<String>,
}

/// What the sequencer answers.
pub(crate) type Answer = Result<Done, Refusal>;
