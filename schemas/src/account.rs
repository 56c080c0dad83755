//! Account ids, which are public, and logins, which are not in the log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An account as events name it: `acct:<ULID>`. Opaque, for ever, and without personal data.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct AccountId(String);

/// A login: 1 to 39 characters of `[a-z0-9-]`, starting with a letter or digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Login(String);

/// The text is not an account id or a login.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an account")]
pub struct InvalidAccount(String);

impl AccountId {
    /// Makes the id of the account with this ULID (26 characters of Crockford's base 32).
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidAccount> {
        let text = text.into();
        let valid = text.strip_prefix("acct:").is_some_and(is_ulid);
        if valid { Ok(Self(text)) } else { Err(InvalidAccount(text.chars().take(64).collect())) }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The ULID without the prefix, as file names use it.
    pub fn ulid(&self) -> &str {
        &self.0["acct:".len()..]
    }
}

/// Whether a text is a ULID: 26 characters of Crockford's base 32 in upper case, at most 128 bits.
pub(crate) fn is_ulid(text: &str) -> bool {
    text.len() == 26
        && text.bytes().next().is_some_and(|b| (b'0'..=b'7').contains(&b))
        && text.bytes().all(|b| b.is_ascii_digit() || (b.is_ascii_uppercase() && !b"ILOU".contains(&b)))
}

impl Login {
    /// Parses a login.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidAccount> {
        let text = text.into();
        let valid = (1..=39).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-');
        if valid { Ok(Self(text)) } else { Err(InvalidAccount(text.chars().take(64).collect())) }
    }

    /// The login as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_conversions {
    ($type:ty, $error:ty) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl std::str::FromStr for $type {
            type Err = $error;
            fn from_str(text: &str) -> Result<Self, $error> {
                Self::new(text)
            }
        }
        impl TryFrom<String> for $type {
            type Error = $error;
            fn try_from(text: String) -> Result<Self, $error> {
                Self::new(text)
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.0
            }
        }
    };
}
pub(crate) use text_conversions;

text_conversions!(AccountId, InvalidAccount);
text_conversions!(Login, InvalidAccount);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_ids_are_ulids_with_a_prefix() {
        assert!(AccountId::new("acct:01JD3K6Q0Z0000000000000000").is_ok());
        for bad in [
            "",
            "acct:",
            "01JD3K6Q0Z0000000000000000",
            "acct:01jd3k6q0z0000000000000000",
            "acct:81JD3K6Q0Z0000000000000000",
        ] {
            assert!(AccountId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn logins() {
        assert!(Login::new("ann-2").is_ok());
        for bad in ["", "-a", "Ann", "a b", "é", &"a".repeat(40)] {
            assert!(Login::new(bad).is_err(), "{bad}");
        }
    }
}
