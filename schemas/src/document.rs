//! Package documents: what a registry knows of a package besides its releases.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    AccountId, Alias, AuthorKeys, Exceptions, PackageName, Sha256Digest, SigningRule, TrustedPublisher,
    Version, ZigSnippet, canonical_json,
};

/// `packages/<name>.json`. Together with the index file it is the whole state of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackageDocument {
    /// Position in the log of the last event that changed the package.
    pub seq: u64,
    /// Name, as written by the first release.
    pub name: PackageName,
    /// Who may act for it, in the order of their ids.
    pub owners: Vec<OwnerEntry>,
    /// Changes of owners that wait for the time-lock, in their order; only where a rule of its authors has one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending_owners: Vec<PendingOwner>,
    /// To whom it is offered, while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<TransferOffer>,
    /// Keys of its authors, and by which rules they sign; once there is a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author_keys: Option<AuthorKeys>,
    /// When the first release was published, RFC 3339.
    pub created: String,
    /// When the last event changed it, RFC 3339.
    pub updated: String,
    /// Number of releases that are not tombstones.
    pub releases: u64,
    /// The newest release: largest stable version not yanked, else the largest pre-release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<Version>,
    /// Short names that mean this package.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<Alias>,
    /// CI identities that may publish versions of it, in the order in which they were added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publishers: Vec<TrustedPublisher>,
    /// Set while the package is deprecated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<Deprecation>,
    /// Facts from the manifest of the release published last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Authors, as the release published last names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authors: Vec<String>,
    /// SPDX expression of the release published last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Keywords.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    /// Categories.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// Home page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    /// Source repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Documentation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documentation: Option<String>,
    /// How to depend on the newest release from Zig, if that is a Zig package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zig: Option<ZigSnippet>,
}

impl PackageDocument {
    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical_json(self)
    }

    /// Lets changes of owners take force whose time has come, and an offer end. A change that would leave no owner does not.
    pub fn ripen(&mut self, time: u64) {
        self.transfer = self.transfer.take().filter(|offer| time < offer.until);
        let (ripe, waiting) = std::mem::take(&mut self.pending_owners)
            .into_iter()
            .partition::<Vec<_>, _>(|change| change.from <= time);
        self.pending_owners = waiting;
        for change in ripe {
            if change.role == Some(Role::Owner) || self.has_other_owner(&change.account) {
                self.set_owner(&change.account, change.role);
            }
        }
    }

    /// Makes an account the only one that may act for the package. What waits, and whom else it trusts, goes with the owners
    /// who made it so; keys and rules of its authors stay, because clients go by them.
    pub fn hand_over(&mut self, to: &AccountId) {
        self.owners = vec![OwnerEntry { account: to.clone(), role: Role::Owner }];
        self.pending_owners.clear();
        self.publishers.clear();
        self.transfer = None;
    }

    /// From when on the offer can be accepted, if there is one, in seconds since 1970: a rule of the authors that came after it
    /// counts as well.
    pub fn transfer_from(&self, seq: u64, time: u64) -> Option<u64> {
        let offer = self.transfer.as_ref()?;
        Some(offer.from.max(offer.time.saturating_add(self.lock_s_at(seq, time))))
    }

    /// For how long a change of owners waits that is made at this position in the log, at this time, in seconds.
    pub fn lock_s_at(&self, seq: u64, time: u64) -> u64 {
        self.rule_at(seq, time).map_or(0, SigningRule::lock_s)
    }

    /// Gives an account a role, or takes it away.
    pub fn set_owner(&mut self, account: &AccountId, role: Option<Role>) {
        self.owners.retain(|owner| owner.account != *account);
        self.owners.extend(role.map(|role| OwnerEntry { account: account.clone(), role }));
        self.owners.sort_unstable_by(|a, b| a.account.cmp(&b.account));
    }

    /// Whether somebody else than this account has the full role.
    pub fn has_other_owner(&self, account: &AccountId) -> bool {
        self.owners.iter().any(|owner| owner.role == Role::Owner && owner.account != *account)
    }

    /// The rule of its authors for what happens at this position in the log, at this time.
    pub fn rule_at(&self, seq: u64, time: u64) -> Option<&SigningRule> {
        self.author_keys.as_ref()?.rules_at(seq, time, Exceptions::AtOnce).in_force
    }

    /// When the change of this event takes force, in seconds since 1970, if it waits for a time-lock after `time`.
    pub fn waits_until(&self, seq: u64, time: u64) -> Option<u64> {
        let rules = self.author_keys.as_ref().map(|keys| keys.rules_at(u64::MAX, time, Exceptions::AtOnce));
        let rule = rules.and_then(|rules| rules.waiting).filter(|(rule, _)| rule.seq == seq);
        let owner = self.pending_owners.iter().find(|change| change.seq == seq && change.from > time);
        let offer = self.transfer.as_ref().filter(|offer| offer.seq == seq && offer.from > time);
        rule.map(|(_, from)| from).or(owner.map(|change| change.from)).or(offer.map(|offer| offer.from))
    }

    /// The role of an account, if it has one.
    pub fn role_of(&self, account: &AccountId) -> Option<Role> {
        self.owners.iter().find(|owner| owner.account == *account).map(|owner| owner.role)
    }

    /// The trusted publisher with this id.
    pub fn publisher(&self, id: &AccountId) -> Option<&TrustedPublisher> {
        self.publishers.iter().find(|publisher| publisher.id == *id)
    }
}

/// A change of an owner that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PendingOwner {
    /// Who.
    pub account: AccountId,
    /// As what from then on; none to go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Position in the log of the event that asked for it.
    pub seq: u64,
    /// When it takes force, in seconds since 1970.
    pub from: u64,
}

/// How long an offer can be accepted, in seconds: two weeks.
pub const TRANSFER_OFFER_S: u64 = 14 * 24 * 3_600;

/// An offer of a package to an account or organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TransferOffer {
    /// To whom.
    pub to: AccountId,
    /// Position in the log of the event that made it.
    pub seq: u64,
    /// When it was made, in seconds since 1970.
    pub time: u64,
    /// From when on it can be accepted, in seconds since 1970: later than it was made where a rule of the authors has a time-lock.
    pub from: u64,
    /// When it ends, in seconds since 1970.
    pub until: u64,
}

/// An account that may act for a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OwnerEntry {
    /// Who.
    pub account: AccountId,
    /// As what.
    pub role: Role,
}

/// What an account may do for a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Publish and yank.
    Collaborator,
    /// That, and change owners, aliases and deprecation.
    Owner,
}

/// A deprecation, with its reason as an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deprecation {
    /// Position in the log.
    pub seq: u64,
    /// The text, as an object that can be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Sha256Digest>,
}
