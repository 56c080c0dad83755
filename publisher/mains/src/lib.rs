//! What the two mains of the publisher share: the environment, read once, and the service that it describes.
//!
//! | variable | meaning |
//! |---|---|
//! | `DRYSTONE_STORE` | `s3://bucket/prefix` or `file:///dir`; credentials and endpoint by the standard `AWS_*` variables |
//! | `DRYSTONE_LOG_KEY` | the log's private key, as `drystone admin init` wrote it |
//! | `DRYSTONE_LOG_KEY_FILE` | a file that holds it instead |
//! | `DRYSTONE_FRESHNESS_KEY` | the private key that says how new the log is; without it somebody else has to |
//! | `DRYSTONE_FRESHNESS_KEY_FILE` | a file that holds it instead; default: `X.freshness.key` beside the log's `X.key` |
//! | `DRYSTONE_POLICY_FILE` | a policy whose witnesses are asked, and whose quorum a proof needs; default: that of the root of trust |
//! | `DRYSTONE_HEARTBEAT_S` | how old cosignatures become before a heartbeat renews them, in seconds; default 600 |
//! | `DRYSTONE_SPOOL` | directory for uploads on their way; default `/tmp` |
//! | `DRYSTONE_MAIL_DIR` | directory for mails on their way, which another program sends |
//! | `DRYSTONE_SMTP_HOST` | mail server that mails are handed to, with `_PORT`, `_TLS`, `_USERNAME`, `_PASSWORD` or `_PASSWORD_FILE`, `_FROM`, `_CA_FILE`; without either no mail is sent |
//! | `DRYSTONE_LOG` | log filter, such as `info` or `drystone_publisher=debug` |

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, bail};
use drystone_log::{Cosigner, NoteSigner, Policy, commit::Signing};
use drystone_publisher::{
    ConnectionLimits, Mailer, Options, Service, SignInProvider, mailer_of_environment, witness_link,
};
use drystone_storage::{Store, SystemClock, SystemEntropy};
use drystone_storage_s3::{S3Area, S3Settings};

/// The environment of a publisher.
pub struct Environment {
    store: String,
    key: String,
    freshness_key: Option<String>,
    policy: Option<Vec<u8>>,
    /// How old the newest checkpoint's cosignatures may become, in seconds.
    pub heartbeat_s: u64,
    spool: PathBuf,
    mailer: Option<Arc<dyn Mailer>>,
    sign_in: Option<SignInProvider>,
    log: String,
    /// Address to listen on, where the main listens.
    pub listen: String,
    /// What peers may do, where the main listens.
    pub connections: ConnectionLimits,
}

impl Environment {
    /// Reads the process's environment.
    #[expect(clippy::disallowed_methods, reason = "this is the door to the environment")]
    pub fn of_process() -> anyhow::Result<Self> {
        let get = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let read = |name: &str| match get(name) {
            Some(path) => std::fs::read(&path).map(Some).with_context(|| format!("`{path}` ({name})")),
            None => Ok(None),
        };
        let secret = |name: &str| match get(name) {
            Some(key) => Ok::<_, anyhow::Error>(Some(key)),
            None => Ok(read(&format!("{name}_FILE"))?.map(String::from_utf8).transpose()?),
        };
        let Some(key) = secret("DRYSTONE_LOG_KEY")? else {
            bail!("set DRYSTONE_LOG_KEY or DRYSTONE_LOG_KEY_FILE to the log's private key")
        };
        let freshness_key = match (secret("DRYSTONE_FRESHNESS_KEY")?, get("DRYSTONE_LOG_KEY_FILE")) {
            (Some(key), _) => Some(key),
            // Where `drystone admin init` has put it, beside the log's.
            (None, Some(path)) => {
                std::fs::read_to_string(PathBuf::from(path).with_extension("freshness.key")).ok()
            }
            (None, None) => None,
        };
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy::new()));
        let mailer = mailer_of_environment(get, |path| PathBuf::from(path), clock, entropy)
            .map_err(anyhow::Error::msg)?;
        let sign_in =
            SignInProvider::of_environment(get, |path| std::fs::read(path)).map_err(anyhow::Error::msg)?;
        let heartbeat_s = get("DRYSTONE_HEARTBEAT_S").map(|text| text.parse()).transpose();
        Ok(Self {
            freshness_key,
            policy: read("DRYSTONE_POLICY_FILE")?,
            heartbeat_s: heartbeat_s.context("DRYSTONE_HEARTBEAT_S")?.unwrap_or(600),
            store: get("DRYSTONE_STORE")
                .context("set DRYSTONE_STORE to `s3://bucket/prefix` or `file:///dir`")?,
            key,
            spool: get("DRYSTONE_SPOOL").unwrap_or_else(|| "/tmp".into()).into(),
            mailer,
            sign_in,
            log: get("DRYSTONE_LOG").unwrap_or_else(|| "info".into()),
            listen: get("DRYSTONE_LISTEN").unwrap_or_else(|| "127.0.0.1:8080".into()),
            connections: ConnectionLimits::default().or_environment(get).map_err(anyhow::Error::msg)?,
        })
    }

    /// Writes one line of JSON to standard output for each request.
    pub fn start_logging(&self) {
        tracing_subscriber::fmt().json().with_env_filter(self.log.as_str()).init();
    }

    /// Opens the registry that the environment describes.
    pub async fn open(&self) -> anyhow::Result<Arc<Service>> {
        let signer = NoteSigner::parse(self.key.trim()).context("the log's private key")?;
        let origin = signer.verifier().name().to_owned();
        let mut signing = Signing::from(signer);
        if let Some(key) = &self.freshness_key {
            let key = Cosigner::parse(key.trim()).context("the freshness key")?;
            signing = signing.with_freshness(Arc::new(key));
        }
        let (mailer, sign_in) = (self.mailer.clone(), self.sign_in.clone());
        let options = Options { mailer, sign_in, ..Options::new(self.spool.clone(), 2) };
        let store = open_store(&self.store).await?;
        signing = match &self.policy {
            Some(policy) => {
                let policy = Policy::parse(policy).context("DRYSTONE_POLICY_FILE")?;
                signing.with_witnesses(policy, witness_link)
            }
            None => signing.following_policy(witness_link),
        };
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy::new()));
        Ok(Service::open(store, signing, origin, clock, entropy, options).await?)
    }
}

async fn open_store(url: &str) -> anyhow::Result<Store> {
    match url.strip_prefix("file://") {
        Some(path) => Ok(Store::open_dir(path.as_ref())?),
        None => Ok(S3Area::connect_store(S3Settings::from_url(url)?).await),
    }
}
