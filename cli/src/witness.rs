//! `drystone witness`: a small server that cosigns what other people's logs publish.
//!
//! Composes, and decides nothing. The first start makes the witness's key.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use drystone_log::{Cosigner, Policy, VerifierKey, note::Algorithm};
use drystone_publisher::{ConnectionLimits, Witness, witness_router};
use drystone_schemas::{Code, Problem};
use drystone_storage::Store;
use tokio::net::TcpListener;

use crate::{
    context::Context,
    failure::Failure,
    operate::{read_cosigner, store_failure, write_secret},
    serve::{check_store, start_logging, wait_for_stop},
};

/// Options of `witness`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory for what was cosigned, and for the key
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Name of the witness, for ever: a host name with a path is usual
    #[arg(long)]
    name: Option<String>,
    /// Public key of a log to follow; once for each
    #[arg(long = "log", value_name = "KEY")]
    logs: Vec<String>,
    /// Policy whose logs to follow
    #[arg(long, value_name = "FILE")]
    policy_file: Option<PathBuf>,
    /// File with the private key; `witness.key` in the directory if absent, made at the first start
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Make the key, if there is none, print its public half, and end
    #[arg(long)]
    print_key: bool,
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
}

/// Runs a witness until it is told to stop.
pub async fn run(args: Args, cx: &Context) -> Result<(), Failure> {
    start_logging(cx);
    let data = cx.path(&args.data);
    let mut logs = Vec::new();
    for key in &args.logs {
        logs.push(VerifierKey::parse(key).map_err(|e| bad(format!("`{key}`: {e}")))?);
    }
    if let Some(file) = &args.policy_file {
        let policy = Policy::parse(&fs_err::read(cx.path(file))?);
        let policy = policy.map_err(|e| bad(format!("`{}`: {e}", file.display())))?;
        logs.extend(policy.logs().iter().map(|log| log.key.clone()));
    }
    if logs.is_empty() || logs.iter().any(|key| key.algorithm() != Algorithm::Ed25519) {
        let problem =
            Problem::new(Code::BadConfiguration, "a witness follows one log at least, by its Ed25519 key");
        return Err(problem.with_hint("give the log's verifier key with `--log`").into());
    }
    let store = Store::open_dir(&data).map_err(store_failure)?;
    check_store(cx, &store).await?;
    let key_file = args.key_file.map_or_else(|| data.join("witness.key"), |file| cx.path(&file));
    let cosigner = match read_cosigner(cx, "DRYSTONE_WITNESS_KEY", &key_file)? {
        Some(cosigner) => cosigner,
        None => make_key(cx, args.name.as_deref(), &key_file)?,
    };
    let key = cosigner.verifier().to_string();
    if args.print_key {
        return cx.printer.result(&serde_json::json!({ "key": key }), || format!("{key}\n"));
    }
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|e| bad(format!("`{}` cannot be listened on: {e}", args.listen)))?;
    let address = listener.local_addr()?;
    let witness = Witness::new(cosigner, logs, store.public.clone(), cx.effects.clock.clone());
    let followed: Vec<String> = witness.origins().map(str::to_owned).collect();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let router = witness_router(Arc::new(witness));
    let limits = ConnectionLimits::default().within_open_files();
    let server =
        tokio::spawn(drystone_publisher::serve(listener, router, limits, async { drop(stopped.await) }));
    cx.printer.step("Witnessing", &format!("{} at http://{address}", followed.join(", ")));
    cx.printer.step("Key", &key);
    wait_for_stop().await?;
    drop(stop);
    server.await.map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
    Ok(())
}

fn make_key(cx: &Context, name: Option<&str>, file: &std::path::Path) -> Result<Cosigner, Failure> {
    let name = name.ok_or_else(|| {
        let problem = Problem::new(Code::BadConfiguration, "a new witness needs a name");
        problem.with_hint("give `--name`, such as `witness.example/w1`")
    })?;
    let mut seed = [0; 32];
    cx.effects.entropy.fill(&mut seed);
    let cosigner = Cosigner::from_seed(name, &seed).map_err(|e| bad(e.to_string()))?;
    write_secret(file, cosigner.secret_text().expose())?;
    Ok(cosigner)
}

fn bad(detail: String) -> Failure {
    Failure::new(Code::BadConfiguration, detail)
}
