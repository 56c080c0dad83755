//! An issuer on loopback, of CI identities and of people: its configuration, its keys, and tokens that say whatever a test wants.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use drystone_schemas::Sha256Digest;
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
    /// Codes that can be exchanged.
    codes: Vec<LetIn>,
    /// The `authorization` of every exchange.
    exchanges: Vec<Option<String>>,
}

/// Somebody who has signed in, and brings a code back to who sent them.
struct LetIn {
    code: String,
    challenge: String,
    way_back: String,
    id_token: String,
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
        let configuration = json!({
            "issuer": url, "jwks_uri": format!("{url}/keys"), "authorization_endpoint": format!("{url}/authorize?tenant=1"),
            "token_endpoint": format!("{url}/token")
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(async move || Json(configuration)))
            .route("/keys", get(keys))
            .route("/token", post(exchange))
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

    /// Signs somebody in who was sent with this query: an ID token of these claims is exchanged for the code, once, and only for what
    /// was the challenge made of.
    pub fn let_in(&self, sent: &HashMap<String, String>, code: &str, id_token: String) {
        let field = |name: &str| sent[name].clone();
        let (challenge, way_back) = (field("code_challenge"), field("redirect_uri"));
        self.lock().codes.push(LetIn { code: code.into(), challenge, way_back, id_token });
    }

    /// How those named themselves who exchanged codes, or tried to.
    pub fn exchanges(&self) -> Vec<Option<String>> {
        self.lock().exchanges.clone()
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

async fn exchange(
    State(answers): State<Arc<Mutex<Answers>>>,
    headers: HeaderMap,
    body: String,
) -> Result<Json<Value>, StatusCode> {
    let form: HashMap<String, String> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let mut answers = answers.lock().expect("no holder of this lock panics");
    let named = headers.get("authorization").map(|named| named.to_str().expect("it is text").to_owned());
    answers.exchanges.push(named);
    let challenge = URL_SAFE_NO_PAD.encode(Sha256Digest::of(field("code_verifier").as_bytes()).as_bytes());
    let fits = |there: &LetIn| {
        there.code == field("code")
            && there.challenge == challenge
            && there.way_back == field("redirect_uri")
            && field("grant_type") == "authorization_code"
    };
    let at = answers.codes.iter().position(fits).filter(|_| !answers.is_down);
    let there = at.map(|at| answers.codes.remove(at)).ok_or(StatusCode::BAD_REQUEST)?;
    Ok(Json(json!({"access_token": "for nothing", "token_type": "Bearer", "id_token": there.id_token})))
}
