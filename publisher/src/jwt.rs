//! Compact JSON Web Tokens: made with Ed25519, verified with the algorithms that a caller allows.
//!
//! Owns: the form (RFC 7515 section 3.1, RFC 7519) and the signatures (RFC 8037). Does not own:
//! which keys are trusted, and what claims must say.
//! Invariant: the algorithm is the key's, never the token's; what names extensions that must be understood is refused.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, Ed25519KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

/// Longest token, in bytes.
pub(crate) const JWT_BYTES_MAX: usize = 16 << 10;

/// Why a text is not a token to go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidJwt {
    /// Not three parts of base64url, or not JSON where there should be.
    #[error("the token is not a JWT")]
    Form,
    /// Another algorithm than the key's.
    #[error("the token's algorithm is not that of its key")]
    Algorithm,
    /// The signature is not that of the key.
    #[error("the token's signature does not fit")]
    Signature,
}

/// A public key, with the one algorithm that it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PublicKey {
    /// EdDSA.
    Ed25519(Vec<u8>),
    /// RS256: modulus and exponent, big-endian.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// ES256: an uncompressed point.
    P256(Vec<u8>),
}

impl PublicKey {
    const fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "EdDSA",
            Self::Rsa { .. } => "RS256",
            Self::P256(_) => "ES256",
        }
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match self {
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
            Self::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            Self::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
        };
        verified.is_ok()
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// A token that was taken apart, and not verified.
pub(crate) struct Unverified<'a> {
    header: Header,
    payload: Vec<u8>,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    /// Takes a token apart.
    pub(crate) fn parse(text: &'a str) -> Result<Self, InvalidJwt> {
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| InvalidJwt::Form);
        if text.len() > JWT_BYTES_MAX {
            return Err(InvalidJwt::Form);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(InvalidJwt::Form)?;
        let (header, payload) = signed.split_once('.').ok_or(InvalidJwt::Form)?;
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| InvalidJwt::Form)?;
        if header.crit.is_some() {
            return Err(InvalidJwt::Form);
        }
        Ok(Self { header, payload: decode(payload)?, signed, signature: decode(signature)? })
    }

    /// The name of the key that it says it was signed with.
    pub(crate) fn kid(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// What it claims, before anybody vouches for it.
    pub(crate) fn unverified_claims<T: DeserializeOwned>(&self) -> Result<T, InvalidJwt> {
        serde_json::from_slice(&self.payload).map_err(|_| InvalidJwt::Form)
    }

    /// What it claims, if it was signed with this key.
    pub(crate) fn verify<T: DeserializeOwned>(&self, key: &PublicKey) -> Result<T, InvalidJwt> {
        if self.header.alg != key.algorithm() {
            return Err(InvalidJwt::Algorithm);
        }
        if !key.verify(self.signed.as_bytes(), &self.signature) {
            return Err(InvalidJwt::Signature);
        }
        self.unverified_claims()
    }
}

/// Makes a token, signed with Ed25519.
pub(crate) fn sign(key: &Ed25519KeyPair, kid: &str, claims: &Map<String, Value>) -> String {
    let header = json!({"alg": "EdDSA", "kid": kid, "typ": "JWT"}).to_string();
    let payload = Value::Object(claims.clone()).to_string();
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = key.sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[cfg(test)]
mod tests {
    use ring::signature::KeyPair;

    use super::*;

    fn pair() -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
    }

    fn public() -> PublicKey {
        PublicKey::Ed25519(pair().public_key().as_ref().to_vec())
    }

    fn token() -> String {
        sign(&pair(), "k1", json!({"sub": "ann", "exp": 7}).as_object().unwrap())
    }

    #[test]
    fn a_token_reads_back_with_its_key_alone() {
        let text = token();
        let parsed = Unverified::parse(&text).unwrap();
        assert_eq!(parsed.kid(), Some("k1"));
        assert_eq!(parsed.verify::<Value>(&public()).unwrap(), json!({"sub": "ann", "exp": 7}));
        let other = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
        let other = PublicKey::Ed25519(other.public_key().as_ref().to_vec());
        assert_eq!(parsed.verify::<Value>(&other), Err(InvalidJwt::Signature));
    }

    #[test]
    fn any_changed_character_is_noticed() {
        let text = token();
        for i in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[i] = if bytes[i] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            let verified = Unverified::parse(&changed).and_then(|jwt| jwt.verify::<Value>(&public()));
            assert!(verified.is_err(), "character {i}");
        }
    }

    #[test]
    fn tokens_without_a_signature_or_with_demands_are_refused() {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let none = format!("{}.{}.", part(json!({"alg": "none"})), part(json!({})));
        assert_eq!(Unverified::parse(&none).unwrap().verify::<Value>(&public()), Err(InvalidJwt::Algorithm));
        let critical = format!("{}.{}.AA", part(json!({"alg": "EdDSA", "crit": ["exp"]})), part(json!({})));
        for bad in ["", "a", "a.b", "a.b.c", "e30.e30", &critical, &"x".repeat(JWT_BYTES_MAX + 1)] {
            assert!(matches!(Unverified::parse(bad), Err(InvalidJwt::Form)), "{bad}");
        }
    }
}
