//! A registry's settings, and the configuration files that clients read.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Alias, Format, Language, LanguageApi, TrustedIssuer, canonical_json};

/// Who may read a registry's files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReadAccess {
    /// Anybody.
    #[default]
    Public,
    /// Whoever has a token of the registry: Cargo's `auth-required`.
    Token,
}

impl ReadAccess {
    /// Whether anybody may read.
    pub fn is_public(&self) -> bool {
        matches!(self, Self::Public)
    }
}

/// Who may make an account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Registration {
    /// The operator.
    #[default]
    Closed,
    /// Anybody.
    Open,
}

impl Registration {
    /// Whether only the operator makes accounts.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

/// What the operator decides: an object named by the genesis event and by every `config` event after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// Name of the registry, for people.
    pub name: String,
    /// URL below which `index/`, `o/`, `log/` and the rest are served; no slash at the end.
    pub public_url: String,
    /// URL of the publisher's API, where it is not the same; no slash at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_url: Option<String>,
    /// Formats that may be published.
    pub formats: Vec<Format>,
    /// Manifest file name of the generic format.
    pub generic_manifest: String,
    /// How the generic format is read, where a language has a manifest of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// Whether this registry stands in for crates.io: then a dependency without `registry-index` means this registry.
    pub mirrors_crates_io: bool,
    /// Names that only the operator may give to an alias, and that no new package may have.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub reserved: BTreeSet<Alias>,
    /// Who may read. Absent in settings of public registries.
    #[serde(default, skip_serializing_if = "ReadAccess::is_public")]
    pub reads: ReadAccess,
    /// Who says how new the log's checkpoints are; absent where nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freshness: Option<Freshness>,
    /// Who may make an account. Absent where the operator does.
    #[serde(default, skip_serializing_if = "Registration::is_closed")]
    pub registration: Registration,
    /// Whose CI identities may publish, where a package trusts them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<TrustedIssuer>,
    /// Limits on what comes from outside.
    pub limits: Limits,
}

/// The registry's own cosigner, for clients that know of no chain of root keys. Where there is one, its policy counts
/// alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Freshness {
    /// Verifier key of its cosignatures (C2SP tlog-cosignature, `cosignature/v1`).
    pub key: String,
    /// How old a cosignature may be, in seconds.
    pub max_age_s: u64,
}

/// Why settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSettings {
    /// Not `http://` or `https://` followed by a host, or with a slash, query, fragment or password.
    #[error("`{0}` is not a base URL such as `https://registry.example`")]
    Url(String),
    /// Not a single file name.
    #[error("`{0}` is not a manifest file name")]
    Manifest(String),
    /// A language whose name, keys or entry files cannot be.
    #[error("the language `{0}` has a name, a key or an entry file that cannot be used")]
    Language(String),
    /// An issuer whose URL cannot be, or one too many.
    #[error(
        "`{0}` is not the URL of an issuer such as `https://issuer.example`, or one of more than 16, or there twice"
    )]
    Issuer(String),
    /// No format at all.
    #[error("no package format is allowed")]
    NoFormat,
    /// Empty or longer than 64 characters.
    #[error("a registry's name has 1 to 64 characters")]
    Name,
}

impl Settings {
    /// Settings of a new registry at a URL, with every limit at its default.
    pub fn new(name: impl Into<String>, public_url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            public_url: public_url.into(),
            api_url: None,
            formats: Format::ALL.to_vec(),
            generic_manifest: "drystone.toml".into(),
            language: None,
            mirrors_crates_io: false,
            reserved: BTreeSet::new(),
            reads: ReadAccess::Public,
            freshness: None,
            registration: Registration::Closed,
            issuers: Vec::new(),
            limits: Limits::default(),
        }
    }

    /// Checks what the types cannot.
    pub fn check(&self) -> Result<(), InvalidSettings> {
        if let Some(url) =
            std::iter::once(&self.public_url).chain(&self.api_url).find(|url| !is_base_url(url))
        {
            return Err(InvalidSettings::Url(url.clone()));
        }
        let issuers: BTreeSet<&str> = self.issuers.iter().map(|issuer| &*issuer.url).collect();
        let all_differ = issuers.len() == self.issuers.len() && issuers.len() <= ISSUERS_MAX;
        if let Some(issuer) = self.issuers.iter().find(|issuer| !all_differ || !is_issuer_url(&issuer.url)) {
            return Err(InvalidSettings::Issuer(issuer.url.clone()));
        }
        let manifest = &self.generic_manifest;
        let plain = manifest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        let typed = manifest.ends_with(".toml") || (self.language.is_some() && manifest.ends_with(".json"));
        if !plain || !typed || manifest == "Cargo.toml" || manifest.starts_with('.') {
            return Err(InvalidSettings::Manifest(manifest.clone()));
        }
        if let Some(language) = self.language.as_ref().filter(|language| !language.is_valid()) {
            return Err(InvalidSettings::Language(language.name.clone()));
        }
        if self.formats.is_empty() {
            return Err(InvalidSettings::NoFormat);
        }
        if self.name.is_empty() || self.name.chars().count() > 64 {
            return Err(InvalidSettings::Name);
        }
        Ok(())
    }

    /// The object's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical_json(self)
    }

    /// URL of the publisher's API.
    pub fn api_url(&self) -> &str {
        self.api_url.as_deref().unwrap_or(&self.public_url)
    }

    /// The existing client whose API is answered beside our own, if there is one.
    pub fn language_api(&self) -> Option<LanguageApi> {
        self.language.as_ref().and_then(|language| language.api)
    }

    /// Cargo's name for this registry's index.
    pub fn cargo_index_url(&self) -> String {
        format!("sparse+{}/index/", self.public_url)
    }
}

/// Most issuers.
const ISSUERS_MAX: usize = 16;

/// Whether a text is `http://` or `https://` and a host, perhaps with a path, and without a slash at the end.
fn is_base_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        !rest.is_empty()
            && !rest.starts_with('/')
            && !rest.ends_with('/')
            && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:/[]".contains(&b))
    })
}

/// Whether a text is the URL of an issuer: nobody on the way may change its keys.
fn is_issuer_url(url: &str) -> bool {
    let host = url.strip_prefix("http://").map(|rest| rest.split(['/', ':']).next().unwrap_or_default());
    is_base_url(url) && host.is_none_or(|host| matches!(host, "127.0.0.1" | "localhost"))
}

/// Longest archive of the format `cargo` in a new registry, in bytes: as long as the public registry takes.
const CRATE_BYTES_MAX: u64 = 10 << 20;

/// Limits on what comes from outside. Bytes, unless a name says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Limits {
    /// Longest archive.
    pub tarball_bytes_max: u64,
    /// Longest archive of the format `cargo`, where that is less than `tarball_bytes_max`. Settings from before this limit
    /// say nothing of it, and have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crate_bytes_max: Option<u64>,
    /// Longest upload in one request; a longer archive goes to storage by a presigned upload where the store has such.
    pub direct_upload_bytes_max: u64,
    /// Largest sum of the lengths of an archive's files.
    pub unpacked_bytes_max: u64,
    /// Most files in an archive.
    pub files_max: u64,
    /// Longest path in an archive, root directory included.
    pub path_bytes_max: u64,
    /// Most directories on top of each other in an archive.
    pub depth_max: u64,
    /// Longest manifest.
    pub manifest_bytes_max: u64,
    /// Longest README that is kept.
    pub readme_bytes_max: u64,
    /// Longest version record.
    pub record_bytes_max: u64,
    /// Most dependencies of a release.
    pub dependencies_max: u64,
    /// Most packages that an account may create.
    pub packages_per_account_max: u64,
    /// Most aliases that an owner may set for a package.
    pub aliases_per_package_max: u64,
    /// Longest reason of a yank or deprecation.
    pub reason_bytes_max: u64,
    /// Longest time for one request, in seconds.
    pub request_s_max: u64,
    /// Most requests to the API in an hour from one address, without a token.
    pub anonymous_requests_per_hour_max: u64,
    /// Most requests to the API in an hour of one account.
    pub signed_in_requests_per_hour_max: u64,
    /// Most searches in a minute from one address or of one account.
    pub searches_per_minute_max: u64,
    /// Most sign-ins in five minutes, for one account and from one address, right or wrong.
    pub logins_per_5_minutes_max: u64,
    /// Most releases that an account may publish in a day.
    pub uploads_per_day_max: u64,
    /// Most bytes that the archives of an account may have together.
    pub bytes_per_account_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tarball_bytes_max: 50 << 20,
            crate_bytes_max: Some(CRATE_BYTES_MAX),
            direct_upload_bytes_max: 50 << 20,
            unpacked_bytes_max: 512 << 20,
            files_max: 30_000,
            path_bytes_max: 255,
            depth_max: 32,
            manifest_bytes_max: 1 << 20,
            readme_bytes_max: 512 << 10,
            record_bytes_max: 1 << 20,
            dependencies_max: 500,
            packages_per_account_max: 100,
            aliases_per_package_max: 8,
            reason_bytes_max: 1024,
            request_s_max: 30,
            anonymous_requests_per_hour_max: 60,
            signed_in_requests_per_hour_max: 5_000,
            searches_per_minute_max: 30,
            logins_per_5_minutes_max: 10,
            uploads_per_day_max: 100,
            bytes_per_account_max: 10 << 30,
        }
    }
}

impl Limits {
    /// The longest archive of a format, in bytes.
    pub fn archive_bytes_max(&self, format: Format) -> u64 {
        match (format, self.crate_bytes_max) {
            (Format::Cargo, Some(max)) => max.min(self.tarball_bytes_max),
            _ => self.tarball_bytes_max,
        }
    }

    /// The same limits, with the default of a new registry where nothing is said of crates.
    #[must_use]
    pub fn of_new_registry(self) -> Self {
        Self { crate_bytes_max: self.crate_bytes_max.or(Some(CRATE_BYTES_MAX)), ..self }
    }
}

/// `config.json`: what this registry is. A projection of the genesis event and the settings in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RegistryConfig {
    /// Position in the log of the event that last changed it.
    pub seq: u64,
    /// Version of this file's format; 1.
    pub v: u32,
    /// Origin of the log.
    pub origin: String,
    /// Verifier key of the log.
    pub log_key: String,
    /// Where the log is served.
    pub log: String,
    /// Where Cargo's sparse index is served.
    pub index: String,
    /// Where objects are served, by the hex of their SHA-256.
    pub objects: String,
    /// The settings in force.
    #[serde(flatten)]
    pub settings: Settings,
}

impl RegistryConfig {
    /// Makes the file.
    pub fn new(seq: u64, origin: String, log_key: String, settings: Settings) -> Self {
        let below = |folder: &str| format!("{}/{folder}/", settings.public_url);
        Self {
            seq,
            v: 1,
            origin,
            log_key,
            log: below("log"),
            index: below("index"),
            objects: below("o"),
            settings,
        }
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical_json(self)
    }
}

/// The answer to `api/v1/registry/config`: `config.json`, and the same facts as Zepplin names them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApiConfig {
    /// `config.json`.
    #[serde(flatten)]
    pub config: RegistryConfig,
    /// URL of the registry.
    pub url: String,
    /// Version of the API.
    pub api_version: String,
    /// Version of the registry, as a text: that of the format of `config.json`.
    pub version: String,
    /// Publishing takes a token.
    pub allow_public_publish: bool,
    /// Whether packages with an owner are described as GitHub does.
    pub github_compatible: bool,
    /// Formats that may be published.
    pub features: Vec<Format>,
}

impl ApiConfig {
    /// Makes the answer.
    pub fn new(config: RegistryConfig) -> Self {
        let settings = &config.settings;
        Self {
            url: settings.public_url.clone(),
            api_version: "v1".into(),
            version: config.v.to_string(),
            allow_public_publish: false,
            github_compatible: settings.formats.contains(&Format::Zig),
            features: settings.formats.clone(),
            config,
        }
    }
}

/// `index/config.json`, as Cargo reads it (the Cargo book, "Index configuration").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CargoIndexConfig {
    /// Download URL template.
    pub dl: String,
    /// Base URL of the web API.
    pub api: String,
    /// Whether every request must carry a token (RFC 3139); absent if not.
    #[serde(rename = "auth-required", default, skip_serializing_if = "std::ops::Not::not")]
    pub auth_required: bool,
    /// Position in the log; Cargo ignores it.
    pub seq: u64,
}

impl CargoIndexConfig {
    /// Makes the file.
    pub fn new(seq: u64, settings: &Settings) -> Self {
        Self {
            dl: format!("{}/o/{{sha256-checksum}}", settings.public_url),
            api: settings.api_url().into(),
            auth_required: !settings.reads.is_public(),
            seq,
        }
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical_json(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registries_with_private_reads_say_so() {
        let public = Settings::new("demo", "http://127.0.0.1:8080");
        let private = Settings { reads: ReadAccess::Token, ..public.clone() };
        let text =
            |settings: &Settings| String::from_utf8(CargoIndexConfig::new(7, settings).to_bytes()).unwrap();
        assert!(!String::from_utf8(public.to_bytes()).unwrap().contains("reads"));
        assert!(!text(&public).contains("auth-required"));
        assert!(text(&private).contains("\"auth-required\":true"));
    }

    #[test]
    fn crates_have_a_limit_of_their_own_unless_the_settings_are_older() {
        let max = |limits: Limits| {
            [Format::Generic, Format::Cargo].map(|format| limits.archive_bytes_max(format) >> 20)
        };
        let read = |text: &str| serde_json::from_str::<Limits>(text).unwrap();
        assert_eq!(max(Limits::default()), [50, 10]);
        assert_eq!(max(read("{}")), [50, 50]);
        assert_eq!(max(read("{}").of_new_registry()), [50, 10]);
        assert_eq!(max(read(r#"{"crate_bytes_max":209715200,"tarball_bytes_max":104857600}"#)), [100, 100]);
        assert!(!serde_json::to_string(&read("{}")).unwrap().contains("crate"));
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let good = Settings::new("demo", "http://127.0.0.1:8080");
        assert_eq!(good.check(), Ok(()));
        for url in ["", "ftp://a", "http://", "http:///x", "http://a/", "http://u:p@a", "http://a?b", "a"] {
            assert!(Settings { public_url: url.into(), ..good.clone() }.check().is_err(), "{url}");
        }
        for manifest in ["", "a/b.toml", "../x.toml", "Cargo.toml", "x.json", ".toml"] {
            assert!(
                Settings { generic_manifest: manifest.into(), ..good.clone() }.check().is_err(),
                "{manifest}"
            );
        }
        assert!(Settings { formats: vec![], ..good.clone() }.check().is_err());
        assert!(Settings { name: String::new(), ..good }.check().is_err());
    }
}
