//! The registry that every run starts from, made once: two packages, three accounts, and archives to publish.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use drystone_schemas::{AccountId, Settings, Sha256Digest, layout};
use drystone_storage::Store;

use super::{
    calls::{Memory, fill},
    oracle::Oracle,
};
use crate::{Pkg, TestRegistry, checks::contents};

/// Names that are published from the start.
pub(super) const OLD: [&str; 2] = ["http", "json"];
/// Names that may be.
pub(super) const NEW: [&str; 3] = ["tls", "zip", "acme/cfg"];
/// Versions; the first is there for the old names.
pub(super) const VERSIONS: [&str; 4] = ["1.0.0", "1.1.0", "1.2.0", "2.0.0"];
/// Accounts; the first two own both old names.
pub(super) const LOGINS: [&str; 3] = ["ann", "bob", "cem"];

/// Somebody with a token.
#[derive(Clone)]
pub(super) struct Person {
    pub(super) account: AccountId,
    pub(super) token: String,
}

/// An archive with its digest.
pub(super) type Archive = (Bytes, Sha256Digest);

/// What every run starts from.
pub(super) struct Base {
    public: BTreeMap<String, Bytes>,
    vault: BTreeMap<String, Bytes>,
    pub(super) people: Vec<Person>,
    pub(super) now_ms: u64,
    pub(super) oracle: Oracle,
    archives: BTreeMap<(String, String, u8), Archive>,
}

impl Base {
    /// The one base of this process.
    pub(super) fn get() -> &'static Self {
        static BASE: OnceLock<Base> = OnceLock::new();
        BASE.get_or_init(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            runtime.expect("a runtime can be made").block_on(Self::make())
        })
    }

    async fn make() -> Self {
        let registry = TestRegistry::on(Store::memory()).await;
        let mut people = Vec::new();
        for login in LOGINS {
            let made = registry.token_of(login).await;
            people.push(Person { account: made.account.id, token: made.token.reveal().to_owned() });
        }
        let mut archives: BTreeMap<(String, String, u8), Archive> = BTreeMap::new();
        for name in OLD.into_iter().chain(NEW) {
            for vers in VERSIONS {
                for variant in 0..2 {
                    let package = Pkg::new(name, vers).with_payload(format!("// {variant}"));
                    let archive = package.archive();
                    let digest = Sha256Digest::of(&archive);
                    archives.insert((name.to_owned(), vers.to_owned(), variant), (archive.into(), digest));
                }
            }
        }
        for name in OLD {
            let (archive, _) = &archives[&(name.to_owned(), VERSIONS[0].to_owned(), 0)];
            let answer = registry.publish_bytes(&people[0].token, None, archive).await;
            assert_eq!(answer.status, 201, "the base is published");
            let path = format!("/api/v1/packages/{name}/owners");
            let body = serde_json::json!({ "users": [LOGINS[1]] });
            let answer = registry.ask_as(&people[0].token, axum::http::Method::PUT, &path, Some(body)).await;
            assert_eq!(answer.status, 200, "the base has owners");
        }
        let bytes = |files: BTreeMap<String, Vec<u8>>| {
            files.into_iter().map(|(key, bytes)| (key, Bytes::from(bytes))).collect()
        };
        let mut public: BTreeMap<String, Bytes> = bytes(contents(&*registry.store.public).await);
        // Signatures take their time, and the history of what was before any run is nobody's concern.
        let newest = public[layout::CHECKPOINT].clone();
        public.retain(|key, bytes| !key.starts_with("log/checkpoints/") || *bytes == newest);
        let vault: BTreeMap<String, Bytes> = bytes(contents(&*registry.store.vault).await);
        let now_ms = drystone_storage::Clock::now_unix_ms(&*registry.clock);
        let memory = Memory::default();
        fill(&memory.public, &public);
        fill(&memory.vault, &vault);
        let oracle = Oracle::of(&memory, TestRegistry::log_key());
        Self { public, vault, people, now_ms, oracle, archives }
    }

    /// A public file of the base.
    pub(super) fn file(&self, key: &str) -> Bytes {
        self.public[key].clone()
    }

    /// A store with the base in it.
    pub(super) fn memory(&self) -> Memory {
        let memory = Memory::default();
        fill(&memory.public, &self.public);
        fill(&memory.vault, &self.vault);
        memory
    }

    /// Archives that nothing names, as abandoned uploads leave them.
    pub(super) fn abandoned(&self) -> BTreeMap<String, Bytes> {
        let objects = self.archives.values().map(|(bytes, digest)| (layout::object(digest), bytes.clone()));
        objects.filter(|(key, _)| !self.public.contains_key(key)).collect()
    }

    pub(super) fn archive(&self, name: &str, vers: &str, variant: u8) -> &Archive {
        &self.archives[&(name.to_owned(), vers.to_owned(), variant)]
    }

    /// Settings of the registry; the variants differ in what everybody sees.
    pub(super) fn settings(variant: u8) -> Arc<Settings> {
        Arc::new(Settings::new(["test", "exam", "last"][usize::from(variant)], "http://registry.test"))
    }
}
