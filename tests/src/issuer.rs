//! An issuer of CI identities on loopback: its configuration, its keys, and tokens that say whatever a test wants.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
        RsaPublicKeyComponents,
    },
};
use serde_json::{Value, json};

/// What the issuer answers, and how often it was asked for its keys.
#[derive(Default)]
struct Answers {
    keys: Vec<Value>,
    looks: u64,
    is_down: bool,
}

/// A key of the issuer.
pub enum IssuerKey {
    /// ES256.
    Ec(Box<EcdsaKeyPair>),
    /// RS256.
    Rsa(Box<RsaKeyPair>),
}

impl IssuerKey {
    /// A new key for ES256.
    pub fn new_ec() -> Self {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        let pkcs8 = made.expect("a key can be made");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random);
        Self::Ec(Box::new(pair.expect("what was made reads back")))
    }

    /// A new key for RS256, made by `openssl`.
    pub fn new_rsa() -> Self {
        let arguments =
            ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-outform", "DER"];
        let made = std::process::Command::new("openssl").args(arguments).output().expect("openssl is there");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self::Rsa(Box::new(RsaKeyPair::from_der(&made.stdout).expect("openssl writes an RSA key")))
    }

    fn alg(&self) -> &'static str {
        match self {
            Self::Ec(_) => "ES256",
            Self::Rsa(_) => "RS256",
        }
    }

    fn jwk(&self, kid: &str) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Ec(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = point[1..].split_at(32);
                json!({"kty": "EC", "kid": kid, "alg": "ES256", "use": "sig", "crv": "P-256", "x": encode(x), "y": encode(y)})
            }
            Self::Rsa(pair) => {
                let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                let [n, e] = [n, e].map(|number| encode(&number));
                json!({"kty": "RSA", "kid": kid, "alg": "RS256", "use": "sig", "n": n, "e": e})
            }
        }
    }

    /// A token of these claims, whose header says this.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let random = SystemRandom::new();
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = match self {
            Self::Ec(pair) => pair.sign(&random, signed.as_bytes()).expect("a key signs").as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let done = pair.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature);
                done.expect("a key signs");
                signature
            }
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// An issuer that listens.
pub struct Issuer {
    /// Its URL, without a slash at the end.
    pub url: String,
    key: IssuerKey,
    kid: String,
    answers: Arc<Mutex<Answers>>,
}

impl Issuer {
    /// Starts one with this key.
    pub async fn start(key: IssuerKey) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has a port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let kid = "key-1".to_owned();
        let answers = Arc::new(Mutex::new(Answers { keys: vec![key.jwk(&kid)], ..Answers::default() }));
        let configuration = json!({"issuer": url, "jwks_uri": format!("{url}/keys")});
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(async move || Json(configuration)))
            .route("/keys", get(keys))
            .with_state(answers.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, key, kid, answers }
    }

    /// A token of these claims, with the issuer's URL in `iss` unless they have one.
    pub fn token(&self, claims: &Value) -> String {
        let mut claims = claims.clone();
        if claims.get("iss").is_none() {
            claims["iss"] = json!(self.url);
        }
        self.key.sign(&json!({"alg": self.key.alg(), "kid": self.kid, "typ": "JWT"}), &claims)
    }

    /// A token signed by somebody else who uses the name of the issuer's key.
    pub fn forged(&self, claims: &Value) -> String {
        let mut claims = claims.clone();
        claims["iss"] = json!(self.url);
        IssuerKey::new_ec().sign(&json!({"alg": "ES256", "kid": self.kid}), &claims)
    }

    /// Signs with another key from now on; the old one is withdrawn.
    pub fn turn_key(&mut self, key: IssuerKey) {
        self.kid = format!("{}-next", self.kid);
        self.lock().keys = vec![key.jwk(&self.kid)];
        self.key = key;
    }

    /// Lets it answer nothing, or answer again.
    pub fn set_down(&self, is_down: bool) {
        self.lock().is_down = is_down;
    }

    /// How often it was asked for its keys.
    pub fn looks(&self) -> u64 {
        self.lock().looks
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Answers> {
        self.answers.lock().expect("no holder of this lock panics")
    }
}

async fn keys(State(answers): State<Arc<Mutex<Answers>>>) -> Result<Json<Value>, StatusCode> {
    let mut answers = answers.lock().expect("no holder of this lock panics");
    answers.looks += 1;
    if answers.is_down { Err(StatusCode::BAD_GATEWAY) } else { Ok(Json(json!({"keys": answers.keys}))) }
}
