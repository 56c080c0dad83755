//! Refusals: what leaves the publisher when it does not do what was asked.
//!
//! The outside gets problems with codes, facts and hints; the inside text goes to the log only, once, where the
//! answer is made.

use std::fmt;

use drystone_log::{CheckpointError, NoteError, commit::CommitError};
use drystone_schemas::{Code, Problem};
use drystone_storage::StoreError;

/// One or more problems, and what only the operator may see.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// What the caller is told; at least one.
    pub problems: Vec<Problem>,
    /// What the operator's log is told.
    pub inside: Option<String>,
    /// Seconds after which trying again makes sense.
    pub retry_after_s: Option<u32>,
}

impl Refusal {
    /// A refusal with one problem that has nothing to hide.
    pub fn new(problem: Problem) -> Self {
        vec![problem].into()
    }

    /// A code with its detail.
    pub fn code(code: Code, detail: impl Into<String>) -> Self {
        Self::new(Problem::new(code, detail))
    }

    /// A bug or a damaged private file: the caller learns nothing of it.
    pub fn internal(inside: impl fmt::Display) -> Self {
        Self::hiding(Code::Internal, "something went wrong inside the registry", inside)
    }

    /// The outcome is not known: the same request with the same id will find out.
    pub fn outcome_unknown(inside: impl fmt::Display) -> Self {
        Self::hiding(Code::TryAgain, Code::TryAgain.title(), inside)
    }

    /// What the request names is being collected as garbage: it can be named again in a moment.
    pub(crate) fn being_collected(inside: impl fmt::Display) -> Self {
        let code = Code::CollectionUnderWay;
        Self::hiding(code, code.title(), inside)
    }

    fn hiding(code: Code, detail: &str, inside: impl fmt::Display) -> Self {
        Self { inside: Some(inside.to_string()), ..Self::code(code, detail) }
    }

    /// The status of the answer: that of the first problem.
    pub fn status(&self) -> u16 {
        self.problems.first().map_or(500, |problem| problem.code.status())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if i > 0 { "; " } else { "" })?;
        }
        if let Some(inside) = &self.inside {
            write!(f, " ({inside})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

impl From<Vec<Problem>> for Refusal {
    fn from(problems: Vec<Problem>) -> Self {
        let first = problems.first().expect("a refusal has at least one problem");
        let retry_after_s = retry_after_s(first.code);
        Self { problems, inside: None, retry_after_s }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::Unknown { .. } => return Self::outcome_unknown(error),
            StoreError::Unavailable { .. } => Code::StorageUnavailable,
            StoreError::Full { .. } => Code::StorageFull,
            StoreError::Refused { .. } => Code::StorageRefused,
            StoreError::TooLong { .. } => return Self::internal(error),
            StoreError::Damaged { .. } => Code::StorageDamaged,
            StoreError::Broken(_) => Code::StorageBroken,
        };
        Self::hiding(code, code.title(), error)
    }
}

impl From<CommitError> for Refusal {
    fn from(error: CommitError) -> Self {
        let code = match error {
            CommitError::Store(error) => return error.into(),
            CommitError::OutcomeUnknown(_) => return Self::outcome_unknown(error),
            CommitError::BeingCollected { .. } | CommitError::CollectionUnderWay { .. } => {
                return Self::being_collected(error);
            }
            CommitError::NotInitialised => Code::NotInitialised,
            CommitError::AlreadyInitialised => Code::AlreadyInitialised,
            CommitError::HeadBehindLog { .. } => Code::HeadBehindLog,
            CommitError::LogUnpublished { .. } | CommitError::KeyUnavailable(_) => Code::LogUnpublished,
            CommitError::WrongKey { .. }
            | CommitError::Checkpoint(
                CheckpointError::WrongOrigin { .. } | CheckpointError::Note(NoteError::NotSignedByKnownKey),
            ) => Code::WrongKey,
            CommitError::ClockWrong { .. } => Code::ClockWrong,
            CommitError::UpgradeRequired(_) => Code::UpgradeRequired,
            CommitError::TooLarge { .. } => Code::Overloaded,
            CommitError::ObjectConflict { .. } => Code::StorageBroken,
            _ => return Self::internal(error),
        };
        Self::hiding(code, code.title(), error)
    }
}

/// When it makes sense to come back, in seconds: soon after a race or a flood, later when the storage or the operator
/// must do something first. Every 503 says so (RFC 9110 section 10.2.3).
fn retry_after_s(code: Code) -> Option<u32> {
    match code {
        Code::TryAgain => Some(1),
        Code::Overloaded => Some(2),
        Code::CollectionUnderWay | Code::StorageUnavailable | Code::StorageFull | Code::StorageBroken => {
            Some(5)
        }
        _ => (code.status() == 503).then_some(30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_may_come_back_is_told_when() {
        for code in Code::ALL.iter().filter(|code| code.status() == 503) {
            assert!(
                Refusal::code(*code, "").retry_after_s.is_some_and(|s| (1..=60).contains(&s)),
                "{code:?}"
            );
        }
        assert_eq!(Refusal::code(Code::VersionExists, "").retry_after_s, None);
    }
}
