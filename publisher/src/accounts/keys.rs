//! The secrets behind accounts: one that names are hashed with, and keys that sessions are signed with.
//!
//! Owns: `auth/keys` in the vault, when keys change, and what a process keeps of them. Does not own: what is signed.
//! Invariant: a key is published before it signs, and verifies until nothing that it signed is valid any more.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use drystone_schemas::layout;
use ring::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Refusal,
    jwt::PublicKey,
    service::Core,
    swap::{self, Change},
};

/// Seconds for which a key signs.
const KEY_S: u64 = 30 * 24 * 3_600;
/// Seconds for which a key is published before it signs, and after.
const OVERLAP_S: u64 = 24 * 3_600;
/// Milliseconds for which a process goes by the keys that it has read.
const KEPT_MS: u64 = 60_000;
/// Milliseconds after which keys are read again for a token that was signed with one that is not known.
const UNKNOWN_MS: u64 = 1_000;

/// `auth/keys`.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct AuthKeys {
    /// Version of this format; 1.
    v: u32,
    /// Key of the hashes under which e-mail addresses, logins that are gone, and peers are kept; hex.
    lookup: String,
    /// The oldest first.
    signing: Vec<SigningKey>,
}

/// A key that sessions are signed with.
#[derive(Clone, Serialize, Deserialize)]
struct SigningKey {
    kid: String,
    /// Seed of the Ed25519 key; hex.
    seed: String,
    /// When it begins to sign, in seconds since 1970.
    from: u64,
}

impl fmt::Debug for AuthKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthKeys({} signing keys)", self.signing.len())
    }
}

impl SigningKey {
    fn pair(&self) -> Result<Ed25519KeyPair, Refusal> {
        let seed = hex::decode(&self.seed).map_err(Refusal::internal)?;
        Ed25519KeyPair::from_seed_unchecked(&seed).map_err(Refusal::internal)
    }
}

impl AuthKeys {
    /// The key that signs now, and its name.
    pub(crate) fn signing(&self, now_s: u64) -> Result<(Ed25519KeyPair, &str), Refusal> {
        let key = self.signing.iter().rev().find(|key| key.from <= now_s).or(self.signing.first());
        let key = key.ok_or_else(|| Refusal::internal("there is no key to sign sessions with"))?;
        Ok((key.pair()?, &key.kid))
    }

    /// The public key with this name.
    pub(crate) fn public(&self, kid: &str) -> Option<PublicKey> {
        let key = self.signing.iter().find(|key| key.kid == kid)?;
        Some(PublicKey::Ed25519(key.pair().ok()?.public_key().as_ref().to_vec()))
    }

    /// All public keys as a JSON Web Key Set (RFC 7517, RFC 8037).
    pub(crate) fn to_jwks(&self) -> Value {
        let keys: Vec<Value> = self
            .signing
            .iter()
            .filter_map(|key| Some((key, key.pair().ok()?)))
            .map(|(key, pair)| {
                let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
                json!({"alg": "EdDSA", "crv": "Ed25519", "kid": key.kid, "kty": "OKP", "use": "sig", "x": x})
            })
            .collect();
        json!({"keys": keys})
    }

    /// The name under which a text is kept that must not be read from the vault's listing.
    pub(crate) fn hash(&self, what: &str, text: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.lookup.as_bytes());
        hex::encode(hmac::sign(&key, format!("{what}\0{text}").as_bytes()))
    }

    /// Whether the next key is missing.
    fn is_due(&self, now_s: u64) -> bool {
        self.signing.last().is_none_or(|newest| newest.from + KEY_S <= now_s + OVERLAP_S)
    }

    /// The same with the next key, and without those that nothing valid was signed with.
    fn turned(mut self, next: SigningKey, now_s: u64) -> Self {
        let next = SigningKey { from: if self.signing.is_empty() { now_s } else { next.from }, ..next };
        self.signing.push(next);
        let signs = self.signing.iter().rposition(|key| key.from <= now_s).unwrap_or(0);
        let ended = |i: usize, keys: &[SigningKey]| {
            i < signs && keys.get(i + 1).is_some_and(|next| next.from + OVERLAP_S <= now_s)
        };
        let gone = (0..self.signing.len()).take_while(|i| ended(*i, &self.signing)).count();
        self.signing.drain(..gone);
        self
    }
}

/// What a process keeps of the keys.
#[derive(Default)]
pub(crate) struct KeyRing(Mutex<Option<(u64, Arc<AuthKeys>)>>);

impl KeyRing {
    fn kept(&self, now_ms: u64, age_ms_max: u64) -> Option<Arc<AuthKeys>> {
        let kept = self.0.lock().expect("no holder of this lock panics").clone();
        kept.filter(|(read_ms, _)| now_ms.saturating_sub(*read_ms) < age_ms_max).map(|(_, keys)| keys)
    }
}

impl Core {
    /// The keys; made, if there are none or the next one is due.
    pub(crate) async fn keys(&self) -> Result<Arc<AuthKeys>, Refusal> {
        match self.key_ring.kept(self.clock.now_unix_ms(), KEPT_MS) {
            Some(keys) => Ok(keys),
            None => self.read_keys().await,
        }
    }

    /// The public key with this name, read again if it is not known.
    pub(crate) async fn public_key(&self, kid: &str) -> Result<Option<PublicKey>, Refusal> {
        if let Some(key) = self.keys().await?.public(kid) {
            return Ok(Some(key));
        }
        match self.key_ring.kept(self.clock.now_unix_ms(), UNKNOWN_MS) {
            Some(_) => Ok(None),
            None => Ok(self.read_keys().await?.public(kid)),
        }
    }

    async fn read_keys(&self) -> Result<Arc<AuthKeys>, Refusal> {
        let now_s = self.clock.now_unix_s();
        let keys = swap::update(self, layout::AUTH_KEYS.into(), |there: Option<AuthKeys>| {
            let there =
                there.unwrap_or_else(|| AuthKeys { v: 1, lookup: self.random_hex(), signing: Vec::new() });
            if !there.is_due(now_s) {
                return Ok(Change::Leave(there));
            }
            let kid = self.random_hex()[..16].to_owned();
            let next = SigningKey { kid, seed: self.random_hex(), from: now_s + OVERLAP_S };
            let turned = there.turned(next, now_s);
            Ok(Change::Write(turned.clone(), turned))
        })
        .await?;
        let keys = Arc::new(keys);
        let kept = (self.clock.now_unix_ms(), keys.clone());
        *self.key_ring.0.lock().expect("no holder of this lock panics") = Some(kept);
        Ok(keys)
    }

    fn random_hex(&self) -> String {
        let mut bytes = [0; 32];
        self.entropy.fill(&mut bytes);
        hex::encode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_S: u64 = 24 * 3_600;

    fn key(kid: u64, from: u64) -> SigningKey {
        SigningKey { kid: kid.to_string(), seed: hex::encode([kid as u8; 32]), from }
    }

    #[test]
    fn keys_turn_with_overlap() {
        let mut keys = AuthKeys { v: 1, lookup: "00".into(), signing: Vec::new() };
        let mut signed_by: Vec<(u64, String)> = Vec::new();
        for day in 0..400 {
            let now_s = day * DAY_S;
            if keys.is_due(now_s) {
                keys = keys.turned(key(day, now_s + OVERLAP_S), now_s);
            }
            let published: Vec<String> = keys.signing.iter().map(|key| key.kid.clone()).collect();
            // What was signed within the last day still verifies, and there is never a heap of keys.
            for (at, kid) in signed_by.iter().filter(|(at, _)| now_s - at <= OVERLAP_S) {
                assert!(published.contains(kid), "signed at {at}, now {now_s}");
            }
            assert!((1..=3).contains(&published.len()), "{published:?}");
            let (_, kid) = keys.signing(now_s).unwrap();
            // Nobody sees a key sign that was not published a day ahead, the first one aside.
            let from = keys.signing.iter().find(|key| key.kid == kid).unwrap().from;
            assert!(from == 0 || day > from / DAY_S - 1);
            signed_by.push((now_s, kid.to_owned()));
        }
        let mut kids: Vec<String> = signed_by.into_iter().map(|(_, kid)| kid).collect();
        kids.dedup();
        assert!((13..=15).contains(&kids.len()), "{kids:?}");
    }

    #[test]
    fn keys_do_not_print_and_names_are_hashed_apart() {
        let keys = AuthKeys { v: 1, lookup: "secret".into(), signing: vec![key(1, 0)] };
        assert_eq!(format!("{keys:?}"), "AuthKeys(1 signing keys)");
        assert_ne!(keys.hash("email", "a"), keys.hash("login", "a"));
        assert!(!keys.to_jwks().to_string().contains(&keys.signing[0].seed));
    }
}
