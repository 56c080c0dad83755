//! Reading the nodes of the state map that a commit needs, with a cache that cannot be stale.

use std::{collections::HashMap, sync::Mutex};

use bytes::Bytes;
use drystone_storage::{Area, Key};
use futures_util::future::try_join_all;

use crate::{
    StateMap,
    state_map::{SHARD_READ_BYTES_MAX, StateNode},
};

use super::CommitError;

/// Nodes kept in memory: 512 middle tiles are 4 MiB, shards are smaller.
const CACHED_NODES_MAX: usize = 512;

/// Nodes by their key, which is their hash: they never change.
#[derive(Default)]
pub(super) struct NodeCache(Mutex<HashMap<String, Bytes>>);

impl NodeCache {
    fn get(&self, key: &str) -> Option<Bytes> {
        self.0.lock().expect("no holder of this lock panics").get(key).cloned()
    }

    /// Keeps a node; a full cache starts again empty.
    pub(super) fn keep(&self, key: String, bytes: impl Into<Bytes>) {
        let mut nodes = self.0.lock().expect("no holder of this lock panics");
        if nodes.len() >= CACHED_NODES_MAX {
            nodes.clear();
        }
        nodes.insert(key, bytes.into());
    }

    /// Loads the nodes above these keys: first the middle tiles, then the shards; one round each, none if cached.
    pub(super) async fn load(
        &self,
        state: &mut StateMap,
        public: &dyn Area,
        state_keys: &[String],
    ) -> Result<(), CommitError> {
        loop {
            let missing = state.missing(state_keys.iter().map(String::as_str));
            if missing.is_empty() {
                return Ok(());
            }
            let nodes = try_join_all(
                missing
                    .into_iter()
                    .map(async |node| Ok::<_, CommitError>((node, self.read(public, node).await?))),
            );
            for (node, bytes) in nodes.await? {
                state.load(node, &bytes).map_err(|_| CommitError::Damaged { key: node.key() })?;
            }
        }
    }

    async fn read(&self, public: &dyn Area, node: StateNode) -> Result<Bytes, CommitError> {
        let key = node.key();
        if let Some(bytes) = self.get(&key) {
            return Ok(bytes);
        }
        let bytes = public.get(&Key::new(key.clone())?, SHARD_READ_BYTES_MAX as u64).await?;
        let bytes = bytes.ok_or_else(|| CommitError::Damaged { key: key.clone() })?;
        self.keep(key, bytes.clone());
        Ok(bytes)
    }
}
