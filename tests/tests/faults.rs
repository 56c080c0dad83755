//! One publish, with every storage call failing in every way, and a second process that finishes what the first left.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use axum::{body::Body, http::Request};
use drystone_schemas::IndexFile;
use drystone_storage::{Fault, Faults, Store};
use drystone_tests::{Answer, Pkg, TestRegistry, multipart_body};

/// An idempotency key of the time at which test registries start.
const ID: &str = "01K742R2DRAAAAAAAAAAAAAAAA";

async fn publish_with_id(registry: &TestRegistry, package: &Pkg) -> Answer {
    let (content_type, body) = multipart_body(None, &package.archive());
    let request = Request::post("/api/v1/packages")
        .header("authorization", format!("Bearer {}", registry.admin))
        .header("content-type", content_type)
        .header("content-length", body.len())
        .header("idempotency-key", ID)
        .body(Body::from(body));
    registry.send(request.unwrap()).await
}

/// What the log says of the package, read by a process that has no memory.
async fn versions(registry: &TestRegistry, name: &str) -> Vec<String> {
    let fresh = registry.another(Store::clone).await;
    let index = fresh.get(&format!("/index/{}/{}/{name}", &name[..2], &name[2..4])).await;
    if index.status == 404 {
        return Vec::new();
    }
    IndexFile::parse(&index.body).unwrap().lines.iter().map(|line| line.vers.to_string()).collect()
}

#[tokio::test]
async fn a_publish_survives_every_fault_at_every_call() {
    let (mut cases, mut lost_answers) = (0, 0);
    for fault in [
        Fault::NotDone,
        Fault::DoneButReportedFailed,
        Fault::DoneLater { calls: 3 },
        Fault::AnswerConflict,
        Fault::CrashBefore,
        Fault::CrashAfter,
    ] {
        for failing in 0.. {
            let registry = TestRegistry::new().await;
            assert_eq!(registry.publish(&Pkg::new("http", "1.0.0")).await.status, 201);
            // The faults begin after the second process has opened the registry.
            let armed = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(u64::MAX));
            let script = armed.clone();
            let faults = Faults::new(move |call| {
                let start = script.load(std::sync::atomic::Ordering::SeqCst);
                if call.index.checked_sub(start) == Some(failing) { fault } else { Fault::None }
            });
            let failing_process = registry.another(|store| faults.wrap(store)).await;
            armed.store(faults.calls(), std::sync::atomic::Ordering::SeqCst);
            let first = publish_with_id(&failing_process, &Pkg::new("http", "1.1.0")).await;
            let calls = faults.calls() - armed.load(std::sync::atomic::Ordering::SeqCst);
            let context = format!("{fault:?} at call {failing}: {}", String::from_utf8_lossy(&first.body));
            assert!(matches!(first.status, 200 | 201 | 503), "{context}");
            if matches!(first.status, 200 | 201) {
                assert_eq!(versions(&registry, "http").await, ["1.0.0", "1.1.0"], "{context}");
            } else {
                lost_answers += 1;
            }
            faults.settle().await;
            let second =
                publish_with_id(&registry.another(Store::clone).await, &Pkg::new("http", "1.1.0")).await;
            assert!(matches!(second.status, 200 | 201), "{context} then {}", second.json());
            faults.settle().await;
            assert_eq!(versions(&registry, "http").await, ["1.0.0", "1.1.0"], "{context}");
            // The log goes on.
            let third = registry.another(Store::clone).await.publish(&Pkg::new("http", "1.2.0")).await;
            assert_eq!((third.status, &third.json()["seq"]), (201, &3.into()), "{context}");
            cases += 1;
            if calls <= failing {
                break;
            }
        }
    }
    assert!(cases > 100 && lost_answers > 20, "{cases} cases, {lost_answers} without an answer");
}

/// Two processes publish versions of one package at the same time, on one store.
#[tokio::test]
async fn two_processes_lose_nothing() {
    let registry = TestRegistry::new().await;
    registry.publish(&Pkg::new("http", "0.0.0")).await;
    let (a, b) = (registry.another(Store::clone).await, registry.another(Store::clone).await);
    let publish_all = async |process: &TestRegistry, minor: u32| {
        for patch in 0..20 {
            let answer = process.publish(&Pkg::new("http", &format!("1.{minor}.{patch}"))).await;
            assert_eq!(answer.status, 201, "{}", answer.json());
        }
    };
    tokio::join!(publish_all(&a, 1), publish_all(&b, 2));
    let mut found = versions(&registry, "http").await;
    found.sort();
    let mut expected: Vec<String> =
        (1..3).flat_map(|minor| (0..20).map(move |patch| format!("1.{minor}.{patch}"))).collect();
    expected.push("0.0.0".into());
    expected.sort();
    assert_eq!(found, expected);
}

/// Eight clients publish the same version with different bytes: one wins, the others learn of it.
#[tokio::test]
async fn of_many_publishes_of_one_version_one_wins() {
    let registry = TestRegistry::new().await;
    let mut processes = Vec::new();
    for _ in 0..8 {
        processes.push(registry.another(Store::clone).await);
    }
    let answers = futures_util::future::join_all(processes.iter().enumerate().map(async |(i, process)| {
        let package = Pkg::new("http", "1.0.0").with_payload(format!("// {i}"));
        process.publish(&package).await
    }))
    .await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409]);
    assert_eq!(versions(&registry, "http").await, ["1.0.0"]);
}
