//! Short names of the registry in memory.

use std::collections::BTreeMap;

use drystone_log::{FileRef, Hash, ShardEntry};
use drystone_schemas::{
    Alias, AliasChange, AliasChangeKind, AliasHistory, AliasMap, AliasTarget, EventBody, FileChange,
    FileClass, PackageName, Sha256Digest, layout, rfc3339,
};

use super::{World, account};

impl World {
    /// Lets short names of one shard mean a package, by one event for each.
    pub(crate) fn set_aliases(&mut self, aliases: &[&str], package: &str) {
        let package = PackageName::new(package).unwrap();
        let mut map = AliasMap { seq: 0, aliases: BTreeMap::new() };
        let mut history = AliasHistory::default();
        for alias in aliases {
            let (seq, alias) = (self.size(), Alias::new(*alias).unwrap());
            let time = rfc3339(self.time_s);
            let change = AliasChangeKind::Set;
            (map.seq, history.seq) = (seq, seq);
            map.aliases.insert(alias.clone(), AliasTarget { package: package.clone(), seq });
            let change = AliasChange {
                seq,
                time,
                actor: account(),
                alias: alias.clone(),
                change,
                package: package.clone(),
            };
            history.changes.push(change);
            let shard = layout::alias_state_key(&alias);
            let files = [
                (shard.clone(), FileClass::Alias, map.to_bytes()),
                (shard, FileClass::History, history.to_bytes()),
                (layout::ALIASES_STATE_KEY.to_owned(), FileClass::Alias, map.to_bytes()),
            ];
            let mut changes = Vec::new();
            for (key, class, bytes) in files {
                let digest = Sha256Digest::of(&bytes);
                let file = FileRef { digest: Hash::new(*digest.as_bytes()), len: bytes.len() as u64 };
                let known = self.state.get(&key).unwrap().cloned();
                let mut entry = known.unwrap_or(ShardEntry { seq, files: BTreeMap::new() });
                entry.seq = seq;
                entry.files.insert(class.letter(), file);
                self.state.set(&key, entry).unwrap();
                changes.push(FileChange(class, key.clone(), digest, bytes.len() as u64));
                self.put(&layout::alias_file(&key, class).unwrap(), bytes);
            }
            self.append(EventBody::AliasSet { pkg: package.clone(), alias }, changes);
        }
    }
}
