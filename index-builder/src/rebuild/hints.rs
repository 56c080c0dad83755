//! All closure hints made anew, from every record.
//!
//! A publish makes its own package's hint only, from hints that may be old; this makes all of them as if everything had just
//! been published. Invariant: a hint that says the same stays as it is, and so does one of a later event.

use drystone_schemas::{FileClass, ResolveHint, ResolveRecord, layout};
use drystone_storage::Store;
use futures_util::TryStreamExt as _;

use super::{
    AT_ONCE, BY_NAME_BYTES_MAX, Done, FilesAhead, Keep, Rebuild, RebuildError, RebuildOptions, RebuildReport,
    get, read_outline, replace,
};
use crate::{
    concurrent::{in_order, two_in_order},
    hints::Closures,
    progress::Progress,
};

/// Reads the published log of a store and brings every closure hint up to date with it.
///
/// Takes memory for what the newest releases of all packages need, and time for what each package's closure has.
pub async fn refresh_hints(
    store: &Store,
    options: &RebuildOptions,
    progress: &dyn Progress,
) -> Result<RebuildReport, RebuildError> {
    let outline = read_outline(store, options, progress).await?;
    let size = outline.size();
    let mut work = Rebuild::new(store, &outline, FilesAhead::KeepIfCommitted, options.dry_run, progress);
    let mut closures = Closures::default();
    progress.total(outline.parts());
    for reading in 0..outline.readings() {
        let source = &work.source;
        let each =
            outline.events(source, reading).await?.into_iter().map(|events| outline.part(source, events));
        let mut parts = two_in_order(each.collect());
        while let Some(part) = parts.try_next().await? {
            for file in part.files.iter().filter(|file| file.class == FileClass::Resolve) {
                let record = ResolveRecord::parse(&file.bytes);
                closures.add(&record.expect("a record that was just projected parses"));
            }
            progress.step("packages");
        }
    }
    progress.total(closures.len() as u64);
    let mut hints = closures.hints(size.saturating_sub(1)).peekable();
    while hints.peek().is_some() {
        let each = hints.by_ref().take(AT_ONCE).map(|(name, hint)| async move {
            let key = layout::resolve_hint(&name);
            let done = refresh(store, &key, &hint, options.dry_run).await?;
            progress.step(&key);
            Ok::<_, RebuildError>(done)
        });
        let done: Vec<Done> = in_order(each.collect()).try_collect().await?;
        work.note(done);
    }
    Ok(work.report)
}

async fn refresh(store: &Store, key: &str, hint: &ResolveHint, dry_run: bool) -> Result<Done, RebuildError> {
    if hint.names.is_empty() && get(&*store.public, key, BY_NAME_BYTES_MAX).await?.is_none() {
        return Ok(Done::Right);
    }
    let keep = Keep::Hint(hint);
    // One that stays says the same, or is newer.
    Ok(replace(&*store.public, key, hint.to_bytes().into(), dry_run, &keep).await?.unless_ahead())
}
