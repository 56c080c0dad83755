//! Mail by SMTP (RFC 5321): each message is handed to the mail server that the operator names, once.
//!
//! Owns: where that server is, TLS, and how often it may fail: never again by itself. Does not own: queues, which that server has; texts.
//! Invariants: the password goes over TLS, or stays on this machine; an error tells the step and the server's code, and nothing that
//! the server said, because servers repeat addresses.

mod dialogue;
mod message;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use drystone_schemas::SecretText;
use drystone_storage::{Clock, Entropy, new_ulid};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use super::{
    Email,
    mail::{Mail, MailError, Mailer, SENDING_MAX},
};
use dialogue::Dialogue;

/// How the connection is kept from being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpTls {
    /// TLS from the first byte (RFC 8314), by default on port 465.
    Implicit,
    /// TLS after `STARTTLS` (RFC 3207), by default on port 587; a server without it is refused.
    StartTls,
    /// None: for a server on the same machine, by default on port 25.
    None,
}

/// Where mail is handed in.
#[derive(Debug, Clone)]
pub struct SmtpSettings {
    /// Name or address of the server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is reached.
    pub tls: SmtpTls,
    /// User and password, where the server wants them.
    pub login: Option<(String, SecretText)>,
    /// Who sends.
    pub from: Email,
    /// Certificates that the server's is checked by, as PEM; those of the system if absent.
    pub roots: Option<Vec<u8>>,
    /// How long a message may take; no longer than four seconds.
    pub time_max: Duration,
}

impl SmtpSettings {
    /// Reads `DRYSTONE_SMTP_HOST`, `_PORT`, `_TLS`, `_USERNAME`, `_PASSWORD` or `_PASSWORD_FILE`, `_FROM` and `_CA_FILE`; none without the
    /// first.
    ///
    /// # Errors
    ///
    /// What is wrong with a variable, without its value; files that cannot be read.
    pub fn of_environment(
        get: impl Fn(&str) -> Option<String>,
        read: impl Fn(&str) -> std::io::Result<Vec<u8>>,
    ) -> Result<Option<Self>, String> {
        let get = |name: &str| get(&format!("DRYSTONE_SMTP_{name}"));
        let Some(host) = get("HOST") else { return Ok(None) };
        let tls = match get("TLS").as_deref() {
            Some("implicit") | None => SmtpTls::Implicit,
            Some("starttls") => SmtpTls::StartTls,
            Some("none") => SmtpTls::None,
            Some(_) => return Err("`DRYSTONE_SMTP_TLS` is `implicit`, `starttls` or `none`".into()),
        };
        let port = get("PORT").map(|port| port.parse().map_err(|_| "`DRYSTONE_SMTP_PORT` is not a port"));
        let port = port.transpose()?.unwrap_or(match tls {
            SmtpTls::Implicit => 465,
            SmtpTls::StartTls => 587,
            SmtpTls::None => 25,
        });
        let file = |name: &str| {
            let read = |path: String| read(&path).map_err(|e| format!("`DRYSTONE_SMTP_{name}`: {e}"));
            get(name).map(read).transpose()
        };
        let password = match get("PASSWORD") {
            Some(password) => Some(SecretText::new(password)),
            None => file("PASSWORD_FILE")?
                .map(|bytes| String::from_utf8(bytes).map_err(|_| "the password is not UTF-8"))
                .transpose()?
                .map(|text| SecretText::new(text.trim_end_matches(['\r', '\n']))),
        };
        let login = match (get("USERNAME"), password) {
            (Some(user), Some(password)) => Some((user, password)),
            (None, None) => None,
            _ => return Err("`DRYSTONE_SMTP_USERNAME` and the password come together".into()),
        };
        let is_here = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        if tls == SmtpTls::None && !is_here {
            return Err("`DRYSTONE_SMTP_TLS=none` is for a server on this machine".into());
        }
        let from = get("FROM").ok_or("set `DRYSTONE_SMTP_FROM` to the address that sends")?;
        let from = Email::new(&from).map_err(|e| format!("`DRYSTONE_SMTP_FROM`: {e}"))?;
        let roots = file("CA_FILE")?;
        Ok(Some(Self { host, port, tls, login, from, roots, time_max: SENDING_MAX }))
    }
}

/// Hands mail to a server.
pub struct SmtpMailer {
    settings: SmtpSettings,
    connector: Option<(TlsConnector, ServerName<'static>)>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for SmtpMailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SmtpMailer({}:{})", self.settings.host, self.settings.port)
    }
}

impl SmtpMailer {
    /// A mailer for this server. Nothing is sent or looked up yet.
    ///
    /// # Errors
    ///
    /// A name that no certificate can have, or certificates that cannot be read.
    pub fn new(
        settings: SmtpSettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, String> {
        let connector = match settings.tls {
            SmtpTls::None => None,
            SmtpTls::Implicit | SmtpTls::StartTls => {
                let name = ServerName::try_from(settings.host.clone())
                    .map_err(|_| "the mail server's name is no host name".to_owned())?;
                Some((TlsConnector::from(Arc::new(config(settings.roots.as_deref())?)), name))
            }
        };
        Ok(Self { settings, connector, clock, entropy })
    }

    async fn deliver(&self, mail: &Mail) -> Result<(), MailError> {
        let SmtpSettings { host, port, tls, login, from, .. } = &self.settings;
        let id = new_ulid(&*self.clock, &*self.entropy);
        let text = message::render(mail, from, &id, self.clock.now_unix_s());
        let stream = TcpStream::connect((host.as_str(), *port)).await;
        let stream = stream.map_err(|e| failed("connecting", &e))?;
        let Some((connector, name)) = &self.connector else {
            let mut dialogue = Dialogue::new(stream);
            dialogue.greeting().await?;
            return dialogue.submit(login.as_ref(), from, &mail.to, &text).await;
        };
        let stream = match tls {
            SmtpTls::StartTls => {
                let mut dialogue = Dialogue::new(stream);
                dialogue.greeting().await?;
                dialogue.start_tls().await?
            }
            SmtpTls::Implicit | SmtpTls::None => stream,
        };
        let stream = connector.connect(name.clone(), stream).await;
        let mut dialogue = Dialogue::new(stream.map_err(|e| failed("securing the connection", &e))?);
        if *tls == SmtpTls::Implicit {
            dialogue.greeting().await?;
        }
        dialogue.submit(login.as_ref(), from, &mail.to, &text).await
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        match tokio::time::timeout(self.settings.time_max.min(SENDING_MAX), self.deliver(mail)).await {
            Ok(sent) => sent,
            Err(_) => Err(MailError("the mail server takes too long".into())),
        }
    }
}

/// What went wrong below SMTP. Such errors name hosts and certificates, not people.
fn failed(step: &str, error: &std::io::Error) -> MailError {
    MailError(format!("{step}: {error}"))
}

fn config(roots: Option<&[u8]>) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    let Some(pem) = roots else {
        let builder = builder.with_platform_verifier().map_err(|e| e.to_string())?;
        return Ok(builder.with_no_client_auth());
    };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|e| format!("the mail server's roots: {e}"))?;
        store.add(certificate).map_err(|e| format!("the mail server's roots: {e}"))?;
    }
    if store.is_empty() {
        return Err("the mail server's roots: there is no certificate".into());
    }
    Ok(builder.with_root_certificates(store).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<SmtpSettings>, String> {
        let get = |name: &str| {
            let found = pairs.iter().find(|(key, _)| name == format!("DRYSTONE_SMTP_{key}"));
            found.map(|(_, value)| (*value).to_owned())
        };
        let file = |path: &str| match path {
            "password" => Ok(b"planted secret\n".to_vec()),
            _ => Err(std::io::Error::from(std::io::ErrorKind::NotFound)),
        };
        SmtpSettings::of_environment(get, file)
    }

    #[test]
    fn settings_come_from_the_environment() {
        assert!(read(&[]).unwrap().is_none());
        let (host, from) = (("HOST", "mail.example.org"), ("FROM", "registry@example.org"));
        let port = |tls: &str, pairs: &[(&str, &str)]| {
            let all = [&[host, from, ("TLS", tls)], pairs].concat();
            read(&all).map(|settings| settings.unwrap().port)
        };
        assert_eq!((port("implicit", &[]), port("starttls", &[])), (Ok(465), Ok(587)));
        assert_eq!(port("starttls", &[("PORT", "2525")]), Ok(2525));
        for bad in [
            &[host][..],
            &[host, ("FROM", "registry")],
            &[host, from, ("TLS", "maybe")],
            &[host, from, ("TLS", "none")],
            &[host, from, ("PORT", "mail")],
            &[host, from, ("USERNAME", "ann")],
            &[host, from, ("PASSWORD", "planted secret")],
            &[host, from, ("CA_FILE", "nowhere")],
        ] {
            let error = read(bad).unwrap_err();
            assert!(!error.contains("planted"), "{error}");
        }
        let all = [host, from, ("USERNAME", "ann"), ("PASSWORD_FILE", "password")];
        let settings = read(&all).unwrap().unwrap();
        assert_eq!(settings.login.as_ref().unwrap().1.expose(), "planted secret");
        assert!(!format!("{settings:?}").contains("planted"));
        let here = [("HOST", "127.0.0.1"), from, ("TLS", "none")];
        assert_eq!(read(&here).unwrap().unwrap().port, 25);
    }
}
