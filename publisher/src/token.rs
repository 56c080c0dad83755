//! Bearer tokens: `dry_<kind>_` and 38 characters of base 62, the last six of which are a checksum; or a session's JWT.
//!
//! 32 characters are random (190 bits). A token is stored under its SHA-256, which is right for secrets of that
//! size; the checksum lets a mistyped or invented token be refused without a look into storage, and lets scanners
//! find leaked ones: `\bdry_(pat|tp|ses|ref|rec|dev)_[0-9A-Za-z]{38}\b`. A JWT is kept under its SHA-256 as well, so that it can be
//! revoked; its signature is what the checksum is to the others.

use std::fmt;

use drystone_schemas::Sha256Digest;
use drystone_storage::Entropy;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

const RANDOM_CHARS: usize = 32;
const CHECKSUM_CHARS: usize = 6;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Longest JWT of ours, in bytes.
const JWT_BYTES_MAX: usize = 1024;

/// What a token is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenKind {
    /// Made by a person, for a tool.
    #[default]
    Personal,
    /// Exchanged for a CI identity.
    TrustedPublishing,
    /// A session's.
    Session,
    /// Continues a session; no bearer token.
    Refresh,
    /// Came by mail; no bearer token.
    Recovery,
    /// A machine's that waits to be signed in; no bearer token.
    Device,
}

impl TokenKind {
    const ALL: [Self; 6] =
        [Self::Personal, Self::TrustedPublishing, Self::Session, Self::Refresh, Self::Recovery, Self::Device];

    pub(crate) fn is_personal(&self) -> bool {
        matches!(self, Self::Personal)
    }

    /// What tokens of this kind start with. Never change one: secret scanners know them.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Personal => "dry_pat_",
            Self::TrustedPublishing => "dry_tp_",
            Self::Session => "dry_ses_",
            Self::Refresh => "dry_ref_",
            Self::Recovery => "dry_rec_",
            Self::Device => "dry_dev_",
        }
    }
}

/// A token in clear. Does not print, and is overwritten when it goes.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// The text is not a token, or was mistyped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the text is not a token")]
pub struct InvalidToken;

impl Token {
    /// Makes a new token for a tool.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self::generate_kind(TokenKind::Personal, entropy)
    }

    /// Makes a new token.
    pub(crate) fn generate_kind(kind: TokenKind, entropy: &dyn Entropy) -> Self {
        let mut text = String::with_capacity(64);
        text.push_str(kind.prefix());
        let full = text.len() + RANDOM_CHARS;
        let mut random = [0; 64];
        while text.len() < full {
            entropy.fill(&mut random);
            // 248 is the largest multiple of 62 in a byte: larger bytes would make some characters likelier.
            let fair = random
                .iter()
                .filter(|byte| **byte < 248)
                .map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
            text.extend(fair.take(full - text.len()));
        }
        let checksum = checksum(&text);
        Self(text + &checksum)
    }

    /// Wraps a session's JWT that was made just now.
    pub(crate) fn of_session(jwt: String) -> Self {
        Self(jwt)
    }

    /// Reads a token that a request may carry, and checks its form and checksum. A JWT's signature is looked at later.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        if is_jwt(text) {
            return Ok(Self(text.to_owned()));
        }
        let bearer = [TokenKind::Personal, TokenKind::TrustedPublishing, TokenKind::Session];
        bearer.into_iter().find_map(|kind| Self::parse_kind(kind, text).ok()).ok_or(InvalidToken)
    }

    /// Reads a token of this kind, and checks its form and checksum.
    pub(crate) fn parse_kind(kind: TokenKind, text: &str) -> Result<Self, InvalidToken> {
        let prefix = kind.prefix();
        let well_formed = text.len() == prefix.len() + RANDOM_CHARS + CHECKSUM_CHARS
            && text.starts_with(prefix)
            && text[prefix.len()..].bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !well_formed {
            return Err(InvalidToken);
        }
        let (body, sum) = text.split_at(text.len() - CHECKSUM_CHARS);
        if checksum(body) == sum { Ok(Self(text.to_owned())) } else { Err(InvalidToken) }
    }

    /// The kind that a text has by its form, if it is a token at all.
    pub(crate) fn kind_of(text: &str) -> Option<TokenKind> {
        TokenKind::ALL.into_iter().find(|kind| Self::parse_kind(*kind, text).is_ok())
    }

    /// The JWT, if it is one.
    pub(crate) fn jwt(&self) -> Option<&str> {
        is_jwt(&self.0).then_some(&*self.0)
    }

    /// The digest under which it is stored.
    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(self.0.as_bytes())
    }

    /// The secret itself, to be shown once.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Whether a text has the form of a JWT of ours: a header, claims and a signature in base64url.
fn is_jwt(text: &str) -> bool {
    text.len() <= JWT_BYTES_MAX
        && text.starts_with("eyJ")
        && text.bytes().filter(|byte| *byte == b'.').count() == 2
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

impl Drop for Token {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(<hidden>)")
    }
}

/// CRC-32 (ISO 3309) of a text, as six characters of base 62.
fn checksum(text: &str) -> String {
    let mut crc = !0_u32;
    for byte in text.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    let mut rest = !crc;
    let mut digits = [0; CHECKSUM_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(rest % 62) as usize];
        rest /= 62;
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use drystone_storage::SystemEntropy;

    use super::*;

    #[test]
    fn a_token_reads_back_and_hides() {
        let token = Token::generate(&SystemEntropy::new());
        assert_eq!(token.reveal().len(), 46);
        assert_eq!(Token::parse(token.reveal()), Ok(token.clone()));
        assert_ne!(token, Token::generate(&SystemEntropy::new()));
        assert!(!format!("{token:?}").contains(&token.reveal()[8..]));
    }

    #[test]
    fn kinds_are_told_apart_and_two_are_no_bearers() {
        for kind in TokenKind::ALL {
            let token = Token::generate_kind(kind, &SystemEntropy::new());
            assert_eq!(Token::kind_of(token.reveal()), Some(kind));
            let bears = !matches!(kind, TokenKind::Refresh | TokenKind::Recovery);
            assert_eq!(Token::parse(token.reveal()).is_ok(), bears, "{kind:?}");
            let others = TokenKind::ALL.into_iter().filter(|other| *other != kind);
            assert!(others.into_iter().all(|other| Token::parse_kind(other, token.reveal()).is_err()));
        }
        assert!(Token::parse("eyJhIjoxfQ.e30.c2ln").is_ok_and(|token| token.jwt().is_some()));
        for bad in ["eyJhIjoxfQ.e30", "eyJ.e30.c2ln/", "e30.e30.c2ln"] {
            assert_eq!(Token::parse(bad), Err(InvalidToken), "{bad}");
        }
    }

    #[test]
    fn any_single_wrong_character_is_noticed() {
        let token = Token::generate(&SystemEntropy::new());
        for i in 0..token.reveal().len() {
            for other in [b'x', b'7', b'-'] {
                let mut text = token.reveal().as_bytes().to_vec();
                if text[i] != other {
                    text[i] = other;
                    assert!(Token::parse(std::str::from_utf8(&text).unwrap()).is_err());
                }
            }
        }
        assert!(Token::parse("").is_err() && Token::parse("dry_pat_é").is_err());
    }

    #[test]
    fn the_checksum_is_crc_32() {
        // 0xcbf43926 is the CRC-32 of "123456789"; in base 62 that is 3*62^5 + 45*62^4 + 40*62^3 + 7*62^2 + 42*62 + 40.
        let value = checksum("123456789").bytes().fold(0_u64, |value, digit| {
            value * 62 + ALPHABET.iter().position(|a| *a == digit).unwrap() as u64
        });
        assert_eq!(value, 0xcbf4_3926);
    }
}
