//! Bearer tokens: `dry_pat_` and 38 characters of base 62, the last six of which are a checksum.
//!
//! 32 characters are random (190 bits). A token is stored under its SHA-256, which is right for secrets of that
//! size; the checksum lets a mistyped or invented token be refused without a look into storage, and lets scanners
//! find leaked ones.

use std::fmt;

use drystone_schemas::Sha256Digest;
use drystone_storage::Entropy;

/// What every token starts with. Never change it: secret scanners know it.
const PREFIX: &str = "dry_pat_";
const RANDOM_CHARS: usize = 32;
const CHECKSUM_CHARS: usize = 6;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A token in clear. Does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// The text is not a token, or was mistyped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the text is not a token")]
pub struct InvalidToken;

impl Token {
    /// Makes a new token.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut text = String::from(PREFIX);
        let mut random = [0; 64];
        while text.len() < PREFIX.len() + RANDOM_CHARS {
            entropy.fill(&mut random);
            // 248 is the largest multiple of 62 in a byte: larger bytes would make some characters likelier.
            let fair = random
                .iter()
                .filter(|byte| **byte < 248)
                .map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
            text.extend(fair.take(PREFIX.len() + RANDOM_CHARS - text.len()));
        }
        let checksum = checksum(&text);
        Self(text + &checksum)
    }

    /// Reads a token, and checks its form and checksum.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        let well_formed = text.len() == PREFIX.len() + RANDOM_CHARS + CHECKSUM_CHARS
            && text.starts_with(PREFIX)
            && text[PREFIX.len()..].bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !well_formed {
            return Err(InvalidToken);
        }
        let (body, sum) = text.split_at(text.len() - CHECKSUM_CHARS);
        if checksum(body) == sum { Ok(Self(text.to_owned())) } else { Err(InvalidToken) }
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
