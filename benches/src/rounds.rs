//! In which round of requests a client that knows nothing asks for the first archive, with and without the proof. Every
//! answer takes a fixed time, so that requests that wait for one another come in different rounds; counts, not times.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context as _;
use axum::{extract::Request, middleware};
use drystone_client::{
    Effects, Home, Http, HttpOptions, Network, Registry, Snapshot, Store, TrustStore, plan,
    resolve::{Requirement, Rules, Versions},
};
use drystone_publisher::PublicFiles;
use drystone_schemas::{PackageName, VersionReq};
use drystone_storage::{Clock as _, SystemClock, SystemEntropy};
use drystone_tests::{Pkg, TestRegistry};
use serde::Serialize;

use crate::{clock::Moment, report::Report};

const COLUMNS: [&str; 4] = ["client", "first_archive_in_round", "requests_before", "of_the_proof_before"];
/// How long each answer takes: far longer than all that the client does between two.
const ANSWER: Duration = Duration::from_millis(250);

/// One measurement.
#[derive(Debug, Serialize)]
struct Measured {
    client: &'static str,
    first_archive_in_round: u128,
    requests_before: usize,
    of_the_proof_before: usize,
}

/// Resolves a chain of three packages, and fetches their archives, once with and once without the proof beside it.
pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rows = runtime.block_on(count())?;
    rows.iter().try_for_each(|row| report.measured("rounds", row))?;
    report.table("Rounds of requests before the first archive", &COLUMNS, &rows)
}

/// The requests that a server has seen: when, and for what.
type Seen = Arc<Mutex<Vec<(Moment, String)>>>;

async fn count() -> anyhow::Result<[Measured; 2]> {
    let registry = TestRegistry::new().await;
    let needs = |name: &str| format!("\n[dependencies]\n{name} = \"^1\"\n");
    for package in [
        Pkg::new("third", "1.0.0"),
        Pkg::new("second", "1.0.0").with_manifest(&needs("third")),
        Pkg::new("first", "1.0.0").with_manifest(&needs("second")),
    ] {
        let answer = registry.publish(&package).await;
        anyhow::ensure!(answer.status == 201, "a publish was refused: {}", answer.json());
    }
    let seen: Seen = Arc::default();
    let noted = seen.clone();
    let files = PublicFiles::new(registry.store.public.clone(), Arc::new(SystemClock)).router().layer(
        middleware::from_fn(move |request: Request, next: middleware::Next| {
            noted.lock().expect("nobody panics").push((Moment::now(), request.uri().path().to_owned()));
            async move {
                SystemClock.sleep(ANSWER).await;
                next.run(request).await
            }
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let base = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, files).await });
    Ok([
        measure("with the proof beside it", &base, &seen, true).await?,
        measure("without any proof", &base, &seen, false).await?,
    ])
}

async fn measure(client: &'static str, base: &str, seen: &Seen, proved: bool) -> anyhow::Result<Measured> {
    seen.lock().expect("nobody panics").clear();
    let home = tempfile::tempdir()?;
    let effects = Effects::new(Arc::new(SystemClock), Arc::new(SystemEntropy::new()));
    let http = Http::new(HttpOptions::new("drystone-benches"), effects);
    let registry = Registry::new(base, http, &home.path().join("cache"), Network::Online, None)?;
    let trust = TrustStore::new(Home::new(home.path()));
    let (store, roots) = (Store::new(home.path().join("store")), [first()?]);
    let start = Moment::now();
    let open = async {
        match proved {
            true => Snapshot::open(&registry, &trust).await,
            false => pending().await,
        }
    };
    let (done, fetched) = tokio::sync::oneshot::channel();
    let guessed = async |lock: &drystone_client::Lock| {
        registry.prefetch(&store, lock).await;
        _ = done.send(());
    };
    let rules = Rules::newest(Versions::One);
    let resolved = plan::resolve_beside(&registry, open, &roots, &rules, guessed);
    if proved {
        resolved.await?;
    } else {
        // It never ends: nothing vouches for what it has found.
        tokio::select! {
            resolved = resolved => drop(resolved?),
            fetched = fetched => fetched.context("the archives were not fetched")?,
        }
    }
    let seen = seen.lock().expect("nobody panics");
    let at = seen.iter().position(|(_, path)| path.starts_with("/o/")).context("no archive was asked for")?;
    let round = start.elapsed().saturating_sub(seen[at].0.elapsed()).as_millis() / ANSWER.as_millis() + 1;
    let of_the_proof = seen[..at].iter().filter(|(_, path)| path.starts_with("/log/")).count();
    Ok(Measured {
        client,
        first_archive_in_round: round,
        requests_before: at,
        of_the_proof_before: of_the_proof,
    })
}

fn first() -> anyhow::Result<Requirement> {
    Ok(Requirement::new(PackageName::new("first")?, VersionReq::new("*")?))
}
