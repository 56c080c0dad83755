//! Why an event does not fit the state before it, or why files are not a state.

use drystone_schemas::{AccountId, Alias, IndexLineError, PackageName, Version};

/// Why nothing can be projected. In a log whose writers validate, none of these occurs.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// An event other than a publish names a package that has no release.
    #[error("there is no package `{name}`")]
    UnknownPackage {
        /// The package named.
        name: PackageName,
    },
    /// The caller gave the state of a package that the event does not name.
    #[error("the event names `{named}`, but the state given is that of `{given}`")]
    OtherPackage {
        /// The package that the event names.
        named: PackageName,
        /// The package whose state was given.
        given: PackageName,
    },
    /// The caller gave a shard of the alias map that does not hold the alias.
    #[error("alias `{alias}` does not lie in the shard given")]
    OtherShard {
        /// The alias that the event names.
        alias: Alias,
    },
    /// A release spells the package's name otherwise than the first one did; files must not move.
    #[error("package `{first}` is published as `{given}`")]
    Spelling {
        /// As the first release spells it.
        first: PackageName,
        /// As this one does.
        given: PackageName,
    },
    /// The version has been published before, perhaps with other build metadata, perhaps deleted since.
    #[error("version `{vers}` of `{name}` already exists")]
    VersionExists {
        /// The package.
        name: PackageName,
        /// The version, as it was published.
        vers: Version,
    },
    /// There is no such version.
    #[error("`{name}` has no version `{vers}`")]
    UnknownVersion {
        /// The package.
        name: PackageName,
        /// The version named.
        vers: Version,
    },
    /// The version was taken down; nothing can be done to it any more.
    #[error("version `{vers}` of `{name}` was deleted")]
    Deleted {
        /// The package.
        name: PackageName,
        /// The version.
        vers: Version,
    },
    /// The event says what is so already.
    #[error("event {seq} about `{name}` changes nothing")]
    NoChange {
        /// Position in the log.
        seq: u64,
        /// The package.
        name: PackageName,
    },
    /// The account has no role in the package.
    #[error("`{account}` is not an owner of `{name}`")]
    NotAnOwner {
        /// The package.
        name: PackageName,
        /// The account.
        account: AccountId,
    },
    /// The package is not offered to the account, or not yet.
    #[error("`{name}` is not offered to `{account}`")]
    NotOffered {
        /// The package.
        name: PackageName,
        /// The account.
        account: AccountId,
    },
    /// Nobody would be left who may act for the package.
    #[error("`{account}` is the last owner of `{name}`")]
    LastOwner {
        /// The package.
        name: PackageName,
        /// The account.
        account: AccountId,
    },
    /// The alias means another package.
    #[error("alias `{alias}` means `{package}`")]
    AliasTaken {
        /// The alias.
        alias: Alias,
        /// What it means.
        package: PackageName,
    },
    /// The alias does not mean the package that the event names.
    #[error("alias `{alias}` does not mean `{name}`")]
    UnknownAlias {
        /// The alias.
        alias: Alias,
        /// The package.
        name: PackageName,
    },
    /// A publish event came without its version record.
    #[error("the version record of event {seq} is missing")]
    NoRecord {
        /// Position in the log.
        seq: u64,
    },
    /// The version record is about something else than the event.
    #[error("the version record given for `{vers}` of `{name}` names another {what}")]
    OtherRecord {
        /// The package that the event names.
        name: PackageName,
        /// The version that the event names.
        vers: Version,
        /// What differs.
        what: &'static str,
    },
    /// An index file does not parse.
    #[error(transparent)]
    Index(#[from] IndexLineError),
    /// A package document does not parse.
    #[error("not a package document: {0}")]
    Document(#[source] serde_json::Error),
    /// The two files are not of one package.
    #[error("the index file of `{document}` has a line of `{line}`")]
    MixedFiles {
        /// The name in the document.
        document: PackageName,
        /// The name in the index line.
        line: PackageName,
    },
}
