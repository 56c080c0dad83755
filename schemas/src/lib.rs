//! The vocabulary of Drystone: names, versions, digests, events, and every file and body that goes over the wire.
//!
//! Owns: what values are valid, how they are written as bytes, where files lie ([`layout`]), and the table of error
//! [`Code`]s. Does not own: any effect; nothing here touches disk, network, clock, randomness or environment, and the
//! crate builds for wasm32.
//!
//! Invariant: equal values serialise to equal bytes ([`canonical_json`] and the field order of the types).

mod account;
mod alias;
mod api;
mod authors;
mod config;
pub mod confusable;
mod digest;
mod document;
mod event;
mod file_seq;
mod github;
mod index;
mod json;
mod language;
pub mod layout;
mod name;
mod openapi;
mod problem;
mod raven;
mod record;
mod resolve_hint;
mod resolve_record;
mod schema;
mod second_factor;
mod sign_in;
mod time;
mod trusted;
mod vais;
mod version;
mod zig;

pub use account::{AccountId, InvalidAccount, Login};
pub use alias::{Alias, AliasChange, AliasChangeKind, AliasHistory, AliasMap, AliasTarget};
pub use api::{
    AdminTokenResponse, AliasRequest, AuthorKeyRequest, ErrorBody, Owner, OwnersRequest, OwnersResponse,
    PackageResponse, PublishMetadata, PublishOutcome, PublishResponse, ReasonRequest, ResolveResponse,
    RuleRequest, SearchHit, SearchMeta, SearchResponse, TransferRequest, UploadRequest, UploadResponse,
    VersionResponse, WriteResponse,
};
pub use authors::{
    AUTHOR_KEYS_MAX, AuthorKey, AuthorKeys, AuthorKeysFile, AuthorSignature, AuthorSignatures, Exceptions,
    InvalidAuthor, LOCK_HOURS_DEFAULT, LOCK_HOURS_MAX, RULE_KEYS_MAX, RULES_MAX, RegisteredKey, RulesAt,
    SIGNATURES_MAX, SigningRule,
};
pub use config::{
    ApiConfig, CargoIndexConfig, Freshness, InvalidSettings, Limits, ReadAccess, Registration,
    RegistryConfig, Settings,
};
pub use digest::{InvalidDigest, Sha256Digest};
pub use document::{
    Deprecation, OwnerEntry, PackageDocument, PendingOwner, Role, TRANSFER_OFFER_S, TransferOffer,
};
pub use event::{
    DeleteCode, Event, EventBody, EventError, EventHead, EventId, FileChange, FileClass, InvalidEventId,
};
pub use file_seq::{file_seq, sealed_json, with_blank_seq};
pub use github::{
    GithubCommit, GithubDependencies, GithubDependency, GithubPackage, GithubRelease, GithubTag,
    ReleaseSummary, SearchAnswer, SearchItem, ZionHit, ZionSearch,
};
pub use index::{CRATES_IO_INDEX, IndexDep, IndexFile, IndexLine, IndexLineError};
pub use json::canonical_json;
pub use language::{Language, LanguageApi, ManifestFields};
pub use name::{InvalidName, PackageName};
pub use openapi::openapi;
pub use problem::{Code, Problem};
pub use raven::{RavenOwner, RavenPackage};
pub use record::{DepKind, Format, RecordDep, RecordFile, UnknownFormat, VcsInfo, VersionRecord};
pub use resolve_hint::{ResolveHint, ResolveHintError};
pub use resolve_record::{
    GrowingResolveRecord, Positions, ResolveDep, ResolveFeature, ResolveRecord, ResolveRecordError,
    ResolveRelease,
};
pub use schema::all_schemas;
pub use second_factor::{
    ConfirmSecondFactorRequest, NewSecondFactorRequest, NewSecondFactorResponse, RecoveryCodesResponse,
    SecondFactorRequest, SecondFactorResponse,
};
pub use sign_in::{
    DeleteAccountRequest, DeviceAnswer, DeviceCodes, DeviceTokenRequest, LeakVerdict, LeakedToken,
    LoginRequest, LogoutRequest, Member, MemberRequest, NewOrgRequest, NewTokenRequest, NewTokenResponse,
    OrgResponse, PasswordChangeRequest, PasswordResetRequest, PasswordSetRequest, PublicUser, RefreshRequest,
    RegisterRequest, SecretText, SecurityEvent, SecurityEventsResponse, SessionResponse, Team, TokenInfo,
    TokensResponse, User, VerifyRequest,
};
pub use time::{parse_rfc3339, rfc3339};
pub use trusted::{
    CiIdentity, ExchangeRequest, ExchangeResponse, InvalidPublisher, PUBLISHERS_MAX, Provider,
    PublisherRequest, PublishersResponse, TrustedIssuer, TrustedPublisher,
};
pub use vais::{VaisDep, VaisPackage, VaisRelease, VaisVersion};
pub use version::{InvalidVersion, Version, VersionReq};
pub use zig::{ZigDep, ZigLine, ZigRecord, ZigSnippet};
