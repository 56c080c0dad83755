//! What somebody has beside a password: codes of an authenticator app, and recovery codes.
//!
//! Owns: the arithmetic (RFC 4226, RFC 6238: SHA-1, six digits, 30 seconds, which is all that many apps know), and that a code works
//! once. Does not own: where a factor is kept, and who is asked for one. Pure: the time and all randomness come from the caller.
//! Invariant: codes are compared in constant time, without the spaces and hyphens that people put into them.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use drystone_schemas::{Login, SecretText};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::hmac;
use serde::{Deserialize, Serialize};
use subtle::{Choice, ConstantTimeEq};

use super::keys::AuthKeys;

/// Seconds for which an app shows a code.
const STEP_S: u64 = 30;
/// Steps by which the clocks of app and registry may differ, either way.
const SKEW_STEPS: u64 = 1;
/// Bytes of an app's secret: those of the hash (RFC 4226 section 4).
pub(super) const SECRET_BYTES: usize = 20;
/// How many recovery codes there are, and their bytes: 80 bits cannot be tried.
pub(super) const RECOVERY_CODES: usize = 10;
pub(super) const RECOVERY_BYTES: usize = 10;

/// All but the unreserved characters of RFC 3986 section 2.3.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Something that somebody shows beside a password.
///
/// Another kind, such as a security key, is another implementation, and another field in the account's record.
pub(super) trait Factor {
    /// Whether this answer is good now. One that is good is used up.
    fn use_up(&mut self, answer: &Answer<'_>) -> bool;
}

/// What somebody answered, and when.
pub(super) struct Answer<'a> {
    code: SecretText,
    keys: &'a AuthKeys,
    now_s: u64,
}

impl<'a> Answer<'a> {
    /// An answer, without what people put into codes to read them better.
    pub(super) fn new(code: &SecretText, keys: &'a AuthKeys, now_s: u64) -> Self {
        Self { code: normal(code), keys, now_s }
    }
}

fn normal(code: &SecretText) -> SecretText {
    let kept = code.expose().chars().filter(|c| !c.is_whitespace() && *c != '-');
    SecretText::new(kept.collect::<String>().to_ascii_uppercase())
}

/// An authenticator app. Does not print.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct App {
    /// The secret that it shares with us, in base 32.
    secret: SecretText,
    /// The last step whose code was used: none of it or before is good again.
    #[serde(default)]
    last_step: u64,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("App(<hidden>)")
    }
}

impl App {
    /// An app that is told this secret.
    pub(super) fn new(secret: &[u8; SECRET_BYTES]) -> Self {
        Self { secret: SecretText::new(BASE32_NOPAD.encode(secret)), last_step: 0 }
    }

    /// The secret, for typing.
    pub(super) fn secret(&self) -> &SecretText {
        &self.secret
    }

    /// The address that apps read from a QR code ("Key Uri Format" of the Google Authenticator project).
    pub(super) fn uri(&self, registry: &str, login: &Login) -> SecretText {
        let issuer = utf8_percent_encode(registry, ESCAPED);
        let secret = self.secret.expose();
        SecretText::new(format!(
            "otpauth://totp/{issuer}:{login}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits=6&period={STEP_S}"
        ))
    }
}

impl Factor for App {
    fn use_up(&mut self, answer: &Answer<'_>) -> bool {
        let Ok(secret) = BASE32_NOPAD.decode(self.secret.expose().as_bytes()) else { return false };
        let now = answer.now_s / STEP_S;
        let mut used = None;
        // Every step is looked at, so that the time tells nothing.
        for step in now.saturating_sub(SKEW_STEPS)..=now + SKEW_STEPS {
            let fits = hotp(&secret, step).as_bytes().ct_eq(answer.code.expose().as_bytes());
            if bool::from(fits & Choice::from(u8::from(step > self.last_step))) {
                used = Some(step);
            }
        }
        self.last_step = used.unwrap_or(self.last_step);
        used.is_some()
    }
}

/// Recovery codes that were not used yet, by their keyed hashes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct RecoveryCodes(Vec<String>);

impl RecoveryCodes {
    /// New codes, and what is kept of them.
    pub(super) fn new(
        random: &[[u8; RECOVERY_BYTES]; RECOVERY_CODES],
        keys: &AuthKeys,
    ) -> (Self, Vec<SecretText>) {
        let codes: Vec<SecretText> = random
            .iter()
            .map(|bytes| {
                let text = BASE32_NOPAD.encode(bytes).to_ascii_lowercase();
                SecretText::new(
                    [text.get(..4), text.get(4..8), text.get(8..12), text.get(12..)]
                        .map(Option::unwrap_or_default)
                        .join("-"),
                )
            })
            .collect();
        (Self(codes.iter().map(|code| hashed(&normal(code), keys)).collect()), codes)
    }

    /// How many are left.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

fn hashed(code: &SecretText, keys: &AuthKeys) -> String {
    keys.hash("recovery-code", code.expose())
}

impl Factor for RecoveryCodes {
    fn use_up(&mut self, answer: &Answer<'_>) -> bool {
        let hash = hashed(&answer.code, answer.keys);
        let there = self.0.len();
        self.0.retain(|kept| !bool::from(kept.as_bytes().ct_eq(hash.as_bytes())));
        self.0.len() < there
    }
}

/// A code of six digits (RFC 4226 section 5.3).
fn hotp(secret: &[u8], counter: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &counter.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag[tag.len() - 1] & 0xf);
    let word = tag[offset..offset + 4].iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
    format!("{:06}", (word & 0x7fff_ffff) % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret of RFC 4226 appendix D and RFC 6238 appendix B.
    const SECRET: &[u8; SECRET_BYTES] = b"12345678901234567890";

    fn keys() -> AuthKeys {
        serde_json::from_str(r#"{"v": 1, "lookup": "00", "signing": []}"#).unwrap()
    }

    #[test]
    fn codes_are_those_of_the_rfcs() {
        let codes = (0..10).map(|counter| hotp(SECRET, counter)).collect::<Vec<_>>();
        assert_eq!(codes.join(" "), "755224 287082 359152 969429 338314 254676 287922 162583 399871 520489");
        // RFC 6238 appendix B has eight digits; these are the last six.
        for (at, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(hotp(SECRET, at / STEP_S), code);
            let code = SecretText::new(code);
            assert!(App::new(SECRET).use_up(&Answer::new(&code, &keys(), at)), "{at}");
        }
    }

    #[test]
    fn a_code_works_once_and_one_step_to_either_side() {
        let (keys, step) = (keys(), 1_000);
        let mut app = App::new(SECRET);
        let mut ask = |step: u64, at_step: u64| {
            let code = hotp(SECRET, step);
            let spaced = SecretText::new(format!(" {} {}-", &code[..3], &code[3..]));
            app.use_up(&Answer::new(&spaced, &keys, at_step * STEP_S + 29))
        };
        assert!(!ask(step - 2, step) && !ask(step + 2, step), "two steps are too many");
        assert!(ask(step - 1, step) && !ask(step - 1, step), "late, once");
        assert!(ask(step + 1, step) && !ask(step, step), "early; what was before is over");
        assert!(!ask(step + 1, step + 1) && ask(step + 2, step + 1));
        for code in ["", "000", "0000000", "é00000", "28708"] {
            assert!(!App::new(SECRET).use_up(&Answer::new(&SecretText::new(code), &keys, 59)), "{code}");
        }
    }

    #[test]
    fn recovery_codes_work_once_each() {
        let keys = keys();
        let random: [[u8; RECOVERY_BYTES]; RECOVERY_CODES] = std::array::from_fn(|i| [i as u8 * 7; 10]);
        let (mut kept, codes) = RecoveryCodes::new(&random, &keys);
        assert_eq!((kept.len(), codes.len(), codes[1].expose()), (10, 10, "a4dq-obyh-a4dq-obyh"));
        assert!(!format!("{kept:?}").contains("a4dq"));
        let mut ask = |text: &str| kept.use_up(&Answer::new(&SecretText::new(text), &keys, 0));
        assert!(ask("A4DQ OBYH-a4dqobyh") && !ask("a4dq-obyh-a4dq-obyh"));
        assert!(!ask("") && !ask("a4dq") && ask(codes[9].expose()));
        assert_eq!(kept.len(), 8);
    }

    #[test]
    fn an_app_reads_its_address_and_nobody_else_does() {
        let app = App::new(SECRET);
        assert_eq!(app.secret().expose(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let uri = app.uri("Acme & Co", &Login::new("ann").unwrap());
        assert_eq!(
            uri.expose(),
            "otpauth://totp/Acme%20%26%20Co:ann?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Acme%20%26%20Co\
             &algorithm=SHA1&digits=6&period=30"
        );
        assert_eq!(format!("{app:?}{uri:?}"), "App(<hidden>)SecretText(<hidden>)");
    }
}
