//! What an ID token must claim. Pure.
//!
//! Owns: issuer, audience, times and nonce (OpenID Connect Core 1.0 section 3.1.3.7). Does not own: its signature.

use serde_json::{Map, Value};

use crate::accounts::Email;

/// How far clocks may be apart, in seconds.
const LEEWAY_S: u64 = 60;
/// Longest `sub`, in bytes (OpenID Connect Core 1.0 section 2).
const SUBJECT_BYTES_MAX: usize = 255;

/// What an ID token must be for.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    /// In seconds since 1970.
    pub(super) now_s: u64,
}

/// Who a provider says that somebody is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Person {
    /// Names them at their provider, for ever.
    pub(super) subject: String,
    /// What they call themselves there; nobody vouches for it.
    pub(super) preferred_login: Option<String>,
    /// Their address, which the provider has verified.
    pub(super) email: Option<Email>,
}

impl Person {
    /// Reads the claims of a token whose signature was verified; the error is the first claim that is not as it must be.
    pub(super) fn read(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<Self, &'static str> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let number = |name: &str| claims.get(name).and_then(Value::as_u64);
        let is_for_us = match claims.get("aud") {
            Some(Value::String(one)) => one == expected.client_id,
            // Another audience could use the token too, were it not said whose it is.
            Some(Value::Array(list)) => {
                let named = list.iter().any(|one| one == expected.client_id);
                named && (list.len() == 1 || text("azp") == Some(expected.client_id))
            }
            _ => false,
        };
        let checks = [
            (text("iss") == Some(expected.issuer), "iss"),
            (is_for_us, "aud"),
            (text("azp").is_none_or(|azp| azp == expected.client_id), "azp"),
            (number("exp").is_some_and(|exp| exp.saturating_add(LEEWAY_S) > expected.now_s), "exp"),
            (number("iat").is_some_and(|iat| iat <= expected.now_s + LEEWAY_S), "iat"),
            (text("nonce") == Some(expected.nonce), "nonce"),
            (text("sub").is_some_and(|sub| (1..=SUBJECT_BYTES_MAX).contains(&sub.len())), "sub"),
        ];
        if let Some((_, claim)) = checks.into_iter().find(|(holds, _)| !holds) {
            return Err(claim);
        }
        let is_verified = claims.get("email_verified") == Some(&Value::Bool(true));
        Ok(Self {
            subject: text("sub").unwrap_or_default().to_owned(),
            preferred_login: text("preferred_username").map(str::to_owned),
            email: text("email").filter(|_| is_verified).and_then(|email| Email::new(email).ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW_S: u64 = 1_760_000_000;

    fn read(change: &[(&str, Value)]) -> Result<Person, &'static str> {
        let mut claims = json!({
            "iss": "https://id.test", "aud": "registry", "iat": NOW_S, "exp": NOW_S + 300, "nonce": "n-1", "sub": "4711",
            "preferred_username": "ann", "email": "ann@example.org", "email_verified": true
        });
        for (name, value) in change {
            claims[*name] = value.clone();
        }
        let Value::Object(claims) = claims else { unreachable!() };
        let expected =
            Expected { issuer: "https://id.test", client_id: "registry", nonce: "n-1", now_s: NOW_S };
        Person::read(&claims, &expected)
    }

    #[test]
    fn an_id_token_is_for_this_sign_in_alone() {
        let ann = read(&[]).unwrap();
        assert_eq!((&*ann.subject, ann.preferred_login.as_deref()), ("4711", Some("ann")));
        assert_eq!(ann.email, Email::new("ann@example.org").ok());
        for (change, claim) in [
            (vec![("iss", json!("https://id.test/"))], "iss"),
            (vec![("aud", json!("another"))], "aud"),
            (vec![("aud", json!(["another"]))], "aud"),
            (vec![("aud", json!(["registry", "another"]))], "aud"),
            (vec![("aud", json!(["registry", "another"])), ("azp", json!("another"))], "aud"),
            (vec![("azp", json!("another"))], "azp"),
            (vec![("aud", Value::Null)], "aud"),
            (vec![("exp", json!(NOW_S - LEEWAY_S))], "exp"),
            (vec![("exp", json!("soon"))], "exp"),
            (vec![("iat", json!(NOW_S + LEEWAY_S + 1))], "iat"),
            (vec![("iat", Value::Null)], "iat"),
            (vec![("nonce", json!("n-2"))], "nonce"),
            (vec![("nonce", Value::Null)], "nonce"),
            (vec![("sub", json!(""))], "sub"),
            (vec![("sub", json!(4711))], "sub"),
            (vec![("sub", json!("x".repeat(256)))], "sub"),
        ] {
            assert_eq!(read(&change), Err(claim), "{change:?}");
        }
        for change in [
            vec![("aud", json!(["registry"]))],
            vec![("aud", json!(["registry", "another"])), ("azp", json!("registry"))],
            vec![("exp", json!(NOW_S - LEEWAY_S + 1))],
            vec![("iat", json!(NOW_S + LEEWAY_S))],
        ] {
            assert!(read(&change).is_ok(), "{change:?}");
        }
    }

    #[test]
    fn an_address_counts_if_the_provider_has_verified_it() {
        for unverified in [json!(false), json!("true"), Value::Null] {
            assert_eq!(read(&[("email_verified", unverified)]).unwrap().email, None);
        }
        assert_eq!(read(&[("email", json!("ann"))]).unwrap().email, None);
    }
}
