//! Bad input of every kind: a stable code, the facts, a hint, a request id, and nothing half done.

mod archives;
mod ids;
mod multipart;
mod rights;
mod storage;
mod uploads;

use drystone_schemas::{Limits, Settings};
use drystone_storage::Store;
use drystone_tests::{Pkg, TestRegistry};

/// A registry with limits that a test can reach.
async fn registry_with(limits: Limits) -> TestRegistry {
    let settings = Settings { limits, ..Settings::new("test", "http://registry.test") };
    TestRegistry::with_settings(Store::memory(), settings).await
}

/// Nothing came of what was refused: no event, nothing to see, every file as it was, and the next publish succeeds.
async fn assert_nothing_happened(registry: &TestRegistry, events: u64) {
    assert_eq!(registry.log_size().await, events);
    let mut visible = registry.visible().await;
    assert_eq!(visible.values().map(Vec::len).sum::<usize>() as u64, events - 1, "{visible:?}");
    let next = registry.publish(&Pkg::new("afterwards", "1.0.0")).await;
    assert_eq!(next.status, 201, "{}", next.json());
    visible.insert("afterwards".into(), vec!["1.0.0".into()]);
    assert_eq!(registry.visible().await, visible);
    registry.assert_clean("after refusals").await;
}
