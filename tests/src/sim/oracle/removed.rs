//! What may be removed, and when: nothing that the log names, and nothing that recent states lead to.

use std::collections::BTreeSet;

use drystone_log::{
    FileRef, Hash, MidTile, ShardEntry, StateMap,
    commit::Head,
    state_map::{mid_tile_key, root_tile_key, shard_key},
};
use drystone_schemas::{FileClass, layout};

use super::Oracle;
use crate::sim::{
    HISTORY_S,
    calls::{Memory, Place},
};

/// For how long an outcome must be there, in seconds.
const OUTCOME_S: u64 = 7 * 24 * 3_600;

/// What is known of removals.
#[derive(Debug, Clone, Default)]
pub(in crate::sim) struct Removals {
    /// The time, in seconds since 1970; whatever is removed while it is not known is needed.
    pub(in crate::sim) now_s: u64,
    /// A deletion may arrive when nobody expects it any more.
    pub(in crate::sim) any_time: bool,
    /// Outcomes that had their time.
    pub(super) outcomes: BTreeSet<String>,
    /// Public files that were needed, with size and time of which that is true.
    needed: Option<((u64, u64), BTreeSet<String>)>,
}

impl Oracle {
    /// Looks at the removal of a file.
    pub(super) fn removed(&mut self, memory: &Memory, place: Place, key: &str) {
        if self.removals.any_time {
            return;
        }
        match place {
            Place::Public => {
                let needed = self.needed().contains(key);
                self.expect(!needed, || format!("`{key}` was removed, and it is needed"));
                let by_hash = key.starts_with("o/") || key.starts_with("log/state/");
                self.expect(by_hash, || format!("`{key}` was removed, and nobody may do that"));
                self.expect(memory.in_trash(key), || format!("`{key}` was removed and is not in the trash"));
            }
            Place::Vault => self.removed_private(memory, key),
        }
    }

    fn removed_private(&mut self, memory: &Memory, key: &str) {
        let head = memory.bytes(Place::Vault, layout::HEAD);
        let head = head.and_then(|bytes| Head::parse(&bytes).ok());
        match key.split('/').next() {
            Some("staging") => {
                let named = head.is_none_or(|head| head.staging == key);
                self.expect(!named, || format!("`{key}` was removed, and head names it"));
            }
            Some("done") => {
                let event = self.events.iter().find(|event| layout::done(&event.id) == key);
                let old = event.is_some_and(|event| event.time + OUTCOME_S <= self.removals.now_s);
                self.expect(old, || format!("`{key}` was removed before it had its time"));
                self.removals.outcomes.insert(key.to_owned());
            }
            // Nothing is lost with an entry of the inbox: who left it asks again itself. What is known of a token goes with it.
            Some("inbox" | "tokens" | "tokens-of" | "used" | "trash") => {}
            _ => self.violation(format!("`{key}` was removed, and nobody may do that")),
        }
    }

    /// The public files that are named by a hash and needed now.
    fn needed(&mut self) -> &BTreeSet<String> {
        let of = (self.size(), self.removals.now_s);
        if self.removals.needed.as_ref().is_none_or(|(known, _)| *known != of) {
            self.removals.needed = Some((of, self.find_needed()));
        }
        &self.removals.needed.as_ref().expect("it was made just now").1
    }

    fn find_needed(&self) -> BTreeSet<String> {
        let mut needed = BTreeSet::new();
        let mut state = StateMap::new();
        let recent_from_s = self.removals.now_s.saturating_sub(HISTORY_S);
        for (seq, event) in (0..).zip(&self.events) {
            needed.extend(event.objects().iter().map(layout::object));
            for file in &event.files {
                let known = state.get(&file.1).expect("all of it is loaded");
                let mut files = known.map(|entry| entry.files.clone()).unwrap_or_default();
                files.insert(file.0.letter(), FileRef { digest: Hash::new(*file.2.as_bytes()), len: file.3 });
                state.set(&file.1, ShardEntry { seq, files }).expect("a committed file fits the state");
            }
            // What a head has committed is current until the next event. No checkpoint leads to a state within a batch.
            let superseded_s = self.events.get(seq as usize + 1).map_or(u64::MAX, |next| next.time);
            if self.heads.contains_key(&(seq + 1)) && superseded_s > recent_from_s {
                nodes_and_files(&state, &mut needed);
            }
        }
        needed
    }
}

fn nodes_and_files(state: &StateMap, needed: &mut BTreeSet<String>) {
    needed.insert(root_tile_key(&state.root()));
    for slot in 0..=u8::MAX {
        let mid = state.root_tile().get(slot);
        if !MidTile::is_empty_root(&mid) {
            needed.insert(mid_tile_key(&mid));
        }
    }
    for shard in state.shards() {
        needed.insert(shard_key(&shard.leaf_hash()));
        let files = shard.entries().flat_map(|(_, entry)| &entry.files);
        let kept =
            files.filter(|(class, _)| FileClass::of_letter(**class).is_none_or(FileClass::is_kept_by_hash));
        needed.extend(kept.map(|(_, file)| format!("o/{}", file.digest)));
    }
}
