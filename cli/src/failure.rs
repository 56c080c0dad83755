//! How a command ends when it does not succeed.
//!
//! Owns the exit code. Does not own the wording of problems, nor how they are shown.

use std::io;

use drystone_client::ClientError;
use drystone_schemas::{Code, Problem};

/// Why a command did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Problems to report, the first one deciding the exit code; never empty.
    Problems {
        /// All of them.
        problems: Vec<Problem>,
        /// What is and is not done, for the line with the count.
        note: Option<String>,
    },
    /// It was told already, as part of the result; this is the exit code.
    Told(u8),
    /// Nobody reads the output any more; that is no failure.
    BrokenPipe,
    /// The user pressed Ctrl-C.
    Interrupted,
}

impl Failure {
    /// A failure with one problem.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Problem::new(code, detail).into()
    }

    /// Says what is and is not done.
    #[must_use]
    pub fn noting(self, text: impl Into<String>) -> Self {
        match self {
            Self::Problems { problems, .. } => Self::Problems { problems, note: Some(text.into()) },
            other => other,
        }
    }

    /// The exit code of the process.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Problems { problems, .. } => {
                problems.first().map_or(70, |problem| problem.code.exit_code())
            }
            Self::Told(code) => *code,
            Self::BrokenPipe => 0,
            Self::Interrupted => 130,
        }
    }

    /// The code of the first problem.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Problems { problems, .. } => problems.first().map(|problem| problem.code),
            Self::Told(_) | Self::BrokenPipe | Self::Interrupted => None,
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        vec![problem].into()
    }
}

impl From<Vec<Problem>> for Failure {
    fn from(mut problems: Vec<Problem>) -> Self {
        if problems.is_empty() {
            problems.push(Problem::new(Code::Internal, "a command failed without a reason"));
        }
        Self::Problems { problems, note: None }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        error.problems().into()
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(Code::LocalIo, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use drystone_client::VerificationError;

    use super::*;

    #[test]
    fn exit_codes_follow_the_table() {
        let exit = |failure: Failure| failure.exit_code();
        assert_eq!(exit(Failure::BrokenPipe), 0);
        assert_eq!(exit(Failure::new(Code::VersionExists, "x")), 1);
        assert_eq!(exit(Failure::new(Code::BadUsage, "x")), 2);
        assert_eq!(exit(ClientError::LockWouldChange { diff: vec![] }.into()), 3);
        assert_eq!(exit(ClientError::NotSignedIn { registry: "r".into() }.into()), 4);
        assert_eq!(exit(ClientError::from(VerificationError::Missing { what: "x".into() }).into()), 5);
        assert_eq!(exit(ClientError::Unreachable { url: "u".into(), detail: "d".into() }.into()), 69);
        assert_eq!(exit(ClientError::Internal("x".into()).into()), 70);
        assert_eq!(exit(Failure::Interrupted), 130);
        assert_eq!(exit(vec![].into()), 70);
    }
}
