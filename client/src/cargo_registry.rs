//! Any registry that speaks Cargo's sparse protocol, and directories that cargo makes of registries: as sources to
//! bring crates from.
//!
//! Owns: Cargo's index lines as far as moving a release needs them, and the download of its archive. Does not own: what
//! is done with the archives. Format: the Cargo book, "Registry index" and "Source replacement".
//! Invariant: an archive that leaves this module has the checksum that the index names.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use drystone_schemas::{CRATES_IO_INDEX, PackageName, Sha256Digest, Version, layout};
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::{
    ClientError, Http, Secret,
    download::{OnBytes, Sink, Wanted, from_url},
    http::status_error,
    normalise_base,
};

/// Longest index configuration, in bytes.
const CONFIG_BYTES_MAX: u64 = 64 << 10;
/// Longest index file, in bytes.
const INDEX_BYTES_MAX: u64 = 64 << 20;
/// Longest archive that is fetched, in bytes: longer than any registry is known to take.
const ARCHIVE_BYTES_MAX: u64 = 1 << 30;

/// A release as a Cargo index names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CargoRelease {
    /// Package, as written.
    pub name: PackageName,
    /// Version.
    pub version: Version,
    /// SHA-256 of the archive.
    pub checksum: Sha256Digest,
    /// Whether it is yanked.
    pub yanked: bool,
    /// Packages of the same registry that it depends on, except for tests.
    pub needs: Vec<PackageName>,
}

impl CargoRelease {
    /// The archive's file name.
    pub fn file_name(&self) -> String {
        format!("{}-{}.crate", self.name, self.version)
    }
}

#[derive(Deserialize)]
struct Line {
    name: PackageName,
    vers: Version,
    #[serde(default)]
    deps: Vec<Dep>,
    cksum: String,
    #[serde(default)]
    yanked: bool,
}

#[derive(Deserialize)]
struct Dep {
    name: String,
    kind: Option<String>,
    registry: Option<String>,
    package: Option<String>,
}

/// Reads an index file; `what` names it where it does not parse.
pub fn parse_cargo_index(bytes: &[u8], what: &str) -> Result<Vec<CargoRelease>, ClientError> {
    let unexpected = |detail: String| ClientError::Unexpected { url: what.into(), detail };
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    lines
        .enumerate()
        .map(|(at, line)| {
            let line: Line = serde_json::from_slice(line)
                .map_err(|e| unexpected(format!("line {} of the index: {e}", at + 1)))?;
            let checksum = Sha256Digest::from_hex(&line.cksum).map_err(|e| unexpected(e.to_string()))?;
            let mut needs: Vec<PackageName> = line
                .deps
                .into_iter()
                .filter(|dep| dep.registry.is_none() && dep.kind.as_deref() != Some("dev"))
                .filter_map(|dep| PackageName::new(dep.package.unwrap_or(dep.name)).ok())
                .collect();
            needs.sort_by_key(PackageName::canonical);
            needs.dedup();
            Ok(CargoRelease { name: line.name, version: line.vers, checksum, yanked: line.yanked, needs })
        })
        .collect()
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Config {
    dl: String,
    #[serde(default)]
    auth_required: bool,
}

/// A registry at the URL of its sparse index.
#[derive(Debug)]
pub struct CargoRegistry {
    index: String,
    http: Arc<Http>,
    token: Option<Secret>,
    /// Set if the token is not to be shown, because reads do not need it.
    without_token: AtomicBool,
    config: OnceCell<(Bytes, Config)>,
}

impl CargoRegistry {
    /// A registry at the URL of Cargo's configuration; `sparse+` may be left out, and the name of crates.io's git index
    /// means its sparse index. A token is sent as cargo sends it. Nothing is fetched yet.
    pub fn new(http: Arc<Http>, index: &str, token: Option<Secret>) -> Result<Self, ClientError> {
        let index = match index.strip_prefix("registry+").unwrap_or(index) {
            CRATES_IO_INDEX => "https://index.crates.io",
            other => other.strip_prefix("sparse+").unwrap_or(other),
        };
        let index = normalise_base(index)?;
        Ok(Self { index, http, token, without_token: AtomicBool::new(false), config: OnceCell::new() })
    }

    /// The same, after its configuration was read.
    pub async fn open(http: Arc<Http>, index: &str, token: Option<Secret>) -> Result<Self, ClientError> {
        let registry = Self::new(http, index, token)?;
        registry.parsed_config().await?;
        Ok(registry)
    }

    async fn parsed_config(&self) -> Result<&(Bytes, Config), ClientError> {
        self.config
            .get_or_try_init(async || {
                let url = format!("{}/config.json", self.index);
                let unexpected = |detail: String| ClientError::Unexpected { url: url.clone(), detail };
                let found = self.get(&url, CONFIG_BYTES_MAX).await?;
                let (bytes, _) = found
                    .ok_or_else(|| unexpected("it is no sparse index: there is no `config.json`".into()))?;
                let config = serde_json::from_slice(&bytes).map_err(|e| unexpected(e.to_string()))?;
                Ok((bytes, config))
            })
            .await
    }

    /// The bytes of its `config.json`; fetched once.
    pub(crate) async fn config(&self) -> Result<Bytes, ClientError> {
        Ok(self.parsed_config().await?.0.clone())
    }

    /// Shows the token nowhere but where the registry's configuration asks for one.
    pub(crate) async fn settle_token(&self) -> Result<(), ClientError> {
        let asks = self.parsed_config().await?.1.auth_required;
        self.without_token.store(!asks, Ordering::Relaxed);
        Ok(())
    }

    fn token(&self) -> Option<&Secret> {
        self.token.as_ref().filter(|_| !self.without_token.load(Ordering::Relaxed))
    }

    /// A package's index file with its `ETag`; `None` if there is no such package.
    pub(crate) async fn index_file(
        &self,
        name: &PackageName,
    ) -> Result<Option<(Bytes, Option<String>)>, ClientError> {
        self.get(&self.index_url(name), INDEX_BYTES_MAX).await
    }

    fn index_url(&self, name: &PackageName) -> String {
        format!("{}/{}", self.index, layout::index_path(name))
    }

    /// Every release of a package; `None` if there is no such package.
    pub async fn releases(&self, name: &PackageName) -> Result<Option<Vec<CargoRelease>>, ClientError> {
        let found = self.index_file(name).await?;
        found.map(|(bytes, _)| parse_cargo_index(&bytes, &self.index_url(name))).transpose()
    }

    /// Fetches a release's archive into a directory, unless it lies there whole from an earlier run; answers with its
    /// path.
    ///
    /// # Errors
    ///
    /// [`VerificationError::Digest`](crate::VerificationError::Digest) if other bytes come than the index names.
    pub async fn fetch(&self, release: &CargoRelease, dir: &Path) -> Result<PathBuf, ClientError> {
        let path = dir.join(release.file_name());
        if path.is_file() && crate::LocalArchive::open(&path, None)?.digest == release.checksum {
            return Ok(path);
        }
        let mut file = tempfile::Builder::new().prefix("download-").tempfile_in(dir)?;
        self.download(&release.name, &release.version, &release.checksum, &|_| (), &mut file).await?;
        file.persist(&path).map_err(|e| e.error)?;
        Ok(path)
    }

    /// Fetches a release's archive into memory.
    ///
    /// # Errors
    ///
    /// Those of [`CargoRegistry::fetch`].
    pub(crate) async fn archive(
        &self,
        name: &PackageName,
        version: &Version,
        checksum: &Sha256Digest,
        on_bytes: OnBytes<'_>,
    ) -> Result<Bytes, ClientError> {
        let mut bytes = BytesMut::new();
        self.download(name, version, checksum, on_bytes, &mut bytes).await?;
        Ok(bytes.freeze())
    }

    async fn download(
        &self,
        name: &PackageName,
        version: &Version,
        checksum: &Sha256Digest,
        on_bytes: OnBytes<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), ClientError> {
        let wanted = Wanted {
            url: download_url(&self.parsed_config().await?.1.dl, name, version, checksum),
            token: self.token(),
            what: format!("the archive of {name} {version}"),
            digest: *checksum,
            bytes_max: ARCHIVE_BYTES_MAX,
        };
        from_url(&self.http, &wanted, on_bytes, sink).await
    }

    async fn get(&self, url: &str, bytes_max: u64) -> Result<Option<(Bytes, Option<String>)>, ClientError> {
        let answer = self.http.get(url, None, bytes_max, self.token()).await?;
        match answer.status.as_u16() {
            200 => Ok(Some((answer.body, answer.etag))),
            // The Cargo book, "Nonexistent crates".
            404 | 410 | 451 => Ok(None),
            _ => Err(status_error(&answer.url, answer.status)),
        }
    }
}

/// The Cargo book, "Index configuration".
fn download_url(template: &str, name: &PackageName, version: &Version, checksum: &Sha256Digest) -> String {
    let (name, version) = (name.to_string(), version.to_string());
    let prefix = |name: &str| match name.len() {
        1 => "1".to_owned(),
        2 => "2".to_owned(),
        3 => format!("3/{}", &name[..1]),
        _ => format!("{}/{}", &name[..2], &name[2..4]),
    };
    let markers = [
        ("{crate}", name.clone()),
        ("{version}", version.clone()),
        ("{prefix}", prefix(&name)),
        ("{lowerprefix}", prefix(&name.to_ascii_lowercase())),
        ("{sha256-checksum}", checksum.hex()),
    ];
    if markers.iter().any(|(marker, _)| template.contains(marker)) {
        markers.iter().fold(template.to_owned(), |url, (marker, value)| url.replace(marker, value))
    } else {
        format!("{template}/{name}/{version}/download")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn download_urls_are_cargos() {
        let url = |template: &str, name: &str| {
            let (name, version) = (PackageName::new(name).unwrap(), Version::new("1.0.0").unwrap());
            download_url(template, &name, &version, &Sha256Digest::of(b""))
        };
        assert_eq!(url("https://r/api/v1/crates", "Serde"), "https://r/api/v1/crates/Serde/1.0.0/download");
        assert_eq!(
            url("https://r/{prefix}/{lowerprefix}/{crate}-{version}", "Serde"),
            "https://r/Se/rd/se/rd/Serde-1.0.0"
        );
        assert_eq!(url("https://r/{crate}/{prefix}", "abc"), "https://r/abc/3/a");
        let empty = Sha256Digest::of(b"").hex();
        assert_eq!(url("https://r/o/{sha256-checksum}", "a"), format!("https://r/o/{empty}"));
    }

    #[test]
    fn index_lines_are_read_whatever_else_they_say() {
        let sum = "0".repeat(64);
        let text = format!(
            "{{\"name\":\"A_b\",\"vers\":\"1.0.0\",\"cksum\":\"{sum}\",\"new\":1}}\n\n\
             {{\"name\":\"A_b\",\"vers\":\"1.1.0\",\"yanked\":true,\"cksum\":\"{sum}\",\"deps\":[\
             {{\"name\":\"x\",\"req\":\"1\",\"kind\":\"normal\",\"package\":\"real\"}},\
             {{\"name\":\"tests-only\",\"req\":\"1\",\"kind\":\"dev\"}},\
             {{\"name\":\"elsewhere\",\"req\":\"1\",\"kind\":\"build\",\"registry\":\"https://r\"}},\
             {{\"name\":\"maker\",\"req\":\"1\",\"kind\":\"build\"}}]}}\n"
        );
        let read = parse_cargo_index(text.as_bytes(), "a").unwrap();
        let needs: Vec<&str> = read[1].needs.iter().map(PackageName::as_str).collect();
        assert_eq!(
            (read.len(), read[0].yanked, read[1].yanked, needs),
            (2, false, true, vec!["maker", "real"])
        );
        assert!(parse_cargo_index(b"{}", "a").is_err());
    }
}
