//! What alias events do to the alias map, to its history, and to the package that they name.
//!
//! Owns: the three state-mapped files of an alias event (shard, history of the shard, whole map), and the plain file that
//! existing clients ask for. Does not own: who may set which alias.

use drystone_schemas::{
    Alias, AliasChange, AliasChangeKind, AliasHistory, AliasMap, AliasTarget, EventBody, FileClass,
    PackageName, ResolveResponse, layout, rfc3339, with_blank_seq,
};

use super::{Draft, PackageState, ProjectError, ProjectedFile};

/// What an alias event touches, as it was before it. A missing file is an empty one; an emptied one stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AliasState {
    /// The shard of the alias map that holds the alias.
    pub shard: AliasMap,
    /// What happened to the short names of that shard.
    pub history: AliasHistory,
    /// The whole map.
    pub all: AliasMap,
}

impl AliasState {
    /// The files of the shard with this short name, and the whole map.
    pub fn files(&self, alias: &Alias) -> [ProjectedFile; 3] {
        let (shard, key) = (alias.shard(), layout::alias_state_key(alias));
        let of_shard = |class, key: String, bytes| ProjectedFile {
            class,
            state_key: layout::alias_state_key(alias),
            key,
            bytes,
        };
        debug_assert!(key.ends_with(shard));
        [
            of_shard(FileClass::Alias, layout::alias_map(shard), self.shard.to_bytes()),
            of_shard(FileClass::History, layout::alias_history(shard), self.history.to_bytes()),
            whole_map(&self.all),
        ]
    }
}

/// The file of the whole map.
pub(crate) fn whole_map(all: &AliasMap) -> ProjectedFile {
    ProjectedFile {
        class: FileClass::Alias,
        state_key: layout::ALIASES_STATE_KEY.into(),
        key: layout::ALIASES.into(),
        bytes: all.to_bytes(),
    }
}

/// Applies an `alias-set` or `alias-remove`.
pub(super) fn apply(
    state: &mut AliasState,
    package: &mut PackageState,
    alias: &Alias,
    draft: &Draft<'_>,
) -> Result<(), ProjectError> {
    let name = package.document.name.clone();
    if state.shard.aliases.keys().any(|other| other.shard() != alias.shard()) {
        return Err(ProjectError::OtherShard { alias: alias.clone() });
    }
    let sets = matches!(draft.body, EventBody::AliasSet { .. });
    match (state.shard.aliases.get(alias), sets) {
        (Some(target), true) if target.package == name => {
            return Err(ProjectError::NoChange { seq: draft.seq, name });
        }
        (Some(target), true) => {
            return Err(ProjectError::AliasTaken { alias: alias.clone(), package: target.package.clone() });
        }
        (Some(target), false) if target.package == name => {}
        (_, false) => return Err(ProjectError::UnknownAlias { alias: alias.clone(), name }),
        (None, true) => {}
    }

    let own = &mut package.document.aliases;
    for map in [&mut state.shard, &mut state.all] {
        map.seq = draft.seq;
        if sets {
            map.aliases.insert(alias.clone(), AliasTarget { package: name.clone(), seq: draft.seq });
        } else {
            map.aliases.remove(alias);
        }
    }
    own.retain(|other| other != alias);
    if sets {
        own.push(alias.clone());
        own.sort_unstable();
    }
    state.history.seq = draft.seq;
    state.history.changes.push(AliasChange {
        seq: draft.seq,
        time: rfc3339(draft.time),
        actor: draft.actor.clone(),
        alias: alias.clone(),
        change: if sets { AliasChangeKind::Set } else { AliasChangeKind::Remove },
        package: name,
    });
    Ok(())
}

/// What a short name means since this event, as a file that existing clients read.
///
/// Its form is theirs, without room for a position in the log, which follows as blanks. A name that means nothing any more
/// keeps its file; clients that demand the package find no alias in it.
pub(crate) fn resolve_file(alias: &Alias, target: Option<&PackageName>, seq: u64) -> (String, Vec<u8>) {
    let json = match target {
        Some(package) => serde_json::to_vec(&ResolveResponse { full_name: package.clone(), resolved: true }),
        None => Ok(b"{\"resolved\":false}".to_vec()),
    };
    let json = json.expect("two fields with fixed names can be written");
    (layout::resolve(alias), with_blank_seq(json, seq))
}
