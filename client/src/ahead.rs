//! Reading ahead of the proof: index files as the server has them by name, believed for the moment.
//!
//! Owns the account of what was believed, and the comparison with the state once that is proved. Does not own what is
//! made of the files meanwhile.
//! Invariant: nothing that was read ahead counts before `settle` has held it against a snapshot. Until then it
//! may only decide what is fetched: archives by digest, which do no harm in the store.

use std::{collections::BTreeMap, sync::Mutex};

use drystone_log::FileRef;
use drystone_schemas::{FileClass, IndexFile, PackageName, Sha256Digest, layout};

use crate::{ClientError, Registry, Snapshot, defences::Defence, registry::INDEX_BYTES_MAX};

/// Where the choice of versions reads index files.
pub(crate) trait Indexes {
    /// The registry.
    fn registry(&self) -> &Registry;

    /// Prepares for reading the files of these canonical names.
    async fn load(&self, names: &[String]) -> Result<(), ClientError>;

    /// A package's releases; none if there is no such package.
    async fn index(&self, name: &PackageName) -> Result<Option<IndexFile>, ClientError>;
}

impl Indexes for Snapshot<'_> {
    fn registry(&self) -> &Registry {
        Snapshot::registry(self)
    }

    async fn load(&self, names: &[String]) -> Result<(), ClientError> {
        Snapshot::load(self, names).await
    }

    async fn index(&self, name: &PackageName) -> Result<Option<IndexFile>, ClientError> {
        Ok(Snapshot::index(self, name).await?.map(|index| index.file))
    }
}

/// What was read, by canonical name: digest and length, or that there was nothing.
type Believed = BTreeMap<String, Option<(Sha256Digest, u64)>>;

/// A registry that is read before anything of it is proved.
#[derive(Debug)]
pub(crate) struct Ahead<'a> {
    registry: &'a Registry,
    believed: Mutex<Believed>,
}

impl<'a> Ahead<'a> {
    /// Nothing has been read yet.
    pub(crate) fn new(registry: &'a Registry) -> Self {
        Self { registry, believed: Mutex::default() }
    }

    /// Whether everything that was read is what the state says. If not, a file by name lagged behind or ran ahead, or lay
    /// under another spelling, or it was a lie.
    pub(crate) async fn settle(&self, snapshot: &Snapshot<'_>) -> Result<bool, ClientError> {
        let believed = self.believed.lock().expect("no holder of this lock panics").clone();
        snapshot.load(&believed.keys().cloned().collect::<Vec<_>>()).await?;
        for (name, known) in believed {
            let entry = snapshot.entry(&name).await?;
            let file = entry.and_then(|entry| entry.files.get(&FileClass::Index.letter()).copied());
            let proved = file.map(|FileRef { digest, len }| (Sha256Digest::from_bytes(digest.into()), len));
            if proved != known && self.registry.defences().up(Defence::ReadAhead) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Indexes for Ahead<'_> {
    fn registry(&self) -> &Registry {
        self.registry
    }

    async fn load(&self, _: &[String]) -> Result<(), ClientError> {
        Ok(())
    }

    /// As the server has it by name; none also if it has nothing that can be read.
    async fn index(&self, name: &PackageName) -> Result<Option<IndexFile>, ClientError> {
        let bytes = self.registry.by_name(&layout::index_file(name), INDEX_BYTES_MAX).await?;
        let known = bytes.as_ref().map(|bytes| (Sha256Digest::of(bytes), bytes.len() as u64));
        self.believed.lock().expect("no holder of this lock panics").insert(name.canonical(), known);
        // What cannot be read is not what the state names either, which comes out at the end.
        Ok(bytes.and_then(|bytes| IndexFile::parse(&bytes).ok()))
    }
}
