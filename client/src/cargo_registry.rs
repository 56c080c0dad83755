//! Any registry that speaks Cargo's sparse protocol, and directories that cargo makes of registries: as sources to
//! bring crates from.
//!
//! Owns: Cargo's index lines as far as moving a release needs them, and the download of its archive. Does not own: what
//! is done with the archives. Format: the Cargo book, "Registry index" and "Source replacement".
//! Invariant: an archive that leaves this module has the checksum that the index names.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use drystone_schemas::{CRATES_IO_INDEX, PackageName, Sha256Digest, Version, layout};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::{ClientError, Http, Secret, VerificationError, http::status_error, normalise_base};

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

#[derive(Deserialize)]
struct Config {
    dl: String,
}

/// A registry at the URL of its sparse index.
#[derive(Debug)]
pub struct CargoRegistry {
    index: String,
    download: String,
    http: Arc<Http>,
    token: Option<Secret>,
}

impl CargoRegistry {
    /// Reads the registry's configuration. The URL is that of Cargo's configuration; `sparse+` may be left out, and
    /// the name of crates.io's git index means its sparse index. A token is sent as cargo sends it.
    pub async fn open(http: Arc<Http>, index: &str, token: Option<Secret>) -> Result<Self, ClientError> {
        let index = match index.strip_prefix("registry+").unwrap_or(index) {
            CRATES_IO_INDEX => "https://index.crates.io",
            other => other.strip_prefix("sparse+").unwrap_or(other),
        };
        let index = normalise_base(index)?;
        let mut registry = Self { download: String::new(), index, http, token };
        let url = format!("{}/config.json", registry.index);
        let unexpected = |detail: String| ClientError::Unexpected { url: url.clone(), detail };
        let bytes = registry.get(&url, CONFIG_BYTES_MAX).await?;
        let bytes =
            bytes.ok_or_else(|| unexpected("it is no sparse index: there is no `config.json`".into()))?;
        let config: Config = serde_json::from_slice(&bytes).map_err(|e| unexpected(e.to_string()))?;
        registry.download = config.dl;
        Ok(registry)
    }

    /// Every release of a package; `None` if there is no such package.
    pub async fn releases(&self, name: &PackageName) -> Result<Option<Vec<CargoRelease>>, ClientError> {
        let url = format!("{}/{}", self.index, layout::index_path(name));
        let bytes = self.get(&url, INDEX_BYTES_MAX).await?;
        bytes.map(|bytes| parse_cargo_index(&bytes, &url)).transpose()
    }

    /// Fetches a release's archive into a directory, unless it lies there whole from an earlier run; answers with its
    /// path.
    ///
    /// # Errors
    ///
    /// [`VerificationError::Digest`] if other bytes come than the index names.
    pub async fn fetch(&self, release: &CargoRelease, dir: &Path) -> Result<PathBuf, ClientError> {
        let path = dir.join(release.file_name());
        if path.is_file() && crate::LocalArchive::open(&path, None)?.digest == release.checksum {
            return Ok(path);
        }
        let url = self.download_url(release);
        let what = || format!("the archive of {} {}", release.name, release.version);
        let mut attempts = self.http.attempts();
        loop {
            match self.attempt(&url, dir).await {
                Ok(None) => return Err(VerificationError::Missing { what: what() }.into()),
                Ok(Some((_, actual))) if actual != release.checksum => {
                    let expected = release.checksum;
                    return Err(VerificationError::Digest { what: what(), expected, actual }.into());
                }
                Ok(Some((file, _))) => {
                    file.persist(&path).map_err(|e| e.error)?;
                    return Ok(path);
                }
                Err(error) if error.is_transient() && !attempts.are_used_up() => {
                    attempts.wait(&url, &error.to_string(), None).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn attempt(
        &self,
        url: &str,
        dir: &Path,
    ) -> Result<Option<(NamedTempFile, Sha256Digest)>, ClientError> {
        let mut file = tempfile::Builder::new().prefix("download-").tempfile_in(dir)?;
        let mut hasher = Sha256::new();
        let mut sink = |chunk: &[u8]| {
            hasher.update(chunk);
            Ok(file.write_all(chunk)?)
        };
        let found = self.http.download(url, ARCHIVE_BYTES_MAX, self.token.as_ref(), &mut sink).await?;
        Ok(found.map(|_| (file, Sha256Digest::from_bytes(hasher.finalize().into()))))
    }

    async fn get(&self, url: &str, bytes_max: u64) -> Result<Option<bytes::Bytes>, ClientError> {
        let answer = self.http.get(url, None, bytes_max, self.token.as_ref()).await?;
        match answer.status.as_u16() {
            200 => Ok(Some(answer.body)),
            // The Cargo book, "Nonexistent crates".
            404 | 410 | 451 => Ok(None),
            _ => Err(status_error(&answer.url, answer.status)),
        }
    }

    /// The Cargo book, "Index configuration".
    fn download_url(&self, release: &CargoRelease) -> String {
        let (name, version) = (release.name.to_string(), release.version.to_string());
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
            ("{sha256-checksum}", release.checksum.hex()),
        ];
        if markers.iter().any(|(marker, _)| self.download.contains(marker)) {
            markers.iter().fold(self.download.clone(), |url, (marker, value)| url.replace(marker, value))
        } else {
            format!("{}/{name}/{version}/download", self.download)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc as Shared;

    use drystone_storage::{SystemClock, SystemEntropy};

    use super::*;
    use crate::{Effects, HttpOptions};

    fn release(name: &str) -> CargoRelease {
        CargoRelease {
            name: PackageName::new(name).unwrap(),
            version: Version::new("1.0.0").unwrap(),
            checksum: Sha256Digest::of(b""),
            yanked: false,
            needs: Vec::new(),
        }
    }

    #[test]
    fn download_urls_are_cargos() {
        let effects = Effects::new(Shared::new(SystemClock), Shared::new(SystemEntropy::new()));
        let url = |download: &str, name: &str| {
            let http = Http::new(HttpOptions::new("test"), effects.clone());
            let registry =
                CargoRegistry { index: String::new(), download: download.into(), http, token: None };
            registry.download_url(&release(name))
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
