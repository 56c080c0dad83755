//! JSON Schema of every wire type.

use schemars::{Schema, generate::SchemaSettings};

use crate::{
    AliasHistory, AliasMap, ApiConfig, CargoIndexConfig, ErrorBody, Event, GithubDependencies, GithubPackage,
    GithubRelease, GithubTag, IndexLine, OwnersRequest, OwnersResponse, PackageDocument, PackageResponse,
    PublishMetadata, PublishResponse, RavenPackage, ReasonRequest, RegistryConfig, ReleaseSummary,
    ResolveResponse, SearchAnswer, SearchResponse, Settings, UploadRequest, UploadResponse, VaisPackage,
    VaisRelease, VersionRecord, VersionResponse, WriteResponse, ZionSearch, api::AliasRequest,
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
        "cargo-index-config" CargoIndexConfig,
        "config" RegistryConfig,
        "error" ErrorBody,
        "event" Event,
        "github-dependencies" GithubDependencies,
        "github-package" GithubPackage,
        "github-release" GithubRelease,
        "github-release-summary" ReleaseSummary,
        "github-tag" GithubTag,
        "index-line" IndexLine,
        "owners-request" OwnersRequest,
        "owners-response" OwnersResponse,
        "package" PackageResponse,
        "package-document" PackageDocument,
        "publish-metadata" PublishMetadata,
        "publish-response" PublishResponse,
        "raven-package" RavenPackage,
        "reason-request" ReasonRequest,
        "resolve-response" ResolveResponse,
        "search-answer" SearchAnswer,
        "search-response" SearchResponse,
        "settings" Settings,
        "upload-request" UploadRequest,
        "upload-response" UploadResponse,
        "vais-package" VaisPackage,
        "vais-release" VaisRelease,
        "version" VersionResponse,
        "version-record" VersionRecord,
        "write-response" WriteResponse,
        "zion-search" ZionSearch,
    ]
}
