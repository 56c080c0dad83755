//! What has expired in the vault: found, told of, and removed.
//!
//! Owns: when a private record is over, and a bounded walk over all that end. Does not own: garbage of the log, which
//! `drystone-index-builder` collects; accounts, organisations and trails, which do not end.
//!
//! No fence is needed, because no commit can name what goes: a record is refused from the second in which it expires, and goes a day
//! later at the earliest, while clocks differ by minutes. Invariant: what does not say itself that it is over stays, also if it does
//! not parse. A walk that was cut short goes on in the next run where it stopped, so that every record is reached.

use std::collections::BTreeMap;

use drystone_schemas::{EventId, Sha256Digest, canonical_json, layout};
use drystone_storage::{Area, Clock, Key, Meta, Page, Replace, Store};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::{
    Refusal, TokenRecord,
    token::TokenKind,
    trusted::WAITING_S,
    vault::{self, RECORD_BYTES_MAX},
};

/// Where a run that was cut short notes that it was.
const STOPPED: &str = "collect/expired";
const DAY_S: u64 = 24 * 3_600;
/// Seconds for which everything is kept that has expired: longer than clocks can differ, and than anybody asks about it.
const KEPT_S: u64 = DAY_S;
/// Seconds for which a token of a tool is: its owner finds it in the list, and sees why the tool fails.
const LISTED_KEPT_S: u64 = 30 * DAY_S;
/// How many records are read at once.
const AT_ONCE: usize = 16;

/// How to collect what has expired.
#[derive(Debug, Clone)]
pub struct ExpiredOptions {
    /// Remove; else only tell what would be.
    pub apply: bool,
    /// Name every key in the report; else only count.
    pub list: bool,
    /// After how many records a run stops, at the end of a page of 1,000.
    pub looked_at_max: u64,
}

/// A kind of private record that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpiredClass {
    /// Tokens, and where their accounts list them.
    Tokens,
    /// Sessions.
    Sessions,
    /// Tokens that were sent by mail.
    Links,
    /// That a CI provider's token was exchanged.
    Identities,
    /// How much of a limit is used up.
    Buckets,
    /// CI identities that wait for a package.
    Waiting,
    /// Machines that waited to be signed in.
    Devices,
    /// The codes that such machines showed.
    DeviceCodes,
    /// People who left to sign in at their provider.
    SignIns,
}

impl ExpiredClass {
    const ALL: [Self; 9] = [
        Self::Tokens,
        Self::Sessions,
        Self::Links,
        Self::Identities,
        Self::Buckets,
        Self::Waiting,
        Self::Devices,
        Self::DeviceCodes,
        Self::SignIns,
    ];

    /// Its name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tokens => "expired-tokens",
            Self::Sessions => "expired-sessions",
            Self::Links => "expired-links",
            Self::Identities => "expired-jti",
            Self::Buckets => "expired-limits",
            Self::Waiting => "expired-waiting",
            Self::Devices => "expired-devices",
            Self::DeviceCodes => "expired-device-codes",
            Self::SignIns => "expired-sign-ins",
        }
    }

    /// Why it is over.
    pub fn why(self) -> &'static str {
        match self {
            Self::Tokens => "they have expired, and their owners had time to see it",
            Self::Sessions => "nobody went on with them",
            Self::Links => "what was sent by mail has expired",
            Self::Identities => "the CI providers' tokens have expired, used or not",
            Self::Buckets => "they are full",
            Self::Waiting => "nobody published what CI identities waited for",
            Self::Devices => "the machines were signed in, or not in time",
            Self::DeviceCodes => "the machines that showed them were signed in, or not in time",
            Self::SignIns => "they came back from their provider, or not in time",
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Tokens => layout::TOKENS,
            Self::Sessions => layout::SESSIONS,
            Self::Links => layout::MAIL_LINKS,
            Self::Identities => layout::IDENTITIES_USED,
            Self::Buckets => layout::BUCKETS,
            Self::Waiting => layout::PENDING,
            Self::Devices => layout::DEVICES,
            Self::DeviceCodes => layout::DEVICE_CODES,
            Self::SignIns => layout::SIGN_INS,
        }
    }

    /// From when on a record may go, in seconds since 1970; none if it does not end.
    fn goes_at(self, key: &str, bytes: &[u8]) -> Option<u64> {
        #[derive(Deserialize)]
        struct Ends {
            #[serde(alias = "until")]
            expires: u64,
        }
        #[derive(Deserialize)]
        struct Fills {
            full_at_ms: u64,
        }
        let ends = match self {
            Self::Tokens => {
                let token: TokenRecord = serde_json::from_slice(bytes).ok()?;
                let is_listed = token.session.is_none() && token.kind != TokenKind::TrustedPublishing;
                let kept_s = if is_listed { LISTED_KEPT_S } else { KEPT_S };
                return token.expires?.checked_add(kept_s);
            }
            Self::Sessions
            | Self::Links
            | Self::Identities
            | Self::Devices
            | Self::DeviceCodes
            | Self::SignIns => serde_json::from_slice::<Ends>(bytes).ok()?.expires,
            Self::Buckets => serde_json::from_slice::<Fills>(bytes).ok()?.full_at_ms.div_ceil(1_000),
            Self::Waiting => {
                let id = EventId::new(key.rsplit('/').next()?).ok()?;
                (id.unix_ms() / 1_000).checked_add(WAITING_S)?
            }
        };
        ends.checked_add(KEPT_S)
    }

    /// What goes with a record, before it.
    fn companions(self, key: &str, bytes: &[u8]) -> Vec<String> {
        if self != Self::Tokens {
            return Vec::new();
        }
        let digest = key.strip_prefix(layout::TOKENS).and_then(|hex| Sha256Digest::from_hex(hex).ok());
        let mut keys: Vec<String> = digest.iter().map(layout::token_use).collect();
        if let Ok(TokenRecord { account, id: Some(id), .. }) = serde_json::from_slice(bytes) {
            keys.push(layout::token_of(&account, &id));
        }
        keys
    }
}

/// How much of one class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExpiredTally {
    /// Records.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What has expired.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExpiredReport {
    /// By class; only those of which there is something.
    pub classes: BTreeMap<ExpiredClass, ExpiredTally>,
    /// How many records were looked at.
    pub looked_at: u64,
    /// Whether there is more, which the next run looks at.
    pub more: bool,
    /// Every key with its class, if they are to be named.
    pub keys: Vec<(ExpiredClass, String)>,
}

/// `collect/expired`: where the last run stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stopped {
    /// Version of this format; 1.
    v: u32,
    class: ExpiredClass,
    /// Page of its listing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

/// Looks through everything private that ends, and removes what is over if it is asked to.
///
/// Any number may run at once, beside any number of publishers. A bucket that is used in the moment of its removal, after a day in
/// which it was full, forgets that use.
///
/// # Errors
///
/// Those of the storage. What was removed before stays removed.
pub async fn collect_expired(
    store: &Store,
    clock: &dyn Clock,
    options: &ExpiredOptions,
) -> Result<ExpiredReport, Refusal> {
    let vault = &*store.vault;
    let now_s = clock.now_unix_s();
    let stopped: Option<Stopped> = vault::read(vault, STOPPED.into()).await?;
    let mut start = stopped.clone();
    let mut report = ExpiredReport::default();
    for class in ExpiredClass::ALL {
        if start.as_ref().is_some_and(|start| class < start.class) {
            continue;
        }
        let mut after = start.take().filter(|start| start.class == class).and_then(|start| start.after);
        loop {
            if report.looked_at >= options.looked_at_max {
                report.more = true;
                if options.apply {
                    remember(vault, &Stopped { v: 1, class, after }).await?;
                }
                return Ok(report);
            }
            let page = page(vault, class, after).await?;
            report.looked_at += page.keys.len() as u64;
            remove_expired(vault, class, page.keys, now_s, options, &mut report).await?;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    if options.apply && stopped.is_some() {
        vault.delete(&Key::new(STOPPED).map_err(Refusal::internal)?).await?;
    }
    Ok(report)
}

/// A page of a listing; the first one where the place of an earlier run means nothing to the store any more.
async fn page(vault: &dyn Area, class: ExpiredClass, after: Option<String>) -> Result<Page, Refusal> {
    match vault.list(class.folder(), after.as_deref()).await {
        Err(_) if after.is_some() => Ok(vault.list(class.folder(), None).await?),
        listed => Ok(listed?),
    }
}

async fn remove_expired(
    vault: &dyn Area,
    class: ExpiredClass,
    keys: Vec<Key>,
    now_s: u64,
    options: &ExpiredOptions,
    report: &mut ExpiredReport,
) -> Result<(), Refusal> {
    let looks = keys.into_iter().map(async |key| {
        let Some(bytes) = vault.get(&key, RECORD_BYTES_MAX).await? else { return Ok(None) };
        if class.goes_at(key.as_str(), &bytes).is_none_or(|at| at > now_s) {
            return Ok(None);
        }
        if options.apply {
            for companion in class.companions(key.as_str(), &bytes) {
                vault.delete(&Key::new(companion).map_err(Refusal::internal)?).await?;
            }
            vault.delete(&key).await?;
        }
        Ok::<_, Refusal>(Some((key, bytes.len() as u64)))
    });
    let gone: Vec<_> = stream::iter(looks.collect::<Vec<_>>()).buffered(AT_ONCE).try_collect().await?;
    for (key, len) in gone.into_iter().flatten() {
        let tally = report.classes.entry(class).or_default();
        (tally.count, tally.bytes) = (tally.count + 1, tally.bytes + len);
        if options.list {
            report.keys.push((class, key.to_string()));
        }
    }
    Ok(())
}

/// Notes where the next run goes on. That another run has noted something else is as good.
async fn remember(vault: &dyn Area, stopped: &Stopped) -> Result<(), Refusal> {
    let key = Key::new(STOPPED).map_err(Refusal::internal)?;
    let seen = vault.read(&key, RECORD_BYTES_MAX).await?.map(|file| file.tag);
    let bytes = canonical_json(stopped);
    match vault.replace(&key, seen.as_ref(), bytes.into(), Meta::PRIVATE).await? {
        Replace::Replaced(_) | Replace::Conflict => Ok(()),
        Replace::Unknown(detail) => Err(Refusal::outcome_unknown(detail)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_itself_when_it_is_over() {
        let token = |rest: &str| {
            format!(
                r#"{{"v": 1, "account": "acct:01K742R2DRAAAAAAAAAAAAAAAB", "name": "n", "scopes": [], "created": 1{rest}}}"#
            )
        };
        let session = r#", "expires": 100, "session": "01K742R2DRAAAAAAAAAAAAAAAB""#;
        for (class, text, at) in [
            (ExpiredClass::Tokens, token(r#", "expires": 100"#), Some(100 + LISTED_KEPT_S)),
            (ExpiredClass::Tokens, token(session), Some(100 + KEPT_S)),
            (
                ExpiredClass::Tokens,
                token(r#", "expires": 100, "kind": "trusted-publishing""#),
                Some(100 + KEPT_S),
            ),
            (ExpiredClass::Tokens, token(""), None),
            (ExpiredClass::Links, r#"{"expires": 7}"#.into(), Some(7 + KEPT_S)),
            (ExpiredClass::Identities, r#"{"v": 1, "until": 7}"#.into(), Some(7 + KEPT_S)),
            (ExpiredClass::Buckets, r#"{"full_at_ms": 7001}"#.into(), Some(8 + KEPT_S)),
            (ExpiredClass::Buckets, "{}".into(), None),
            (ExpiredClass::Sessions, "damaged".into(), None),
            (ExpiredClass::Sessions, format!(r#"{{"expires": {}}}"#, u64::MAX), None),
        ] {
            assert_eq!(class.goes_at("x/y", text.as_bytes()), at, "{class:?} {text}");
        }
        let made_s = EventId::new("01K742R2DRAAAAAAAAAAAAAAAB").unwrap().unix_ms() / 1_000;
        let waiting = ExpiredClass::Waiting;
        let at = Some(made_s + WAITING_S + KEPT_S);
        assert_eq!(waiting.goes_at("pending/http/01K742R2DRAAAAAAAAAAAAAAAB", b""), at);
        assert_eq!(waiting.goes_at("pending/http/nobody", b""), None);
    }
}
