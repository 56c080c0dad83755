//! `drystone serve`: publisher and static files in one process, on a directory or a bucket.
//!
//! Composes, and decides nothing. The first start makes the log's key, the configuration and the first token.

mod config;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use drystone_index_builder::{RebuildOptions, Silent, rebuild};
use drystone_log::NoteSigner;
use drystone_publisher::{Action, Refusal, Service, api_router, file_router};
use drystone_schemas::{Alias, Code, PackageName, Problem, Settings};
use drystone_storage::{Store, new_ulid, probe};
use tokio::net::TcpListener;

use crate::{
    context::Context,
    demo,
    failure::Failure,
    operate::{Opened, make_key, read_key, service_with, store_failure, write_secret},
};

pub use config::NewArgs;
use config::{Config, ConfigArgs};

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
    let (service, first_token) = open_or_initialise(cx, &opened, &config, &url).await?;
    follow_url(&service, &opened.store, &url).await?;
    seed_aliases(cx, &service, &config.aliases).await?;

    let files = file_router(service.store().public.clone());
    let router = api_router(service.clone(), Some(files));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        axum::serve(listener, router).with_graceful_shutdown(async { drop(stopped.await) }).await
    });
    let elsewhere =
        if config.public_url.is_some() { format!(", listening on {address}") } else { String::new() };
    if let (Some(token), Some(file)) = (&first_token, &config.token_file) {
        write_secret(&cx.path(file), token)?;
    }
    cx.printer.step("Serving", &format!("{} at {url}{elsewhere}", opened.label));
    greet(cx, &url, first_token.as_deref(), config.token_file.as_deref());
    if args.demo {
        let token = match first_token {
            Some(token) => token,
            None => service.make_operator_token("demo").await?.token.reveal().to_owned(),
        };
        demo::publish(cx, &url, &token).await?;
    }
    wait_for_stop().await?;
    cx.printer.notice("stopping: what was acknowledged is stored");
    drop(stop);
    server.await.map_err(|e| Failure::new(Code::Internal, e.to_string()))??;
    Ok(())
}

fn start_logging(cx: &Context) {
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

async fn open_or_initialise(
    cx: &Context,
    opened: &Opened,
    config: &Config,
    url: &str,
) -> Result<(Arc<Service>, Option<String>), Failure> {
    let settings = config.new.settings(url.to_owned(), config.limits.clone(), config.language.as_ref())?;
    if let Some(signer) = read_key(cx, &opened.key_file)? {
        match service_with(cx, opened, signer.clone()).await {
            Err(refusal) if refusal.problems[0].code == Code::NotInitialised => {}
            other => return Ok((other?, None)),
        }
        let token = initialise(cx, opened, signer.clone(), settings).await?;
        return Ok((service_with(cx, opened, signer).await?, Some(token)));
    }
    let signer = new_key(cx, opened, config.new.origin.as_deref()).await?;
    let token = initialise(cx, opened, signer.clone(), settings).await?;
    Ok((service_with(cx, opened, signer).await?, Some(token)))
}

/// Makes the key of a new log; refuses where a log is, because its key is what must be found then.
pub async fn new_key(cx: &Context, opened: &Opened, origin: Option<&str>) -> Result<NoteSigner, Failure> {
    let there = opened.store.public.list("log/", None).await.map_err(store_failure)?;
    if !there.keys.is_empty() {
        let detail =
            format!("`{}` has a log, but its key is not in `{}`", opened.label, opened.key_file.display());
        let problem = Problem::new(Code::WrongKey, detail);
        return Err(problem.with_hint("give the key with `--key-file` or `DRYSTONE_LOG_KEY`").into());
    }
    let unique = || {
        format!("localhost/drystone/{}", new_ulid(&*cx.effects.clock, &*cx.effects.entropy).to_lowercase())
    };
    let origin = origin.map_or_else(unique, str::to_owned);
    make_key(&origin, &*cx.effects.entropy, &opened.key_file)
}

/// Makes the registry; answers with its first token.
pub async fn initialise(
    cx: &Context,
    opened: &Opened,
    signer: NoteSigner,
    settings: Settings,
) -> Result<String, Failure> {
    let origin = signer.verifier().name().to_owned();
    let (clock, entropy) = (cx.effects.clock.clone(), cx.effects.entropy.clone());
    let made = Service::initialise(&opened.store, signer, &origin, &settings, clock, entropy).await?;
    Ok(made.token.token.reveal().to_owned())
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
async fn wait_for_stop() -> Result<(), Failure> {
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
