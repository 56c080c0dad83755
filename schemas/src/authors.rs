//! Author keys: who may sign the releases of a package, and by which rule they must.
//!
//! Owns: how keys and signatures are written, what weakens a rule, and from when on a changed rule is in force. Does not own
//! the cryptography.
//! Invariant: keys and rules are only ever added to, so that what was demanded of a release can be told for ever. When a rule
//! takes force follows from the rules before it and is stored nowhere, so that nobody can state it wrongly.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{PackageName, Sha256Digest, canonical_json};

/// Most keys that a package ever has, removed ones included.
pub const AUTHOR_KEYS_MAX: usize = 64;
/// Most keys that a rule names: an event with them stays far below 4 KiB.
pub const RULE_KEYS_MAX: usize = 16;
/// Most signatures of one release: an event with them stays below 4 KiB.
pub const SIGNATURES_MAX: usize = 8;
/// Most rules that a package ever has.
pub const RULES_MAX: usize = 256;
/// Longest time-lock, in hours: thirty days.
pub const LOCK_HOURS_MAX: u32 = 720;
/// The time-lock of a rule that does not say another, in hours.
pub const LOCK_HOURS_DEFAULT: u32 = 24;

/// What public keys begin with: the algorithm. Others can follow beside it.
const ED25519: &str = "ed25519:";
/// Bytes of an Ed25519 public key.
const KEY_BYTES: usize = 32;
/// Bytes of an Ed25519 signature.
const SIGNATURE_BYTES: usize = 64;

/// The public key of an author: `ed25519:` and 64 hex digits in lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct AuthorKey(String);

/// An author's signature: 128 hex digits in lower case.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct AuthorSignature(String);

/// Signatures of one release by their keys.
pub type AuthorSignatures = BTreeMap<AuthorKey, AuthorSignature>;

/// The text is no key or no signature of an author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAuthor {
    /// Not `ed25519:` and 64 hex digits.
    #[error("`{0}` is not an author key: it is written `ed25519:` and 64 hex digits in lower case")]
    Key(String),
    /// Not 128 hex digits.
    #[error("a signature is written as 128 hex digits in lower case")]
    Signature,
}

/// The bytes of a text of exactly this many bytes in hex, in lower case.
fn lower_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    (!text.bytes().any(|byte| byte.is_ascii_uppercase())).then_some(bytes)
}

impl AuthorKey {
    /// Reads a key.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidAuthor> {
        let text = text.into();
        match text.strip_prefix(ED25519).and_then(lower_hex::<KEY_BYTES>) {
            Some(_) => Ok(Self(text)),
            None => Err(InvalidAuthor::Key(text.chars().take(80).collect())),
        }
    }

    /// An Ed25519 key by its bytes.
    pub fn ed25519(bytes: &[u8; KEY_BYTES]) -> Self {
        Self(format!("{ED25519}{}", hex::encode(bytes)))
    }

    /// The bytes of the key.
    pub fn bytes(&self) -> [u8; KEY_BYTES] {
        lower_hex(&self.0[ED25519.len()..]).expect("a key was read with these digits")
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AuthorSignature {
    /// Reads a signature.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidAuthor> {
        let text = text.into();
        lower_hex::<SIGNATURE_BYTES>(&text).ok_or(InvalidAuthor::Signature)?;
        Ok(Self(text))
    }

    /// A signature by its bytes.
    pub fn of_bytes(bytes: &[u8; SIGNATURE_BYTES]) -> Self {
        Self(hex::encode(bytes))
    }

    /// The bytes of the signature.
    pub fn bytes(&self) -> [u8; SIGNATURE_BYTES] {
        lower_hex(&self.0).expect("a signature was read with these digits")
    }

    /// The signature as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

crate::account::text_conversions!(AuthorKey, InvalidAuthor);
crate::account::text_conversions!(AuthorSignature, InvalidAuthor);

/// The keys of a package's authors, and the rules by which they sign.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuthorKeys {
    /// Every key that was ever registered, in that order.
    pub keys: Vec<RegisteredKey>,
    /// Every rule that was ever made, in that order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<SigningRule>,
}

/// A key of an author.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RegisteredKey {
    /// The key.
    pub key: AuthorKey,
    /// Position in the log of its registration.
    pub added: u64,
    /// Position in the log of its revocation. What it signed before stays signed; it never comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<u64>,
}

/// A rule: every release needs signatures of so many of these keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SigningRule {
    /// Position in the log.
    pub seq: u64,
    /// When it was made, in seconds since 1970.
    pub time: u64,
    /// How many of the keys must sign; none lifts the rule before it.
    pub threshold: u32,
    /// The keys.
    pub keys: BTreeSet<AuthorKey>,
    /// How many hours must pass before a weaker rule takes force after this one; owners change with the same delay.
    pub lock_hours: u32,
    /// Why an administrator let it take force at once, as an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exception: Option<Sha256Digest>,
}

impl SigningRule {
    /// Whether it asks for anything.
    pub const fn demands(&self) -> bool {
        self.threshold > 0
    }

    /// Its time-lock, in seconds.
    pub const fn lock_s(&self) -> u64 {
        self.lock_hours as u64 * 3_600
    }

    /// Whether somebody who could not satisfy `old` might satisfy this rule, or might sooner.
    pub fn weakens(&self, old: &Self) -> bool {
        // Whoever has the least signatures that suffice now has at least so many that count for the old rule.
        let new_keys = self.keys.difference(&old.keys).count();
        let kept = (self.threshold as usize).saturating_sub(new_keys);
        old.demands() && (kept < old.threshold as usize || self.lock_hours < old.lock_hours)
    }
}

/// From when on a rule that an administrator has let in at once counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceptions {
    /// From its event on: so does the registry.
    AtOnce,
    /// Only after the time that the lock would have taken, by the reader's own clock, in seconds since 1970; then from its event
    /// on. So do clients: an exception never shortens the time in which others can notice it.
    Noticeable {
        /// The reader's time.
        now: u64,
    },
}

/// The rules at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RulesAt<'a> {
    /// The rule in force, if it asks for anything.
    pub in_force: Option<&'a SigningRule>,
    /// A rule that waits, and when it takes force, in seconds since 1970.
    pub waiting: Option<(&'a SigningRule, u64)>,
}

impl AuthorKeys {
    /// The rules for what happens at this position in the log, at this time: those made before it.
    ///
    /// A rule that weakens the one in force waits for that one's time-lock; a rule made meanwhile takes its place. Any other
    /// rule is in force at once.
    pub fn rules_at(&self, seq: u64, time: u64, exceptions: Exceptions) -> RulesAt<'_> {
        let mut at = RulesAt::default();
        for rule in self.rules.iter().filter(|rule| rule.seq < seq) {
            at.ripen(rule.time);
            let lock_s = at.in_force.filter(|old| rule.weakens(old)).map_or(0, SigningRule::lock_s);
            let open = rule.time.saturating_add(lock_s);
            let excepted = rule.exception.is_some()
                && match exceptions {
                    Exceptions::AtOnce => true,
                    Exceptions::Noticeable { now } => now >= open,
                };
            at.waiting = Some((rule, if excepted { rule.time } else { open }));
            at.ripen(rule.time);
        }
        at.ripen(time);
        at.in_force = at.in_force.filter(|rule| rule.demands());
        at
    }

    /// Whether a key is registered, and not revoked, at this position in the log.
    pub fn holds(&self, key: &AuthorKey, seq: u64) -> bool {
        self.keys.iter().any(|there| {
            there.key == *key && there.added < seq && there.removed.is_none_or(|removed| removed >= seq)
        })
    }

    /// Whether this is what `old` became: nothing taken away, nothing changed but by a revocation.
    pub fn continues(&self, old: &Self) -> bool {
        let same_or_removed = |(new, old): (&RegisteredKey, &RegisteredKey)| {
            (&new.key, new.added) == (&old.key, old.added)
                && (new.removed == old.removed || old.removed.is_none())
        };
        self.keys.len() >= old.keys.len()
            && self.keys.iter().zip(&old.keys).all(same_or_removed)
            && self.rules.starts_with(&old.rules)
    }
}

impl RulesAt<'_> {
    /// Lets what waits take force, if it is time.
    fn ripen(&mut self, time: u64) {
        if let Some((rule, _)) = self.waiting.take_if(|(_, from)| *from <= time) {
            self.in_force = Some(rule);
        }
    }
}

/// `keys/<name>.json`: the author keys of a package, for clients, which need not read its document for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuthorKeysFile {
    /// Position in the log of the last event that changed it.
    pub seq: u64,
    /// The package.
    pub name: PackageName,
    /// Keys and rules.
    #[serde(flatten)]
    pub authors: AuthorKeys,
}

impl AuthorKeysFile {
    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical_json(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_S: u64 = 3_600;

    fn key(byte: u8) -> AuthorKey {
        AuthorKey::ed25519(&[byte; 32])
    }

    #[test]
    fn a_file_of_keys_reads_back_as_it_was_written() {
        let text = key(7).as_str().to_owned();
        assert_eq!(AuthorKey::new(text.clone()).unwrap(), key(7));
        assert_eq!(text, format!("{ED25519}{}", "07".repeat(KEY_BYTES)));
        let authors = AuthorKeys {
            keys: vec![RegisteredKey { key: key(1), added: 2, removed: Some(3) }],
            rules: vec![rule(3, 4, 1, &[1, 2], 5)],
        };
        let file = AuthorKeysFile { seq: 3, name: PackageName::new("acme/http").unwrap(), authors };
        assert_eq!(serde_json::from_slice::<AuthorKeysFile>(&file.to_bytes()).unwrap(), file);
    }

    fn rule(seq: u64, time: u64, threshold: u32, keys: &[u8], lock_hours: u32) -> SigningRule {
        let keys = keys.iter().map(|byte| key(*byte)).collect();
        SigningRule { seq, time, threshold, keys, lock_hours, exception: None }
    }

    fn in_force(rules: &[SigningRule], seq: u64, time: u64, exceptions: Exceptions) -> Option<u64> {
        let authors = AuthorKeys { keys: Vec::new(), rules: rules.to_vec() };
        authors.rules_at(seq, time, exceptions).in_force.map(|rule| rule.seq)
    }

    #[test]
    fn keys_and_signatures_have_one_spelling() {
        let good = key(0xab);
        assert_eq!(AuthorKey::new(good.to_string()), Ok(good.clone()));
        assert_eq!(good.bytes(), [0xab; 32]);
        for bad in
            [&good.as_str().to_uppercase(), "ed25519:ab", "ab", "", &format!("rsa:{}", "ab".repeat(32))]
        {
            assert!(AuthorKey::new(bad).is_err(), "{bad}");
        }
        assert!(AuthorKey::new(good.as_str().replace('a', "A")).is_err());
        let signature = AuthorSignature::of_bytes(&[0xcd; 64]);
        assert_eq!(AuthorSignature::new(signature.as_str()).unwrap().bytes(), [0xcd; 64]);
        assert!(AuthorSignature::new("cd".repeat(63)).is_err());
        assert!(AuthorSignature::new("CD".repeat(64)).is_err());
    }

    #[test]
    fn what_weakens_a_rule() {
        let old = rule(1, 0, 2, &[1, 2, 3], 24);
        let check = |threshold, keys: &[u8], lock| rule(2, 0, threshold, keys, lock).weakens(&old);
        assert!(!check(2, &[1, 2, 3], 24) && !check(3, &[1, 2, 3], 24) && !check(2, &[1, 2], 24));
        assert!(!check(2, &[1, 2, 3], 48));
        assert!(check(1, &[1, 2, 3], 24), "fewer signatures");
        assert!(check(0, &[], 24), "none");
        assert!(check(2, &[1, 2, 3, 4], 24), "one of an old key and one of a new one would do");
        assert!(!check(3, &[1, 2, 3, 4], 24), "of three, two are old ones");
        assert!(check(2, &[1, 2, 3], 23), "a shorter lock");
        let none = rule(1, 0, 0, &[], 24);
        assert!(!rule(2, 0, 0, &[], 1).weakens(&none) && !rule(2, 0, 1, &[9], 1).weakens(&none));
    }

    #[test]
    fn a_weaker_rule_waits_and_a_stronger_one_does_not() {
        let day = 24 * HOUR_S;
        let rules = [rule(1, 100, 1, &[1], 24), rule(2, 200, 2, &[1, 2], 24), rule(3, 300, 0, &[], 24)];
        let at = |seq, time| in_force(&rules, seq, time, Exceptions::AtOnce);
        assert_eq!(at(1, 1_000), None, "a rule is not for its own position");
        assert_eq!(at(2, 100), Some(1));
        // Of two signatures by one old and one new key, one is old: no weaker than one old one.
        assert_eq!(at(3, 200), Some(2));
        assert_eq!(at(9, 300 + day - 1), Some(2));
        assert_eq!(at(9, 300 + day), None);
    }

    #[test]
    fn a_rule_made_while_another_waits_takes_its_place() {
        let day = 24 * HOUR_S;
        let lifted = rule(2, 0, 0, &[], 24);
        let again = rule(3, HOUR_S, 1, &[1], 24);
        let rules = [rule(1, 0, 1, &[1], 24), lifted.clone(), again];
        assert_eq!(in_force(&rules, 9, 3 * day, Exceptions::AtOnce), Some(3));
        // The lock begins anew with each weaker rule.
        let rules = [rule(1, 0, 1, &[1], 24), lifted, rule(3, HOUR_S, 0, &[], 48)];
        assert_eq!(in_force(&rules, 9, day, Exceptions::AtOnce), Some(1));
        assert_eq!(in_force(&rules, 9, day + HOUR_S, Exceptions::AtOnce), None);
        // What has taken force before is what the next one is compared with.
        let rules = [rule(1, 0, 1, &[1], 24), rule(2, 0, 0, &[], 24), rule(3, day, 0, &[], 1)];
        assert_eq!(in_force(&rules, 9, day, Exceptions::AtOnce), None);
    }

    #[test]
    fn an_exception_counts_at_once_for_the_registry_and_after_the_lock_for_others() {
        let day = 24 * HOUR_S;
        let lifted = SigningRule { exception: Some(Sha256Digest::of(b"why")), ..rule(2, 100, 0, &[], 24) };
        let rules = [rule(1, 0, 1, &[1], 24), lifted];
        assert_eq!(in_force(&rules, 9, 100, Exceptions::AtOnce), None);
        let now = |now| in_force(&rules, 9, 100, Exceptions::Noticeable { now });
        assert_eq!((now(100), now(99 + day), now(100 + day)), (Some(1), Some(1), None));
    }

    #[test]
    fn a_key_counts_from_its_registration_to_its_revocation() {
        let keys = vec![RegisteredKey { key: key(1), added: 5, removed: Some(9) }];
        let authors = AuthorKeys { keys, rules: Vec::new() };
        let held: Vec<u64> = (0..12).filter(|seq| authors.holds(&key(1), *seq)).collect();
        assert_eq!(held, [6, 7, 8, 9]);
        assert!(!authors.holds(&key(2), 7));
    }

    #[test]
    fn what_was_seen_only_grows() {
        let registered = |byte, removed| RegisteredKey { key: key(byte), added: 5, removed };
        let old = AuthorKeys { keys: vec![registered(1, None)], rules: vec![rule(6, 0, 1, &[1], 24)] };
        let mut new = old.clone();
        assert!(new.continues(&old));
        new.keys[0].removed = Some(7);
        new.keys.push(registered(2, None));
        new.rules.push(rule(8, 0, 1, &[2], 24));
        assert!(new.continues(&old) && !old.continues(&new));
        let mut revived = new.clone();
        revived.keys[0].removed = None;
        assert!(!revived.continues(&new));
        let mut moved = new.clone();
        moved.keys[1].added = 6;
        assert!(!moved.continues(&new));
        let mut rewritten = new.clone();
        rewritten.rules[0].threshold = 0;
        assert!(!rewritten.continues(&old));
        assert!(!AuthorKeys::default().continues(&old));
    }
}
