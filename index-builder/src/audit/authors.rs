//! Whether releases have the signatures that their authors' rules ask for.
//!
//! A release without them is in the log for ever, and everything that follows from it follows; so it is no fault of the log, but
//! one of whoever let it in.

use drystone_log::{AuthorStatement, author::satisfies};
use drystone_schemas::{Event, EventBody};

use crate::replica::Replica;

/// What is wrong with the signatures of a release; `replica` is the registry before it.
pub(super) fn judge(replica: &Replica, event: &Event) -> Option<String> {
    let EventBody::Publish { pkg, vers, tarball, sigs, .. } = &event.body else { return None };
    let origin = &replica.identity()?.origin;
    let document = replica.packages().get(&pkg.canonical()).map(|package| &package.document);
    let statement = AuthorStatement { origin, name: pkg, vers, tarball: *tarball };
    let keys = document.and_then(|document| document.author_keys.as_ref());
    let rule = document.and_then(|document| document.rule_at(event.seq, event.time));
    let signers = match statement.signers(sigs, keys, event.seq) {
        Ok(signers) => signers,
        Err(error) => return Some(error.to_string()),
    };
    rule.and_then(|rule| satisfies(rule, &signers).err()).map(|error| error.to_string())
}
