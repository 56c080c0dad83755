//! The conformance suite over the backends that need no server.

use std::sync::Arc;

use drystone_storage::{Area, FsArea, MemoryArea, Store, conformance::Suite};

async fn conforms(area: Arc<dyn Area>) {
    let scratch = tempfile::tempdir().expect("a directory");
    let suite =
        Suite { area, prefix: "suite/run".to_owned(), scratch: scratch.path().to_owned(), increments: 20 };
    if let Err(found) = suite.run().await {
        panic!("{found}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory() {
    conforms(Arc::new(MemoryArea::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn filesystem() {
    let dir = tempfile::tempdir().expect("a directory");
    conforms(Arc::new(FsArea::open(dir.path().join("deep/area")).expect("opens"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_in_a_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open_dir(dir.path()).expect("opens");
    conforms(store.public).await;
    conforms(store.vault).await;
}
