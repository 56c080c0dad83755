//! Reading what decisions need: by-name files at first, and private records once head is known.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use drystone_index_builder::PackageState;
use drystone_log::{
    Hash, ShardEntry,
    commit::{Committer, Round},
};
use drystone_schemas::{AliasMap, FileClass, Format, Settings, Sha256Digest, layout};
use drystone_storage::{Key, Store, Versioned};
use futures_util::future::{try_join, try_join_all};

use super::{Desk, OnDesk, alias_key, package_key};
use crate::{
    Action, Intent, Refusal,
    intent::Caller,
    vault::{self, QuotaRecord},
};

/// Longest by-name file, in bytes: four times the longest index file known.
const BY_NAME_BYTES_MAX: u64 = 64 << 20;

/// By-name files read before head: usually they are what the state names, and no read by hash is needed.
pub(crate) struct ByName(BTreeMap<String, Option<Versioned>>);

impl ByName {
    /// Reads the by-name files of everything that the intents name, in one round.
    pub(crate) async fn read(store: &Store, intents: &[&Intent]) -> Result<Self, Refusal> {
        let mut keys = BTreeSet::new();
        for intent in intents {
            if let Some(pkg) = intent.action.package() {
                keys.insert(layout::index_file(pkg));
                keys.insert(layout::document(pkg));
                keys.extend(api_keys(&intent.action));
            }
            if let Some(alias) = intent.action.alias() {
                keys.insert(layout::alias_map(alias.shard()));
            }
        }
        let reads = keys.into_iter().map(async |key| {
            let parsed = Key::new(key.clone()).map_err(Refusal::internal)?;
            Ok::<_, Refusal>((key, store.public.read(&parsed, BY_NAME_BYTES_MAX).await?))
        });
        Ok(Self(try_join_all(reads).await?.into_iter().collect()))
    }

    /// The bytes of a state-mapped file: those by name if they are the ones, else those by hash.
    async fn resolve(&self, store: &Store, key: &str, digest: &Hash) -> Result<Bytes, Refusal> {
        let matches = |bytes: &[u8]| Sha256Digest::of(bytes).as_bytes() == digest.as_bytes();
        if let Some(Some(file)) = self.0.get(key)
            && matches(&file.bytes)
        {
            return Ok(file.bytes.clone());
        }
        let object = layout::object(&Sha256Digest::from_bytes(*digest.as_bytes()));
        let parsed = Key::new(object.clone()).map_err(Refusal::internal)?;
        let bytes = store.public.get(&parsed, BY_NAME_BYTES_MAX).await?;
        bytes
            .filter(|bytes| matches(bytes))
            .ok_or_else(|| Refusal::internal(format!("`{object}` is missing or damaged")))
    }

    fn seen(
        &self,
        keys: impl IntoIterator<Item = String>,
    ) -> BTreeMap<String, Option<drystone_storage::Tag>> {
        let tag_of = |key: String| {
            let file = self.0.get(&key)?;
            Some((key, file.as_ref().map(|file| file.tag.clone())))
        };
        keys.into_iter().filter_map(tag_of).collect()
    }
}

/// The files for API clients that an action will surely change: so far only a release tells that it is Zig's.
fn api_keys(action: &Action) -> Vec<String> {
    match action {
        Action::Publish { record, .. } if record.format == Format::Zig => {
            layout::github_files(&record.name).map_or_else(Vec::new, |files| files.keys().to_vec())
        }
        _ => Vec::new(),
    }
}

/// The lines of the state map that these intents need.
pub(crate) fn state_keys(intents: &[&Intent]) -> Vec<String> {
    let mut keys = BTreeSet::new();
    for intent in intents {
        keys.extend(intent.action.package().map(package_key));
        if let Some(alias) = intent.action.alias() {
            keys.insert(alias_key(alias));
            // A package of that name would win over the alias.
            keys.insert(alias.as_str().to_owned());
        }
    }
    keys.into_iter().collect()
}

impl Desk {
    /// Reads tokens and outcomes, which must be younger than the head of the round, beside the nodes of the state map;
    /// then what the state names, and quotas.
    pub(crate) async fn gather(
        store: &Store,
        committer: &Committer,
        round: &mut Round,
        by_name: &ByName,
        settings: Arc<Settings>,
        intents: &[&Intent],
    ) -> Result<Self, Refusal> {
        let keys = state_keys(intents);
        let load = async { committer.load(round, &keys).await.map_err(Refusal::from) };
        let ((), mut desk) = try_join(load, Self::private(store, settings, intents)).await?;
        let round = &*round;
        let packages = intents.iter().filter_map(|intent| intent.action.package());
        let names: BTreeMap<String, _> = packages.map(|name| (package_key(name), name)).collect();
        let reads = names.into_iter().map(async |(key, name)| {
            let state = match committer.entry(round, &key)? {
                Some(entry) => Some(read_package(store, by_name, entry, name).await?),
                None => None,
            };
            let api = layout::github_files(name).map_or_else(Vec::new, |files| files.keys().to_vec());
            let seen =
                by_name.seen([layout::index_file(name), layout::document(name)].into_iter().chain(api));
            Ok::<_, Refusal>((key, OnDesk { value: state, seen }))
        });
        let aliases: BTreeMap<String, _> = intents
            .iter()
            .filter_map(|intent| intent.action.alias())
            .map(|alias| (alias.shard().to_owned(), alias))
            .collect();
        let alias_reads = aliases.into_iter().map(async |(shard, alias)| {
            let key = layout::alias_map(&shard);
            let value = match committer
                .entry(round, &alias_key(alias))?
                .and_then(|entry| digest_of(entry, FileClass::Alias))
            {
                Some(digest) => {
                    let bytes = by_name.resolve(store, &key, &digest).await?;
                    serde_json::from_slice(&bytes).map_err(|e| Refusal::internal(format!("`{key}`: {e}")))?
                }
                None => AliasMap::default(),
            };
            Ok::<_, Refusal>((shard, OnDesk { value, seen: by_name.seen([key]) }))
        });
        let quotas = desk.quotas_needed(committer, round, intents)?;
        let quota_reads = quotas.into_iter().map(async |account| {
            let quota: Option<QuotaRecord> = vault::read(&*store.vault, layout::quota(&account)).await?;
            Ok::<_, Refusal>((account, quota.unwrap_or_default()))
        });
        let ((packages, aliases), quotas) =
            try_join(try_join(try_join_all(reads), try_join_all(alias_reads)), try_join_all(quota_reads))
                .await?;
        desk.packages = packages.into_iter().collect();
        desk.aliases = aliases.into_iter().collect();
        desk.quotas = quotas.into_iter().collect();
        for alias in intents.iter().filter_map(|intent| intent.action.alias()) {
            if committer.entry(round, alias.as_str())?.is_some() {
                desk.taken_by_package.push(alias.as_str().to_owned());
            }
        }
        Ok(desk)
    }

    async fn private(store: &Store, settings: Arc<Settings>, intents: &[&Intent]) -> Result<Self, Refusal> {
        let digests: BTreeSet<Sha256Digest> = intents
            .iter()
            .filter_map(
                |intent| if let Caller::Token(digest) = &intent.caller { Some(*digest) } else { None },
            )
            .collect();
        let tokens = digests
            .into_iter()
            .map(async |digest| Ok::<_, Refusal>((digest, vault::read_token(&*store.vault, &digest).await?)));
        let done = intents.iter().map(async |intent| {
            Ok::<_, Refusal>((intent.id.to_string(), vault::read_done(&*store.vault, &intent.id).await?))
        });
        let (tokens, done) = try_join(try_join_all(tokens), try_join_all(done)).await?;
        Ok(Self {
            settings,
            packages: BTreeMap::new(),
            aliases: BTreeMap::new(),
            taken_by_package: Vec::new(),
            tokens: tokens.into_iter().collect(),
            done: done.into_iter().filter_map(|(id, record)| Some((id, record?))).collect(),
            quotas: BTreeMap::new(),
        })
    }

    /// Accounts whose quota matters: those that would create a package.
    fn quotas_needed(
        &self,
        committer: &Committer,
        round: &Round,
        intents: &[&Intent],
    ) -> Result<BTreeSet<drystone_schemas::AccountId>, Refusal> {
        let mut accounts = BTreeSet::new();
        for intent in intents {
            let Action::Publish { record, .. } = &intent.action else { continue };
            let Caller::Token(digest) = &intent.caller else { continue };
            let Some(Some(token)) = self.tokens.get(digest) else { continue };
            if !token.is_admin() && committer.entry(round, &package_key(&record.name))?.is_none() {
                accounts.insert(token.account.clone());
            }
        }
        Ok(accounts)
    }
}

fn digest_of(entry: &ShardEntry, class: FileClass) -> Option<Hash> {
    entry.files.get(&class.letter()).map(|file| file.digest)
}

async fn read_package(
    store: &Store,
    by_name: &ByName,
    entry: &ShardEntry,
    name: &drystone_schemas::PackageName,
) -> Result<PackageState, Refusal> {
    let missing = || Refusal::internal(format!("the state map has no files of `{name}`"));
    let index = digest_of(entry, FileClass::Index).ok_or_else(missing)?;
    let document = digest_of(entry, FileClass::Document).ok_or_else(missing)?;
    let (index_key, document_key) = (layout::index_file(name), layout::document(name));
    let (index, document) = try_join(
        by_name.resolve(store, &index_key, &index),
        by_name.resolve(store, &document_key, &document),
    )
    .await?;
    PackageState::parse(&index, &document).map_err(Refusal::internal)
}
