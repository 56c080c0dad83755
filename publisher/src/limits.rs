//! How much anybody may ask for: token buckets, shared by all instances where it matters, and in memory where it does not.
//!
//! Owns: the arithmetic, where buckets lie, and the headers that tell of them. Does not own: who is asked for what.
//! Sign-ins, mails and whatever else is worth an attack count in the vault, by compare-and-swap, and are refused when that
//! cannot be read. Requests that read count in this process's memory only: an edge in front counts for all.
//! Invariant: a subject is kept under a keyed hash; no address and no name can be read from the vault.

use std::{collections::HashMap, net::IpAddr, sync::Mutex};

use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use drystone_schemas::{AccountId, Code, Limits, Problem, Sha256Digest, layout};
use serde::{Deserialize, Serialize};

use crate::{
    Refusal, TokenRecord,
    service::Core,
    swap::{self, Change},
};

/// Most subjects that a process counts in memory.
const KEPT_MAX: usize = 50_000;

/// The address that a connection came from. Whoever accepts connections puts it into the request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// Who a request came from: the connection's peer; or, where that is on this machine, whom the proxy there names last in
/// `X-Forwarded-For`. None if nobody is known, or if a program on this machine asks for itself.
pub(crate) fn address_of(extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
    let Peer(peer) = *extensions.get::<Peer>()?;
    if !peer.to_canonical().is_loopback() {
        return Some(peer.to_canonical());
    }
    let forwarded = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    let last: IpAddr = forwarded.rsplit(',').next()?.trim().parse().ok()?;
    Some(last.to_canonical())
}

/// Whom an address stands for: itself, or its network of 64 bits, of which one customer has at least one.
pub(crate) fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

/// How often something may happen: a bucket that holds `burst` and is full again after `window_s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// What it is called, in headers and keys.
    pub(crate) name: &'static str,
    pub(crate) burst: u64,
    pub(crate) window_s: u64,
}

/// How a bucket stands after something was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) rate: Rate,
    /// How often it may happen now.
    pub(crate) remaining: u64,
    /// Seconds until it is full.
    pub(crate) full_in_s: u64,
}

/// There is nothing left; there is after so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exhausted {
    pub(crate) rate: Rate,
    pub(crate) retry_after_s: u64,
}

/// By how much the clocks of two processes may differ, in milliseconds: each by a minute from the store's.
const CLOCKS_APART_MS: u64 = 120_000;

impl Rate {
    pub(crate) const fn new(name: &'static str, burst: u64, window_s: u64) -> Self {
        Self { name, burst, window_s }
    }

    /// Takes one out of a bucket that will be full at `full_at_ms`; the bucket afterwards, and how it stands.
    ///
    /// One number is the whole state of a bucket (the generic cell rate algorithm, ITU-T I.371): each one taken moves the time at
    /// which it is full on by the time in which one comes back. One that would be full later than any bucket that was emptied
    /// now, even by a clock that is ahead by as much as clocks may be, is from before this clock was set back, and counts no more.
    pub(crate) fn take(self, full_at_ms: u64, now_ms: u64) -> Result<(u64, Standing), Exhausted> {
        let window_ms = self.window_s * 1_000;
        let one_ms = (window_ms / self.burst.max(1)).max(1);
        let possible_ms = now_ms.saturating_add(window_ms + CLOCKS_APART_MS);
        let full_at_ms = if full_at_ms > possible_ms { now_ms } else { full_at_ms.max(now_ms) } + one_ms;
        let over_ms = full_at_ms.saturating_sub(now_ms + one_ms * self.burst);
        if self.burst == 0 || over_ms > 0 {
            let retry_after_s = if self.burst == 0 { self.window_s } else { over_ms.div_ceil(1_000) };
            return Err(Exhausted { rate: self, retry_after_s: retry_after_s.max(1) });
        }
        let owed_ms = full_at_ms - now_ms;
        let remaining = (one_ms * self.burst - owed_ms) / one_ms;
        Ok((full_at_ms, Standing { rate: self, remaining, full_in_s: owed_ms.div_ceil(1_000) }))
    }
}

impl From<Exhausted> for Refusal {
    fn from(Exhausted { rate, retry_after_s }: Exhausted) -> Self {
        let detail = format!(
            "`{}` may happen {} times in {} seconds; come back in {retry_after_s}",
            rate.name, rate.burst, rate.window_s
        );
        let problem = Problem::new(Code::RateLimited, detail)
            .fact("limit", rate.name)
            .fact("max", rate.burst)
            .fact("window_s", rate.window_s)
            .fact("retry_after_s", retry_after_s);
        let retry_after_s = Some(u32::try_from(retry_after_s).unwrap_or(u32::MAX));
        Self { retry_after_s, ..Self::new(problem) }
    }
}

/// Sign-ins of an account or from an address.
pub(crate) fn logins(limits: &Limits) -> Rate {
    Rate::new("login", limits.logins_per_5_minutes_max, 300)
}

/// Accounts made from one address.
pub(crate) const REGISTRATIONS: Rate = Rate::new("register", 10, 3_600);
/// Mails that an account or an address may ask for.
pub(crate) const MAILS: Rate = Rate::new("mail", 5, 86_400);
/// Tokens that an account makes.
pub(crate) const NEW_TOKENS: Rate = Rate::new("tokens", 30, 3_600);
/// Attempts from one address at what a secret opens.
pub(crate) const ATTEMPTS: Rate = Rate::new("attempts", 60, 300);

/// Machines that begin to be signed in from one address.
pub(crate) const DEVICES: Rate = Rate::new("devices", 30, 3_600);
/// Codes of machines that an account types in, right or wrong.
pub(crate) const DEVICE_CODES: Rate = Rate::new("device-codes", 20, 600);

/// Codes that are tried for an account, right or wrong: a guess has three chances in a million, so 150 in a million a day.
pub(crate) const CODES: Rate = Rate::new("code", 50, 86_400);

/// Releases of an account.
pub(crate) fn uploads(limits: &Limits) -> Rate {
    Rate::new("upload", limits.uploads_per_day_max, 86_400)
}

/// Requests of an account.
pub(crate) fn signed_in(limits: &Limits) -> Rate {
    Rate::new("signed-in", limits.signed_in_requests_per_hour_max, 3_600)
}

/// Requests from an address.
pub(crate) fn anonymous(limits: &Limits) -> Rate {
    Rate::new("anonymous", limits.anonymous_requests_per_hour_max, 3_600)
}

/// Searches of an account or from an address.
pub(crate) fn searches(limits: &Limits) -> Rate {
    Rate::new("search", limits.searches_per_minute_max, 60)
}

/// `limits/<limit>/<hash>`.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Bucket {
    /// When it is full, in milliseconds since 1970.
    full_at_ms: u64,
}

impl Core {
    /// Takes one out of a bucket that all instances share.
    pub(crate) async fn take_shared(&self, rate: Rate, subject: &str) -> Result<Standing, Refusal> {
        let hash = self.keys().await?.hash(rate.name, subject);
        let now_ms = self.clock.now_unix_ms();
        let taken = swap::update(self, layout::bucket(rate.name, &hash), |there: Option<Bucket>| {
            Ok(match rate.take(there.unwrap_or_default().full_at_ms, now_ms) {
                Ok((full_at_ms, standing)) => Change::Write(Bucket { full_at_ms }, Ok(standing)),
                Err(exhausted) => Change::Leave(Err(exhausted)),
            })
        });
        Ok(taken.await??)
    }

    /// Takes one for an address, where one is known.
    pub(crate) async fn take_for_address(&self, rate: Rate, address: Option<IpAddr>) -> Result<(), Refusal> {
        if let Some(address) = address {
            self.take_shared(rate, &network(address)).await?;
        }
        Ok(())
    }
}

/// Buckets in memory.
#[derive(Default)]
pub(crate) struct Counted(Mutex<HashMap<(&'static str, String), u64>>);

impl Counted {
    /// Takes one out of a bucket of this process.
    pub(crate) fn take(&self, rate: Rate, subject: String, now_ms: u64) -> Result<Standing, Exhausted> {
        let mut kept = self.0.lock().expect("no holder of this lock panics");
        if kept.len() >= KEPT_MAX {
            kept.retain(|_, full_at_ms| *full_at_ms > now_ms);
        }
        if kept.len() >= KEPT_MAX {
            // Under a flood of subjects it is better to forget than to refuse everybody.
            kept.clear();
        }
        let bucket = kept.entry((rate.name, subject)).or_default();
        let (full_at_ms, standing) = rate.take(*bucket, now_ms)?;
        *bucket = full_at_ms;
        Ok(standing)
    }
}

/// Whom a token was found to belong to, and whether it is counted.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(crate) account: AccountId,
    /// The operator's tokens are not counted.
    pub(crate) exempt: bool,
    /// It is one of an account's tokens for tools.
    pub(crate) listed: bool,
}

/// Whom tokens belong to, for counting: a token never changes hands. No right follows from it.
#[derive(Default)]
pub(crate) struct Known(Mutex<HashMap<Sha256Digest, Owner>>);

impl Known {
    /// Whom a token was found to belong to.
    pub(crate) fn get(&self, digest: &Sha256Digest) -> Option<Owner> {
        self.0.lock().expect("no holder of this lock panics").get(digest).cloned()
    }

    /// Remembers whom a token belongs to.
    pub(crate) fn put(&self, digest: Sha256Digest, token: &TokenRecord) {
        let mut known = self.0.lock().expect("no holder of this lock panics");
        if known.len() >= KEPT_MAX {
            known.clear();
        }
        let listed = token.id.is_some() && token.session.is_none();
        let owner = Owner { account: token.account.clone(), exempt: token.is_admin(), listed };
        known.insert(digest, owner);
    }
}

/// Who is counted.
pub(crate) fn subject_of(account: &AccountId) -> String {
    account.as_str().to_owned()
}

impl Standing {
    /// The headers that tell of it: those that many servers send, and those of the draft "RateLimit header fields for HTTP".
    pub(crate) fn headers(&self, now_s: u64) -> Vec<(HeaderName, HeaderValue)> {
        headers(self.rate.name, self.rate.burst, self.rate.window_s, self.remaining, self.full_in_s, now_s)
    }
}

impl Exhausted {
    /// The same where nothing is left.
    pub(crate) fn headers(&self, now_s: u64) -> Vec<(HeaderName, HeaderValue)> {
        headers(self.rate.name, self.rate.burst, self.rate.window_s, 0, self.retry_after_s, now_s)
    }
}

/// The headers of a refusal, from the facts in it.
pub(crate) fn refused_headers(problem: &Problem, now_s: u64) -> Vec<(HeaderName, HeaderValue)> {
    let fact = |name: &str| problem.facts.get(name).cloned().unwrap_or_default();
    let number = |name: &str| fact(name).parse::<u64>().unwrap_or_default();
    headers(&fact("limit"), number("max"), number("window_s"), 0, number("retry_after_s"), now_s)
}

fn headers(
    name: &str,
    burst: u64,
    window_s: u64,
    remaining: u64,
    in_s: u64,
    now_s: u64,
) -> Vec<(HeaderName, HeaderValue)> {
    let text = |name: &'static str, value: String| {
        Some((HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?))
    };
    let all = [
        text("x-ratelimit-limit", burst.to_string()),
        text("x-ratelimit-remaining", remaining.to_string()),
        text("x-ratelimit-reset", (now_s + in_s).to_string()),
        text("ratelimit-policy", format!("\"{name}\";q={burst};w={window_s}")),
        text("ratelimit", format!("\"{name}\";r={remaining};t={in_s}")),
    ];
    all.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_IN_FIVE_MINUTES: Rate = Rate::new("login", 10, 300);

    #[test]
    fn a_bucket_empties_and_fills() {
        let (mut full_at_ms, now_ms) = (0, 1_000_000);
        for left in (0..10).rev() {
            let (next, standing) = TEN_IN_FIVE_MINUTES.take(full_at_ms, now_ms).unwrap();
            assert_eq!((standing.remaining, standing.full_in_s), (left, (10 - left) * 30));
            full_at_ms = next;
        }
        let exhausted = TEN_IN_FIVE_MINUTES.take(full_at_ms, now_ms).unwrap_err();
        assert_eq!(exhausted.retry_after_s, 30);
        assert_eq!(TEN_IN_FIVE_MINUTES.take(full_at_ms, now_ms + 29_001).unwrap_err().retry_after_s, 1);
        assert_eq!(TEN_IN_FIVE_MINUTES.take(full_at_ms, now_ms + 30_000).unwrap().1.remaining, 0);
        assert_eq!(TEN_IN_FIVE_MINUTES.take(full_at_ms, now_ms + 300_000).unwrap().1.remaining, 9);
        assert_eq!(TEN_IN_FIVE_MINUTES.take(0, u64::MAX / 2).unwrap().1.remaining, 9);
        assert_eq!(Rate::new("none", 0, 60).take(0, now_ms).unwrap_err().retry_after_s, 60);
        // The clock was set back by more than the window.
        let later_ms = now_ms + 300_000 + CLOCKS_APART_MS;
        assert!(TEN_IN_FIVE_MINUTES.take(later_ms, now_ms).is_err());
        assert_eq!(TEN_IN_FIVE_MINUTES.take(later_ms + 1, now_ms).unwrap().1.remaining, 9);
    }

    #[test]
    fn over_any_day_no_more_than_the_burst_and_what_came_back_is_taken() {
        let rate = Rate::new("upload", 100, 86_400);
        let (mut full_at_ms, mut taken) = (0, 0);
        for minute in 0..(2 * 24 * 60_u64) {
            if let Ok((next, _)) = rate.take(full_at_ms, minute * 60_000) {
                (full_at_ms, taken) = (next, taken + 1);
            }
        }
        assert!((298..=300).contains(&taken), "{taken}");
    }

    #[test]
    fn memory_is_bounded() {
        let (counted, rate) = (Counted::default(), Rate::new("anonymous", 1, 3_600));
        for i in 0..KEPT_MAX + 10 {
            assert!(counted.take(rate, i.to_string(), 5).is_ok());
        }
        assert!(counted.0.lock().unwrap().len() <= KEPT_MAX);
        assert!(counted.take(rate, (KEPT_MAX + 9).to_string(), 5).is_err());
    }

    #[test]
    fn who_asked() {
        let of = |peer: &str, forwarded: &[&'static str]| {
            let (mut extensions, mut headers) = (Extensions::new(), HeaderMap::new());
            extensions.insert(Peer(peer.parse().unwrap()));
            for value in forwarded {
                headers.append("x-forwarded-for", HeaderValue::from_static(value));
            }
            address_of(&extensions, &headers).map(network)
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(of("203.0.113.7", &["198.51.100.1"]), text("203.0.113.7"), "peers say what they like");
        assert_eq!(of("127.0.0.1", &["198.51.100.1, 203.0.113.7"]), text("203.0.113.7"));
        assert_eq!(of("::1", &["198.51.100.1", "2001:db8:1:2:3::4"]), text("2001:db8:1:2::/64"));
        assert_eq!(of("::ffff:203.0.113.7", &[]), text("203.0.113.7"));
        assert_eq!((of("127.0.0.1", &[]), of("127.0.0.1", &["unknown"])), (None, None));
        assert_eq!(address_of(&Extensions::new(), &HeaderMap::new()), None);
    }

    #[test]
    fn headers_tell_what_is_left() {
        let (_, standing) = TEN_IN_FIVE_MINUTES.take(0, 1_000).unwrap();
        let told: Vec<String> = standing
            .headers(1)
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        assert_eq!(
            told,
            [
                "x-ratelimit-limit: 10",
                "x-ratelimit-remaining: 9",
                "x-ratelimit-reset: 31",
                "ratelimit-policy: \"login\";q=10;w=300",
                "ratelimit: \"login\";r=9;t=30",
            ]
        );
    }
}
