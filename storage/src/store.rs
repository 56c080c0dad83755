//! A registry's two areas, and how to open them on memory or in a directory.

use std::{path::Path, sync::Arc};

use crate::{Area, FsArea, MemoryArea, StoreError};

/// A registry's two areas: `public` is what the edge serves, `vault` is never served.
#[derive(Clone)]
pub struct Store {
    /// The area that a web server or CDN may serve.
    pub public: Arc<dyn Area>,
    /// Private state: head, staging, tokens, uploads.
    pub vault: Arc<dyn Area>,
}

impl Store {
    /// Makes an empty store in memory, for tests.
    pub fn memory() -> Self {
        Self { public: Arc::new(MemoryArea::new()), vault: Arc::new(MemoryArea::new()) }
    }

    /// Opens a store in a directory: the public area at `<root>/public`, the vault at `<root>/vault`.
    ///
    /// Both share one journal, at `<root>/.journal`: after a power failure they are as at one moment.
    ///
    /// Missing directories are made, the vault readable by its owner alone. Blocks briefly: call it at start-up.
    pub fn open_dir(root: &Path) -> Result<Self, StoreError> {
        let (public, vault) = FsArea::open_store(root)?;
        Ok(Self { public: Arc::new(public), vault: Arc::new(vault) })
    }

    /// The same store, with writes that are answered as soon as they are in order (see [`crate::Objects::ordered`]);
    /// itself where it has no such thing.
    pub fn ordered(&self) -> Self {
        match (self.public.ordered(), self.vault.ordered()) {
            (Some(public), Some(vault)) => Self { public, vault },
            _ => self.clone(),
        }
    }

    /// Makes every write durable and visible that was answered because it was in order.
    pub async fn settle(&self) -> Result<(), StoreError> {
        self.public.settle().await?;
        self.vault.settle().await
    }
}
