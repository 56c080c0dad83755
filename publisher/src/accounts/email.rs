//! E-mail addresses: what is taken for one, and when two are the same.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest address, in bytes (RFC 5321 section 4.5.3.1.3, less the angle brackets).
const BYTES_MAX: usize = 254;
/// Longest part before the `@`, in bytes (RFC 5321 section 4.5.3.1.1).
const LOCAL_BYTES_MAX: usize = 64;

/// An e-mail address. Personal: does not print.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Email(String);

/// The text is not an e-mail address. It is not repeated: it may be somebody's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the text is not an e-mail address")]
pub struct InvalidEmail;

impl Email {
    /// Reads an address: a dot-atom, `@` and a host name (RFC 5322 section 3.4.1, without quotes, comments and literals).
    pub fn new(text: &str) -> Result<Self, InvalidEmail> {
        let (local, domain) = text.rsplit_once('@').ok_or(InvalidEmail)?;
        let atom = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&c);
        let local_fits = !local.is_empty()
            && local.len() <= LOCAL_BYTES_MAX
            && local.split('.').all(|part| !part.is_empty() && part.bytes().all(atom));
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let domain_fits = domain.contains('.') && domain.split('.').all(label);
        if text.len() <= BYTES_MAX && local_fits && domain_fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidEmail)
        }
    }

    /// The address as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form in which two addresses are the same: in lower case. Whatever else a host makes of them is its own affair.
    pub(super) fn canonical(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(<hidden>)")
    }
}

impl TryFrom<String> for Email {
    type Error = InvalidEmail;
    fn try_from(text: String) -> Result<Self, InvalidEmail> {
        Self::new(&text)
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in
            ["a@b.c", "ann.lee+drystone@mail.example.org", "O'Neil@example.ie", "x@xn--fa-hia.example"]
        {
            assert!(Email::new(good).is_ok(), "{good}");
        }
        let long = format!("{}@example.org", "a".repeat(65));
        for bad in [
            "",
            "a",
            "@b.c",
            "a@",
            "a@b",
            "a@b..c",
            ".a@b.c",
            "a.@b.c",
            "a b@c.d",
            "a@-b.c",
            "a@b.c\r\nBcc: d@e.f",
            "\"a b\"@c.d",
            "a@[127.0.0.1]",
            "é@b.c",
            &long,
        ] {
            assert!(Email::new(bad).is_err(), "{bad}");
        }
        let email = Email::new("Ann@Example.org").unwrap();
        assert_eq!((email.as_str(), &*email.canonical()), ("Ann@Example.org", "ann@example.org"));
        assert!(!format!("{email:?}").contains("xample"));
    }
}
