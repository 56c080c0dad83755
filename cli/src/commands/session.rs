//! `login`, `logout` and `auth`.

use std::io::Read as _;

use drystone_client::{Network, Registry, Secret, Token};
use drystone_schemas::{Code, NewTokenRequest, Problem, SecretText};
use serde::Serialize;

use crate::{
    args,
    context::Context,
    credentials::{Credentials, Stored},
    failure::Failure,
};

/// Longest token or password, in bytes.
const SECRET_BYTES_MAX: u64 = 4096;

#[derive(Serialize)]
struct Session {
    registry: String,
    login: Option<String>,
    scopes: Vec<String>,
    /// Where the token lies: a file, or the name of a variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    stored_in: Option<String>,
}

pub(super) async fn login(args: &args::Login, cx: &Context) -> Result<(), Failure> {
    let base = cx.registry_here()?.base().to_owned();
    let (secret, made_here) = match &args.username {
        Some(username) => (sign_in(args, username, &base, cx).await?, true),
        None if args.with_token => (Secret::new(read_token().await?.expose()), false),
        None => (sign_in_by_code(args, &base, cx).await?, true),
    };
    let home = cx.home()?;
    let registry = registry(&base, &secret, cx)?;
    let me = registry.me().await?;
    let mut credentials = Credentials::read(&home)?;
    let stored = Stored::new(&secret, registry.api_base().await?, me.login.clone());
    credentials.set(&base, if made_here { stored.made_here() } else { stored });
    credentials.write(&home)?;
    cx.printer.step("Signed in", &format!("to {base} as {} ({})", me.login, me.scopes.join(", ")));
    cx.printer.more(&format!("token stored in {}", home.credentials().display()));
    if cx.env.get("DRYSTONE_TOKEN").is_some() {
        cx.printer.warning("`DRYSTONE_TOKEN` is set and comes before the stored token");
    }
    let stored_in = Some(home.credentials().display().to_string());
    answer(cx, &Session { registry: base, login: Some(me.login), scopes: me.scopes, stored_in })
}

fn registry(base: &str, secret: &Secret, cx: &Context) -> Result<Registry, Failure> {
    let token = Token { secret: secret.clone(), api: None };
    Ok(Registry::new(base, cx.http(), &cx.home()?.cache(), Network::Online, Some(token))?)
}

/// The token that this machine asks for. The file must be there to be written before anything is made that would be kept in it.
fn wanted(args: &args::Login, cx: &Context) -> Result<NewTokenRequest, Failure> {
    let home = cx.home()?;
    Credentials::read(&home)?.write(&home)?;
    Ok(NewTokenRequest {
        name: args.token_name.clone(),
        scopes: Vec::new(),
        packages: Vec::new(),
        days: Some(args.days),
    })
}

/// Shows a code, and waits until somebody has typed it in where they are known to the registry.
async fn sign_in_by_code(args: &args::Login, base: &str, cx: &Context) -> Result<Secret, Failure> {
    let asked = wanted(args, cx)?;
    let anonymous = Registry::new(base, cx.http(), &cx.home()?.cache(), Network::Online, None)?;
    let codes = anonymous.begin_device(&asked).await?;
    cx.printer.step("Open", &codes.verification_uri_complete);
    cx.printer.more(&format!(
        "the code is {}; say yes there within {} minutes",
        codes.user_code,
        codes.expires_in / 60
    ));
    Ok(Secret::new(anonymous.await_device(&codes).await?.token.expose()))
}

/// Signs in with a password, and exchanges the session for a token that this machine keeps.
async fn sign_in(args: &args::Login, username: &str, base: &str, cx: &Context) -> Result<Secret, Failure> {
    let asked = wanted(args, cx)?;
    let signed_in = session(username, args.code.as_deref(), base, cx).await?;
    let made = signed_in.new_token(&asked).await;
    signed_in.sign_out().await?;
    Ok(Secret::new(made?.token.expose()))
}

/// A session for whoever's password comes from stdin.
pub(super) async fn session(
    username: &str,
    code: Option<&str>,
    base: &str,
    cx: &Context,
) -> Result<Registry, Failure> {
    session_by(username, &read_secret().await?, code, base, cx).await
}

/// A session for whoever's password this is.
pub(super) async fn session_by(
    username: &str,
    password: &SecretText,
    code: Option<&str>,
    base: &str,
    cx: &Context,
) -> Result<Registry, Failure> {
    let anonymous = Registry::new(base, cx.http(), &cx.home()?.cache(), Network::Online, None)?;
    let code = code.map(SecretText::new);
    let session = anonymous.sign_in(username, password, code.as_ref()).await.map_err(|error| {
        let problems = error.problems().into_iter().map(|problem| match problem.code {
            Code::SecondFactorNeeded => {
                problem.with_hint("add `--code CODE`: one of your authenticator app, or a recovery code")
            }
            _ => problem,
        });
        Failure::from(problems.collect::<Vec<_>>())
    })?;
    registry(base, &Secret::new(session.token.expose()), cx)
}

pub(super) async fn logout(args: &args::Logout, cx: &Context) -> Result<(), Failure> {
    let base = cx.registry_here()?.base().to_owned();
    let home = cx.home()?;
    let mut credentials = Credentials::read(&home)?;
    let Some(stored) = credentials.get(&base).cloned() else {
        cx.printer.step("Signed out", &format!("of {base} already"));
        return answer(cx, &signed_out(base));
    };
    let revokes = args.revoke || stored.is_made_here();
    if revokes {
        let registry = Registry::new(&base, cx.http(), &home.cache(), Network::Online, Some(stored.token()))?;
        if let Err(error) = registry.sign_out().await {
            let problems = error.problems();
            // Whatever is not valid any more needs no revoking.
            let is_over = |problem: &Problem| matches!(problem.code, Code::TokenInvalid | Code::TokenExpired);
            if !problems.iter().all(is_over) {
                return Err(error.into());
            }
        }
    }
    credentials.remove(&base);
    credentials.write(&home)?;
    cx.printer.step("Signed out", &format!("of {base}"));
    if !revokes {
        cx.printer.hint("the token itself stays valid until it expires; `drystone logout --revoke` ends it");
    }
    answer(cx, &signed_out(base))
}

pub(super) async fn auth(args: &args::Auth, cx: &Context) -> Result<(), Failure> {
    let registry = cx.registry_here()?;
    match args {
        args::Auth::Status => {
            let me = registry.me().await?;
            let stored_in = match cx.env.get("DRYSTONE_TOKEN") {
                Some(_) => "DRYSTONE_TOKEN".to_owned(),
                None => cx.home()?.credentials().display().to_string(),
            };
            let session = Session {
                registry: registry.base().to_owned(),
                login: Some(me.login),
                scopes: me.scopes,
                stored_in: Some(stored_in),
            };
            cx.printer.result(&session, || {
                let login = session.login.as_deref().unwrap_or_default();
                let stored_in = session.stored_in.as_deref().unwrap_or_default();
                let scopes = session.scopes.join(", ");
                format!("{login} at {} ({scopes})\ntoken in {stored_in}\n", session.registry)
            })
        }
        args::Auth::SecondFactor(args) => super::second_factor::run(args, &registry, cx).await,
        args::Auth::Tokens => {
            let tokens = registry.tokens().await?;
            cx.printer.result(&tokens, || {
                let lines = tokens.tokens.iter().map(|token| {
                    let expires = token.expires_at.as_deref().unwrap_or("never expires");
                    let used = token.last_used_at.as_deref().unwrap_or("never used");
                    format!("{}  {}  {expires}  {used}  {}\n", token.id, token.scopes.join(","), token.name)
                });
                lines.collect()
            })
        }
    }
}

/// Reads a secret from stdin. Reading waits for the user, who may press Ctrl-C instead.
pub(super) async fn read_secret() -> Result<SecretText, Failure> {
    let read = tokio::task::spawn_blocking(|| {
        let mut text = String::new();
        std::io::stdin().take(SECRET_BYTES_MAX).read_to_string(&mut text)?;
        let secret = SecretText::new(text.strip_suffix('\n').unwrap_or(&text).trim_end_matches('\r'));
        drop(SecretText::new(text));
        Ok::<_, std::io::Error>(secret)
    });
    Ok(read.await.map_err(|e| Failure::new(Code::Internal, e.to_string()))??)
}

async fn read_token() -> Result<SecretText, Failure> {
    let token = SecretText::new(read_secret().await?.expose().trim());
    // Tokens go into a header.
    if token.expose().is_empty() || !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        let problem = Problem::new(Code::BadUsage, "there is no token on stdin");
        return Err(problem.with_hint("run `drystone login --with-token < FILE`").into());
    }
    Ok(token)
}

fn signed_out(registry: String) -> Session {
    Session { registry, login: None, scopes: Vec::new(), stored_in: None }
}

fn answer(cx: &Context, session: &Session) -> Result<(), Failure> {
    if cx.printer.is_json() { cx.printer.result(session, String::new) } else { Ok(()) }
}
