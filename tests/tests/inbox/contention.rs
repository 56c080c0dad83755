//! Eight processes with eight writers each: everything that is acknowledged is there, once, and nobody waits for ever.

use std::{sync::Arc, time::Duration};

use drystone_storage::{Clock, Counter, Store, SystemClock};
use drystone_storage_s3::{S3Area, S3Settings};
use drystone_tests::{Pkg, in_virtual_time};
use futures_util::future::join_all;

use crate::fleet::{Fleet, START_UNIX_MS};

/// What eight busy processes on a store at this distance come to, in virtual time.
fn at_a_distance(round_trip: Duration) {
    in_virtual_time(START_UNIX_MS, async |clock| {
        let clock: Arc<dyn Clock> = clock;
        let store = Store::memory();
        let far = store.delayed(&clock, round_trip);
        let fleet = Fleet::new(store, clock.clone(), vec![far; 8]).await;
        let work = fleet.work(8, 3).await;
        // Were each process on its own, no commit could be of more than eight.
        assert!(
            work.commits * 8 < work.publishes,
            "{} commits for {} publishes",
            work.commits,
            work.publishes
        );
        assert!(work.longest_ms < 20_000, "somebody waited for {} ms", work.longest_ms);
        // What is removed beside the next commit is gone by now.
        clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(fleet.inbox().await, [""; 0]);
    });
}

#[test]
fn eight_processes_of_eight_writers_20_ms_away() {
    at_a_distance(Duration::from_millis(20));
}

#[test]
fn eight_processes_of_eight_writers_50_ms_away() {
    at_a_distance(Duration::from_millis(50));
}

/// One process is ten times as far away as the others, and is answered all the same.
#[test]
fn a_process_far_away_does_not_starve() {
    in_virtual_time(START_UNIX_MS, async |clock| {
        let clock: Arc<dyn Clock> = clock;
        let store = Store::memory();
        let near = store.delayed(&clock, Duration::from_millis(10));
        let far = store.delayed(&clock, Duration::from_millis(100));
        let fleet = Fleet::new(store, clock, vec![near.clone(), near.clone(), near, far]).await;
        let work = fleet.work(4, 6).await;
        assert!(work.longest_ms < 20_000, "somebody waited for {} ms", work.longest_ms);
    });
}

/// A process that is alone never looks into the inbox, however many writers it has.
#[test]
fn who_is_alone_pays_nothing_for_the_inbox() {
    in_virtual_time(START_UNIX_MS, async |clock| {
        let clock: Arc<dyn Clock> = clock;
        let (store, counter) = (Store::memory(), Counter::new());
        let far = counter.wrap(&store.delayed(&clock, Duration::from_millis(20)));
        let fleet = Fleet::new(store, clock, vec![far]).await;
        let names = (0..8).map(|writer| format!("p{writer}"));
        for name in names.clone() {
            assert_eq!(fleet.publish(0, &Pkg::new(&name, "1.0.0")).await.status, 201);
        }
        let commits_before = fleet.commits().await;
        counter.reset();
        let fleet = &fleet;
        let writer = async |name: String| {
            for change in ["yank", "unyank", "yank"] {
                assert_eq!(fleet.change(0, &format!("{name}/1.0.0/{change}")).await.status, 200);
            }
        };
        join_all(names.map(writer)).await;
        let counts = counter.counts();
        assert!(counts.puts > 0 && counts.lists == 0 && counts.deletes == 0, "{counts:?}");
        // All eight come at once, and go together each time.
        assert_eq!(fleet.commits().await - commits_before, 3);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_processes_in_one_directory() {
    let folder = tempfile::tempdir().expect("a test may make a directory");
    let open = || Store::open_dir(folder.path()).expect("a directory opens");
    let fleet = Fleet::new(open(), Arc::new(SystemClock), (0..4).map(|_| open()).collect()).await;
    fleet.work(4, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_in_one_bucket() {
    let Some(_) = drystone_tests::process::s3_environment() else { return };
    let prefix = drystone_tests::process::unique("inbox");
    let settings = || S3Settings::from_url(&format!("s3://drystone/{prefix}")).expect("it is a URL");
    let open = || S3Area::connect_store(settings());
    let seen = vec![open().await, open().await, open().await];
    let fleet = Fleet::new(open().await, Arc::new(SystemClock), seen).await;
    // The S3 server of the tests makes losers of one key wait for about a second.
    fleet.work(3, 1).await;
}
