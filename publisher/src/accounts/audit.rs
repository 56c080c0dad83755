//! The trail of what happened to an account, for its owner and the operator.
//!
//! One object for each event, written before whoever caused it hears of it: what cannot be noted is not answered. Ids and
//! kinds only, so that a deleted account leaves nothing personal.

use drystone_schemas::{AccountId, EventId, SecurityEvent, layout, rfc3339};
use futures_util::future::try_join_all;

use super::record::{AuditKind, AuditRecord};
use crate::{Refusal, Service, service::Core, vault};

/// How many events are shown.
const SHOWN_MAX: usize = 100;

impl Core {
    /// Notes something.
    pub(crate) async fn note(
        &self,
        account: &AccountId,
        kind: AuditKind,
        id: Option<&EventId>,
    ) -> Result<(), Refusal> {
        let record = AuditRecord { v: 1, at: self.clock.now_unix_s(), kind, id: id.cloned() };
        vault::create(&*self.store.vault, layout::audit(account, &self.new_id()), &record).await?;
        Ok(())
    }
}

impl Service {
    /// The newest security events of an account, the newest first.
    pub async fn security_events(&self, account: &AccountId) -> Result<Vec<SecurityEvent>, Refusal> {
        let vault = &*self.core.store.vault;
        let mut keys = vault::list(vault, &layout::audit_of(account)).await?;
        keys.sort_unstable_by(|a, b| b.cmp(a));
        keys.truncate(SHOWN_MAX);
        let reads = keys.into_iter().map(|key| vault::read::<AuditRecord>(vault, key));
        let events = try_join_all(reads).await?.into_iter().flatten().map(|record| SecurityEvent {
            at: rfc3339(record.at),
            kind: record.kind.as_str().into(),
            id: record.id.map(|id| id.to_string()),
        });
        Ok(events.collect())
    }
}
