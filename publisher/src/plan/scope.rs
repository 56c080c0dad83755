//! Whose the packages `owner/name` are: of the account or organisation that has `owner` as its login; where nobody has, of whoever
//! creates the first one. Pure.
//!
//! Invariant: the question is asked when a package is created, and of this head; a package that is there keeps its owners.

use drystone_log::commit::PlainFile;
use drystone_schemas::{AccountId, Code, PackageName, Problem, canonical_json, layout};

use super::{Desk, Holder, Place, decide::Actor, scope_key};
use crate::{Action, Refusal, vault::ScopeRecord};

/// Checks that an actor may create a package.
pub(super) fn check(desk: &Desk, name: &PackageName, actor: &Actor) -> Result<(), Refusal> {
    let Some(scope) = scope_key(name).filter(|_| !actor.admin) else { return Ok(()) };
    match desk.scopes.get(&scope) {
        Some(Holder::Nobody) => Ok(()),
        Some(Holder::Account(holder)) if *holder == actor.account || actor.orgs.contains_key(holder) => {
            Ok(())
        }
        Some(Holder::Account(holder)) => {
            let detail = format!("packages `{scope}/...` belong to another account");
            Err(Refusal::new(Problem::new(Code::ScopeHeld, detail).fact("holder", holder)))
        }
        None => Err(Refusal::internal(format!("whose `{scope}/...` is was not read"))),
    }
}

/// The record that an actor is the first under an owner part, if this change makes it so.
pub(super) fn claim(
    desk: &mut Desk,
    action: &Action,
    actor: &AccountId,
    place: &Place<'_>,
) -> Option<PlainFile> {
    let Action::Publish { record, .. } = action else { return None };
    let holder = desk.scopes.get_mut(&scope_key(&record.name)?)?;
    if *holder != Holder::Nobody {
        return None;
    }
    *holder = Holder::Account(actor.clone());
    let bytes = canonical_json(&ScopeRecord { seq: place.seq, account: actor.clone() });
    Some(PlainFile { key: layout::scope(&scope_key(&record.name)?), bytes, seen: Some(None) })
}
