//! Stores that outlive a process: a directory, and a bucket where there is a server for tests.

use std::path::Path;

use drystone_storage::Store;
use drystone_storage_s3::{S3Area, S3Settings};
use tempfile::TempDir;

use crate::process::{s3_environment, unique};

/// A store with nothing in it.
pub struct TestStore {
    /// What it is, for messages.
    pub kind: &'static str,
    /// The store.
    pub store: Store,
    folder: Option<TempDir>,
}

impl TestStore {
    /// A store in a directory that goes with its handle.
    pub fn directory() -> Self {
        let folder = tempfile::tempdir().expect("a test may make a directory");
        let store = Store::open_dir(folder.path()).expect("a directory can be opened");
        Self { kind: "directory", store, folder: Some(folder) }
    }

    /// Where it lies, if it lies in a directory.
    pub fn path(&self) -> Option<&Path> {
        self.folder.as_ref().map(TempDir::path)
    }
}

/// A directory and, where there is a server, a bucket.
pub async fn every_store(test: &str) -> Vec<TestStore> {
    let mut stores = vec![TestStore::directory()];
    if s3_environment().is_some() {
        let settings = S3Settings::from_url(&format!("s3://drystone/{}", unique(test)));
        let store = S3Area::connect_store(settings.expect("a test's URL is one")).await;
        stores.push(TestStore { kind: "bucket", store, folder: None });
    }
    stores
}
