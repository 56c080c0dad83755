//! Closure hints of new releases: read beside tokens and outcomes, and written with the other by-name files.
//!
//! Owns: which hints a batch reads, and the file that follows. Does not own: which names are in it.
//! Invariant: a hint decides nothing. One that cannot be read, or is none, counts as absent, and no publish fails for it.

use std::collections::BTreeMap;

use drystone_index_builder::{PackageState, hint_after_publish, hints_needed};
use drystone_log::commit::PlainFile;
use drystone_schemas::{PackageName, ResolveHint, Settings, Version, layout};
use drystone_storage::{Key, Store};
use futures_util::future::join_all;

use super::{OnDesk, package_key};
use crate::{Action, Intent};

/// Hints by canonical name; none where a package has none, or one that cannot be read.
pub(crate) type Hints = BTreeMap<String, OnDesk<Option<ResolveHint>>>;

/// Longest hint that is read, in bytes: as many names as there may be, each as long as it may be, with its place in the lines.
const HINT_BYTES_MAX: u64 = 1 << 20;
/// Hints that one batch reads. What the releases beyond need is taken for unknown.
const READ_MAX: usize = 256;

/// Reads the hints that the releases of a batch are made with.
pub(super) async fn read(store: &Store, settings: &Settings, intents: &[&Intent]) -> Hints {
    let mut wanted: BTreeMap<String, PackageName> = BTreeMap::new();
    for intent in intents {
        let Action::Publish { record, .. } = &intent.action else { continue };
        let needed = hints_needed(record, settings);
        if wanted.len() + needed.len() <= READ_MAX {
            wanted.extend(needed.into_iter().map(|name| (package_key(&name), name)));
        }
    }
    let reads = wanted.into_iter().map(async |(canonical, name)| {
        let key = layout::resolve_hint(&name);
        let file = store.public.read(&Key::new(key.clone()).ok()?, HINT_BYTES_MAX).await.ok()?;
        let value = file.as_ref().and_then(|file| ResolveHint::parse(&file.bytes).ok());
        let seen = BTreeMap::from([(key, file.map(|file| file.tag))]);
        Some((canonical, OnDesk { value, seen }))
    });
    join_all(reads).await.into_iter().flatten().collect()
}

/// The hint's file after a release, if it changes; the next release of the batch sees it.
pub(super) fn file(hints: &mut Hints, package: &PackageState, vers: &Version, seq: u64) -> Option<PlainFile> {
    let name = &package.document.name;
    let canonical = package_key(name);
    // Nothing was read for a release that needs nothing: whatever hint there is of older ones may stay.
    let key = layout::resolve_hint(name);
    let seen = hints.get(&canonical)?.seen.get(&key).cloned();
    let known = |canonical: &str| hints.get(canonical)?.value.as_ref();
    let hint = hint_after_publish(&package.index, vers, seq, &known)?;
    let bytes = hint.to_bytes();
    hints.get_mut(&canonical)?.value = Some(hint);
    Some(PlainFile { key, bytes, seen })
}
