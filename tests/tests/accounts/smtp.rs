//! Mail by SMTP, to a small server on loopback.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use drystone_publisher::{Email, Mail, MailError, Mailer, SmtpMailer, SmtpSettings, SmtpTls};
use drystone_schemas::SecretText;
use drystone_tests::{TestClock, TestEntropy};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use super::{open_registry, post, post_as, register, register_verified};

const PASSWORD: &str = "planted mail password";

/// How a server behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Plain,
    StartTls,
    Implicit,
    /// Says more after `STARTTLS` than it should.
    Injecting,
    /// Says nothing at all.
    Silent,
}

/// A mail server, and every line that it heard, those over TLS with a `*`.
struct Server {
    port: u16,
    roots: Vec<u8>,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(manner: Manner) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (roots, all) = (cert.pem().into_bytes(), heard.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Whatever a client breaks off is its own affair.
                tokio::spawn(serve(stream, manner, acceptor.clone(), all.clone()));
            }
        });
        Self { port, roots, heard }
    }

    fn settings(&self, tls: SmtpTls) -> SmtpSettings {
        SmtpSettings {
            host: "127.0.0.1".into(),
            port: self.port,
            tls,
            login: Some(("ann".into(), SecretText::new(PASSWORD))),
            from: Email::new("registry@example.org").unwrap(),
            roots: Some(self.roots.clone()),
            time_max: Duration::from_secs(4),
        }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

async fn serve(
    stream: TcpStream,
    manner: Manner,
    acceptor: TlsAcceptor,
    heard: Arc<Mutex<Vec<String>>>,
) -> std::io::Result<()> {
    match manner {
        Manner::Silent => std::future::pending().await,
        Manner::Implicit => talk(acceptor.accept(stream).await?, manner, true, true, &heard).await.map(drop),
        _ => {
            let Some(stream) = talk(stream, manner, true, false, &heard).await? else { return Ok(()) };
            talk(acceptor.accept(stream).await?, manner, false, true, &heard).await.map(drop)
        }
    }
}

/// Answers until the client leaves; gives the stream back where it asks for TLS.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    manner: Manner,
    greets: bool,
    secure: bool,
    heard: &Mutex<Vec<String>>,
) -> std::io::Result<Option<S>> {
    let mut stream = BufReader::new(stream);
    if greets {
        stream.write_all(b"220 mail.test ready\r\n").await?;
    }
    let mut in_message = false;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let line = line.trim_end().to_owned();
        heard.lock().unwrap().push(format!("{}{line}", if secure { "*" } else { "" }));
        let answer = match line.split(' ').next().unwrap_or_default() {
            "." if in_message => {
                in_message = false;
                "250 taken\r\n"
            }
            _ if in_message => continue,
            "EHLO" => "250-mail.test\r\n250-SIZE 1000000\r\n250 AUTH LOGIN PLAIN\r\n",
            "STARTTLS" if manner == Manner::Injecting => "220 go\r\n250 injected\r\n",
            "STARTTLS" if manner == Manner::StartTls => "220 go\r\n",
            "AUTH" => "235 welcome\r\n",
            "RCPT" if line.contains("nobody") => {
                "550-5.1.1 <nobody@example.org>:\r\n550 5.1.1 no such user\r\n"
            }
            "MAIL" | "RCPT" => "250 fine\r\n",
            "DATA" => {
                in_message = true;
                "354 go on\r\n"
            }
            "QUIT" => "221 bye\r\n",
            _ => "502 what?\r\n",
        };
        stream.write_all(answer.as_bytes()).await?;
        stream.flush().await?;
        if line == "STARTTLS" && answer.starts_with("220") {
            return Ok(Some(stream.into_inner()));
        }
    }
}

async fn send(settings: SmtpSettings, to: &str) -> Result<(), MailError> {
    let (clock, entropy) = (TestClock::at(1_760_000_999_000), TestEntropy::seeded(1));
    let mailer = SmtpMailer::new(settings, Arc::new(clock), Arc::new(entropy)).unwrap();
    assert!(!format!("{mailer:?}").contains("planted"));
    let (to, subject) = (Email::new(to).unwrap(), "registry: hello".into());
    mailer.send(&Mail { to, subject, text: "the token:\n\n    dry_rec_x\n".into() }).await
}

#[tokio::test]
async fn a_message_arrives_over_tls_and_without() {
    let auth = format!("AUTH PLAIN {}", STANDARD.encode(format!("\0ann\0{PASSWORD}")));
    for (manner, tls, secure) in [
        (Manner::Plain, SmtpTls::None, ""),
        (Manner::StartTls, SmtpTls::StartTls, "*"),
        (Manner::Implicit, SmtpTls::Implicit, "*"),
    ] {
        let server = Server::start(manner).await;
        send(server.settings(tls), "ann@example.org").await.unwrap();
        let heard = server.heard();
        let position = |line: &str| heard.iter().position(|there| *there == format!("{secure}{line}"));
        let order = [&*auth, "MAIL FROM:<registry@example.org>", "RCPT TO:<ann@example.org>", "DATA", "."];
        let order = order.map(|line| position(line).unwrap_or_else(|| panic!("{line}: {heard:?}")));
        assert!(order.is_sorted(), "{heard:?}");
        let body: Vec<&str> = heard
            .iter()
            .skip_while(|line| !line.trim_start_matches('*').is_empty())
            .map(String::as_str)
            .collect();
        let body = STANDARD.decode(body[1].trim_start_matches('*')).unwrap();
        assert_eq!(String::from_utf8(body).unwrap(), "the token:\r\n\r\n    dry_rec_x\r\n");
        assert!(position("Subject: registry: hello").is_some(), "{heard:?}");
    }
}

#[tokio::test]
async fn what_goes_wrong_is_told_without_anybodys_address() {
    let server = Server::start(Manner::StartTls).await;
    let refused = send(server.settings(SmtpTls::StartTls), "nobody@example.org").await.unwrap_err();
    assert_eq!(refused.to_string(), "mail cannot be sent: RCPT: the mail server answers 550");

    // Nothing secret goes to a server that is not the one named, or that cannot keep it.
    let other = Server::start(Manner::Implicit).await;
    let settings = SmtpSettings { roots: Some(server.roots.clone()), ..other.settings(SmtpTls::Implicit) };
    let refused = send(settings, "ann@example.org").await.unwrap_err().to_string();
    assert!(refused.contains("securing the connection"), "{refused}");
    let plain = Server::start(Manner::Plain).await;
    let refused = send(plain.settings(SmtpTls::StartTls), "ann@example.org").await.unwrap_err();
    assert_eq!(refused.to_string(), "mail cannot be sent: STARTTLS: the mail server answers 502");
    let injecting = Server::start(Manner::Injecting).await;
    let refused = send(injecting.settings(SmtpTls::StartTls), "ann@example.org").await.unwrap_err();
    assert_eq!(refused.to_string(), "mail cannot be sent: STARTTLS: the mail server spoke on before TLS");
    for server in [other, plain, injecting] {
        assert!(!server.heard().iter().any(|line| line.contains("AUTH") || line.contains("MAIL")));
    }

    // A server that is away, and one that does not answer.
    let silent = Server::start(Manner::Silent).await;
    let settings = SmtpSettings { time_max: Duration::from_millis(50), ..silent.settings(SmtpTls::None) };
    let refused = send(settings, "ann@example.org").await.unwrap_err();
    assert_eq!(refused.to_string(), "mail cannot be sent: the mail server takes too long");
    let away = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let settings = SmtpSettings { port: away, ..silent.settings(SmtpTls::None) };
    let refused = send(settings, "ann@example.org").await.unwrap_err().to_string();
    assert!(refused.starts_with("mail cannot be sent: connecting"), "{refused}");
}

#[tokio::test]
async fn where_no_mail_goes_out_nothing_else_stops_and_nobody_learns_more() {
    let registry = open_registry().await;
    register_verified(&registry, "bob").await;
    registry.mails.fail(true);
    let ann = register(&registry, "ann").await;
    let send = async || post_as(&registry, &ann.token, "/api/v1/auth/verify/send", &Value::Null).await;
    let refused = send().await;
    refused.assert_refused("no mail", 503, &["mail-failed"]);
    assert_eq!(refused.headers["retry-after"], "30");
    for name in ["bob", "nobody"] {
        let asked = post(&registry, "/api/v1/auth/password/reset", &json!({"username": name})).await;
        assert_eq!(asked.status, 202, "{name}");
    }
    registry.mails.fail(false);
    assert_eq!(send().await.status, 202);
    let token = json!({"token": registry.mails.token_to("ann@example.org")});
    assert_eq!(post(&registry, "/api/v1/auth/verify", &token).await.status, 200);
}
