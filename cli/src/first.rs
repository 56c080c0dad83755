//! The first start of a registry: its log's key, its first event, its first token.
//!
//! Invariant: each is kept before the next is made, and each is looked for before it is made. So of several processes that
//! start at once each finds or makes all three, and what a process that dies leaves undone, the next one does.

use std::{path::Path, sync::Arc};

use drystone_log::{NoteSigner, commit::Signing};
use drystone_publisher::{Service, Token};
use drystone_schemas::{Code, Freshness, Problem, Settings};
use drystone_storage::new_ulid;

use crate::{
    context::Context,
    failure::Failure,
    operate::{
        Opened, find_or_make_freshness_key, make_key, read_key, service_with, signing, store_failure,
        write_secret,
    },
};

/// How old a cosignature of the registry's own may be, in seconds, unless the operator says otherwise: a day, in which a stopped
/// registry can be started again before anybody notices.
const FRESHNESS_AGE_S: u64 = 86_400;

/// The key of the log; a new one, if there is neither key nor log.
pub async fn find_or_make_key(
    cx: &Context,
    opened: &Opened,
    origin: Option<&str>,
) -> Result<NoteSigner, Failure> {
    if let Some(signer) = read_key(cx, opened)? {
        return Ok(signer);
    }
    match make_new_key(cx, opened, origin).await {
        Ok(signer) => Ok(signer),
        // Another process may have made it meanwhile.
        Err(failure) => read_key(cx, opened)?.ok_or(failure),
    }
}

/// Makes the key of a new log; refuses where a log is, because its key is what must be found then.
async fn make_new_key(cx: &Context, opened: &Opened, origin: Option<&str>) -> Result<NoteSigner, Failure> {
    let there = opened.store.public.list("log/", None).await.map_err(store_failure)?;
    if !there.keys.is_empty() {
        let detail =
            format!("`{}` has a log, but its key is not in `{}`", opened.label, opened.key_file.display());
        let problem = Problem::new(Code::WrongKey, detail);
        return Err(problem.with_hint("give the key with `--key-file` or `DRYSTONE_LOG_KEY`").into());
    }
    let unique = || {
        format!("localhost/drystone/{}", new_ulid(&*cx.effects.clock, &*cx.effects.entropy).to_lowercase())
    };
    let origin = origin.map_or_else(unique, str::to_owned);
    make_key(&origin, &*cx.effects.entropy, &opened.key_file)
}

/// Opens the registry; makes it first, if there is none. A new registry announces its freshness key; where one of
/// before there were such keys announces none, it does from now on.
pub async fn open_or_make(
    cx: &Context,
    opened: &Opened,
    signer: &NoteSigner,
    settings: &Settings,
) -> Result<Arc<Service>, Failure> {
    find_or_make_freshness_key(cx, opened, signer.verifier().name())?;
    let signing = signing(cx, opened, signer.clone())?;
    let key = signing.freshness_key().map(ToString::to_string);
    let freshness = key.map(|key| Freshness { key, max_age_s: FRESHNESS_AGE_S });
    let settings = &Settings { freshness: freshness.clone(), ..settings.clone() };
    let service = open_or_make_with(cx, opened, &signing, settings).await?;
    let there = service.settings();
    match (&there.freshness, freshness) {
        (None, new) => drop(service.configure(Settings { freshness: new, ..(*there).clone() }).await?),
        (Some(there), Some(own)) if there.key != own.key => {
            let detail = format!("the registry announces the freshness key `{}`", there.key);
            let problem = Problem::new(Code::WrongKey, detail).fact("key given", own.key);
            let hint = "give the announced key with `--freshness-key-file`; to announce another one, see docs/trust.md";
            return Err(problem.with_hint(hint).into());
        }
        _ => {}
    }
    Ok(service)
}

async fn open_or_make_with(
    cx: &Context,
    opened: &Opened,
    signing: &Signing,
    settings: &Settings,
) -> Result<Arc<Service>, Failure> {
    match service_with(cx, opened, signing.clone()).await {
        Err(refusal) if refusal.problems[0].code == Code::NotInitialised => {}
        other => return Ok(other?),
    }
    let origin = signing.log_key().name().to_owned();
    let (clock, entropy) = (cx.effects.clock.clone(), cx.effects.entropy.clone());
    let made = Service::initialise(&opened.store, signing.clone(), &origin, settings, clock, entropy).await;
    let service = service_with(cx, opened, signing.clone()).await;
    match (made, service) {
        // Made by this process, or by another one meanwhile.
        (_, Ok(service)) => Ok(service),
        (Err(refusal), Err(_)) | (Ok(()), Err(refusal)) => Err(refusal.into()),
    }
}

/// Makes the first token of a registry that nobody has used yet: into a file, or for the caller to print.
///
/// A file that is there with a token, left by a process that died too early, is the first token.
pub async fn first_token(
    cx: &Context,
    service: &Service,
    file: Option<&Path>,
) -> Result<Option<Token>, Failure> {
    if !service.is_unused().await? {
        return Ok(None);
    }
    let new = Token::generate(&*cx.effects.entropy);
    let token = match file {
        None => new,
        Some(file) => match write_secret(file, new.reveal()) {
            Ok(()) => new,
            Err(failure) => {
                let left = fs_err::read_to_string(file).ok();
                left.and_then(|text| Token::parse(text.trim()).ok()).ok_or(failure)?
            }
        },
    };
    service.first_token(&token).await?;
    Ok(Some(token))
}
