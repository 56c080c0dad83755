//! A replica on disk, so that a later replay can go on where an earlier one ended.
//!
//! Owns the form. Does not own where it is kept, nor whether it is believed: an auditor believes only its own.
//! Invariant: a replica reads back as it was, except that no node of its state counts as changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use drystone_log::{
    Hash, MidTile, RootTile, StateMap, leaf_hash,
    state_map::{StateError, StateNode, split_index},
};
use drystone_schemas::{AliasHistory, AliasMap, Settings, Sha256Digest};
use serde::{Deserialize, Serialize};

use super::{Config, Identity, Replica};
use crate::project::{PackageState, ProjectError};

/// A replica, written down.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedReplica {
    next_seq: u64,
    time: u64,
    origin: String,
    log_key: String,
    config: Sha256Digest,
    config_seq: u64,
    settings: Option<Settings>,
    /// Index file and document of each package.
    packages: Vec<(String, String)>,
    shards: BTreeMap<String, (AliasMap, AliasHistory)>,
    aliases: AliasMap,
    unknown: BTreeMap<String, BTreeSet<String>>,
    /// Shards of the state map, with their texts.
    state: Vec<(u16, String)>,
    /// Settings that packages were last changed under, and which of them each package was.
    api_settings: Vec<Arc<Settings>>,
    api: BTreeMap<String, usize>,
    /// Documents of the root of trust.
    trust: Vec<Sha256Digest>,
}

/// Why a replica cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// A package refers to settings that are not there.
    #[error("a package refers to settings that are not there")]
    Settings,
    /// Its state map is not one.
    #[error(transparent)]
    State(#[from] StateError),
    /// A package is not one.
    #[error(transparent)]
    Package(#[from] ProjectError),
}

impl Replica {
    /// Writes the replica down; none before genesis.
    pub(crate) fn save(&self) -> Option<SavedReplica> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("projections and shards are text");
        let package =
            |package: &PackageState| (text(package.index.to_bytes()), text(package.document.to_bytes()));
        let (identity, config) = (self.identity.as_ref()?, self.config.as_ref()?);
        let mut api_settings: Vec<Arc<Settings>> = Vec::new();
        let mut place = |settings: &Arc<Settings>| {
            let known = api_settings.iter().position(|known| known == settings);
            known.unwrap_or_else(|| {
                api_settings.push(settings.clone());
                api_settings.len() - 1
            })
        };
        let api = self.api.iter().map(|(name, settings)| (name.clone(), place(settings))).collect();
        Some(SavedReplica {
            next_seq: self.next_seq,
            time: self.time,
            origin: identity.origin.clone(),
            log_key: identity.log_key.clone(),
            config: config.digest,
            config_seq: config.seq,
            settings: config.settings.clone(),
            packages: self.packages.values().map(package).collect(),
            shards: self.shards.clone(),
            aliases: self.aliases.clone(),
            unknown: self.unknown.clone(),
            state: self.state.shards().map(|shard| (shard.index(), text(shard.to_bytes()))).collect(),
            api_settings,
            api,
            trust: self.trust.clone(),
        })
    }

    /// Reads a replica back.
    pub(crate) fn restore(saved: SavedReplica) -> Result<Self, SavedError> {
        let mut packages = BTreeMap::new();
        for (index, document) in &saved.packages {
            let package = PackageState::parse(index.as_bytes(), document.as_bytes())?;
            packages.insert(package.document.name.canonical(), package);
        }
        let of = |place: usize| saved.api_settings.get(place).cloned().ok_or(SavedError::Settings);
        let api = saved.api.into_iter().map(|(name, place)| Ok((name, of(place)?)));
        let api = api.collect::<Result<_, SavedError>>()?;
        Ok(Self {
            shared: saved.settings.clone().map(Arc::new),
            api,
            next_seq: saved.next_seq,
            time: saved.time,
            identity: Some(Identity { origin: saved.origin, log_key: saved.log_key }),
            config: Some(Config { digest: saved.config, seq: saved.config_seq, settings: saved.settings }),
            packages,
            shards: saved.shards,
            aliases: saved.aliases,
            unknown: saved.unknown,
            state: state_map(&saved.state)?,
            trust: saved.trust,
        })
    }
}

/// The map over these shards, as if every node of it had been fetched.
fn state_map(shards: &[(u16, String)]) -> Result<StateMap, StateError> {
    let mut mids: BTreeMap<u8, MidTile> = BTreeMap::new();
    for (index, text) in shards {
        let (mid, slot) = split_index(*index);
        mids.entry(mid).or_insert_with(MidTile::empty).set(slot, leaf_hash(text.as_bytes()));
    }
    let mut root = RootTile::empty();
    mids.iter().for_each(|(slot, mid)| root.set(*slot, mid.root()));
    let mut map = StateMap::over(root);
    for (slot, mid) in &mids {
        map.load(StateNode::Mid { slot: *slot, root: mid.root() }, &mid.to_bytes())?;
    }
    for (index, text) in shards {
        let leaf: Hash = leaf_hash(text.as_bytes());
        map.load(StateNode::Shard { index: *index, leaf }, text.as_bytes())?;
    }
    Ok(map)
}
