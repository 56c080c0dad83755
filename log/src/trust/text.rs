//! The text of a trust document: one spelling for each document.

use std::fmt;
use std::str::Split;

use drystone_schemas::Sha256Digest;

use super::{FINAL_LOGS_MAX, ROOTS_MAX, TrustDocument, TrustError};
use crate::checkpoint::{Checkpoint, parse_decimal};
use crate::hash::Hash;
use crate::note::{Algorithm, VerifierKey};

/// Largest number in a document; times and versions stay within a signed 64-bit number.
const NUMBER_MAX: u64 = i64::MAX as u64;

/// A line of a trust document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustLine {
    /// The first, which names the subject.
    Subject,
    /// `version`, from 1.
    Version,
    /// `expires`.
    Expires,
    /// `threshold`, from 1 to the number of roots.
    Threshold,
    /// A `root`: an Ed25519 key named `<subject>/root/<holder>`, none twice.
    Root,
    /// `policy`.
    Policy,
    /// `max-age`, from 1.
    MaxAge,
    /// A `log-final`, none twice.
    LogFinal,
    /// The end, or a line that is not in its place.
    End,
}

impl fmt::Display for TrustLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Subject => "first line",
            Self::Version => "`version` line",
            Self::Expires => "`expires` line",
            Self::Threshold => "`threshold` line",
            Self::Root => "`root` lines",
            Self::Policy => "`policy` line",
            Self::MaxAge => "`max-age` line",
            Self::LogFinal => "`log-final` lines",
            Self::End => "last lines",
        })
    }
}

struct Lines<'a>(std::iter::Peekable<Split<'a, char>>);

impl<'a> Lines<'a> {
    /// What follows this word, if the next line begins with it.
    fn next(&mut self, word: &str) -> Option<&'a str> {
        let rest = |line: &&'a str| line.strip_prefix(word)?.strip_prefix(' ');
        let found = self.0.peek().and_then(rest);
        if found.is_some() {
            self.0.next();
        }
        found
    }

    fn number(&mut self, word: &str) -> Option<u64> {
        self.next(word).and_then(parse_decimal)
    }
}

pub(super) fn decode(text: &str) -> Result<TrustDocument, TrustError> {
    let wrong = |line| TrustError::Malformed { line };
    let body = text.strip_suffix('\n').ok_or(wrong(TrustLine::End))?;
    let mut lines = Lines(body.split('\n').peekable());
    let first = lines.0.next().and_then(|line| line.strip_suffix("/trust"));
    let subject = first.ok_or(wrong(TrustLine::Subject))?.to_owned();
    let version = lines.number("version").ok_or(wrong(TrustLine::Version))?;
    let expires = lines.number("expires").ok_or(wrong(TrustLine::Expires))?;
    let threshold = lines.number("threshold").and_then(|number| usize::try_from(number).ok());
    let threshold = threshold.ok_or(wrong(TrustLine::Threshold))?;
    let mut roots = Vec::new();
    while let Some(root) = lines.next("root") {
        if roots.len() == ROOTS_MAX {
            return Err(wrong(TrustLine::Root));
        }
        roots.push(VerifierKey::parse(root).map_err(|_| wrong(TrustLine::Root))?);
    }
    let policy = lines.next("policy").and_then(|hex| Sha256Digest::from_hex(hex).ok());
    let policy = policy.ok_or(wrong(TrustLine::Policy))?;
    let max_age_s = lines.number("max-age").ok_or(wrong(TrustLine::MaxAge))?;
    let mut final_logs = Vec::new();
    while let Some(log) = lines.next("log-final") {
        if final_logs.len() == FINAL_LOGS_MAX {
            return Err(wrong(TrustLine::LogFinal));
        }
        final_logs.push(final_log(log).ok_or(wrong(TrustLine::LogFinal))?);
    }
    if lines.0.next().is_some() {
        return Err(wrong(TrustLine::End));
    }
    let document =
        TrustDocument { subject, version, expires, threshold, roots, policy, max_age_s, final_logs };
    // Whatever the readers above let through in more than one spelling is caught here.
    if encode(&document)? == text { Ok(document) } else { Err(wrong(TrustLine::End)) }
}

fn final_log(rest: &str) -> Option<Checkpoint> {
    let (rest, root) = rest.rsplit_once(' ')?;
    let (origin, size) = rest.rsplit_once(' ')?;
    Checkpoint::new(origin, parse_decimal(size)?, Hash::from_base64(root).ok()?).ok()
}

pub(super) fn encode(document: &TrustDocument) -> Result<String, TrustError> {
    check(document).map_err(|line| TrustError::Malformed { line })?;
    let TrustDocument { subject, version, expires, threshold, roots, policy, max_age_s, final_logs } =
        document;
    let mut text = format!("{subject}/trust\nversion {version}\nexpires {expires}\nthreshold {threshold}\n");
    roots.iter().for_each(|root| text.push_str(&format!("root {root}\n")));
    text.push_str(&format!("policy {}\nmax-age {max_age_s}\n", policy.hex()));
    for log in final_logs {
        text.push_str(&format!("log-final {} {} {}\n", log.origin(), log.size(), log.root().to_base64()));
    }
    Ok(text)
}

fn check(document: &TrustDocument) -> Result<(), TrustLine> {
    let must = |good: bool, line| if good { Ok(()) } else { Err(line) };
    let subject = &document.subject;
    let bad = |char: char| char.is_whitespace() || char.is_control() || char == '+';
    must(!subject.is_empty() && !subject.contains(bad), TrustLine::Subject)?;
    must((1..=NUMBER_MAX).contains(&document.version), TrustLine::Version)?;
    must(document.expires <= NUMBER_MAX, TrustLine::Expires)?;
    let roots = &document.roots;
    must((1..=roots.len()).contains(&document.threshold), TrustLine::Threshold)?;
    must(roots.len() <= ROOTS_MAX, TrustLine::Root)?;
    let prefix = format!("{subject}/root/");
    for (position, root) in roots.iter().enumerate() {
        let named = root.name().strip_prefix(&prefix).is_some_and(|holder| !holder.is_empty());
        let same =
            |other: &VerifierKey| other.public_bytes() == root.public_bytes() || other.name() == root.name();
        let once = !roots[..position].iter().any(same);
        must(named && once && root.algorithm() == Algorithm::Ed25519, TrustLine::Root)?;
    }
    must((1..=NUMBER_MAX).contains(&document.max_age_s), TrustLine::MaxAge)?;
    let logs = &document.final_logs;
    must(logs.len() <= FINAL_LOGS_MAX, TrustLine::LogFinal)?;
    for (position, log) in logs.iter().enumerate() {
        let once = !logs[..position].iter().any(|other| other.origin() == log.origin());
        must(once && !log.origin().contains(char::is_whitespace), TrustLine::LogFinal)?;
    }
    Ok(())
}
