//! What makes files and names durable without the journal, so that it need not keep their records.

use std::{
    collections::BTreeSet,
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::runtime::Handle;

use crate::fs::{folder::Folder, syncs::SyncCounters};

/// Makes everything in these areas durable: bytes, names and removals.
pub(super) fn sync_file_systems(folders: &[Arc<Folder>], syncs: &SyncCounters) -> io::Result<()> {
    let mut seen = BTreeSet::new();
    for folder in folders {
        let root = fs_err::File::open(folder.root())?;
        if seen.insert(root.metadata()?.dev()) {
            SyncCounters::add(&syncs.file_systems, 1);
            sync_file_system(&root)?;
        }
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn sync_file_system(root: &fs_err::File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(root.file())?)
}

/// Everywhere else each file is synced, and each directory.
#[cfg(not(target_os = "linux"))]
fn sync_file_system(root: &fs_err::File) -> io::Result<()> {
    let mut dirs = vec![root.path().to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs_err::read_dir(&dir)? {
            let entry = entry?;
            match entry.file_type()? {
                kind if kind.is_dir() => dirs.push(entry.path()),
                kind if kind.is_file() => fs_err::File::open(entry.path())?.sync_all()?,
                _ => {}
            }
        }
        fs_err::File::open(dir)?.sync_all()?;
    }
    Ok(())
}

/// Does the same beside other work, and tells that the segment is needed no more. Whoever needs its file before that,
/// or after this process died, syncs for itself.
pub(super) fn retire_later(
    folders: &[Arc<Folder>],
    syncs: &Arc<SyncCounters>,
    retired: &Arc<AtomicU64>,
    generation: u64,
) {
    let Ok(runtime) = Handle::try_current() else { return };
    let (folders, syncs, retired) = (folders.to_vec(), syncs.clone(), retired.clone());
    drop(runtime.spawn_blocking(move || {
        if sync_file_systems(&folders, &syncs).is_ok() {
            retired.fetch_max(generation, Ordering::Relaxed);
        }
    }));
}

/// Makes the names on the way from an area's root to a file durable.
pub(super) fn sync_names(root: &Path, path: &Path, syncs: &SyncCounters) -> io::Result<()> {
    for dir in path.ancestors().skip(1).take_while(|dir| dir.starts_with(root)) {
        SyncCounters::add(&syncs.directories, 1);
        fs_err::File::open(dir)?.sync_all()?;
    }
    Ok(())
}
