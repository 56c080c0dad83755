//! What alias events do to a shard of the alias map and to the package that they name.

use drystone_schemas::{Alias, AliasMap, AliasTarget, EventBody, FileClass, layout};

use super::{Draft, PackageState, ProjectError, ProjectedFile};

/// Applies an `alias-set` or `alias-remove`. A missing map is an empty one; an emptied one stays.
pub(super) fn apply(
    slot: &mut Option<AliasMap>,
    package: &mut PackageState,
    alias: &Alias,
    draft: &Draft<'_>,
) -> Result<(), ProjectError> {
    let name = package.document.name.clone();
    let present = slot.as_ref().and_then(|map| map.aliases.get(alias));
    if slot.as_ref().is_some_and(|map| map.aliases.keys().any(|other| other.shard() != alias.shard())) {
        return Err(ProjectError::OtherShard { alias: alias.clone() });
    }
    let sets = matches!(draft.body, EventBody::AliasSet { .. });
    match (present, sets) {
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

    let map = slot.get_or_insert_default();
    map.seq = draft.seq;
    let own = &mut package.document.aliases;
    if sets {
        map.aliases.insert(alias.clone(), AliasTarget { package: name, seq: draft.seq });
        own.push(alias.clone());
        own.sort_unstable();
    } else {
        map.aliases.remove(alias);
        own.retain(|other| other != alias);
    }
    Ok(())
}

/// The file of the shard that holds an alias.
pub(super) fn file(map: &AliasMap, alias: &Alias) -> ProjectedFile {
    ProjectedFile {
        class: FileClass::Alias,
        state_key: layout::alias_state_key(alias),
        key: layout::alias_map(alias.shard()),
        bytes: map.to_bytes(),
    }
}
