//! What must hold when somebody is answered: a success is in the log and applied, a refusal has its reason.

use drystone_log::TlogProof;
use drystone_schemas::{
    AccountId, EventBody, EventId, PublishOutcome, PublishResponse, Sha256Digest, WriteResponse,
};

use super::Oracle;
use crate::sim::{calls::Memory, client::Ask};

/// Codes that leave the outcome open.
pub(in crate::sim) const UNKNOWN: [&str; 5] =
    ["try-again", "storage-unavailable", "overloaded", "clock-wrong", "collection-under-way"];
/// Codes that the workload may meet, when what it asks for does not fit the state of things.
const REFUSALS: [&str; 11] = [
    "version-exists",
    "version-not-found",
    "package-not-found",
    "not-an-owner",
    "last-owner",
    "scope-held",
    "transfer-not-found",
    "alias-taken",
    "alias-not-found",
    "alias-is-package",
    "token-invalid",
];

/// What an answer means to who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum Meaning {
    Success,
    Refusal,
    /// To be repeated under the same id.
    Unknown,
}

/// Who asked for what, under which id.
pub(in crate::sim) struct Asked<'a> {
    pub(in crate::sim) ask: &'a Ask,
    pub(in crate::sim) id: &'a EventId,
    pub(in crate::sim) account: &'a AccountId,
    /// The archive's digest, of a publish.
    pub(in crate::sim) tarball: Option<Sha256Digest>,
}

impl Oracle {
    /// Looks at an answer.
    pub(in crate::sim) fn answered(
        &mut self,
        memory: &Memory,
        asked: &Asked<'_>,
        status: u16,
        body: &[u8],
    ) -> Meaning {
        if status < 300 {
            self.success(memory, asked, body);
            return Meaning::Success;
        }
        let body: drystone_schemas::ErrorBody = match serde_json::from_slice(body) {
            Ok(body) => body,
            Err(error) => {
                self.violation(format!("a refusal cannot be read: {error}"));
                return Meaning::Refusal;
            }
        };
        let code = body.errors[0].code.slug();
        if UNKNOWN.contains(&code) {
            self.expect(code != "clock-wrong" || self.clocks_were_turned, || {
                format!("{:?} was refused because of a clock, and every clock is right", asked.ask)
            });
            return Meaning::Unknown;
        }
        if code == "rate-limited" {
            // A process whose clock is an hour ahead fills the buckets of those whose clocks are right.
            self.expect(self.clocks_were_turned, || {
                format!("{:?} was asked too often, and every clock is right", asked.ask)
            });
            return Meaning::Refusal;
        }
        let Asked { ask, account, tarball, .. } = asked;
        self.expect(REFUSALS.contains(&code), || format!("{ask:?} was answered `{code}`"));
        match (code, ask) {
            ("token-invalid", _) => {
                let revoked = self.revoking.contains(account);
                self.expect(revoked, || format!("a good token was refused for {ask:?}"));
            }
            ("version-exists", Ask::Publish { name, vers, .. }) => {
                let there = self.version(name, vers);
                self.expect(there.is_some() && there != *tarball, || {
                    format!("`{name}` {vers} was refused as existing, and it has {there:?}")
                });
            }
            _ => {}
        }
        Meaning::Refusal
    }

    fn version(&self, name: &str, vers: &str) -> Option<Sha256Digest> {
        self.versions.get(&(name.to_owned(), vers.to_owned())).copied()
    }

    fn success(&mut self, memory: &Memory, asked: &Asked<'_>, body: &[u8]) {
        let Asked { ask, tarball, .. } = asked;
        if let Ask::Publish { name, vers, .. } = ask {
            let Ok(answer) = serde_json::from_slice::<PublishResponse>(body) else {
                return self.violation(format!("the answer to {ask:?} cannot be read"));
            };
            let there = self.version(name, vers);
            self.expect(there.is_some() && there == *tarball, || {
                format!("{ask:?} was answered with success, and the log has {there:?}")
            });
            let Some(seq) = answer.seq else { return self.violation(format!("{ask:?} got no position")) };
            let own = answer.outcome == PublishOutcome::Published;
            self.committed(memory, asked, seq, own);
            if let Some(proof) = answer.proof {
                match TlogProof::decode(proof.as_bytes()) {
                    Ok(proof) if proof.index == seq => self.proof(&proof),
                    _ => self.violation(format!("{ask:?} got a proof of something else")),
                }
            }
        } else {
            match serde_json::from_slice::<WriteResponse>(body) {
                Ok(WriteResponse { seq: Some(seq), .. }) => self.committed(memory, asked, seq, true),
                // Things were so already; by which event is not told.
                Ok(_) => {}
                Err(error) => self.violation(format!("the answer to {ask:?} cannot be read: {error}")),
            }
        }
    }

    /// The event is in the log, it is what was asked for, and everything that follows from it is there.
    fn committed(&mut self, memory: &Memory, asked: &Asked<'_>, seq: u64, own: bool) {
        let ask = asked.ask;
        let Some(event) = self.events.get(seq as usize) else {
            return self.violation(format!("{ask:?} was told position {seq}, which is not in the log"));
        };
        // Changes of owners take their ids from the registry.
        let has_id = !matches!(ask, Ask::OwnerAdd { .. } | Ask::OwnerRemove { .. });
        let right_id = !own || !has_id || event.id == *asked.id;
        let right_actor = !own || event.actor == *asked.account;
        let right_kind = matches!(
            (ask, &event.body),
            (Ask::Publish { .. }, EventBody::Publish { .. })
                | (Ask::Yank { .. }, EventBody::Yank { .. })
                | (Ask::Unyank { .. }, EventBody::Unyank { .. })
                | (Ask::OwnerAdd { .. }, EventBody::OwnerAdd { .. })
                | (Ask::OwnerRemove { .. }, EventBody::OwnerRemove { .. })
                | (Ask::TransferOffer { .. }, EventBody::TransferOffer { .. })
                | (Ask::TransferAccept { .. }, EventBody::Transfer { .. })
                | (Ask::TransferWithdraw { .. }, EventBody::TransferWithdraw { .. })
                | (Ask::AliasSet { .. }, EventBody::AliasSet { .. })
                | (Ask::AliasRemove { .. }, EventBody::AliasRemove { .. })
        );
        let told = format!("{:?} of {} by {}", event.body, event.id, event.actor);
        self.expect(right_id && right_actor && right_kind, || {
            format!("{ask:?} ({}) was told position {seq}, where the log has {told}", asked.id)
        });
        if let Some(missing) = self.not_applied(memory, seq) {
            self.violation(format!("{ask:?} was answered with success before {missing}"));
        }
    }
}
