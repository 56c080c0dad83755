//! `drystone serve`: publisher and static files in one process, on a directory or a bucket.
//!
//! Composes, and decides nothing. The first start makes the log's key, the configuration and the first token.

mod config;

use std::{collections::BTreeMap, path::Path};

use drystone_index_builder::{RebuildOptions, Silent, rebuild};
use drystone_publisher::{Action, Front, PublicFiles, Refusal, Service, Token};
use drystone_schemas::{Alias, Code, PackageName, Problem, Settings};
use drystone_storage::{Store, new_ulid, probe};
use tokio::net::TcpListener;

use crate::{
    context::Context,
    demo,
    failure::Failure,
    first::{find_or_make_key, first_token, open_or_make},
    operate::store_failure,
};

use config::ConfigArgs;
pub use config::NewArgs;

/// Options of `serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Publish a few sample packages; without a store, in a directory that goes with the process
    #[arg(long)]
    demo: bool,
}

/// Runs a registry until it is told to stop.
pub async fn run(args: Args, cx: &Context) -> Result<(), Failure> {
    start_logging(cx);
    let mut config = args.config.resolve(cx)?;
    let named =
        config.store.data.is_some() || config.store.store.is_some() || cx.env.get("DRYSTONE_STORE").is_some();
    let temporary = if args.demo && !named { Some(tempfile::tempdir()?) } else { None };
    if let Some(dir) = &temporary {
        config.store.data = Some(dir.path().to_owned());
    }
    let opened = config.store.open(cx).await?;
    check_store(cx, &opened.store).await?;

    // The address comes first: it may be part of the settings.
    let listener = TcpListener::bind(config.listen).await.map_err(|e| {
        let problem =
            Problem::new(Code::BadConfiguration, format!("`{}` cannot be listened on: {e}", config.listen));
        Failure::from(problem.with_hint("choose another address with `--listen`"))
    })?;
    let address = listener.local_addr()?;
    let url = config.public_url.clone().unwrap_or(format!("http://{address}"));
    let url = url.trim_end_matches('/').to_owned();
    let signer = find_or_make_key(cx, &opened, config.new.origin.as_deref()).await?;
    let settings = config.new.settings(url.clone(), config.limits.clone(), config.language.as_ref())?;
    let service = open_or_make(cx, &opened, &signer, &settings).await?;
    let token_file = config.token_file.as_ref().map(|file| cx.path(file));
    let first_token = first_token(cx, &service, token_file.as_deref()).await?;
    let first_token = first_token.as_ref().map(Token::reveal);
    follow_url(&service, &opened.store, &url).await?;
    seed_aliases(cx, &service, &config.aliases).await?;

    let files = PublicFiles::new(service.store().public.clone(), cx.effects.clock.clone());
    let front = Front::new(service.clone(), files);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let limits = config.connections.within_open_files();
    let server =
        tokio::spawn(drystone_publisher::serve(listener, front, limits, async { drop(stopped.await) }));
    let elsewhere =
        if config.public_url.is_some() { format!(", listening on {address}") } else { String::new() };
    let fresh = service.clone();
    let heartbeat = tokio::spawn(async move { fresh.keep_fresh(config.heartbeat_s).await });
    cx.printer.step("Serving", &format!("{} at {url}{elsewhere}", opened.label));
    greet(cx, &url, first_token, config.token_file.as_deref());
    if args.demo {
        let token = match first_token {
            Some(token) => token.to_owned(),
            None => service.make_operator_token("demo").await?.token.reveal().to_owned(),
        };
        demo::publish(cx, &url, &token).await?;
    }
    wait_for_stop().await?;
    cx.printer.notice("stopping: what was acknowledged is stored");
    drop(stop);
    server.await.map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
    heartbeat.abort();
    Ok(())
}

pub fn start_logging(cx: &Context) {
    let filter = cx.env.get("DRYSTONE_LOG").unwrap_or("warn").to_owned();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if cx.env.is_on("DRYSTONE_LOG_JSON") { builder.json().init() } else { builder.init() }
}

/// Refuses a store that ignores conditions: two publishers would overwrite each other there.
pub async fn check_store(cx: &Context, store: &Store) -> Result<(), Failure> {
    let nonce = new_ulid(&*cx.effects.clock, &*cx.effects.entropy);
    for area in [&store.public, &store.vault] {
        probe(&**area, &nonce).await.map_err(store_failure)?;
    }
    Ok(())
}

/// Puts a new public URL in force; everything else is changed by `drystone admin configure`. Files for other clients name
/// URLs, and are made anew.
async fn follow_url(service: &Service, store: &Store, url: &str) -> Result<(), Failure> {
    let settings = service.settings();
    if settings.public_url != url {
        service.configure(Settings { public_url: url.to_owned(), ..(*settings).clone() }).await?;
        if settings.language_api().is_some() {
            rebuild(store, &RebuildOptions { key: None, dry_run: false }, &Silent)
                .await
                .map_err(|e| Failure::new(Code::FsckProblems, e.to_string()))?;
        }
    }
    Ok(())
}

/// Sets the short names of the file. What cannot be set is told, and tried again at the next start.
async fn seed_aliases(
    cx: &Context,
    service: &Service,
    aliases: &BTreeMap<Alias, PackageName>,
) -> Result<(), Refusal> {
    for (alias, pkg) in aliases {
        let action = Action::AliasSet { alias: alias.clone(), pkg: pkg.clone() };
        match service.operate(action, Vec::new()).await {
            Ok(done) if done.already => {}
            Ok(_) => cx.printer.step("Alias", &format!("{alias} means {pkg}")),
            Err(refusal) if refusal.status() < 500 => {
                cx.printer.notice(&format!("the alias `{alias}` of the configuration is not set: {refusal}"));
            }
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(())
}

fn greet(cx: &Context, url: &str, token: Option<&str>, token_file: Option<&Path>) {
    let Some(token) = token else { return };
    match token_file {
        Some(file) => cx.printer.step("Token", &format!("written to {}", file.display())),
        None => cx.printer.step("Token", &format!("{token}   (shown once)")),
    }
    cx.printer.more("publish a package with:");
    cx.printer.more(&format!("  export DRYSTONE_REGISTRY={url} DRYSTONE_TOKEN=..."));
    cx.printer.more("  drystone init hello && cd hello && drystone publish");
    cx.printer.more("let cargo use it with, in .cargo/config.toml:");
    cx.printer.more("  [registries.drystone]");
    cx.printer.more(&format!("  index = \"sparse+{url}/index/\""));
}

/// Ends at Ctrl-C or SIGTERM.
pub async fn wait_for_stop() -> Result<(), Failure> {
    #[cfg(unix)]
    {
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result?,
            _ = term.recv() => {}
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await?;
    Ok(())
}
