//! Head: not behind the published log, and of the same tree.

use drystone_log::commit::{Head, STAGING_BYTES_MAX, Staging};
use drystone_schemas::{Sha256Digest, layout};
use drystone_storage::{Area, Key, StoreError};

use super::{Check, ProblemKind, events::Events, log::Log};
use crate::rebuild::HEAD_BYTES_MAX;

impl Check<'_> {
    pub(super) async fn head(&mut self, log: &Log, events: &Events) {
        let Some(vault) = self.vault.clone() else { return };
        let key = format!("vault/{}", layout::HEAD);
        let head = match read(&*vault, layout::HEAD, HEAD_BYTES_MAX).await {
            Ok(Some(bytes)) => Head::parse(&bytes),
            Ok(None) => {
                return self.problem(
                    key,
                    ProblemKind::Missing,
                    "nothing can be published without it; recover makes it",
                );
            }
            Err(error) => return self.problem(key, ProblemKind::Unreadable, error),
        };
        let head = match head {
            Ok(head) => head,
            Err(error) => return self.problem(key, ProblemKind::Damaged, error),
        };
        let mut wrong = |detail: String| self.problem(key.clone(), ProblemKind::Contradiction, detail);
        let published = &log.published;
        if head.origin != published.checkpoint.origin() || head.log_key != published.key.to_string() {
            wrong("it is the head of another log".into());
        } else if head.size() < log.size() {
            wrong(format!("it has {} events, {} are published", head.size(), log.size()));
        } else if head.size() == log.size() {
            if head.root != published.checkpoint.root() {
                wrong("its tree is not the one that is published".into());
            }
            if events.state.is_some_and(|state| state.as_bytes() != head.state.as_bytes()) {
                wrong("its state is not that of the newest event".into());
            }
            let config = events.replica.config().filter(|_| events.complete);
            if config.is_some_and(|config| (config.digest, config.seq) != (head.config, head.config_seq)) {
                wrong("its settings are not those in force".into());
            }
            if events.complete && events.replica.time() != head.time {
                wrong(format!(
                    "its time is {}, that of the newest event is {}",
                    head.time,
                    events.replica.time()
                ));
            }
        }
        self.staging(&*vault, &head).await;
    }

    /// What the last commit applies is kept as long as head names it: a helper may need it.
    async fn staging(&mut self, vault: &dyn Area, head: &Head) {
        let key = format!("vault/{}", head.staging);
        match read(vault, &head.staging, STAGING_BYTES_MAX).await {
            Ok(Some(bytes)) if Sha256Digest::of(&bytes) != head.staging_digest => {
                self.problem(key, ProblemKind::Damaged, "it has another digest than head says");
            }
            Ok(Some(bytes)) => match Staging::parse(&bytes) {
                Ok(staging) if staging.size == head.size() => {}
                Ok(_) => {
                    self.problem(key, ProblemKind::Contradiction, "it leads to another size than head's")
                }
                Err(error) => self.problem(key, ProblemKind::Damaged, error),
            },
            Ok(None) => self.problem(key, ProblemKind::Missing, "head names it"),
            Err(error) => self.problem(key, ProblemKind::Unreadable, error),
        }
    }
}

async fn read(vault: &dyn Area, key: &str, len_max: u64) -> Result<Option<bytes::Bytes>, StoreError> {
    let key = Key::new(key).map_err(|error| StoreError::Broken(error.to_string()))?;
    vault.get(&key, len_max).await
}
