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
use drystone_schemas::{
    AccountId, Alias, AliasHistory, FileClass, Format, LanguageApi, Login, PackageName, Settings,
    Sha256Digest, VaisPackage, confusable::look_alikes, layout,
};
use drystone_storage::{Key, Store, Versioned};
use futures_util::future::{join, try_join, try_join_all, try_join4};
use serde::de::DeserializeOwned;

use super::{AliasShard, Desk, Holder, OnDesk, Party, alias_key, hints, package_key, scope_key};
use crate::{
    Action, Intent, Refusal,
    accounts::MemberRecord,
    intent::Caller,
    limits::Known,
    trust,
    vault::{self, QuotaRecord, RECORD_BYTES_MAX, ScopeRecord},
};

/// Longest by-name file, in bytes: four times the longest index file known.
const BY_NAME_BYTES_MAX: u64 = 64 << 20;

/// By-name files read before head: usually they are what the state names, and no read by hash is needed.
#[derive(Default)]
pub(crate) struct ByName(BTreeMap<String, Option<Versioned>>);

impl ByName {
    /// Reads the by-name files of everything that the intents name, in one round.
    pub(crate) async fn read(store: &Store, intents: &[&Intent]) -> Result<Self, Refusal> {
        let mut keys = BTreeSet::new();
        for intent in intents {
            if let Some(pkg) = intent.action.package() {
                keys.insert(layout::index_file(pkg));
                keys.insert(layout::document(pkg));
                keys.extend(changes_releases(&intent.action).then(|| layout::resolve_record(pkg)));
                keys.extend(changes_keys(&intent.action).then(|| layout::author_keys(pkg)));
                keys.extend(api_keys(&intent.action));
            }
            if let Some(alias) = intent.action.alias() {
                keys.insert(layout::alias_map(alias.shard()));
                keys.insert(layout::alias_history(alias.shard()));
                keys.insert(layout::ALIASES.to_owned());
            }
        }
        let reads = keys.into_iter().map(async |key| {
            let parsed = Key::new(key.clone()).map_err(Refusal::internal)?;
            Ok::<_, Refusal>((key, store.public.read(&parsed, BY_NAME_BYTES_MAX).await?))
        });
        Ok(Self(try_join_all(reads).await?.into_iter().collect()))
    }

    /// Adds what was read for others.
    pub(crate) fn add(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Whether a package was not there by name: then its name may still be free, or be an alias.
    fn lacks(&self, name: &PackageName) -> bool {
        self.0.get(&layout::document(name)).is_some_and(Option::is_none)
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

/// Whether an action changes the index file, and with it the resolve record.
fn changes_releases(action: &Action) -> bool {
    matches!(
        action,
        Action::Publish { .. } | Action::Yank { .. } | Action::Unyank { .. } | Action::Delete { .. }
    )
}

/// Whether an action changes the keys of a package's authors, or their rules.
fn changes_keys(action: &Action) -> bool {
    matches!(action, Action::AuthorKeyAdd { .. } | Action::AuthorKeyRemove { .. } | Action::Policy { .. })
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
            keys.insert(layout::ALIASES_STATE_KEY.to_owned());
            keys.extend(rivals(alias));
        }
    }
    keys.into_iter().collect()
}

/// Names that a package may have which keep an alias from being set: its own, and those that look like it.
fn rivals(alias: &Alias) -> BTreeSet<String> {
    let mut names = look_alikes(alias.as_str());
    names.insert(alias.as_str().to_owned());
    names
}

/// The packages of which a version is published.
fn published(intents: &[&Intent]) -> impl Iterator<Item = PackageName> {
    intents.iter().filter_map(|intent| match &intent.action {
        Action::Publish { record, .. } => Some(record.name.clone()),
        _ => None,
    })
}

/// The aliases that would keep new packages from their names.
fn name_sakes(intents: &[&Intent]) -> impl Iterator<Item = (Alias, PackageName)> {
    published(intents).filter_map(|name| Some((Alias::new(name.as_str()).ok()?, name)))
}

/// Packages that were there by name and are not in the state, and so are new to this head after all: whoever made them has
/// moved head since it was read, or the file is a stray one. What concerns a new package is still to be read then.
fn unforeseen(
    committer: &Committer,
    round: &Round,
    by_name: &ByName,
    intents: &[&Intent],
) -> Result<Vec<PackageName>, Refusal> {
    let mut unforeseen = Vec::new();
    for name in published(intents).filter(|name| !by_name.lacks(name)) {
        if committer.entry(round, &package_key(&name))?.is_none() {
            unforeseen.push(name);
        }
    }
    Ok(unforeseen)
}

impl Desk {
    /// Reads tokens and outcomes, which must be younger than the head of the round, beside the nodes of the state map;
    /// then what the state names. What matters of accounts is read with the tokens, where
    /// it is known whose they are, and else with the rest.
    pub(crate) async fn gather(
        store: &Store,
        committer: &Committer,
        round: &mut Round,
        by_name: &ByName,
        settings: Arc<Settings>,
        known: &Known,
        intents: &[&Intent],
    ) -> Result<Self, Refusal> {
        let mut keys = state_keys(intents);
        keys.extend(
            name_sakes(intents).filter(|(_, name)| by_name.lacks(name)).map(|(alias, _)| alias_key(&alias)),
        );
        let load = async { committer.load(round, &keys).await.map_err(Refusal::from) };
        let ((), mut desk) = try_join(load, Self::private(store, settings, by_name, known, intents)).await?;
        let unforeseen = unforeseen(committer, round, by_name, intents)?;
        if !unforeseen.is_empty() {
            let aliases = unforeseen.iter().filter_map(|name| Alias::new(name.as_str()).ok());
            let keys: Vec<String> = aliases.map(|alias| alias_key(&alias)).collect();
            committer.load(round, &keys).await?;
            let scopes: BTreeSet<String> = unforeseen.iter().filter_map(scope_key).collect();
            let scopes = scopes.into_iter().map(async |scope| read_holder(store, scope).await);
            desk.scopes.extend(try_join_all(scopes).await?);
        }
        let round = &*round;
        let packages = intents.iter().filter_map(|intent| intent.action.package());
        let names: BTreeMap<String, _> = packages.map(|name| (package_key(name), name)).collect();
        let reads = names.into_iter().map(async |(key, name)| {
            let state = match committer.entry(round, &key)? {
                Some(entry) => Some(read_package(store, by_name, entry, name).await?),
                None => None,
            };
            let api = layout::github_files(name).map_or_else(Vec::new, |files| files.keys().to_vec());
            let own = [
                layout::index_file(name),
                layout::resolve_record(name),
                layout::author_keys(name),
                layout::document(name),
            ];
            let seen = by_name.seen(own.into_iter().chain(api));
            Ok::<_, Refusal>((key, OnDesk { value: state, seen }))
        });
        let aliases = Self::shards_needed(committer, round, intents)?;
        let alias_reads = aliases.into_iter().map(async |(shard, (alias, changes))| {
            let key = alias_key(&alias);
            let map = Self::aliases_at(store, committer, round, by_name, &key, FileClass::Alias);
            let history = async {
                if !changes {
                    return Ok(AliasHistory::default());
                }
                Self::aliases_at(store, committer, round, by_name, &key, FileClass::History).await
            };
            let (map, history) = try_join(map, history).await?;
            let seen = by_name.seen([layout::alias_map(&shard), layout::alias_history(&shard)]);
            Ok::<_, Refusal>((shard, OnDesk { value: AliasShard { map, history }, seen }))
        });
        let all_aliases = async {
            if intents.iter().all(|intent| intent.action.alias().is_none()) {
                return Ok(None);
            }
            let key = layout::ALIASES_STATE_KEY;
            let value = Self::aliases_at(store, committer, round, by_name, key, FileClass::Alias).await?;
            Ok::<_, Refusal>(Some(OnDesk { value, seen: by_name.seen([layout::ALIASES.to_owned()]) }))
        };
        let parties = desk.parties_missing(intents);
        let party_reads = parties.into_iter().map(async |account| read_party(store, account).await);
        let lists = try_join(all_aliases, vais_index(store, &desk.settings, intents));
        let (packages, aliases, (all_aliases, vais_index), parties) =
            try_join4(try_join_all(reads), try_join_all(alias_reads), lists, try_join_all(party_reads))
                .await?;
        desk.packages = packages.into_iter().collect();
        desk.aliases = aliases.into_iter().collect();
        desk.all_aliases = all_aliases;
        desk.vais_index = vais_index;
        if intents.iter().any(|intent| matches!(intent.action, Action::Trust { .. })) {
            desk.trust = trust::newest(store).await?;
        }
        desk.parties.extend(parties);
        for name in intents.iter().filter_map(|intent| intent.action.alias()).flat_map(rivals) {
            if committer.entry(round, &name)?.is_some() {
                desk.taken_by_package.push(name);
            }
        }
        Ok(desk)
    }

    /// Shards of the alias map by name, each with an alias in it and whether an intent changes it.
    fn shards_needed(
        committer: &Committer,
        round: &Round,
        intents: &[&Intent],
    ) -> Result<BTreeMap<String, (Alias, bool)>, Refusal> {
        let mut shards = BTreeMap::new();
        for (alias, name) in name_sakes(intents) {
            if committer.entry(round, &package_key(&name))?.is_none() {
                shards.insert(alias.shard().to_owned(), (alias, false));
            }
        }
        for alias in intents.iter().filter_map(|intent| intent.action.alias()) {
            shards.insert(alias.shard().to_owned(), (alias.clone(), true));
        }
        Ok(shards)
    }

    /// Reads one of the files about aliases; where the state names none, it is empty.
    async fn aliases_at<T: Default + DeserializeOwned>(
        store: &Store,
        committer: &Committer,
        round: &Round,
        by_name: &ByName,
        state_key: &str,
        class: FileClass,
    ) -> Result<T, Refusal> {
        let entry = committer.entry(round, state_key)?;
        let Some(digest) = entry.and_then(|entry| digest_of(entry, class)) else { return Ok(T::default()) };
        let key = layout::alias_file(state_key, class).unwrap_or_default();
        let bytes = by_name.resolve(store, &key, &digest).await?;
        serde_json::from_slice(&bytes).map_err(|e| Refusal::internal(format!("`{key}`: {e}")))
    }

    async fn private(
        store: &Store,
        settings: Arc<Settings>,
        by_name: &ByName,
        known: &Known,
        intents: &[&Intent],
    ) -> Result<Self, Refusal> {
        let digests: BTreeSet<Sha256Digest> = intents
            .iter()
            .filter_map(
                |intent| if let Caller::Token(digest) = &intent.caller { Some(*digest) } else { None },
            )
            .collect();
        // Whom a token belongs to never changes: where it is known, what matters of its account is read in the same round.
        let owners = digests.iter().filter_map(|digest| known.get(digest)).filter(|owner| !owner.exempt);
        let accounts: BTreeSet<AccountId> = owners.map(|owner| owner.account).collect();
        let parties = accounts.into_iter().map(async |account| read_party(store, account).await);
        let new = intents.iter().filter_map(|intent| match &intent.action {
            Action::Publish { record, .. } if by_name.lacks(&record.name) => scope_key(&record.name),
            _ => None,
        });
        let scopes: BTreeSet<String> = new.collect();
        let scopes = scopes.into_iter().map(async |scope| read_holder(store, scope).await);
        let tokens = digests
            .into_iter()
            .map(async |digest| Ok::<_, Refusal>((digest, vault::read_token(&*store.vault, &digest).await?)));
        let done = intents.iter().map(async |intent| {
            Ok::<_, Refusal>((intent.id.to_string(), vault::read_done(&*store.vault, &intent.id).await?))
        });
        let private =
            try_join4(try_join_all(tokens), try_join_all(done), try_join_all(parties), try_join_all(scopes));
        let (private, hints) = join(private, hints::read(store, &settings, intents)).await;
        let (tokens, done, parties, scopes) = private?;
        Ok(Self {
            settings,
            packages: BTreeMap::new(),
            aliases: BTreeMap::new(),
            all_aliases: None,
            vais_index: None,
            hints,
            trust: None,
            taken_by_package: Vec::new(),
            tokens: tokens.into_iter().collect(),
            done: done.into_iter().filter_map(|(id, record)| Some((id, record?))).collect(),
            scopes: scopes.into_iter().collect(),
            parties: parties.into_iter().collect(),
        })
    }

    /// Accounts that ask, and of which nothing was read yet.
    fn parties_missing(&self, intents: &[&Intent]) -> BTreeSet<AccountId> {
        let tokens = intents.iter().filter_map(|intent| match &intent.caller {
            Caller::Token(digest) => self.tokens.get(digest)?.as_ref(),
            Caller::Operator(_) | Caller::Account(_) => None,
        });
        let counted = tokens.filter(|token| !token.is_admin()).map(|token| token.account.clone());
        counted.filter(|account| !self.parties.contains_key(account)).collect()
    }
}

async fn read_party(store: &Store, account: AccountId) -> Result<(AccountId, Party), Refusal> {
    let members = vault::read::<MemberRecord>(&*store.vault, layout::member_of(&account));
    let (quota, members) = try_join(read_quota(store, &account), members).await?;
    Ok((account, Party { quota, orgs: members.unwrap_or_default().orgs }))
}

/// Whose packages those with this owner part are: of who has it as a login, else of who was first.
async fn read_holder(store: &Store, scope: String) -> Result<(String, Holder), Refusal> {
    let by_login = async {
        match Login::new(&*scope) {
            Ok(login) => vault::read::<AccountId>(&*store.vault, layout::login(&login)).await,
            Err(_) => Ok(None),
        }
    };
    let first = vault::read::<ScopeRecord>(&*store.vault, layout::scope(&scope));
    let (by_login, first) = try_join(by_login, first).await?;
    let holder = by_login.or(first.map(|first| first.account));
    Ok((scope, holder.map_or(Holder::Nobody, Holder::Account)))
}

async fn read_quota(store: &Store, account: &AccountId) -> Result<OnDesk<QuotaRecord>, Refusal> {
    let key = Key::new(layout::quota(account)).map_err(Refusal::internal)?;
    let file = store.vault.read(&key, RECORD_BYTES_MAX).await?;
    let value = file.as_ref().map(|file| serde_json::from_slice(&file.bytes)).transpose();
    let value = value.map_err(|e| Refusal::internal(format!("`{key}` does not parse: {e}")))?;
    let seen = BTreeMap::from([(key.to_string(), file.map(|file| file.tag))]);
    Ok(OnDesk { value: value.unwrap_or_default(), seen })
}

/// Reads the index of all packages, in registries whose language has a client that asks for it.
///
/// It is no state-mapped file, but every commit before head is applied, and this one fails if head moves: so what lies there
/// now is what the commit builds on.
async fn vais_index(
    store: &Store,
    settings: &Settings,
    intents: &[&Intent],
) -> Result<Option<BTreeMap<String, VaisPackage>>, Refusal> {
    let wanted = settings.language_api() == Some(LanguageApi::Vais)
        && intents.iter().any(|intent| intent.action.package().is_some());
    if !wanted {
        return Ok(None);
    }
    let key = Key::new(layout::API_INDEX).map_err(Refusal::internal)?;
    let Some(file) = store.public.read(&key, BY_NAME_BYTES_MAX).await? else {
        return Ok(Some(BTreeMap::new()));
    };
    let list: Vec<VaisPackage> = serde_json::from_slice(&file.bytes)
        .map_err(|e| Refusal::internal(format!("`{key}` cannot be read, run `drystone rebuild`: {e}")))?;
    let canonical =
        |package: VaisPackage| Some((PackageName::new(&*package.name).ok()?.canonical(), package));
    Ok(Some(list.into_iter().filter_map(canonical).collect()))
}

fn digest_of(entry: &ShardEntry, class: FileClass) -> Option<Hash> {
    entry.files.get(&class.letter()).map(|file| file.digest)
}

async fn read_package(
    store: &Store,
    by_name: &ByName,
    entry: &ShardEntry,
    name: &PackageName,
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
