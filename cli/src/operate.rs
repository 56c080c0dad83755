//! What commands at the registry's own machine share: opening its store, and its log's key.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use drystone_log::NoteSigner;
use drystone_publisher::{FileMailer, Mailer, Options, Refusal, Service};
use drystone_schemas::{Code, Problem};
use drystone_storage::{Entropy, Store, StoreError};

use crate::{context::Context, failure::Failure};

/// Which store, and with which key.
#[derive(Debug, Clone, clap::Args)]
pub struct StoreArgs {
    /// Directory of the registry
    #[arg(long, value_name = "DIR", conflicts_with = "store")]
    pub data: Option<PathBuf>,
    /// Store of the registry: `file:///dir` or `s3://bucket/prefix` [env: DRYSTONE_STORE]
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// File with the log's private key; made at the first start [env: DRYSTONE_LOG_KEY_FILE]
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
}

/// An opened store.
pub struct Opened {
    /// The store.
    pub store: Store,
    /// What to call it in messages.
    pub label: String,
    /// Where the log's key is, or will be.
    pub key_file: PathBuf,
}

impl StoreArgs {
    /// Opens the store that flags or environment name.
    pub async fn open(&self, cx: &Context) -> Result<Opened, Failure> {
        let url = self.store.clone().or_else(|| cx.env.get("DRYSTONE_STORE").map(str::to_owned));
        let key_file =
            self.key_file.clone().or_else(|| cx.env.get("DRYSTONE_LOG_KEY_FILE").map(PathBuf::from));
        if let Some(dir) = &self.data {
            return self.open_dir(&cx.path(dir), key_file);
        }
        let url = url.ok_or_else(|| {
            let problem = Problem::new(Code::BadConfiguration, "no store is named");
            problem.with_hint("give `--data DIR` or `--store URL`, or set `DRYSTONE_STORE`")
        })?;
        if let Some(dir) = url.strip_prefix("file://") {
            return self.open_dir(Path::new(dir), key_file);
        }
        let default = cx.home()?.keys().join(format!("{}.key", url.replace(['/', ':'], "_")));
        Ok(Opened { store: open_bucket(&url).await?, label: url, key_file: key_file.unwrap_or(default) })
    }

    fn open_dir(&self, dir: &Path, key_file: Option<PathBuf>) -> Result<Opened, Failure> {
        let store = Store::open_dir(dir).map_err(store_failure)?;
        let default = dir.join("keys").join("log.key");
        Ok(Opened { store, label: dir.display().to_string(), key_file: key_file.unwrap_or(default) })
    }
}

/// Opens the store in a bucket.
#[cfg(feature = "s3")]
pub async fn open_bucket(url: &str) -> Result<Store, Failure> {
    let settings = drystone_storage_s3::S3Settings::from_url(url)
        .map_err(|e| Failure::new(Code::BadConfiguration, e.to_string()))?;
    Ok(drystone_storage_s3::S3Area::connect_store(settings).await)
}

/// Says that this program has no support for buckets.
#[cfg(not(feature = "s3"))]
pub async fn open_bucket(url: &str) -> Result<Store, Failure> {
    let problem =
        Problem::new(Code::NotBuiltIn, format!("`{url}` is in a bucket, which this program cannot open"));
    Err(problem.with_hint("build it with `--features s3`").into())
}

/// The storage's failure, as the operator at the machine sees it.
pub fn store_failure(error: StoreError) -> Failure {
    Refusal::from(error).into()
}

impl From<Refusal> for Failure {
    /// At the machine, what is hidden from the outside is told as well.
    fn from(refusal: Refusal) -> Self {
        let inside = refusal.inside;
        let tell = |problem: Problem| match &inside {
            Some(inside) => problem.fact("cause", inside),
            None => problem,
        };
        refusal.problems.into_iter().map(tell).collect::<Vec<_>>().into()
    }
}

/// Reads the log's key; none if the file is not there.
pub fn read_key(cx: &Context, file: &Path) -> Result<Option<NoteSigner>, Failure> {
    let text = match cx.env.get("DRYSTONE_LOG_KEY") {
        Some(text) => text.to_owned(),
        None => match fs_err::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        },
    };
    let bad = |e| {
        Failure::new(Code::BadConfiguration, format!("`{}` does not hold a log's key: {e}", file.display()))
    };
    NoteSigner::parse(text.trim()).map(Some).map_err(bad)
}

/// Makes a key for a new log.
pub fn make_key(origin: &str, entropy: &dyn Entropy, file: &Path) -> Result<NoteSigner, Failure> {
    let mut seed = [0; 32];
    entropy.fill(&mut seed);
    let signer = NoteSigner::from_seed(origin, &seed).map_err(|e| {
        Failure::new(Code::BadConfiguration, format!("`{origin}` cannot be a log's origin: {e}"))
    })?;
    write_secret(file, signer.secret_text().expose())?;
    Ok(signer)
}

/// Writes a file that only its owner can read, whole or not at all; refuses to replace one.
pub fn write_secret(file: &Path, text: &str) -> Result<(), Failure> {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs_err::create_dir_all(dir)?;
    // Temporary files are made readable by their owner alone.
    let mut out = tempfile::Builder::new().prefix(".secret-").tempfile_in(dir)?;
    out.write_all(format!("{text}\n").as_bytes())?;
    out.as_file().sync_all()?;
    out.persist_noclobber(file).map_err(|refused| match refused.error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::new(Code::AlreadyExists, format!("`{}` is there already", file.display()))
        }
        _ => refused.error.into(),
    })?;
    fs_err::File::open(dir)?.sync_all()?;
    Ok(())
}

/// Opens a registry that exists.
pub async fn open_service(cx: &Context, opened: &Opened) -> Result<Arc<Service>, Failure> {
    let signer = read_key(cx, &opened.key_file)?.ok_or_else(|| {
        let detail = format!("the log's key is not in `{}`", opened.key_file.display());
        Failure::from(
            Problem::new(Code::WrongKey, detail).with_hint("give `--key-file` or set `DRYSTONE_LOG_KEY`"),
        )
    })?;
    Ok(service_with(cx, opened, signer).await?)
}

/// Opens a registry with this key.
pub async fn service_with(
    cx: &Context,
    opened: &Opened,
    signer: NoteSigner,
) -> Result<Arc<Service>, Refusal> {
    let spool = std::env::temp_dir();
    let mail = cx.env.get("DRYSTONE_MAIL_DIR").map(|dir| cx.path(Path::new(dir)));
    let mailer = mail.map(|dir| Arc::new(FileMailer::new(dir)) as Arc<dyn Mailer>);
    let inspections_max = std::thread::available_parallelism().map_or(2, usize::from);
    let options = Options { mailer, ..Options::new(spool, inspections_max) };
    let origin = signer.verifier().name().to_owned();
    let (clock, entropy) = (cx.effects.clock.clone(), cx.effects.entropy.clone());
    Service::open(opened.store.clone(), signer, origin, clock, entropy, options).await
}
