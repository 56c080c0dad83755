//! `login` and `logout`.

use std::io::Read as _;

use drystone_client::{Network, Registry, Secret, Token};
use drystone_schemas::{Code, Problem};
use serde::Serialize;

use crate::{
    args,
    context::Context,
    credentials::{Credentials, Stored},
    failure::Failure,
};

/// Longest token, in bytes.
const TOKEN_BYTES_MAX: u64 = 4096;

#[derive(Serialize)]
struct Session {
    registry: String,
    login: Option<String>,
    scopes: Vec<String>,
}

pub(super) async fn login(args: &args::Login, cx: &Context) -> Result<(), Failure> {
    if !args.with_token {
        let problem = Problem::new(Code::BadUsage, "a token can only be read from stdin");
        return Err(problem.with_hint("run `drystone login --with-token < FILE`").into());
    }
    let base = cx.registry_here()?.base().to_owned();
    // Reading waits for the user, who may press Ctrl-C instead.
    let read = tokio::task::spawn_blocking(read_token).await;
    let secret = read.map_err(|e| Failure::new(Code::Internal, e.to_string()))??;
    let home = cx.home()?;
    let token = Token { secret: secret.clone(), api: None };
    let registry = Registry::new(&base, cx.http(), &home.cache(), Network::Online, Some(token))?;
    let me = registry.me().await?;
    let mut credentials = Credentials::read(&home)?;
    credentials.set(&base, Stored::new(&secret, registry.api_base().await?, me.login.clone()));
    credentials.write(&home)?;
    cx.printer.step("Signed in", &format!("to {base} as {} ({})", me.login, me.scopes.join(", ")));
    cx.printer.more(&format!("token stored in {}", home.credentials().display()));
    if cx.env.get("DRYSTONE_TOKEN").is_some() {
        cx.printer.warning("`DRYSTONE_TOKEN` is set and comes before the stored token");
    }
    answer(cx, &Session { registry: base, login: Some(me.login), scopes: me.scopes })
}

pub(super) fn logout(cx: &Context) -> Result<(), Failure> {
    let base = cx.registry_here()?.base().to_owned();
    let home = cx.home()?;
    let mut credentials = Credentials::read(&home)?;
    if credentials.remove(&base) {
        credentials.write(&home)?;
        cx.printer.step("Signed out", &format!("of {base}"));
        cx.printer.hint("the token itself stays valid until it expires or the operator revokes it");
    } else {
        cx.printer.step("Signed out", &format!("of {base} already"));
    }
    answer(cx, &Session { registry: base, login: None, scopes: vec![] })
}

fn read_token() -> Result<Secret, Failure> {
    let mut text = String::new();
    std::io::stdin().take(TOKEN_BYTES_MAX).read_to_string(&mut text)?;
    let token = text.trim();
    // Tokens go into a header.
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let problem = Problem::new(Code::BadUsage, "there is no token on stdin");
        return Err(problem.with_hint("run `drystone login --with-token < FILE`").into());
    }
    Ok(Secret::new(token))
}

fn answer(cx: &Context, session: &Session) -> Result<(), Failure> {
    if cx.printer.is_json() { cx.printer.result(session, String::new) } else { Ok(()) }
}
