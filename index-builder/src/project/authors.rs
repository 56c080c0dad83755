//! Events about the keys of a package's authors, and changes of owners that a time-lock delays.
//!
//! Does not own the rules themselves, nor who may make them.
//! Invariant: nothing is taken away from what was registered or ruled before.

use std::collections::BTreeSet;

use drystone_schemas::{
    AccountId, AuthorKey, AuthorKeysFile, FileClass, PackageDocument, PendingOwner, RegisteredKey, Role,
    Sha256Digest, SigningRule, layout,
};

use super::{Draft, PackageState, ProjectedFile};

/// A key is known from here on; false if it ever was.
pub(super) fn add_key(document: &mut PackageDocument, key: &AuthorKey, seq: u64) -> bool {
    let authors = document.author_keys.get_or_insert_default();
    if authors.keys.iter().any(|there| there.key == *key) {
        return false;
    }
    authors.keys.push(RegisteredKey { key: key.clone(), added: seq, removed: None });
    true
}

/// A key counts no more; false if it does not count now.
pub(super) fn remove_key(document: &mut PackageDocument, key: &AuthorKey, seq: u64) -> bool {
    let keys = document.author_keys.iter_mut().flat_map(|authors| &mut authors.keys);
    match keys.into_iter().find(|there| there.key == *key && there.removed.is_none()) {
        Some(there) => {
            there.removed = Some(seq);
            true
        }
        None => false,
    }
}

/// A rule is made; false if it says what the one before it says.
pub(super) fn add_rule(
    document: &mut PackageDocument,
    draft: &Draft<'_>,
    (threshold, lock_hours): (u32, u32),
    keys: &BTreeSet<AuthorKey>,
    exception: Option<Sha256Digest>,
) -> bool {
    let rule = SigningRule {
        seq: draft.seq,
        time: draft.time,
        threshold,
        keys: keys.clone(),
        lock_hours,
        exception,
    };
    let authors = document.author_keys.get_or_insert_default();
    let last = authors.rules.last();
    if last.is_some_and(|last| SigningRule { seq: rule.seq, time: rule.time, ..last.clone() } == rule) {
        return false;
    }
    authors.rules.push(rule);
    true
}

/// For how long a change of owners waits, in seconds.
pub(super) fn owners_wait_s(document: &PackageDocument, draft: &Draft<'_>, excepted: bool) -> u64 {
    if excepted { 0 } else { document.lock_s_at(draft.seq, draft.time) }
}

/// An account gets a role, or loses it, after so many seconds. What it has already takes a change back that waits; false if
/// nothing changes.
pub(super) fn change_owner(
    document: &mut PackageDocument,
    draft: &Draft<'_>,
    account: &AccountId,
    role: Option<Role>,
    wait_s: u64,
) -> bool {
    let waiting = document.pending_owners.iter().find(|change| change.account == *account);
    let (is, will_be) = (document.role_of(account), waiting.map(|change| change.role));
    if will_be.map_or(is == role, |will_be| will_be == role && wait_s > 0) {
        return false;
    }
    document.pending_owners.retain(|change| change.account != *account);
    if wait_s == 0 || is == role {
        document.set_owner(account, role);
    } else {
        let from = draft.time.saturating_add(wait_s);
        document.pending_owners.push(PendingOwner { account: account.clone(), role, seq: draft.seq, from });
    }
    true
}

/// The file with the keys of a package's authors, once there is one.
pub(super) fn keys_file(package: &PackageState) -> Option<ProjectedFile> {
    let document = &package.document;
    let authors = document.author_keys.clone()?;
    let of_keys = authors.keys.iter().map(|key| key.removed.unwrap_or(key.added));
    let seq = of_keys.chain(authors.rules.iter().map(|rule| rule.seq)).max().unwrap_or_default();
    let file = AuthorKeysFile { seq, name: document.name.clone(), authors };
    Some(ProjectedFile {
        class: FileClass::Keys,
        state_key: document.name.canonical(),
        key: layout::author_keys(&document.name),
        bytes: file.to_bytes(),
    })
}
