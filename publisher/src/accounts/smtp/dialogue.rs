//! What client and server say to each other.
//!
//! Invariant: what the server says is read in bounded lines, and only its codes are believed.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use drystone_schemas::SecretText;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use zeroize::Zeroizing;

use super::failed;
use crate::accounts::{Email, MailError};

/// Longest line of a reply, in bytes (RFC 5321 section 4.5.3.1.5 has 512), and most lines.
const LINE_BYTES_MAX: u64 = 2_048;
const LINES_MAX: usize = 64;

/// A dialogue over a connection.
pub(super) struct Dialogue<S>(BufReader<S>);

/// A reply: its code, and its lines without it.
struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Dialogue<S> {
    pub(super) fn new(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    /// Waits for the server to begin.
    pub(super) async fn greeting(&mut self) -> Result<(), MailError> {
        self.expect("greeting", 220).await.map(drop)
    }

    /// Asks for TLS; what was said until then is forgotten (RFC 3207 section 4.2).
    pub(super) async fn start_tls(mut self) -> Result<S, MailError> {
        self.hello().await?;
        self.say("STARTTLS", "STARTTLS", 220).await?;
        // Whatever lies here was not said under TLS, and must not count as if it were.
        if !self.0.buffer().is_empty() {
            return Err(MailError("STARTTLS: the mail server spoke on before TLS".into()));
        }
        Ok(self.0.into_inner())
    }

    /// Hands a message in.
    pub(super) async fn submit(
        &mut self,
        login: Option<&(String, SecretText)>,
        from: &Email,
        to: &Email,
        message: &str,
    ) -> Result<(), MailError> {
        let abilities = self.hello().await?;
        if let Some((user, password)) = login {
            self.sign_in(&abilities, user, password).await?;
        }
        self.say("MAIL", &format!("MAIL FROM:<{}>", from.as_str()), 250).await?;
        self.say("RCPT", &format!("RCPT TO:<{}>", to.as_str()), 250).await?;
        self.say("DATA", "DATA", 354).await?;
        // No line of a message begins with a dot, see `message`.
        self.say("message", &format!("{message}."), 250).await?;
        // It is handed in; how the server takes leave is all the same.
        drop(self.say("QUIT", "QUIT", 221).await);
        Ok(())
    }

    /// What the server can do.
    async fn hello(&mut self) -> Result<Vec<String>, MailError> {
        // We have no name of our own that the server could look up (RFC 5321 section 4.1.3).
        Ok(self.say("EHLO", "EHLO [127.0.0.1]", 250).await?.lines)
    }

    async fn sign_in(
        &mut self,
        abilities: &[String],
        user: &str,
        password: &SecretText,
    ) -> Result<(), MailError> {
        let offered = |way: &str| {
            let mut words = abilities.iter().map(|line| line.to_ascii_uppercase());
            words.any(|line| line.strip_prefix("AUTH ").is_some_and(|ways| ways.split(' ').any(|w| w == way)))
        };
        let encoded = |text: &str| Zeroizing::new(STANDARD.encode(text));
        if offered("PLAIN") {
            let both = Zeroizing::new(format!("\0{user}\0{}", password.expose()));
            let line = Zeroizing::new(format!("AUTH PLAIN {}", &*encoded(&both)));
            self.say("AUTH", &line, 235).await.map(drop)
        } else if offered("LOGIN") {
            self.say("AUTH", "AUTH LOGIN", 334).await?;
            self.say("AUTH", &encoded(user), 334).await?;
            self.say("AUTH", &encoded(password.expose()), 235).await.map(drop)
        } else {
            Err(MailError("AUTH: the mail server takes no password".into()))
        }
    }

    async fn say(&mut self, step: &str, line: &str, code: u16) -> Result<Reply, MailError> {
        let line = Zeroizing::new(format!("{line}\r\n"));
        self.0.write_all(line.as_bytes()).await.map_err(|e| failed(step, &e))?;
        self.0.flush().await.map_err(|e| failed(step, &e))?;
        self.expect(step, code).await
    }

    async fn expect(&mut self, step: &str, code: u16) -> Result<Reply, MailError> {
        let reply = self.reply(step).await?;
        if reply.code == code {
            return Ok(reply);
        }
        Err(MailError(format!("{step}: the mail server answers {}", reply.code)))
    }

    async fn reply(&mut self, step: &str) -> Result<Reply, MailError> {
        let garbled = || MailError(format!("{step}: the mail server's answer cannot be read"));
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            let read = (&mut self.0).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await;
            read.map_err(|e| failed(step, &e))?;
            let text = line.strip_suffix(b"\n").ok_or_else(garbled)?;
            let text = String::from_utf8_lossy(text.strip_suffix(b"\r").unwrap_or(text)).into_owned();
            let code = text.get(..3).and_then(|code| code.parse().ok()).ok_or_else(garbled)?;
            lines.push(text.get(4..).unwrap_or_default().to_owned());
            if text.as_bytes().get(3) != Some(&b'-') {
                return Ok(Reply { code, lines });
            }
            if lines.len() >= LINES_MAX {
                return Err(garbled());
            }
        }
    }
}
