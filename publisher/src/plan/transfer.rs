//! What becomes of a package that is offered to an account or organisation. Pure.
//!
//! Invariant: a package changes hands only if an owner offered it and whoever it was offered to accepts, both against the head
//! that the change replaces; a time-lock of its authors lies between the two. The right to create other packages under the
//! same owner part does not go along: that is the name's, not the package's.

use drystone_schemas::{
    AccountId, Code, EventBody, PackageDocument, Problem, Role, TRANSFER_OFFER_S, rfc3339,
};

use super::{
    Place,
    decide::{Actor, Checked},
};
use crate::Refusal;

/// Checks that a package may be offered. The same offer, made again, is there already; another one takes its place.
pub(super) fn offer(
    document: &PackageDocument,
    to: &AccountId,
    place: &Place<'_>,
) -> Result<Checked, Refusal> {
    match &document.transfer {
        Some(there) if there.to == *to => return Ok(Checked::Already(Some(there.seq))),
        _ => {}
    }
    let from = place.time.saturating_add(document.lock_s_at(place.seq, place.time));
    Ok(Checked::Event(EventBody::TransferOffer {
        pkg: document.name.clone(),
        to: to.clone(),
        until: from.saturating_add(TRANSFER_OFFER_S),
    }))
}

/// The event that ends an offer, if there is one.
pub(super) fn withdraw(document: &PackageDocument) -> Result<Checked, Refusal> {
    Ok(match &document.transfer {
        Some(_) => Checked::Event(EventBody::TransferWithdraw { pkg: document.name.clone() }),
        None => Checked::Already(None),
    })
}

/// Whether a package is offered to whoever asks, or to an organisation of which they are an owner.
pub(super) fn is_offered_to(document: &PackageDocument, actor: &Actor) -> bool {
    document
        .transfer
        .as_ref()
        .is_some_and(|offer| offer.to == actor.account || actor.orgs.get(&offer.to) == Some(&Role::Owner))
}

/// Checks that a package may be taken over. An administrator accepts for nobody: they add an owner instead.
pub(super) fn accept(
    document: &PackageDocument,
    actor: &Actor,
    place: &Place<'_>,
) -> Result<Checked, Refusal> {
    let detail = || format!("`{}` is not offered to the account", document.name);
    let missing = || Refusal::code(Code::TransferNotFound, detail());
    let offer = document.transfer.as_ref().filter(|_| is_offered_to(document, actor)).ok_or_else(missing)?;
    match document.transfer_from(place.seq, place.time) {
        Some(from) if place.time < from => {
            let from = rfc3339(from);
            let detail = format!("`{}` can be taken over from {from} on", document.name);
            Err(Refusal::new(Problem::new(Code::TransferWaits, detail).fact("from", from)))
        }
        _ => Ok(Checked::Event(EventBody::Transfer { pkg: document.name.clone(), to: offer.to.clone() })),
    }
}
