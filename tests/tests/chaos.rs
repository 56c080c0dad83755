//! Small runs of chaos: real processes on one store, killed as `kill -9` does while writers publish.
//!
//! The program `chaos` makes large ones: `cargo run -p drystone-tests --bin chaos -- --help`.

use drystone_tests::{
    chaos::{Place, Plan, Report, S3Server, run},
    process::{s3_environment, unique},
};

/// Runs, and checks that nothing is lost and that it was a run worth the name.
async fn survives(plan: Plan) -> Report {
    let (publishes, kills, store_kills) = (plan.publishes, plan.kills, plan.store_kills);
    let report = run(plan, |_, _| {}).await;
    assert!(report.holds(), "{report:#?}");
    assert_eq!((report.lost, report.doubled, report.half), (0, 0, 0), "{report:#?}");
    assert!(report.fsck_clean && report.rebuild_changes == 0, "{report:#?}");
    assert!(report.acknowledged_publishes >= publishes, "{report:#?}");
    assert!(report.acknowledged_toggles > publishes / 10, "{report:#?}");
    assert_eq!((report.kills, report.store_kills), (kills, store_kills), "{report:#?}");
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_on_one_directory_are_killed_and_nothing_is_lost() {
    let folder = tempfile::tempdir().expect("a test may make a directory");
    let store = Place::Directory(folder.path().join("data"));
    let plan = Plan {
        store,
        programs: None,
        publishes: 300,
        kills: 8,
        store_kills: 0,
        processes: 4,
        writers: 8,
        seed: 1,
    };
    survives(plan).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_on_one_bucket_are_killed_and_nothing_is_lost() {
    let Some(environment) = s3_environment() else { return };
    let store =
        Place::Bucket { url: format!("s3://drystone/{}", unique("chaos")), environment, server: None };
    // The S3 server makes losers of one key wait for about a second, so most writers share a process.
    let plan = Plan {
        store,
        programs: None,
        publishes: 150,
        kills: 8,
        store_kills: 0,
        processes: 2,
        writers: 32,
        seed: 2,
    };
    survives(plan).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_s3_server_is_killed_and_nothing_is_lost() {
    // Whoever has no S3 server to test with has none to kill.
    if s3_environment().is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a test may make a directory");
    let server = S3Server::start(S3Server::free_port(), folder.path());
    let environment = server.environment();
    let url = format!("s3://drystone/{}", unique("killed"));
    let store = Place::Bucket { url, environment, server: Some(server) };
    let plan = Plan {
        store,
        programs: None,
        publishes: 40,
        kills: 1,
        store_kills: 1,
        processes: 2,
        writers: 16,
        seed: 3,
    };
    let report = survives(plan).await;
    assert!(!report.open_answers.is_empty(), "{report:#?}");
}
