//! JSON Schema of every wire type.

use schemars::{Schema, generate::SchemaSettings};

use crate::{
    AliasHistory, AliasMap, ApiConfig, AuthorKeyRequest, AuthorKeysFile, CargoIndexConfig, ErrorBody, Event,
    ExchangeRequest, ExchangeResponse, GithubDependencies, GithubPackage, GithubRelease, GithubTag,
    IndexLine, OwnersRequest, OwnersResponse, PackageDocument, PackageResponse, PublishMetadata,
    PublishResponse, PublisherRequest, PublishersResponse, RavenPackage, ReasonRequest, RegistryConfig,
    ReleaseSummary, ResolveHint, ResolveResponse, RuleRequest, SearchAnswer, SearchResponse, Settings,
    UploadRequest, UploadResponse, VaisPackage, VaisRelease, VersionRecord, VersionResponse, WriteResponse,
    ZionSearch, api::AliasRequest, sign_in,
};

/// Every schema (JSON Schema 2020-12) by file name, in a fixed order; checked in below `schemas/json/`.
pub fn all_schemas() -> Vec<(&'static str, Schema)> {
    macro_rules! schemas {
        ($($name:literal $type:ty),* $(,)?) => {
            vec![$(($name, SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<$type>())),*]
        };
    }
    schemas![
        "alias-history" AliasHistory,
        "alias-map" AliasMap,
        "alias-request" AliasRequest,
        "api-config" ApiConfig,
        "author-key-request" AuthorKeyRequest,
        "author-keys" AuthorKeysFile,
        "cargo-index-config" CargoIndexConfig,
        "config" RegistryConfig,
        "delete-account-request" sign_in::DeleteAccountRequest,
        "error" ErrorBody,
        "exchange-request" ExchangeRequest,
        "exchange-response" ExchangeResponse,
        "event" Event,
        "github-dependencies" GithubDependencies,
        "github-package" GithubPackage,
        "github-release" GithubRelease,
        "github-release-summary" ReleaseSummary,
        "github-tag" GithubTag,
        "index-line" IndexLine,
        "leak-verdict" sign_in::LeakVerdict,
        "leaked-token" sign_in::LeakedToken,
        "login-request" sign_in::LoginRequest,
        "logout-request" sign_in::LogoutRequest,
        "member-request" sign_in::MemberRequest,
        "new-org-request" sign_in::NewOrgRequest,
        "new-token-request" sign_in::NewTokenRequest,
        "new-token-response" sign_in::NewTokenResponse,
        "org-response" sign_in::OrgResponse,
        "owners-request" OwnersRequest,
        "owners-response" OwnersResponse,
        "package" PackageResponse,
        "package-document" PackageDocument,
        "password-change-request" sign_in::PasswordChangeRequest,
        "password-reset-request" sign_in::PasswordResetRequest,
        "password-set-request" sign_in::PasswordSetRequest,
        "public-user" sign_in::PublicUser,
        "publish-metadata" PublishMetadata,
        "publish-response" PublishResponse,
        "publisher-request" PublisherRequest,
        "publishers-response" PublishersResponse,
        "raven-package" RavenPackage,
        "reason-request" ReasonRequest,
        "refresh-request" sign_in::RefreshRequest,
        "register-request" sign_in::RegisterRequest,
        "resolve-hint" ResolveHint,
        "resolve-response" ResolveResponse,
        "rule-request" RuleRequest,
        "search-answer" SearchAnswer,
        "search-response" SearchResponse,
        "security-events-response" sign_in::SecurityEventsResponse,
        "session-response" sign_in::SessionResponse,
        "settings" Settings,
        "tokens-response" sign_in::TokensResponse,
        "upload-request" UploadRequest,
        "upload-response" UploadResponse,
        "user" sign_in::User,
        "vais-package" VaisPackage,
        "vais-release" VaisRelease,
        "verify-request" sign_in::VerifyRequest,
        "version" VersionResponse,
        "version-record" VersionRecord,
        "write-response" WriteResponse,
        "zion-search" ZionSearch,
    ]
}
