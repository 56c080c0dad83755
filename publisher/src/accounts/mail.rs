//! Mail: what is sent, and the door through which it goes.
//!
//! Owns: the texts, a mailer that writes files, and which mailer the environment asks for. Does not own: accounts; SMTP, which is in
//! `smtp`. A mailer for a provider's API (Amazon's SES `SendEmail` takes exactly these three fields, and a sender of its own
//! configuration) implements [`Mailer`].

use std::{fmt, io::Write, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use drystone_schemas::{Code, Settings, canonical_json};
use drystone_storage::{Clock, Entropy};
use serde::Serialize;

use super::{Email, SmtpMailer, SmtpSettings};
use crate::{Refusal, Token};

/// How long sending one message may take: whoever asks for a mail waits a second longer, whether there is one or not.
pub(super) const SENDING_MAX: Duration = Duration::from_secs(4);

/// A message of plain text. Does not print.
#[derive(Clone, Serialize)]
pub struct Mail {
    /// To whom.
    pub to: Email,
    /// Subject, one line.
    pub subject: String,
    /// Body, lines ending in `\n`.
    pub text: String,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mail({})", self.subject)
    }
}

/// Why a message did not go out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("mail cannot be sent: {0}")]
pub struct MailError(pub String);

/// Sends mail.
#[async_trait]
pub trait Mailer: fmt::Debug + Send + Sync + 'static {
    /// Sends a message, or hands it to somebody who will. Tries once, for four seconds at most; may be told the same message twice.
    async fn send(&self, mail: &Mail) -> Result<(), MailError>;
}

/// Writes every message into a directory, as JSON that its owner alone can read: for trying things out, and for programs that
/// send what they find there.
#[derive(Debug, Clone)]
pub struct FileMailer {
    dir: PathBuf,
}

impl FileMailer {
    /// Writes into this directory, which is made when there is a message.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }
}

#[async_trait]
impl Mailer for FileMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let (dir, bytes) = (self.dir.clone(), canonical_json(mail));
        let written = tokio::task::spawn_blocking(move || {
            fs_err::create_dir_all(&dir)?;
            // Temporary files are made readable by their owner alone.
            let mut file = tempfile::Builder::new().prefix("mail-").suffix(".part").tempfile_in(&dir)?;
            file.write_all(&bytes)?;
            let name = file.path().with_extension("json");
            file.persist_noclobber(name).map_err(|e| e.error)?;
            Ok::<_, std::io::Error>(())
        });
        written.await.map_err(|e| MailError(e.to_string()))?.map_err(|e| MailError(e.to_string()))
    }
}

/// The mailer that the environment asks for: `DRYSTONE_MAIL_DIR`, or `DRYSTONE_SMTP_HOST` and what belongs to it; none without both.
/// `path` finds the files and directories that it names.
///
/// # Errors
///
/// What is wrong with a variable; both at once.
pub fn mailer_of_environment(
    get: impl Fn(&str) -> Option<String>,
    path: impl Fn(&str) -> PathBuf,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Option<Arc<dyn Mailer>>, String> {
    let smtp = SmtpSettings::of_environment(&get, |name| fs_err::read(path(name)))?;
    match (get("DRYSTONE_MAIL_DIR"), smtp) {
        (Some(_), Some(_)) => Err("`DRYSTONE_MAIL_DIR` and `DRYSTONE_SMTP_HOST` exclude each other".into()),
        (Some(dir), None) => Ok(Some(Arc::new(FileMailer::new(path(&dir))))),
        (None, Some(settings)) => Ok(Some(Arc::new(SmtpMailer::new(settings, clock, entropy)?))),
        (None, None) => Ok(None),
    }
}

/// Sends a message; without a mailer, nothing is sent.
pub(super) async fn send(mailer: Option<&Arc<dyn Mailer>>, mail: &Mail) -> Result<(), Refusal> {
    match mailer {
        Some(mailer) => mailer.send(mail).await.map_err(|error| Refusal {
            inside: Some(error.to_string()),
            ..Refusal::code(Code::MailFailed, Code::MailFailed.title())
        }),
        None => Ok(()),
    }
}

/// Asks whether an address is that of whoever made an account with it.
pub(super) fn verification(settings: &Settings, to: Email, login: &str, token: &Token) -> Mail {
    let (name, url) = (&settings.name, settings.api_url());
    let text = format!(
        "Hello {login},\n\n\
         to show that this address is yours, give this to {name} within a day:\n\n    {token}\n\n\
         with\n\n    curl {url}/api/v1/auth/verify --json '{{\"token\": \"{token}\"}}'\n\n\
         If you have no account there, do nothing.\n",
        token = token.reveal()
    );
    Mail { to, subject: format!("{name}: is this address yours?"), text }
}

/// Tells the owner of an address that somebody wanted to make another account with it.
pub(super) fn already_known(settings: &Settings, to: Email) -> Mail {
    let name = &settings.name;
    let text = format!(
        "Hello,\n\n\
         somebody has made an account at {name} and said that this address is theirs. It belongs to an account of\n\
         yours already, so the new account does without. If that was you, sign in with the old account, or set\n\
         a new password for it. Otherwise, do nothing.\n"
    );
    Mail { to, subject: format!("{name}: this address has an account"), text }
}

/// Lets somebody set a new password.
pub(super) fn reset(settings: &Settings, to: Email, login: &str, token: &Token) -> Mail {
    let (name, url) = (&settings.name, settings.api_url());
    let text = format!(
        "Hello {login},\n\n\
         to set a new password at {name}, give this within an hour:\n\n    {token}\n\n\
         with\n\n    curl {url}/api/v1/auth/password/set --json '{{\"token\": \"{token}\", \"new_password\": \"...\"}}'\n\n\
         If you did not ask for it, do nothing: the password stays as it is.\n",
        token = token.reveal()
    );
    Mail { to, subject: format!("{name}: a new password"), text }
}

/// Tells somebody what happened to their account.
pub(super) fn notice(settings: &Settings, to: Email, login: &str, what: &str) -> Mail {
    let name = &settings.name;
    let text = format!(
        "Hello {login},\n\n{what}\n\nIf that was not you, set a new password, look through your tokens, and tell the operator of {name}.\n"
    );
    Mail { to, subject: format!("{name}: about your account"), text }
}
