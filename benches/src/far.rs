//! Choosing versions for two real projects from nothing, over HTTP/2 with every answer delayed: ours by records and hints,
//! with the digests of what was chosen, beside cargo's by index files.
//!
//! Ours runs in a process of its own, which is this program again: which certificates it believes is in its environment.
//! Needs the extracts that `drystone_tests::corpus` describes.

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use drystone_client::{Effects, Http, HttpOptions, Network, Registry, plan, resolve::Outcome};
use drystone_schemas::{CargoIndexConfig, RegistryConfig, Settings, layout};
use drystone_storage::{SystemClock, SystemEntropy};
use drystone_tests::corpus::{
    Corpus,
    cold::{self, HintAge},
};
use serde::{Deserialize, Serialize};

use crate::{
    clock::Moment,
    delayed::Delayed,
    report::{Report, median, ms, rounded},
    server::free_address,
};

/// The argument by which this program is asked to choose once.
pub(crate) const ONCE: &str = "choose-once";
/// How often each is run; the table shows medians.
const RUNS: usize = 3;
/// What every answer waits, in milliseconds.
const DELAYS_MS: [u64; 3] = [0, 50, 100];
const COLUMNS: [&str; 6] = ["project", "what", "delay_ms", "rounds", "requests", "wall_s"];

#[derive(Debug, Serialize)]
struct Row {
    project: &'static str,
    what: &'static str,
    delay_ms: u64,
    /// Of records and hints; cargo does not tell.
    rounds: Option<u32>,
    requests: u64,
    wall_s: f64,
}

/// What the other process tells.
#[derive(Debug, Serialize, Deserialize)]
struct Once {
    rounds: u32,
    wall_ms: f64,
}

/// Measures each project at each delay.
pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for project in ["web", "bevy"] {
        let corpus = Corpus::open(project).context("the index extracts are not there")?;
        for (what, age) in [
            ("drystone, fresh hints", HintAge::Fresh),
            ("drystone, hints as old as the packages", HintAge::AsThePackage),
        ] {
            let folder = tempfile::tempdir()?;
            let server = serve(&corpus, age, folder.path())?;
            for delay_ms in DELAYS_MS {
                server.0.set_delay(Duration::from_millis(delay_ms));
                let ours = || ours(project, &server.1, &server.0);
                rows.push(measured(report, Row::new(project, what, delay_ms), ours)?);
                if age == HintAge::Fresh {
                    let cargos = || cargos(&corpus, &server.1, &server.0);
                    rows.push(measured(
                        report,
                        Row::new(project, "cargo generate-lockfile", delay_ms),
                        cargos,
                    )?);
                }
            }
        }
    }
    report.table("Choosing versions from nothing, over HTTP/2", &COLUMNS, &rows)
}

impl Row {
    const fn new(project: &'static str, what: &'static str, delay_ms: u64) -> Self {
        Self { project, what, delay_ms, rounds: None, requests: 0, wall_s: 0.0 }
    }
}

/// Rounds, requests and seconds of one run.
type Run = (Option<u32>, u64, f64);

fn measured(report: &Report, row: Row, run: impl Fn() -> anyhow::Result<Run>) -> anyhow::Result<Row> {
    let runs: Vec<Run> = (0..RUNS).map(|_| run()).collect::<anyhow::Result<_>>()?;
    let wall = median(runs.iter().map(|(.., wall_s)| *wall_s)).context("there was a run")?;
    let row = Row { rounds: runs[0].0, requests: runs[0].1, wall_s: rounded(wall), ..row };
    report.measured("resolve-far", &row)?;
    Ok(row)
}

/// A registry with the index of a project, and its URL.
fn serve(corpus: &Corpus, age: HintAge, folder: &Path) -> anyhow::Result<(Delayed, String)> {
    let (address, public) = (free_address()?, folder.join("public"));
    let url = format!("https://{address}");
    cold::write_files(&corpus.indexes(), age, &public)?;
    let settings = Settings { mirrors_crates_io: true, ..Settings::new("mirror", &url) };
    fs_err::write(public.join(layout::INDEX_CONFIG), CargoIndexConfig::new(1, &settings).to_bytes())?;
    let config = RegistryConfig::new(1, "mirror.example/log/1".into(), String::new(), settings);
    fs_err::write(public.join(layout::CONFIG), config.to_bytes())?;
    Ok((Delayed::start(address, &public, folder)?, url))
}

fn ours(project: &str, url: &str, server: &Delayed) -> anyhow::Result<Run> {
    server.take_counts();
    let output = Command::new(this_program()?)
        .args([ONCE, project, url])
        .env("SSL_CERT_FILE", &server.certificate)
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let once: Once = serde_json::from_slice(&output.stdout)?;
    Ok((Some(once.rounds), server.take_counts().0, once.wall_ms / 1000.0))
}

#[expect(clippy::disallowed_methods, reason = "it runs itself")]
fn this_program() -> std::io::Result<std::path::PathBuf> {
    std::env::current_exe()
}

fn cargos(corpus: &Corpus, url: &str, server: &Delayed) -> anyhow::Result<Run> {
    let folder = tempfile::tempdir()?;
    let (home, project) = (folder.path().join("home"), folder.path().join("project"));
    fs_err::create_dir_all(&home)?;
    fs_err::create_dir_all(project.join("src"))?;
    fs_err::write(project.join("src/lib.rs"), "")?;
    fs_err::write(project.join("Cargo.toml"), corpus.manifest_text())?;
    let config = format!(
        "[source.crates-io]\nreplace-with = \"near\"\n[source.near]\nregistry = \"sparse+{url}/index/\"\n[http]\ncainfo = {:?}\n",
        server.certificate
    );
    fs_err::write(home.join("config.toml"), config)?;
    server.take_counts();
    let start = Moment::now();
    let output = Command::new("cargo")
        .args(["generate-lockfile", "--quiet"])
        .current_dir(&project)
        .env("CARGO_HOME", &home)
        .output()?;
    let wall_s = start.elapsed().as_secs_f64();
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok((None, server.take_counts().0, wall_s))
}

/// Chooses once, in this process: versions and digests for a project, from the registry at a URL.
pub(crate) fn once(project: &str, url: &str) -> anyhow::Result<()> {
    let corpus = Corpus::open(project).context("the index extracts are not there")?;
    let (roots, rules, cache) = (corpus.requirements(), cold::rules(), tempfile::tempdir()?);
    let effects = Effects::new(Arc::new(SystemClock), Arc::new(SystemEntropy::new()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let once =
        runtime.block_on(async {
            let start = Moment::now();
            let http = Http::new(HttpOptions::new("drystone-benches"), effects);
            let registry = Registry::new(url, http, cache.path(), Network::Online, None)?;
            let (outcome, cost) = plan::choose_by_name(&registry, &roots, &rules).await?;
            let Outcome::Solved(solution) = outcome else { bail!("there is an answer") };
            let indexes = plan::indexes_by_name(&registry, &solution, &rules.overlay).await?;
            ensure!(solution.releases.keys().all(|(key, version)| {
                indexes.get(key).is_some_and(|index| index.find(version).is_some())
            }));
            Ok(Once { rounds: cost.rounds, wall_ms: ms(start.elapsed()) })
        })?;
    Ok(serde_json::to_writer(std::io::stdout().lock(), &once)?)
}
