//! All closure hints made anew, from every record at once.
//!
//! A publish makes its own package's hint only, from hints that may be old; this makes all of them as if everything had just
//! been published. Invariant: a hint that says the same stays as it is, and so does one of a later event.

use drystone_schemas::{FileClass, ResolveHint, ResolveRecord, layout};

use super::{Done, FilesAhead, Keep, Rebuild, RebuildError, RebuildOptions, RebuildReport, get, replace};
use crate::{
    concurrent::in_order, hints::closure_hints, progress::Progress, rebuild::BY_NAME_BYTES_MAX,
    replay::replay, source::AreaSource,
};
use drystone_storage::Store;
use futures_util::TryStreamExt as _;

/// Replays the published log of a store and brings every closure hint up to date with it.
///
/// Takes time and memory in proportion to the registry, and for each package what its closure has.
pub async fn refresh_hints(
    store: &Store,
    options: &RebuildOptions,
    progress: &dyn Progress,
) -> Result<RebuildReport, RebuildError> {
    let source = AreaSource::new(store.public.clone());
    let replay = replay(&source, options.key.as_ref(), progress, &mut |_| {}).await?;
    let size = replay.published.checkpoint.size();
    let records = replay.replica.files().filter(|file| file.class == FileClass::Resolve);
    let records: Vec<ResolveRecord> = records
        .map(|file| ResolveRecord::parse(&file.bytes).expect("a record that was just projected parses"))
        .collect();
    let hints = closure_hints(&records, size.saturating_sub(1));
    progress.total(hints.len() as u64);
    let each = hints.into_values().map(|(name, hint)| async move {
        let key = layout::resolve_hint(&name);
        let done = refresh(store, &key, &hint, options.dry_run).await?;
        progress.step(&key);
        Ok::<_, RebuildError>(done)
    });
    let done: Vec<Done> = in_order(each.collect()).try_collect().await?;
    let ahead = FilesAhead::KeepIfCommitted;
    let report = RebuildReport::new(size);
    let mut work = Rebuild { store, ahead, dry_run: options.dry_run, size, progress, report };
    done.into_iter().for_each(|done| work.note(done));
    Ok(work.report)
}

async fn refresh(store: &Store, key: &str, hint: &ResolveHint, dry_run: bool) -> Result<Done, RebuildError> {
    if hint.names.is_empty() && get(&*store.public, key, BY_NAME_BYTES_MAX).await?.is_none() {
        return Ok(Done::Right);
    }
    match replace(&*store.public, key, hint.to_bytes().into(), dry_run, &Keep::Hint(hint)).await? {
        // It says the same, or is newer.
        Done::Ahead(_) => Ok(Done::Right),
        done => Ok(done),
    }
}
