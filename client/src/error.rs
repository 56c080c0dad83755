//! Everything that can go wrong on the consumer's side, and how it is told.
//!
//! Owns the error type and its translation into [`Problem`]s. Does not own rendering or exit codes.

use std::{io, path::PathBuf};

use drystone_schemas::{Code, PackageName, Problem, Sha256Digest};

/// Why an operation of this library failed; one variant for each decision that a caller could take.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL is neither `https` nor `http` to the own machine.
    #[error("`{url}` is not encrypted")]
    Insecure {
        /// The URL.
        url: String,
    },
    /// The base URL cannot be parsed.
    #[error("`{text}` is not a registry URL: {detail}")]
    BadUrl {
        /// What was given.
        text: String,
        /// What is wrong.
        detail: String,
    },
    /// No connection, or none that held, after every retry.
    #[error("no answer from `{url}`: {detail}")]
    Unreachable {
        /// The URL.
        url: String,
        /// The last cause.
        detail: String,
    },
    /// The body is longer than the caller allows.
    #[error("`{url}` sends more than {bytes_max} bytes")]
    TooBig {
        /// The URL.
        url: String,
        /// What was allowed.
        bytes_max: u64,
    },
    /// The registry refused the request, in its own words.
    #[error("the registry refused: {}", first_detail(.problems))]
    Refused {
        /// HTTP status.
        status: u16,
        /// All problems of the request; never empty.
        problems: Vec<Problem>,
        /// To be named when asking for help; may be empty.
        request_id: String,
    },
    /// An answer that is not what this registry's protocol says.
    #[error("unexpected answer from `{url}`: {detail}")]
    Unexpected {
        /// The URL.
        url: String,
        /// What is wrong.
        detail: String,
    },
    /// What the registry sent does not prove itself.
    #[error(transparent)]
    Verification(#[from] VerificationError),
    /// Something is needed that is not cached, and the network is off.
    #[error("{what} is not in the cache")]
    OfflineMiss {
        /// What is missing.
        what: String,
    },
    /// There is no token for this registry.
    #[error("not signed in to `{registry}`")]
    NotSignedIn {
        /// Base URL of the registry.
        registry: String,
    },
    /// The token was stored for another API than the one that the registry names now.
    #[error("the API of `{registry}` moved from `{known}` to `{found}`")]
    ApiMoved {
        /// Base URL of the registry.
        registry: String,
        /// The API that the token was stored for.
        known: String,
        /// The API that the registry names now.
        found: String,
    },
    /// The registry has no such package; proved, where the read was verified.
    #[error("there is no package `{name}`")]
    PackageNotFound {
        /// The name asked for.
        name: PackageName,
    },
    /// The package has no release that fits.
    #[error("`{name}` has no version {wanted}")]
    VersionNotFound {
        /// The package.
        name: PackageName,
        /// The version or requirement.
        wanted: String,
    },
    /// No choice of versions satisfies every requirement.
    #[error("no versions fit")]
    NoVersionsFit {
        /// Why, sentence by sentence.
        because: Vec<String>,
        /// A way out, if one is known.
        suggestion: Option<String>,
    },
    /// The lock file would change, and may not.
    #[error("the lock file would change")]
    LockWouldChange {
        /// What would change, line by line.
        diff: Vec<String>,
    },
    /// The lock file cannot be used.
    #[error("lock file `{path}`: {detail}")]
    BadLock {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// Cargo's lock file cannot be used.
    #[error("`{path}`: {detail}")]
    BadCargoLock {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// Something in a project of cargo's that only cargo can resolve.
    #[error("{what} cannot be resolved here: {why}")]
    LeftToCargo {
        /// What.
        what: String,
        /// Why.
        why: String,
    },
    /// There is no manifest in the directory or above it.
    #[error("there is no `{file_name}` in `{dir}` or above it")]
    ProjectNotFound {
        /// Name of the manifest.
        file_name: String,
        /// Where the search began.
        dir: PathBuf,
    },
    /// The manifest cannot be used.
    #[error("manifest `{path}`: {detail}")]
    BadManifest {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A file that would be written is there already.
    #[error("`{path}` is there already")]
    AlreadyExists {
        /// Where it is.
        path: PathBuf,
    },
    /// Problems found on this side, before anything was sent.
    #[error("{}", first_detail(.0))]
    Problems(Vec<Problem>),
    /// Files cannot get from the store into the project in the way that was asked for.
    #[error("packages cannot be linked in the way `{mode}`: {detail}")]
    CannotLink {
        /// The way.
        mode: &'static str,
        /// What the system says.
        detail: String,
    },
    /// A local file cannot be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A bug: a task panicked or a value broke its own rule.
    #[error("internal error: {0}")]
    Internal(String),
}

/// A link of the chain from bytes to the log key that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerificationError {
    /// The log's key or origin is not the one that was pinned on first contact.
    #[error("the log key of `{registry}` changed from `{pinned}` to `{offered}`")]
    KeyChanged {
        /// Base URL of the registry.
        registry: String,
        /// Verifier key seen first.
        pinned: String,
        /// Verifier key offered now.
        offered: String,
    },
    /// A signed note, proof or tile does not check.
    #[error("{what}: {detail}")]
    Proof {
        /// Which file.
        what: String,
        /// What is wrong.
        detail: String,
    },
    /// The log shown now is not a continuation of the log seen before.
    #[error(
        "the log `{origin}` of size {new_size} does not continue the one of size {old_size} seen before: {detail}"
    )]
    Fork {
        /// Origin of the log.
        origin: String,
        /// Size seen before.
        old_size: u64,
        /// Size shown now.
        new_size: u64,
        /// Which check failed.
        detail: String,
        /// Where both signed notes were kept as evidence, if they could be.
        evidence: Option<PathBuf>,
    },
    /// Bytes have another hash than what vouches for them says.
    #[error("{what} should have the digest {expected}, but has {actual}")]
    Digest {
        /// Which file.
        what: String,
        /// What was vouched for.
        expected: Sha256Digest,
        /// What came.
        actual: Sha256Digest,
    },
    /// Too few of the cosigners that the policy names have signed the checkpoint.
    #[error("the log `{origin}` of size {size} is not cosigned as its policy asks")]
    NotWitnessed {
        /// Origin of the log.
        origin: String,
        /// Size shown.
        size: u64,
    },
    /// Enough cosigners have signed the checkpoint, but too long ago.
    #[error("the log `{origin}` was last cosigned {age_s} s ago, and its policy allows {max_age_s} s")]
    Stale {
        /// Origin of the log.
        origin: String,
        /// Age of the youngest quorum, in seconds.
        age_s: u64,
        /// What the policy allows, in seconds.
        max_age_s: u64,
    },
    /// Something that the log vouches for is not served.
    #[error("{what} is vouched for by the log, but is not there")]
    Missing {
        /// Which file.
        what: String,
    },
    /// A release is not signed as its authors' rule asks, or their keys are not those that were seen before.
    #[error("{detail}")]
    Authors {
        /// What is wrong.
        detail: String,
    },
    /// Two verified files contradict each other.
    #[error("{0}")]
    Contradiction(String),
}

fn first_detail(problems: &[Problem]) -> &str {
    problems.first().map_or("no reason given", |problem| &problem.detail)
}

impl ClientError {
    /// Whether the whole operation may succeed if it is simply started again later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => matches!(status, 429 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// Several things that are not cached: the first of them by name.
    pub(crate) fn offline_misses(names: &[String]) -> Self {
        /// As many as can be read at a glance.
        const SHOWN: usize = 8;
        let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
        Self::OfflineMiss {
            what: match names.len().saturating_sub(SHOWN) {
                0 => shown,
                more => format!("{shown} and {more} more: each of them"),
            },
        }
    }

    /// A proof that does not check.
    pub(crate) fn proof(what: impl Into<String>, detail: impl std::fmt::Display) -> Self {
        VerificationError::Proof { what: what.into(), detail: detail.to_string() }.into()
    }

    /// The problems to report, most important first; never empty.
    pub fn problems(&self) -> Vec<Problem> {
        let one = |code: Code| vec![Problem::new(code, self.to_string())];
        match self {
            Self::Problems(problems) | Self::Refused { problems, .. } if problems.is_empty() => {
                one(Code::Internal)
            }
            Self::Problems(problems) => problems.clone(),
            Self::Refused { problems, request_id, .. } => {
                let mut problems = problems.clone();
                if let (false, Some(first)) = (request_id.is_empty(), problems.first_mut()) {
                    first.facts.insert("request".into(), request_id.clone());
                }
                problems
            }
            Self::Insecure { .. } => vec![
                Problem::new(Code::BadConfiguration, self.to_string())
                    .with_hint("use an `https` URL; plain `http` is for registries on this machine"),
            ],
            Self::BadUrl { .. } => one(Code::BadConfiguration),
            Self::Unreachable { url, .. } => {
                vec![Problem::new(Code::Unreachable, self.to_string()).fact("url", url)]
            }
            Self::TooBig { url, .. } | Self::Unexpected { url, .. } => {
                vec![Problem::new(Code::UnexpectedAnswer, self.to_string()).fact("url", url)]
            }
            Self::Verification(error) => vec![error.problem()],
            Self::OfflineMiss { .. } => one(Code::OfflineMiss),
            Self::NotSignedIn { .. } => one(Code::NotSignedIn),
            Self::ApiMoved { .. } => {
                vec![Problem::new(Code::NotSignedIn, self.to_string()).with_hint(
                    "if that is right, sign in again with `drystone login` to send your token there",
                )]
            }
            Self::PackageNotFound { name } => {
                vec![Problem::new(Code::PackageNotFound, self.to_string()).with_hint(format!(
                    "check the spelling, or search with `drystone search {}`",
                    name.short()
                ))]
            }
            Self::VersionNotFound { name, .. } => vec![
                Problem::new(Code::VersionNotFound, self.to_string())
                    .with_hint(format!("list the versions with `drystone info {name}`")),
            ],
            Self::NoVersionsFit { because, suggestion } => {
                let mut problem = Problem::new(Code::NoVersionsFit, self.to_string());
                if !because.is_empty() {
                    problem = problem.fact("because", because.join("\n"));
                }
                if let Some(suggestion) = suggestion {
                    problem = problem.with_hint(suggestion);
                }
                vec![problem]
            }
            Self::LockWouldChange { diff } => {
                vec![Problem::new(Code::LockWouldChange, self.to_string()).fact("diff", diff.join("\n"))]
            }
            Self::BadLock { .. } => vec![
                Problem::new(Code::BadConfiguration, self.to_string())
                    .with_hint("fix the file, or remove it and run `drystone lock`"),
            ],
            Self::BadCargoLock { .. } => vec![
                Problem::new(Code::BadConfiguration, self.to_string())
                    .with_hint("make it anew with `cargo generate-lockfile`"),
            ],
            Self::LeftToCargo { .. } => vec![
                Problem::new(Code::BadConfiguration, self.to_string())
                    .with_hint("make the lock file with `cargo generate-lockfile`, and run this again"),
            ],
            Self::ProjectNotFound { .. } => one(Code::ProjectNotFound),
            Self::BadManifest { .. } => one(Code::ManifestInvalid),
            Self::AlreadyExists { .. } => one(Code::AlreadyExists),
            Self::CannotLink { .. } => vec![
                Problem::new(Code::LocalIo, self.to_string())
                    .with_hint("leave `--link-mode` out, and what works here is found out"),
            ],
            Self::Io(error)
                if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                vec![Problem::new(Code::LocalIo, self.to_string()).with_hint(
                    "nothing is half done: make room (`drystone cache gc` removes packages that no project uses) and run it again",
                )]
            }
            Self::Io(_) => one(Code::LocalIo),
            Self::Internal(_) => one(Code::Internal),
        }
    }
}

impl VerificationError {
    fn problem(&self) -> Problem {
        let problem = Problem::new(Code::VerificationFailed, self.to_string());
        match self {
            Self::KeyChanged { registry, .. } => problem.with_hint(format!(
                "ask the operator of `{registry}`; if the change is announced, remove the pinned key and try again"
            )),
            Self::Stale { .. } => problem.with_hint(
                "somebody shows you an old state, or the registry stands still; check your clock, try another network, and tell the operator",
            ),
            Self::NotWitnessed { .. } => problem
                .with_hint("do not use what this registry shows; ask its operator and its witnesses"),
            Self::Authors { .. } => problem.with_hint(
                "do not use this release; ask its authors, by another way than the registry, and choose an older one meanwhile",
            ),
            Self::Fork { evidence: Some(path), .. } => problem
                .fact("evidence", path.display())
                .with_hint("do not use this registry; send the evidence to its operator and to an auditor"),
            _ => problem,
        }
    }
}
