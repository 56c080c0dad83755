//! Problems: every error that a user can cause, with a stable code, the facts and a hint.
//!
//! Handling and reporting are two jobs: libraries return typed errors; where one leaves the system it becomes a
//! [`Problem`], which is rendered as JSON, on a terminal, or as a page. Codes are stable, wording is not.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($variant:ident $code:literal $slug:literal $status:literal $title:literal $hint:literal;)*) => {
        /// The code of a problem. Written as its slug; never reused, never renumbered.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case")]
        pub enum Code {
            $(#[doc = $title] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The number, such as `DRY0104`.
            pub const fn number(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The name, such as `version-exists`.
            pub const fn slug(self) -> &'static str {
                match self { $(Self::$variant => $slug,)* }
            }

            /// The HTTP status that goes with it.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// What it means, in one sentence.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// What to do about it, unless the problem knows better.
            pub const fn hint(self) -> &'static str {
                match self { $(Self::$variant => $hint,)* }
            }
        }
    };
}

codes! {
    InvalidName "DRY0101" "invalid-name" 422 "the name is not a package name" "use 1 to 64 letters, digits, `-` or `_`, starting with a letter or digit";
    InvalidVersion "DRY0102" "invalid-version" 422 "the version is not SemVer 2.0.0" "write three numbers, such as `1.2.0`, with an optional pre-release";
    NameCollision "DRY0103" "name-collision" 409 "another spelling of the name is taken" "names that differ only in case, `-` and `_` are one name: use the spelling that exists, or another name";
    VersionExists "DRY0104" "version-exists" 409 "the version exists with other bytes" "a version never changes: raise the version";
    VersionNotFound "DRY0105" "version-not-found" 404 "the package has no such version" "list the versions with `drystone info NAME`";
    PackageNotFound "DRY0106" "package-not-found" 404 "there is no such package" "check the spelling, or search with `drystone search NAME`";
    InvalidDependency "DRY0107" "invalid-dependency" 422 "a dependency is not valid" "check the dependency's name, requirement and source in the manifest";
    VersionDeleted "DRY0108" "version-deleted" 410 "the version was taken down" "a version that was taken down cannot come back: raise the version";
    InvalidAlias "DRY0109" "invalid-alias" 422 "the alias is not a short name" "use 1 to 64 letters, digits, `-` or `_`, without an owner";
    AliasTaken "DRY0110" "alias-taken" 409 "the alias means another package" "remove the alias there first, or choose another";
    AliasNotFound "DRY0111" "alias-not-found" 404 "there is no such alias" "check the spelling";
    AliasIsPackage "DRY0112" "alias-is-package" 409 "a package has that name" "a package's own name wins over aliases: choose another alias";
    AliasHeld "DRY0113" "alias-held" 409 "the alias looks like another name" "choose a name that nobody mistakes for the other, or ask the operator to set it";
    NameReserved "DRY0114" "name-reserved" 422 "the name is reserved" "choose another name, or ask the operator";
    NameIsAlias "DRY0115" "name-is-alias" 409 "the name is an alias of another package" "choose another name, or ask the owner of the alias to remove it";
    AliasLimit "DRY0116" "alias-limit" 403 "the package has as many aliases as it may" "remove one, or ask the operator to set it";

    NotAnArchive "DRY0201" "not-an-archive" 422 "the upload is not a gzip-compressed tar archive" "pack it with `drystone publish --dry-run` or `cargo package`";
    ArchiveTruncated "DRY0202" "archive-truncated" 422 "the archive ends too early" "pack and upload it again";
    ArchiveCorrupt "DRY0203" "archive-corrupt" 422 "the archive's checksums do not match its bytes" "pack and upload it again";
    ArchiveTrailingData "DRY0204" "archive-trailing-data" 422 "there are bytes after the end of the archive" "pack it again: one gzip member, one tar archive, nothing after it";
    GzipHeader "DRY0205" "gzip-header" 422 "the gzip header has fields that parsers read differently" "pack it again without extra fields, comment or header checksum";
    TarHeader "DRY0206" "tar-header" 422 "a tar header cannot be read in exactly one way" "pack it again with `drystone publish`, `cargo package` or GNU tar's ustar format";
    EntryType "DRY0207" "entry-type" 422 "the archive holds something that is neither a file nor a directory" "remove links, devices and sparse files, or exclude them";
    UnsafePath "DRY0208" "unsafe-path" 422 "a path in the archive leads outside, or is not portable" "use relative paths of plain UTF-8 names that every system can write";
    PathTooLong "DRY0209" "path-too-long" 422 "a path in the archive is too long or too deep" "shorten the path";
    DuplicatePath "DRY0210" "duplicate-path" 422 "two entries of the archive have one path on some system" "rename one: paths must differ by more than case or Unicode form";
    WrongRoot "DRY0211" "wrong-root" 422 "not everything lies in one directory `name-version/`" "pack it again with `drystone publish` or `cargo package`";
    PaxHeader "DRY0212" "pax-header" 422 "an extended header says what parsers read differently" "pack it again with paths and sizes in plain headers";
    TooManyFiles "DRY0213" "too-many-files" 422 "the archive holds too many files" "exclude files that users do not need";
    UnpackedTooBig "DRY0214" "unpacked-too-big" 422 "the archive unpacks to too many bytes" "exclude files that users do not need";
    TarballTooBig "DRY0215" "tarball-too-big" 413 "the archive has too many bytes" "exclude files that users do not need";
    EmptyArchive "DRY0216" "empty-archive" 422 "the archive holds no file" "check what the package includes";
    FileMode "DRY0217" "file-mode" 422 "an entry has mode bits that have no place in a package" "remove set-user-id, set-group-id and sticky bits";

    ManifestMissing "DRY0301" "manifest-missing" 422 "the archive holds no manifest" "put the manifest into the package's root directory";
    ManifestAmbiguous "DRY0302" "manifest-ambiguous" 422 "the archive holds more than one manifest" "keep one manifest, spelled exactly";
    ManifestTooBig "DRY0303" "manifest-too-big" 422 "the manifest is too long" "shorten the manifest";
    ManifestInvalid "DRY0304" "manifest-invalid" 422 "the manifest cannot be read" "fix the manifest";
    ManifestDisagrees "DRY0305" "manifest-disagrees" 422 "the request says something else than the manifest" "leave the field out of the request, or make it equal";
    UnknownFormat "DRY0306" "unknown-format" 422 "the package format is not known" "use `generic`, `cargo` or `zig`";
    FormatDisabled "DRY0307" "format-disabled" 422 "this registry does not take the package format" "see `formats` in the registry's config.json";
    ReadmeTooBig "DRY0308" "readme-too-big" 422 "the README is too long" "shorten the README";
    RecordTooBig "DRY0309" "record-too-big" 422 "manifest, README and file list together are too long" "exclude files that users do not need";
    TooManyDependencies "DRY0310" "too-many-dependencies" 422 "the release has too many dependencies" "remove some, or split the package";
    EntryMissing "DRY0311" "entry-missing" 422 "the archive lacks the file that a package of its language begins with" "add one of the files that the message names";

    MalformedRequest "DRY0401" "malformed-request" 400 "the request cannot be read" "see the API reference";
    MalformedMultipart "DRY0402" "malformed-multipart" 400 "the multipart body cannot be read" "send `multipart/form-data` with the parts `metadata` (optional) and `package`";
    DigestMismatch "DRY0403" "digest-mismatch" 422 "the bytes have another SHA-256 than was declared" "upload again; if it repeats, the connection changes bytes";
    LengthMismatch "DRY0404" "length-mismatch" 422 "there are more or fewer bytes than were declared" "upload again";
    BodyTooBig "DRY0405" "body-too-big" 413 "the request body is too long" "ask for an upload at `api/v1/uploads`, or send less";
    BodyTooSlow "DRY0406" "body-too-slow" 408 "the request body did not arrive in time" "try again over a faster connection";
    UploadNotFound "DRY0407" "upload-not-found" 404 "there is no such upload, or its bytes have not arrived" "start a new upload";
    InvalidIntentId "DRY0408" "invalid-intent-id" 400 "the idempotency key is not a ULID of the last 24 hours" "make a new ULID for a new request, and repeat it only within a day";
    NoSuchRoute "DRY0409" "no-such-route" 404 "there is nothing at this address" "see the API reference";
    MethodNotAllowed "DRY0410" "method-not-allowed" 405 "the address does not take this method" "see the API reference";
    TextTooLong "DRY0411" "text-too-long" 422 "a text is too long" "shorten it";
    IntentReused "DRY0412" "intent-reused" 409 "the idempotency key was used for another request" "make a new ULID for a new request";

    TokenMissing "DRY0501" "token-missing" 401 "the request carries no token" "sign in with `drystone login`";
    TokenInvalid "DRY0502" "token-invalid" 401 "the token is not known here, or was revoked" "sign in again with `drystone login`";
    TokenExpired "DRY0503" "token-expired" 401 "the token has expired" "sign in again with `drystone login`";
    TokenScope "DRY0504" "token-scope" 403 "the token may not do this" "use a token with the scope, or ask the operator for one";
    NotAnOwner "DRY0505" "not-an-owner" 403 "the account may not act for this package" "ask an owner to run `drystone owner add`";
    LastOwner "DRY0506" "last-owner" 409 "a package cannot lose its last owner" "add another owner first";
    AccountNotFound "DRY0507" "account-not-found" 404 "there is no such account" "check the spelling";
    PackageLimit "DRY0508" "package-limit" 403 "the account has created as many packages as it may" "ask the operator to raise the limit";
    AccountsClosed "DRY0509" "accounts-closed" 403 "accounts are made by the registry's operator" "ask the operator for a token; `drystone admin token --login YOU` makes one";

    LoginFailed "DRY0510" "login-failed" 401 "login and password do not fit" "check both; a forgotten password is reset by mail";
    InvalidLogin "DRY0511" "invalid-login" 422 "the login cannot be used" "use 3 to 32 characters of a-z, 0-9 and `-`, starting with a letter or digit";
    InvalidEmail "DRY0512" "invalid-email" 422 "the text is not an e-mail address" "write it as `name@example.org`";
    WeakPassword "DRY0513" "weak-password" 422 "the password is too easy to guess" "use 12 to 128 characters, such as four words that have nothing to do with each other";
    LoginTaken "DRY0514" "login-taken" 409 "the login is taken" "choose another one";
    LinkInvalid "DRY0515" "link-invalid" 400 "the link was used, has expired, or never was" "ask for another mail";
    SessionNeeded "DRY0516" "session-needed" 403 "a token may not do this" "sign in with your password, and use the session's token";
    SessionEnded "DRY0517" "session-ended" 401 "the session has ended" "sign in again";
    TokenNotFound "DRY0518" "token-not-found" 404 "the account has no such token" "list the tokens of the account";
    TokenLimit "DRY0519" "token-limit" 403 "the account has as many tokens as it may" "revoke those that are not used";
    RateLimited "DRY0520" "rate-limited" 429 "there were too many requests" "try again after the time in `Retry-After`";
    TokenPattern "DRY0521" "token-pattern" 403 "the token is for other packages" "use a token for this package";
    BytesLimit "DRY0522" "bytes-limit" 403 "the archives of the account have as many bytes as they may" "ask the operator to raise the limit";
    InvalidTokenRequest "DRY0523" "invalid-token-request" 422 "a token like this cannot be made" "see the scopes and patterns in the API reference";
    ScopeHeld "DRY0524" "scope-held" 403 "packages under this name belong to somebody else" "publish under a name of your own, or ask its owner to invite you";
    NotInvited "DRY0525" "not-invited" 403 "nobody has invited the account" "ask an owner of the organisation";
    InvalidPublisher "DRY0526" "invalid-publisher" 422 "a CI identity like this cannot be trusted" "see the fields of a trusted publisher in the API reference";
    PublisherNotFound "DRY0527" "publisher-not-found" 404 "there is no such trusted publisher" "list them with `drystone trust-publisher list PACKAGE`";
    PublisherLimit "DRY0528" "publisher-limit" 403 "there are as many trusted publishers as there may be" "remove those that are not used";
    IdentityInvalid "DRY0529" "identity-invalid" 401 "the CI identity's token cannot be taken" "let the job ask its provider for a new token, for this registry's URL as the audience";
    IdentityRefused "DRY0530" "identity-refused" 403 "the package does not trust this CI identity" "an owner compares it with `drystone trust-publisher list PACKAGE`";
    IdentityUsed "DRY0531" "identity-used" 403 "the CI identity's token was exchanged before" "let the job ask its provider for a new token";
    IssuerUnknown "DRY0532" "issuer-unknown" 403 "this registry does not take tokens of this issuer" "see `issuers` in the registry's config.json, or ask the operator";
    IssuerUnreachable "DRY0533" "issuer-unreachable" 503 "the issuer cannot be asked" "try again later";
    TokenBound "DRY0534" "token-bound" 403 "the token is for another upload" "publish the version and the archive that the token was asked for";
    SecondFactorNeeded "DRY0535" "second-factor-needed" 401 "the account signs in with a code beside the password" "give a code of your authenticator app, or a recovery code";
    SecondFactorInvalid "DRY0536" "second-factor-invalid" 401 "the code does not fit, or was used" "wait for the next code of the app, and check the clocks; or give a recovery code";
    SecondFactorState "DRY0537" "second-factor-state" 409 "the account's second factor does not allow this now" "look at it with `drystone auth second-factor status`";
    MailFailed "DRY0538" "mail-failed" 503 "the mail could not be handed in" "try again later";
    TransferNotFound "DRY0539" "transfer-not-found" 404 "the package is not offered to the account" "ask an owner to run `drystone owner transfer offer`";
    TransferWaits "DRY0540" "transfer-waits" 409 "the offer cannot be accepted yet" "accept it once the time-lock has run out";
    DeviceCodeInvalid "DRY0541" "device-code-invalid" 400 "the code was used, has expired, or never was" "begin again with `drystone login`";
    AuthorizationPending "DRY0542" "authorization-pending" 400 "nobody has said yes or no yet" "ask again after the interval";
    SlowDown "DRY0543" "slow-down" 400 "the machine asks too often" "wait for five seconds more each time";
    AuthorizationDenied "DRY0544" "authorization-denied" 403 "somebody has said no to this machine" "begin again with `drystone login`, and say yes";
    SignInInvalid "DRY0545" "sign-in-invalid" 400 "the sign-in at the provider was used, has expired, or cannot be taken" "begin again with `drystone login`";

    TryAgain "DRY0601" "try-again" 503 "the outcome is not known yet" "repeat the same request with the same idempotency key";
    StorageUnavailable "DRY0602" "storage-unavailable" 503 "the storage does not answer" "try again later";
    StorageFull "DRY0603" "storage-full" 507 "the storage is full" "tell the operator";
    StorageRefused "DRY0604" "storage-refused" 503 "the storage refuses the request" "tell the operator";
    ClockWrong "DRY0605" "clock-wrong" 503 "the publisher's clock is more than 60 seconds off" "tell the operator to set the clock";
    HeadBehindLog "DRY0606" "head-behind-log" 503 "the private head is older than the published log" "tell the operator to run `drystone recover`";
    LogUnpublished "DRY0607" "log-unpublished" 503 "too many commits wait to be published" "tell the operator that the log is not being signed";
    UpgradeRequired "DRY0608" "upgrade-required" 503 "a newer Drystone wrote what is there" "upgrade";
    Internal "DRY0609" "internal" 500 "something went wrong inside" "report it with the request id";
    StorageBroken "DRY0610" "storage-broken" 500 "the storage does not keep its contract" "tell the operator";
    WrongKey "DRY0611" "wrong-key" 503 "the log belongs to another key" "start with the key that the log was made with";
    NotInitialised "DRY0612" "not-initialised" 503 "there is no registry here yet" "make one with `drystone serve` or `drystone admin init`";
    AlreadyInitialised "DRY0613" "already-initialised" 409 "there is a registry here already" "choose an empty directory or prefix";
    Overloaded "DRY0614" "overloaded" 503 "too many requests wait" "try again after the time in `Retry-After`";
    ReadOnlyView "DRY0615" "read-only-view" 405 "this target can be read but not written" "use a directory or a bucket";
    CollectionUnderWay "DRY0616" "collection-under-way" 503 "garbage is being collected" "repeat the same request after the time in `Retry-After`";
    TooManyConnections "DRY0617" "too-many-connections" 503 "the server has as many connections as it may" "try again after the time in `Retry-After`";
    TrustRefused "DRY0618" "trust-refused" 422 "the document of the root of trust is not good" "look at it with `drystone trust show`, and have its holders sign it";

    SignatureMissing "DRY0619" "signature-missing" 403 "the package's authors must sign its releases" "sign with `drystone publish --sign`; clients of other registries cannot publish such a package";
    SignatureInvalid "DRY0620" "signature-invalid" 422 "a signature of an author is not good" "sign the archive again, with a key that `drystone key list` shows";
    AuthorKeyRefused "DRY0621" "author-key-refused" 409 "the key cannot be registered" "make another one with `drystone key generate`";
    AuthorKeyUnknown "DRY0622" "author-key-unknown" 404 "the package has no such key" "list its keys with `drystone key list`";
    InvalidRule "DRY0623" "invalid-rule" 422 "nobody could satisfy the rule, or it is out of bounds" "name at least as many registered keys as must sign";
    ExceptionRefused "DRY0624" "exception-refused" 403 "only an administrator may lift a time-lock" "leave the exception out, and wait, or ask the operator";
    StorageDamaged "DRY0630" "storage-damaged" 500 "what the storage keeps for itself is damaged" "tell the operator: move `.journal` out of the directory, and run `drystone fsck --deep`";

    Unreachable "DRY0701" "unreachable" 502 "the registry cannot be reached" "check the URL and the network";
    VerificationFailed "DRY0702" "verification-failed" 502 "what the registry sent does not prove itself" "do not use it; tell the operator";
    NoVersionsFit "DRY0703" "no-versions-fit" 409 "no versions fit together" "loosen a requirement";
    LockWouldChange "DRY0704" "lock-would-change" 409 "the lock file would change" "run without `--locked` and commit the lock file";
    OfflineMiss "DRY0705" "offline-miss" 404 "something is not in the cache and the network is off" "run once without `--offline`";
    NotSignedIn "DRY0706" "not-signed-in" 401 "there is no token for this registry" "sign in with `drystone login`";
    ProjectNotFound "DRY0707" "project-not-found" 404 "there is no manifest here" "make one with `drystone init`";
    BadConfiguration "DRY0708" "bad-configuration" 400 "a setting cannot be used" "fix the setting";
    BadUsage "DRY0709" "bad-usage" 400 "the command cannot be understood" "see `drystone --help`";
    UnexpectedAnswer "DRY0710" "unexpected-answer" 502 "the registry's answer cannot be read" "check that the URL is a Drystone registry's";
    LocalIo "DRY0711" "local-io" 500 "a local file cannot be read or written" "check the path, its permissions and the free space";
    NotBuiltIn "DRY0712" "not-built-in" 400 "this program was built without the feature" "build it with the feature that the message names";
    FsckProblems "DRY0713" "fsck-problems" 409 "the check found problems" "projections: run `drystone rebuild`; objects: restore them from a backup";
    AlreadyExists "DRY0714" "already-exists" 409 "the file or directory is there already" "choose another place, or remove it";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.number())
    }
}

impl Code {
    /// The exit code of a command that ends with this problem: 1 refused, 2 usage, 3 would change, 4 sign-in,
    /// 5 verification failed, 69 unreachable, 70 internal.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::BadUsage | Self::BadConfiguration | Self::ProjectNotFound | Self::NotBuiltIn => 2,
            Self::LockWouldChange => 3,
            Self::TokenMissing
            | Self::TokenInvalid
            | Self::TokenExpired
            | Self::TokenScope
            | Self::NotSignedIn
            | Self::LoginFailed
            | Self::SessionNeeded
            | Self::SessionEnded
            | Self::SecondFactorNeeded
            | Self::SecondFactorInvalid
            | Self::TokenPattern
            | Self::TokenBound
            | Self::IdentityInvalid
            | Self::DeviceCodeInvalid
            | Self::SignInInvalid
            | Self::AuthorizationDenied
            | Self::IdentityRefused
            | Self::IdentityUsed
            | Self::IssuerUnknown => 4,
            Self::VerificationFailed => 5,
            Self::Unreachable
            | Self::StorageUnavailable
            | Self::TryAgain
            | Self::Overloaded
            | Self::CollectionUnderWay
            | Self::IssuerUnreachable
            | Self::MailFailed
            | Self::RateLimited
            | Self::TooManyConnections => 69,
            Self::Internal | Self::StorageBroken | Self::StorageDamaged => 70,
            _ => 1,
        }
    }
}

/// One problem, as it leaves the system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Stable name of the problem.
    pub code: Code,
    /// Stable number of the problem.
    pub number: String,
    /// What happened, in one sentence with the facts in it. Cargo shows this field.
    pub detail: String,
    /// The facts, for programs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
    /// What to do.
    pub hint: String,
}

impl Problem {
    /// A problem with its detail; the hint is the code's own.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            number: code.number().into(),
            detail: detail.into(),
            facts: BTreeMap::new(),
            hint: code.hint().into(),
        }
    }

    /// Adds a fact.
    #[must_use]
    pub fn fact(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.facts.insert(name.into(), value.to_string());
        self
    }

    /// Replaces the hint by a better one.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.number, self.detail)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_ordered_and_written_by_their_slug() {
        let numbers: Vec<_> = Code::ALL.iter().map(|code| code.number()).collect();
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(numbers, sorted);
        for code in Code::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.slug());
            assert!((400..600).contains(&code.status()));
            for text in [code.title(), code.hint()] {
                assert!(
                    !text.ends_with('.') && text.starts_with(|c: char| !c.is_ascii_uppercase() || c == 'R'),
                    "{text}"
                );
            }
        }
    }
}
