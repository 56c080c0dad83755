//! Planning: which events a batch of intents becomes, decided against one head.
//!
//! Reading is in [`Desk::gather`]; every decision is in [`decide`], which is pure.

mod alias;
mod authors;
mod cargo_name;
mod decide;
mod gather;
mod hints;
mod quota;
mod scope;
mod transfer;

use std::{collections::BTreeMap, sync::Arc};

use drystone_index_builder::PackageState;
use drystone_log::SignedTrust;
use drystone_schemas::{
    AccountId, Alias, AliasHistory, AliasMap, PackageName, Role, Settings, Sha256Digest, VaisPackage,
};
use drystone_storage::Tag;

use crate::{
    TokenRecord,
    vault::{DoneRecord, QuotaRecord},
};

pub(crate) use decide::{Decision, Place, decide};
pub(crate) use gather::ByName;
pub(crate) use hints::Hints;

/// Everything that the decisions of one batch look at; events of the batch change it as they are decided.
pub(crate) struct Desk {
    /// The settings in force.
    pub(crate) settings: Arc<Settings>,
    /// Packages by canonical name; present for every package that an intent names.
    pub(crate) packages: BTreeMap<String, OnDesk<Option<PackageState>>>,
    /// Shards of the alias map: those of every alias that an intent names, and those that could keep a new package from its
    /// name.
    pub(crate) aliases: BTreeMap<String, OnDesk<AliasShard>>,
    /// The whole alias map, where an intent names an alias.
    pub(crate) all_aliases: Option<OnDesk<AliasMap>>,
    /// The index of all packages by canonical name, where the existing client of the registry's language asks for one.
    pub(crate) vais_index: Option<BTreeMap<String, VaisPackage>>,
    /// Closure hints by canonical name: of packages with a new release, and of what these need. Advice, and nothing else.
    pub(crate) hints: Hints,
    /// The newest document of the root of trust, where an intent brings the next.
    pub(crate) trust: Option<SignedTrust>,
    /// Canonical names that packages have, of those asked for as aliases and of those that look like them.
    pub(crate) taken_by_package: Vec<String>,
    /// Tokens by digest, as they were after the head was read.
    pub(crate) tokens: BTreeMap<Sha256Digest, Option<TokenRecord>>,
    /// Outcomes by intent id.
    pub(crate) done: BTreeMap<String, DoneRecord>,
    /// Whose packages those with an owner part are, in canonical form; present for the owner part of every new package.
    pub(crate) scopes: BTreeMap<String, Holder>,
    /// What matters of the accounts that ask; present for all but the operator's.
    pub(crate) parties: BTreeMap<AccountId, Party>,
}

/// What matters of an account that asks for a change.
#[derive(Default)]
pub(crate) struct Party {
    /// What it has used up.
    pub(crate) quota: OnDesk<QuotaRecord>,
    /// The organisations that it acts for, and as what.
    pub(crate) orgs: BTreeMap<AccountId, Role>,
}

/// Whose packages those with an owner part are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Holder {
    /// Whoever is first.
    Nobody,
    /// Who has it as a login, or was first.
    Account(AccountId),
}

/// A shard of the alias map.
#[derive(Default)]
pub(crate) struct AliasShard {
    pub(crate) map: AliasMap,
    /// What happened in it; empty where no intent changes the shard.
    pub(crate) history: AliasHistory,
}

/// A file's content with the tags of its by-name files, where they were read.
#[derive(Default)]
pub(crate) struct OnDesk<T> {
    pub(crate) value: T,
    /// By-name key and tag (none: absent).
    pub(crate) seen: BTreeMap<String, Option<Tag>>,
}

/// Names a package by what the state map knows it by.
pub(crate) fn package_key(name: &PackageName) -> String {
    name.canonical()
}

/// Names the owner part of a package, if it has one.
pub(crate) fn scope_key(name: &PackageName) -> Option<String> {
    name.canonical().split_once('/').map(|(owner, _)| owner.to_owned())
}

/// Names an alias shard likewise.
pub(crate) fn alias_key(alias: &Alias) -> String {
    drystone_schemas::layout::alias_state_key(alias)
}
