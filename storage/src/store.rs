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
    /// Missing directories are made, the vault readable by its owner alone. Blocks briefly: call it at start-up.
    pub fn open_dir(root: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            public: Arc::new(FsArea::open(root.join("public"))?),
            vault: Arc::new(FsArea::open_private(root.join("vault"))?),
        })
    }
}
