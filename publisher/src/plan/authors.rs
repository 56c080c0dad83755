//! What the keys of a package's authors decide: which signatures a release must have, and which keys and rules may be. Pure.
//!
//! Does not own the signatures (`drystone_log::author`), nor from when on a rule is in force ([`AuthorKeys::rules_at`]).

use std::collections::BTreeSet;

use drystone_log::{AuthorError, AuthorStatement, author::satisfies};
use drystone_schemas::{
    AUTHOR_KEYS_MAX, AuthorKey, AuthorKeys, AuthorSignatures, Code, EventBody, LOCK_HOURS_MAX,
    PackageDocument, Problem, RULE_KEYS_MAX, RULES_MAX, SIGNATURES_MAX, SigningRule, VersionRecord,
};

use super::{Place, decide::Checked};
use crate::{Refusal, intent::Rule};

/// Checks that a release has the signatures that the rule in force asks for, and no bad one. `document` is that of the package;
/// none if this is its first release.
pub(super) fn check_release(
    document: Option<&PackageDocument>,
    record: &VersionRecord,
    sigs: &AuthorSignatures,
    place: &Place<'_>,
) -> Result<(), Refusal> {
    if sigs.len() > SIGNATURES_MAX {
        let detail = format!("a release has at most {SIGNATURES_MAX} signatures");
        return Err(Refusal::code(Code::SignatureInvalid, detail));
    }
    let statement = AuthorStatement {
        origin: place.origin,
        name: &record.name,
        vers: &record.vers,
        tarball: record.tarball,
    };
    let keys = document.and_then(|document| document.author_keys.as_ref());
    let refused = |error: AuthorError| {
        let detail = format!("`{}` {}: {error}", record.name, record.vers);
        let problem = match &error {
            AuthorError::TooFew { signed, threshold, rule } => Problem::new(Code::SignatureMissing, detail)
                .fact("signed", signed)
                .fact("threshold", threshold)
                .fact("rule_seq", rule),
            AuthorError::BadSignature { key } | AuthorError::UnknownKey { key } => {
                Problem::new(Code::SignatureInvalid, detail).fact("key", key)
            }
        };
        Refusal::new(problem)
    };
    let signers = statement.signers(sigs, keys, place.seq).map_err(refused)?;
    match document.and_then(|document| document.rule_at(place.seq, place.time)) {
        Some(rule) => satisfies(rule, &signers).map_err(refused),
        None => Ok(()),
    }
}

/// Checks that a key may be registered.
pub(super) fn add_key(document: &PackageDocument, key: &AuthorKey) -> Result<Checked, Refusal> {
    let keys = document.author_keys.iter().flat_map(|authors| &authors.keys);
    let refused =
        |detail: String| Refusal::new(Problem::new(Code::AuthorKeyRefused, detail).fact("key", key));
    match keys.clone().find(|there| there.key == *key) {
        Some(there) if there.removed.is_none() => return Ok(Checked::Already(Some(there.added))),
        Some(_) => return Err(refused("the key was revoked, and never comes back".into())),
        None => {}
    }
    if keys.count() >= AUTHOR_KEYS_MAX {
        return Err(refused(format!("`{}` has had {AUTHOR_KEYS_MAX} keys", document.name)));
    }
    Ok(Checked::Event(EventBody::AuthorKeyAdd { pkg: document.name.clone(), key: key.clone() }))
}

/// Checks that a key may be revoked.
pub(super) fn remove_key(document: &PackageDocument, key: &AuthorKey) -> Result<Checked, Refusal> {
    let mut keys = document.author_keys.iter().flat_map(|authors| &authors.keys);
    let missing = || {
        let detail = format!("`{}` has no key `{key}`", document.name);
        Refusal::new(Problem::new(Code::AuthorKeyUnknown, detail).fact("key", key))
    };
    match keys.find(|there| there.key == *key).ok_or_else(missing)?.removed {
        Some(seq) => Ok(Checked::Already(Some(seq))),
        None => {
            Ok(Checked::Event(EventBody::AuthorKeyRemove { pkg: document.name.clone(), key: key.clone() }))
        }
    }
}

/// Checks that a rule may be made: that somebody could satisfy it, and that it is within bounds.
pub(super) fn rule(document: &PackageDocument, asked: &Rule, place: &Place<'_>) -> Result<Checked, Refusal> {
    let none = AuthorKeys::default();
    let authors = document.author_keys.as_ref().unwrap_or(&none);
    let held: BTreeSet<&AuthorKey> = asked.keys.iter().filter(|key| authors.holds(key, place.seq)).collect();
    let invalid = |detail: String| Err(Refusal::code(Code::InvalidRule, detail));
    if let Some(key) = asked.keys.iter().find(|key| !held.contains(key)) {
        return invalid(format!("`{}` has no key `{key}`", document.name));
    }
    let (threshold, keys) = (asked.threshold as usize, asked.keys.len());
    if threshold > keys
        || keys > RULE_KEYS_MAX
        || threshold > SIGNATURES_MAX
        || (threshold == 0) != (keys == 0)
    {
        return invalid(format!(
            "{threshold} of {keys} keys: a rule names 1 to {RULE_KEYS_MAX} keys, and up to {SIGNATURES_MAX} of them sign; one that lifts the rule names none"
        ));
    }
    if !(1..=LOCK_HOURS_MAX).contains(&asked.lock_hours) {
        return invalid(format!("a time-lock has 1 to {LOCK_HOURS_MAX} hours, not {}", asked.lock_hours));
    }
    let says = |rule: &SigningRule| {
        (rule.threshold, rule.lock_hours) == (asked.threshold, asked.lock_hours) && rule.keys == asked.keys
    };
    match authors.rules.last() {
        Some(last) if says(last) && (asked.exception.is_none() || last.exception.is_some()) => {
            return Ok(Checked::Already(Some(last.seq)));
        }
        None if asked.threshold == 0 => return Ok(Checked::Already(None)),
        _ if authors.rules.len() >= RULES_MAX => {
            return invalid(format!("`{}` has had {RULES_MAX} rules", document.name));
        }
        _ => {}
    }
    Ok(Checked::Event(EventBody::Policy {
        pkg: document.name.clone(),
        threshold: asked.threshold,
        keys: asked.keys.clone(),
        lock_hours: asked.lock_hours,
        exception: asked.exception,
    }))
}
