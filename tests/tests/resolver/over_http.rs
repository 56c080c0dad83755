//! What a cold choice costs over HTTP, with what `serve` has between the socket and the files.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    middleware::{self, Next},
    response::Response,
};
use drystone_client::{Effects, Http, HttpOptions, Network, Registry, plan, resolve::Outcome};
use drystone_publisher::PublicFiles;
use drystone_schemas::{RegistryConfig, Settings};
use drystone_storage::{FsArea, SystemClock, SystemEntropy};
use drystone_tests::corpus::{
    Corpus,
    cold::{self, HintAge},
};

use crate::rounds::rounds_max;

/// What is sent is what the server makes of the files, compressed for who takes it.
async fn within_over_http(project: &str, bytes_max: usize) {
    let Some(corpus) = Corpus::open(project) else { return };
    let (roots, rules) = (corpus.requirements(), cold::rules());
    let mut chosen = Vec::new();
    for hints in [HintAge::Fresh, HintAge::AsThePackage] {
        let folder = tempfile::tempdir().unwrap();
        cold::write_files(&corpus.indexes(), hints, folder.path()).unwrap();
        let bytes = Arc::new(AtomicUsize::new(0));
        let base = serve(folder.path(), bytes.clone()).await;
        let settings = Settings { mirrors_crates_io: true, ..Settings::new("mirror", &base) };
        let config = RegistryConfig::new(1, "mirror.test/log/1".into(), String::new(), settings);
        fs_err::write(folder.path().join("config.json"), config.to_bytes()).unwrap();
        let effects = Effects::new(Arc::new(SystemClock), Arc::new(SystemEntropy::new()));
        let http = Http::new(HttpOptions::new("drystone-tests"), effects);
        let registry =
            Registry::new(&base, http, &folder.path().join("cache"), Network::Online, None).unwrap();
        let (outcome, cost) = plan::choose_by_name(&registry, &roots, &rules).await.unwrap();
        let Outcome::Solved(solution) = outcome else { panic!("{project}: {outcome:?}") };
        let bytes = bytes.load(Ordering::Relaxed);
        let few = cost.rounds <= rounds_max(hints) && bytes <= bytes_max;
        assert!(few, "{project} {hints:?}: {cost:?}, {bytes}");
        chosen.push(solution);
    }
    assert!(chosen[0].releases == chosen[1].releases, "{project}: hints change nothing but the way");
}

/// Serves a directory, and counts the bytes of bodies.
async fn serve(public: &Path, bytes: Arc<AtomicUsize>) -> String {
    let files = PublicFiles::new(Arc::new(FsArea::open(public.to_owned()).unwrap()), Arc::new(SystemClock));
    let app = files.router().layer(middleware::from_fn(move |request: Request, next: Next| {
        let bytes = bytes.clone();
        async move {
            let (parts, body) = next.run(request).await.into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap();
            bytes.fetch_add(body.len(), Ordering::Relaxed);
            Response::from_parts(parts, Body::from(body))
        }
    }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    base
}

#[tokio::test]
async fn the_web_project_is_resolved_cold_over_http_in_few_rounds() {
    within_over_http("web", 300_000).await;
}

#[tokio::test]
async fn the_bevy_project_is_resolved_cold_over_http_in_few_rounds() {
    within_over_http("bevy", 600_000).await;
}
