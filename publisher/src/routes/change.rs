//! Every change but a publish: yank, deprecation, takedown, owners, aliases.

use axum::{
    Json,
    extract::{Path, Request, State, rejection::PathRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use drystone_schemas::{
    AccountId, Alias, AliasRequest, AuthorKey, AuthorKeyRequest, Code, DeleteCode, LOCK_HOURS_DEFAULT,
    OwnersRequest, PackageName, ReasonRequest, Role, RuleRequest, Sha256Digest, TransferRequest, Version,
    WriteResponse, rfc3339,
};
use drystone_storage::NewObject;
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    App, bearer, path_text,
    publish::{in_time, intent_id, reason_object, small_body},
    read::alias_target,
    target::Target,
};
use crate::{Action, Refusal, Service, accounts::AccountRecord, intent::Rule, vault};

/// Longest body of a change, in bytes.
const BODY_BYTES_MAX: u64 = 64 << 10;

/// Reads a JSON body; none at all means the default, where there is one.
async fn body<T: DeserializeOwned>(
    service: &Service,
    request: Request,
    empty: Option<T>,
) -> Result<T, Refusal> {
    let bytes = in_time(service, small_body(request, BODY_BYTES_MAX)).await?;
    match empty {
        Some(default) if bytes.iter().all(u8::is_ascii_whitespace) => Ok(default),
        _ => serde_json::from_slice(&bytes).map_err(|e| {
            Refusal::code(Code::MalformedRequest, format!("the body is not what it should be: {e}"))
        }),
    }
}

fn version(target: &Target) -> Result<Version, Refusal> {
    target.version.clone().ok_or_else(|| Refusal::code(Code::NoSuchRoute, "the address has no version"))
}

/// A request's caller and id, taken before its body is.
pub(super) struct Asked {
    pub(super) token: crate::Token,
    id: drystone_schemas::EventId,
}

impl Asked {
    pub(super) fn of(service: &Service, request: &Request) -> Result<Self, Refusal> {
        Ok(Self { token: bearer(request.headers())?, id: intent_id(service, request.headers())? })
    }

    pub(super) async fn commit(
        self,
        service: &Service,
        action: Action,
        objects: Vec<NewObject>,
        what: String,
    ) -> Result<Response, Refusal> {
        let done = service.submit(self.id, &self.token, action, objects).await?;
        let msg = if done.already { format!("{what} already") } else { what };
        let seq = if done.already { None } else { done.seq };
        Ok((StatusCode::OK, Json(WriteResponse { ok: true, msg, seq })).into_response())
    }
}

pub(super) async fn yank(service: &Service, target: &Target, request: Request) -> Result<Response, Refusal> {
    let asked = Asked::of(service, &request)?;
    let (pkg, vers) = (target.name.clone(), version(target)?);
    let ReasonRequest { reason } = body(service, request, Some(ReasonRequest::default())).await?;
    let (reason, objects) = reason_object(service, reason)?;
    let what = format!("`{pkg}` {vers} is yanked");
    asked.commit(service, Action::Yank { pkg, vers, reason }, objects, what).await
}

pub(super) async fn unyank(
    service: &Service,
    target: &Target,
    request: Request,
) -> Result<Response, Refusal> {
    let asked = Asked::of(service, &request)?;
    let (pkg, vers) = (target.name.clone(), version(target)?);
    let what = format!("`{pkg}` {vers} is not yanked");
    asked.commit(service, Action::Unyank { pkg, vers }, Vec::new(), what).await
}

pub(super) async fn delete(
    service: &Service,
    target: &Target,
    request: Request,
) -> Result<Response, Refusal> {
    #[derive(Deserialize)]
    struct DeleteRequest {
        code: DeleteCode,
    }
    let asked = Asked::of(service, &request)?;
    let (pkg, vers) = (target.name.clone(), version(target)?);
    let DeleteRequest { code } = body(service, request, None).await?;
    let what = format!("`{pkg}` {vers} is taken down");
    asked.commit(service, Action::Delete { pkg, vers, code }, Vec::new(), what).await
}

pub(super) async fn deprecate(
    service: &Service,
    target: &Target,
    request: Request,
) -> Result<Response, Refusal> {
    let asked = Asked::of(service, &request)?;
    let pkg = target.name.clone();
    let ReasonRequest { reason } = body(service, request, Some(ReasonRequest::default())).await?;
    let (reason, objects) = reason_object(service, reason)?;
    let what = format!("`{pkg}` is deprecated");
    asked.commit(service, Action::Deprecate { pkg, reason }, objects, what).await
}

pub(super) async fn undeprecate(
    service: &Service,
    target: &Target,
    request: Request,
) -> Result<Response, Refusal> {
    let asked = Asked::of(service, &request)?;
    let pkg = target.name.clone();
    let what = format!("`{pkg}` is not deprecated");
    asked.commit(service, Action::Undeprecate { pkg }, Vec::new(), what).await
}

pub(super) async fn add_owners(
    service: &Service,
    target: &Target,
    request: Request,
) -> Result<Response, Refusal> {
    let action = |pkg, account, role, exception| Action::OwnerAdd { pkg, account, role, exception };
    change_owners(service, target, request, action, "may act for").await
}

pub(super) async fn remove_owners(
    service: &Service,
    target: &Target,
    request: Request,
) -> Result<Response, Refusal> {
    let action = |pkg, account, _, exception| Action::OwnerRemove { pkg, account, exception };
    change_owners(service, target, request, action, "may not act for").await
}

/// One event for each account; the first refusal ends the request, and repeating it does what is left.
async fn change_owners(
    service: &Service,
    target: &Target,
    request: Request,
    action: fn(PackageName, AccountId, Role, Option<Sha256Digest>) -> Action,
    so_they: &str,
) -> Result<Response, Refusal> {
    let token = bearer(request.headers())?;
    service.admit(&token).await?;
    let OwnersRequest { users, role, exception } = body(service, request, None).await?;
    let (exception, objects) = reason_object(service, exception)?;
    let mut accounts = Vec::with_capacity(users.len());
    for user in &users {
        accounts.push(account(service, user).await?.id);
    }
    let mut last = None;
    for account in accounts {
        let change = action(target.name.clone(), account, role.unwrap_or(Role::Owner), exception);
        let done = service.submit(service.new_id(), &token, change, objects.clone()).await?;
        last = done.seq.filter(|_| !done.already).or(last);
    }
    let msg = format!("`{}` {so_they} `{}`", users.join("`, `"), target.name);
    let msg = with_wait(service, target, msg, last).await?;
    Ok((StatusCode::OK, Json(WriteResponse { ok: true, msg, seq: last })).into_response())
}

/// The account or organisation that a request names.
pub(super) async fn account(service: &Service, text: &str) -> Result<AccountRecord, Refusal> {
    let shown: String = text.chars().take(64).collect();
    let missing = || Refusal::code(Code::AccountNotFound, format!("there is no account `{shown}`"));
    let found = match text.split_once('/') {
        Some((org, team)) => service.core.find_team(org, team).await?,
        None => vault::find_account(&*service.core.store.vault, text).await?,
    };
    found.ok_or_else(missing)
}

pub(super) async fn offer_transfer(
    service: &Service,
    target: &Target,
    request: Request,
) -> Result<Response, Refusal> {
    let Asked { token, id } = Asked::of(service, &request)?;
    service.admit(&token).await?;
    let TransferRequest { to } = body(service, request, None).await?;
    let account = account(service, &to).await?;
    if account.closed.is_some() {
        return Err(Refusal::code(Code::AccountNotFound, "the account was deleted"));
    }
    if account.team_of.is_some() {
        let detail = "a package is offered to an organisation, which then lets a team act for it";
        return Err(Refusal::code(Code::AccountNotFound, detail));
    }
    let pkg = target.name.clone();
    let msg = format!("`{pkg}` is offered to `{}`", account.login);
    let done = service.submit(id, &token, Action::TransferOffer { pkg, to: account.id }, Vec::new()).await?;
    let msg = if done.already { format!("{msg} already") } else { msg };
    let msg = with_wait(service, target, msg, done.seq).await?;
    let seq = done.seq.filter(|_| !done.already);
    Ok((StatusCode::OK, Json(WriteResponse { ok: true, msg, seq })).into_response())
}

pub(super) async fn withdraw_transfer(
    service: &Service,
    target: &Target,
    request: Request,
) -> Result<Response, Refusal> {
    let asked = Asked::of(service, &request)?;
    let pkg = target.name.clone();
    let what = format!("`{pkg}` is offered to nobody");
    asked.commit(service, Action::TransferWithdraw { pkg }, Vec::new(), what).await
}

pub(super) async fn accept_transfer(
    service: &Service,
    target: &Target,
    request: Request,
) -> Result<Response, Refusal> {
    let asked = Asked::of(service, &request)?;
    let pkg = target.name.clone();
    let what = format!("`{pkg}` has changed hands: nobody else acts for it any more");
    asked.commit(service, Action::TransferAccept { pkg }, Vec::new(), what).await
}

/// Says of a change that it waits for a time-lock, if it does.
async fn with_wait(
    service: &Service,
    target: &Target,
    what: String,
    seq: Option<u64>,
) -> Result<String, Refusal> {
    let Some(seq) = seq else { return Ok(what) };
    let document = super::read::find_document(service, &target.name).await?;
    let now = service.core.clock.now_unix_s();
    Ok(match document.and_then(|document| document.waits_until(seq, now)) {
        Some(from) => format!("{what}, from {} on", rfc3339(from)),
        None => what,
    })
}

pub(super) async fn add_key(
    service: &Service,
    target: &Target,
    request: Request,
) -> Result<Response, Refusal> {
    let action = |pkg, key| Action::AuthorKeyAdd { pkg, key };
    change_key(service, target, request, action, "is a key of the authors of").await
}

pub(super) async fn remove_key(
    service: &Service,
    target: &Target,
    request: Request,
) -> Result<Response, Refusal> {
    let action = |pkg, key| Action::AuthorKeyRemove { pkg, key };
    change_key(service, target, request, action, "is revoked for").await
}

async fn change_key(
    service: &Service,
    target: &Target,
    request: Request,
    action: fn(PackageName, AuthorKey) -> Action,
    so_it: &str,
) -> Result<Response, Refusal> {
    let asked = Asked::of(service, &request)?;
    let AuthorKeyRequest { key } = body(service, request, None).await?;
    let what = format!("`{key}` {so_it} `{}`", target.name);
    asked.commit(service, action(target.name.clone(), key), Vec::new(), what).await
}

pub(super) async fn set_rule(
    service: &Service,
    target: &Target,
    request: Request,
) -> Result<Response, Refusal> {
    let Asked { token, id } = Asked::of(service, &request)?;
    let pkg = target.name.clone();
    let RuleRequest { threshold, keys, lock_hours, exception } = body(service, request, None).await?;
    let (exception, objects) = reason_object(service, exception)?;
    let lock_hours = lock_hours.unwrap_or(LOCK_HOURS_DEFAULT);
    let msg = match threshold {
        0 => format!("releases of `{pkg}` need no signature"),
        _ => format!("releases of `{pkg}` need signatures of {threshold} of {} keys", keys.len()),
    };
    let rule = Rule { threshold, keys, lock_hours, exception };
    let done = service.submit(id, &token, Action::Policy { pkg, rule }, objects).await?;
    let msg = if done.already { format!("{msg} already") } else { msg };
    let msg = with_wait(service, target, msg, done.seq).await?;
    let seq = done.seq.filter(|_| !done.already);
    Ok((StatusCode::OK, Json(WriteResponse { ok: true, msg, seq })).into_response())
}

fn parse_alias(text: &str) -> Result<Alias, Refusal> {
    Alias::new(text).map_err(|e| Refusal::code(Code::InvalidAlias, e.to_string()))
}

pub(super) async fn set_alias(
    State(service): App,
    alias: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Refusal> {
    let asked = Asked::of(&service, &request)?;
    let alias = parse_alias(&path_text(alias)?)?;
    let AliasRequest { package } = body(&service, request, None).await?;
    let pkg = PackageName::new(package).map_err(|e| Refusal::code(Code::InvalidName, e.to_string()))?;
    let what = format!("`{alias}` means `{pkg}`");
    asked.commit(&service, Action::AliasSet { alias, pkg }, Vec::new(), what).await
}

pub(super) async fn remove_alias(
    State(service): App,
    alias: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Refusal> {
    let asked = Asked::of(&service, &request)?;
    let alias = parse_alias(&path_text(alias)?)?;
    let what = format!("`{alias}` means nothing");
    if let Some(pkg) = alias_target(&service, &alias).await? {
        return asked.commit(&service, Action::AliasRemove { alias, pkg }, Vec::new(), what).await;
    }
    service.admit(&asked.token).await?;
    // A removal that is repeated finds nothing to remove; what it came to is kept. An outcome is written beside the files
    // that follow from it, so that a commit under way is applied first.
    service.core.committer.begin().await?;
    let done = vault::read_done(&*service.core.store.vault, &asked.id).await?;
    match done.filter(|done| done.intent == Action::removal_digest(&alias)) {
        Some(done) => Ok(Json(WriteResponse { ok: true, msg: what, seq: Some(done.seq) }).into_response()),
        None => Err(Refusal::code(Code::AliasNotFound, format!("there is no alias `{alias}`"))),
    }
}
