//! What must be true of every refusal, and of a registry whatever was done to it.

use std::collections::BTreeMap;

use drystone_index_builder::{AreaSource, FsckOptions, FsckReport, Silent, fsck};
use drystone_schemas::{Code, IndexFile, layout};
use drystone_storage::{Area, Key, Store};

use crate::{Answer, TestRegistry};

/// Codes whose detail is their title on purpose: there is no more to say, or it would tell a stranger what exists.
const TITLE_SAYS_ALL: [Code; 10] = [
    Code::TokenMissing,
    Code::TokenInvalid,
    Code::UploadNotFound,
    Code::EmptyArchive,
    Code::LoginFailed,
    Code::SessionEnded,
    Code::LinkInvalid,
    Code::DeviceCodeInvalid,
    Code::SecondFactorNeeded,
    Code::SecondFactorInvalid,
];

impl Answer {
    /// Checks that this is a refusal with this status and exactly these codes, told as every refusal must be.
    ///
    /// # Panics
    ///
    /// If anything is missing: number, detail, fact or precise detail, hint, request id, `no-store`.
    #[track_caller]
    pub fn assert_refused(&self, case: &str, status: u16, codes: &[&str]) {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(
            (self.status, self.codes()),
            (status, codes.iter().map(|&code| code.into()).collect()),
            "{case}: {text}"
        );
        assert_eq!(self.headers["content-type"], "application/json", "{case}");
        assert_eq!(self.headers["cache-control"], "no-store", "{case}");
        let body: drystone_schemas::ErrorBody = serde_json::from_slice(&self.body).expect("an error body");
        assert_eq!(self.headers["x-request-id"], body.request_id, "{case}");
        assert_eq!(body.request_id.len(), 26, "{case}: {}", body.request_id);
        for problem in &body.errors {
            let code = problem.code;
            assert_eq!(problem.number, code.number(), "{case}");
            assert!(!problem.hint.is_empty() && !problem.detail.is_empty(), "{case}: {text}");
            let precise = !problem.facts.is_empty() || problem.detail != code.title();
            assert!(precise || status >= 500 || TITLE_SAYS_ALL.contains(&code), "{case}: {text}");
            // Paths of this machine and storage keys are nobody's business.
            let told = serde_json::to_string(problem).expect("a problem is JSON");
            if code == Code::NoSuchRoute {
                // The address that was asked for is told back.
                continue;
            }
            for inside in ["/tmp", "vault", "staging", "tokens/", ".rs:", "panicked"] {
                assert!(!told.contains(inside), "{case}: {told}");
            }
        }
    }
}

impl TestRegistry {
    /// The packages that anybody can see, with their versions in the order of publication.
    ///
    /// # Panics
    ///
    /// If the index and the package documents do not name the same packages.
    pub async fn visible(&self) -> BTreeMap<String, Vec<String>> {
        let files = contents(&*self.store.public).await;
        let mut packages = BTreeMap::new();
        for (key, bytes) in
            files.iter().filter(|(key, _)| key.starts_with("index/") && *key != layout::INDEX_CONFIG)
        {
            let index = IndexFile::parse(bytes).unwrap_or_else(|e| panic!("{key}: {e}"));
            let versions = index.lines.iter().map(|line| line.vers.to_string()).collect();
            packages.insert(index.lines[0].name.to_string(), versions);
        }
        let documents: Vec<String> =
            files.keys().filter(|key| key.starts_with("packages/")).cloned().collect();
        let mut expected: Vec<String> =
            packages.keys().map(|name| format!("packages/{}.json", name.to_ascii_lowercase())).collect();
        expected.sort();
        assert_eq!(documents, expected);
        packages
    }

    /// Number of events in the published log.
    pub async fn log_size(&self) -> u64 {
        let checkpoint = self.get("/log/checkpoint").await;
        let text = String::from_utf8(checkpoint.body).expect("a checkpoint is text");
        text.lines().nth(1).and_then(|line| line.parse().ok()).expect("a checkpoint has a size")
    }

    /// Checks every file of the registry.
    pub async fn fsck(&self) -> FsckReport {
        fsck_store(&self.store).await
    }

    /// Checks that every file is as it must be.
    ///
    /// # Panics
    ///
    /// If one is not.
    pub async fn assert_clean(&self, case: &str) {
        let report = self.fsck().await;
        assert!(report.is_clean(), "{case}: {:#?}", report.problems);
    }
}

/// Checks every file of a store that has a test's registry.
pub async fn fsck_store(store: &Store) -> FsckReport {
    let source = AreaSource::new(store.public.clone());
    let options = FsckOptions { key: Some(TestRegistry::log_key()), deep: true };
    fsck(&source, Some(store.vault.clone()), &options, &Silent).await
}

/// Every file of an area.
pub async fn contents(area: &dyn Area) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut after = None;
    loop {
        let page = area.list("", after.as_deref()).await.expect("a test's store lists");
        for key in page.keys {
            let bytes = area.get(&key, u64::MAX).await.expect("a test's store reads");
            files.insert(key.to_string(), bytes.expect("what is listed is there").to_vec());
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return files,
        }
    }
}

/// Every file of a registry; those of the vault start with `vault/`.
pub async fn everything(store: &Store) -> BTreeMap<String, Vec<u8>> {
    let mut files = contents(&*store.public).await;
    files.extend(
        contents(&*store.vault).await.into_iter().map(|(key, bytes)| (format!("vault/{key}"), bytes)),
    );
    files
}

/// Makes a file of an area hold these bytes, or none, behind everybody's back.
pub async fn overwrite(area: &dyn Area, key: &str, bytes: Option<&[u8]>) {
    let key = Key::new(key).expect("a test's key is a key");
    area.delete(&key).await.expect("a test's store deletes");
    if let Some(bytes) = bytes {
        let meta = drystone_storage::Meta::PRIVATE;
        let written = area.replace(&key, None, bytes.to_vec().into(), meta).await;
        written.expect("a test's store writes");
    }
}
