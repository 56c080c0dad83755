//! What an account may use up: packages, bytes, releases in a day, changes in an hour. Pure.
//!
//! Invariant: what counts is what is committed. An attempt that is refused, repeated or lost costs nothing.

use drystone_schemas::{AccountId, Code, Problem};

use super::{Desk, Place, package_key};
use crate::{
    Action, Refusal,
    limits::{self, Rate},
    vault::QuotaRecord,
};

/// What the account will have used up after this change; refuses what is more than it may.
pub(super) fn used(
    desk: &Desk,
    action: &Action,
    account: &AccountId,
    place: &Place<'_>,
) -> Result<QuotaRecord, Refusal> {
    let party = desk.parties.get(account);
    let quota = &party.ok_or_else(|| Refusal::internal("what the account has used up was not read"))?.quota;
    let limits = &desk.settings.limits;
    let now_ms = place.time * 1_000;
    let take = |rate: Rate, full_at_ms: u64| rate.take(full_at_ms, now_ms).map(|(next, _)| next);
    let mut used = QuotaRecord { seq: place.seq, ..quota.value.clone() };
    used.changes_full_at_ms = take(limits::signed_in(limits), used.changes_full_at_ms)?;
    let Action::Publish { record, .. } = action else { return Ok(used) };
    let package = desk.packages.get(&package_key(&record.name));
    if package.is_none_or(|package| package.value.is_none()) {
        let (there, max) = (used.packages, limits.packages_per_account_max);
        if there >= max {
            let detail = format!("the account has created {there} packages of {max}");
            let problem = Problem::new(Code::PackageLimit, detail);
            return Err(Refusal::new(problem.fact("packages", there).fact("packages_max", max)));
        }
        used.packages += 1;
    }
    let (there, max) = (used.bytes, limits.bytes_per_account_max);
    used.bytes = there.saturating_add(record.size);
    if used.bytes > max {
        let detail =
            format!("the account has published {there} bytes of {max}; this is {} more", record.size);
        let problem = Problem::new(Code::BytesLimit, detail);
        return Err(Refusal::new(problem.fact("bytes", there).fact("bytes_max", max)));
    }
    used.uploads_full_at_ms = take(limits::uploads(limits), used.uploads_full_at_ms)?;
    Ok(used)
}
