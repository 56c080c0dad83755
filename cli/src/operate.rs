//! What commands at the registry's own machine share: opening its store, and its log's key.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use drystone_log::{Cosigner, NoteSigner, Policy, commit::Signing};
use drystone_publisher::{Options, Refusal, Service, SignInProvider, mailer_of_environment, witness_link};
use drystone_schemas::{Code, Problem};
use drystone_storage::{Entropy, Store, StoreError};

use crate::{context::Context, failure::Failure};

/// Which store, and with which key.
#[derive(Debug, Clone, Default, clap::Args)]
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
    /// File with the private key that says how new the log is; made at the first start, beside the log's [env:
    /// DRYSTONE_FRESHNESS_KEY_FILE]
    #[arg(long, value_name = "FILE")]
    pub freshness_key_file: Option<PathBuf>,
    /// Policy whose witnesses are asked, and whose quorum a proof needs; that of the root of trust if absent [env:
    /// DRYSTONE_POLICY_FILE]
    #[arg(long, value_name = "FILE")]
    pub policy_file: Option<PathBuf>,
}

/// An opened store.
pub struct Opened {
    /// The store.
    pub store: Store,
    /// What to call it in messages.
    pub label: String,
    /// Where the log's key is, or will be.
    pub key_file: PathBuf,
    /// Where the freshness key is, or will be.
    pub freshness_key_file: PathBuf,
    /// The policy whose witnesses are asked.
    pub policy_file: Option<PathBuf>,
}

impl StoreArgs {
    /// Opens the store that flags or environment name.
    pub async fn open(&self, cx: &Context) -> Result<Opened, Failure> {
        let url = self.store.clone().or_else(|| cx.env.get("DRYSTONE_STORE").map(str::to_owned));
        let key_file =
            self.key_file.clone().or_else(|| cx.env.get("DRYSTONE_LOG_KEY_FILE").map(PathBuf::from));
        if let Some(dir) = &self.data {
            return self.open_dir(cx, &cx.path(dir), key_file);
        }
        let url = url.ok_or_else(|| {
            let problem = Problem::new(Code::BadConfiguration, "no store is named");
            problem.with_hint("give `--data DIR` or `--store URL`, or set `DRYSTONE_STORE`")
        })?;
        if let Some(dir) = url.strip_prefix("file://") {
            return self.open_dir(cx, Path::new(dir), key_file);
        }
        let default = cx.home()?.keys().join(format!("{}.key", url.replace(['/', ':'], "_")));
        Ok(self.opened(cx, open_bucket(&url).await?, url, key_file.unwrap_or(default)))
    }

    fn open_dir(&self, cx: &Context, dir: &Path, key_file: Option<PathBuf>) -> Result<Opened, Failure> {
        let store = Store::open_dir(dir).map_err(store_failure)?;
        let default = dir.join("keys").join("log.key");
        Ok(self.opened(cx, store, dir.display().to_string(), key_file.unwrap_or(default)))
    }

    fn opened(&self, cx: &Context, store: Store, label: String, key_file: PathBuf) -> Opened {
        let named = |flag: &Option<PathBuf>, variable: &str| {
            flag.clone().or_else(|| cx.env.get(variable).map(PathBuf::from)).map(|file| cx.path(&file))
        };
        let freshness = named(&self.freshness_key_file, "DRYSTONE_FRESHNESS_KEY_FILE");
        let policy_file = named(&self.policy_file, "DRYSTONE_POLICY_FILE");
        let freshness_key_file = freshness.unwrap_or_else(|| key_file.with_extension("freshness.key"));
        Opened { store, label, key_file, freshness_key_file, policy_file }
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
pub fn read_key(cx: &Context, opened: &Opened) -> Result<Option<NoteSigner>, Failure> {
    read_secret(cx, "DRYSTONE_LOG_KEY", &opened.key_file, "a log's key", NoteSigner::parse)
}

/// Reads the key that says how new the log is; none if the file is not there.
pub fn read_freshness_key(cx: &Context, opened: &Opened) -> Result<Option<Cosigner>, Failure> {
    read_cosigner(cx, "DRYSTONE_FRESHNESS_KEY", &opened.freshness_key_file)
}

/// Reads a key that states times; none if the file is not there.
pub fn read_cosigner(cx: &Context, variable: &str, file: &Path) -> Result<Option<Cosigner>, Failure> {
    read_secret(cx, variable, file, "a cosigner's key", Cosigner::parse)
}

fn read_secret<T, E: std::fmt::Display>(
    cx: &Context,
    variable: &str,
    file: &Path,
    what: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Option<T>, Failure> {
    let text = match cx.env.get(variable) {
        Some(text) => text.to_owned(),
        None => match fs_err::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        },
    };
    let bad =
        |e| Failure::new(Code::BadConfiguration, format!("`{}` does not hold {what}: {e}", file.display()));
    parse(text.trim()).map(Some).map_err(bad)
}

/// Everything that signs: the log's key, the freshness key if there is one, and the witnesses of the policy.
pub fn signing(cx: &Context, opened: &Opened, signer: NoteSigner) -> Result<Signing, Failure> {
    let mut signing = Signing::from(signer);
    if let Some(key) = read_freshness_key(cx, opened)? {
        signing = signing.with_freshness(std::sync::Arc::new(key));
    }
    let Some(file) = &opened.policy_file else { return Ok(signing.following_policy(witness_link)) };
    let policy = Policy::parse(&fs_err::read(file)?).map_err(|e| {
        Failure::new(Code::BadConfiguration, format!("`{}` is no policy: {e}", file.display()))
    })?;
    Ok(signing.with_witnesses(policy, witness_link))
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

/// Finds the freshness key of a log, or makes one.
pub fn find_or_make_freshness_key(cx: &Context, opened: &Opened, origin: &str) -> Result<(), Failure> {
    if read_freshness_key(cx, opened)?.is_some() {
        return Ok(());
    }
    let mut seed = [0; 32];
    cx.effects.entropy.fill(&mut seed);
    let key = Cosigner::from_seed(&format!("{origin}/freshness"), &seed)
        .map_err(|e| Failure::new(Code::BadConfiguration, e.to_string()))?;
    match write_secret(&opened.freshness_key_file, key.secret_text().expose()) {
        // Another process may have made it meanwhile.
        Err(failure) if read_freshness_key(cx, opened)?.is_none() => Err(failure),
        _ => Ok(()),
    }
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
    let signer = read_key(cx, opened)?.ok_or_else(|| {
        let detail = format!("the log's key is not in `{}`", opened.key_file.display());
        Failure::from(
            Problem::new(Code::WrongKey, detail).with_hint("give `--key-file` or set `DRYSTONE_LOG_KEY`"),
        )
    })?;
    Ok(service_with(cx, opened, signing(cx, opened, signer)?).await?)
}

/// Opens a registry with these keys.
pub async fn service_with(cx: &Context, opened: &Opened, signing: Signing) -> Result<Arc<Service>, Refusal> {
    let spool = std::env::temp_dir();
    let (clock, entropy) = (cx.effects.clock.clone(), cx.effects.entropy.clone());
    let get = |name: &str| cx.env.get(name).map(str::to_owned);
    let bad = |detail| Refusal::code(Code::BadConfiguration, detail);
    let path = |path: &str| cx.path(Path::new(path));
    let mailer = mailer_of_environment(get, path, clock.clone(), entropy.clone()).map_err(bad)?;
    let sign_in = SignInProvider::of_environment(get, |name| fs_err::read(path(name))).map_err(bad)?;
    let inspections_max = std::thread::available_parallelism().map_or(2, usize::from);
    let options = Options { mailer, sign_in, ..Options::new(spool, inspections_max) };
    let origin = signing.log_key().name().to_owned();
    Service::open(opened.store.clone(), signing, origin, clock, entropy, options).await
}
