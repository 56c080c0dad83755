//! Where every file of a registry lies, and the HTTP headers that follow from it.
//!
//! Owns: keys below the two areas, `public` and `vault`, and the cache class of each public key. Web servers that
//! serve the public directory as it lies follow the same table.

use crate::{AccountId, Alias, EventId, FileClass, PackageName, Sha256Digest, Version};

/// `config.json`: what the registry is.
pub const CONFIG: &str = "config.json";
/// Cargo's index configuration.
pub const INDEX_CONFIG: &str = "index/config.json";
/// The newest published checkpoint.
pub const CHECKPOINT: &str = "log/checkpoint";
/// The newest event with its inclusion proof and checkpoint.
pub const LATEST_PROOF: &str = "log/latest.tlog-proof";
/// The whole alias map.
pub const ALIASES: &str = "aliases.json";
/// The line of the whole alias map in the state map. No shard has a name of three characters.
pub const ALIASES_STATE_KEY: &str = "~alias/all";
/// In the vault: the one pointer that commits.
pub const HEAD: &str = "head";

/// An immutable object.
pub fn object(digest: &Sha256Digest) -> String {
    format!("o/{}", digest.hex())
}

/// A package's index file, by Cargo's rule (the Cargo book, "Index files"), below `@owner/` for scoped names.
pub fn index_file(name: &PackageName) -> String {
    format!("index/{}", index_path(name))
}

/// The path of a package's index file below the index.
pub fn index_path(name: &PackageName) -> String {
    let path = name.path_form();
    let (scope, short) = match path.split_once('/') {
        Some((owner, short)) => (format!("@{owner}/"), short),
        None => (String::new(), &*path),
    };
    let folder = match short.len() {
        1 => "1".to_owned(),
        2 => "2".to_owned(),
        3 => format!("3/{}", &short[..1]),
        _ => format!("{}/{}", &short[..2], &short[2..4]),
    };
    format!("{scope}{folder}/{short}")
}

/// A package's resolve record.
pub fn resolve_record(name: &PackageName) -> String {
    format!("resolve/{}", index_path(name))
}

/// The names that a package leads to, as advice on what to fetch: no state-mapped file.
pub fn resolve_hint(name: &PackageName) -> String {
    format!("resolve/{}.hint", index_path(name))
}

/// The by-name file of a class in the line of a package in the state map; none for classes that are about aliases.
pub fn package_file(name: &PackageName, class: FileClass) -> Option<String> {
    match class {
        FileClass::Document => Some(document(name)),
        FileClass::Index => Some(index_file(name)),
        FileClass::Keys => Some(author_keys(name)),
        FileClass::Resolve => Some(resolve_record(name)),
        FileClass::Alias | FileClass::History => None,
    }
}

/// A package document.
pub fn document(name: &PackageName) -> String {
    format!("packages/{}.json", name.path_form())
}

/// The keys of a package's authors.
pub fn author_keys(name: &PackageName) -> String {
    format!("keys/{}.json", name.path_form())
}

/// Below this lie answers for API clients: the file of an address `api/v1/X` is `api/v1/X/index.json`, except for aliases.
pub const API: &str = "api/";

/// The file that answers a `GET` of this address below the registry's URL, such as `api/v1/repos/acme/http/releases`.
pub fn api_file(address: &str) -> String {
    format!("{address}/index.json")
}

/// The answers about one scoped package, in GitHub's shape.
pub struct GithubFiles {
    /// The package.
    pub package: String,
    /// Its releases, with the six fields that every version of Zion reads.
    pub summaries: String,
    /// Its releases, with all fields.
    pub releases: String,
    /// Its versions as tags.
    pub tags: String,
    /// The dependencies of its newest release.
    pub dependencies: String,
}

impl GithubFiles {
    /// All of them.
    pub fn keys(self) -> [String; 5] {
        [self.package, self.summaries, self.releases, self.tags, self.dependencies]
    }
}

/// Where the answers about a package lie; none for a package without owner, which GitHub does not know.
pub fn github_files(name: &PackageName) -> Option<GithubFiles> {
    name.owner()?;
    let path = name.path_form();
    let below = |place: &str| api_file(&format!("api/v1/packages/{path}{place}"));
    Some(GithubFiles {
        package: below(""),
        summaries: below("/releases"),
        releases: api_file(&format!("api/v1/repos/{path}/releases")),
        tags: below("/tags"),
        dependencies: below("/dependencies"),
    })
}

/// The answer to `health`, where no function answers.
pub const HEALTH: &str = "health.json";
/// The answer to `api/v1/registry/config`.
pub const API_CONFIG: &str = "api/v1/registry/config/index.json";

/// A shard of the alias map.
pub fn alias_map(shard: &str) -> String {
    format!("aliases/{shard}.json")
}

/// What happened to the short names of a shard.
pub fn alias_history(shard: &str) -> String {
    format!("aliases/{shard}.history.json")
}

/// The by-name file of a class in a line of the state map that is about aliases; none for other lines.
pub fn alias_file(state_key: &str, class: FileClass) -> Option<String> {
    let shard = state_key.strip_prefix("~alias/")?;
    match class {
        FileClass::Alias if state_key == ALIASES_STATE_KEY => Some(ALIASES.into()),
        FileClass::Alias => Some(alias_map(shard)),
        FileClass::History => Some(alias_history(shard)),
        FileClass::Document | FileClass::Index | FileClass::Keys | FileClass::Resolve => None,
    }
}

/// What a short name means, as existing clients ask for it.
pub fn resolve(alias: &Alias) -> String {
    format!("api/v1/resolve/{alias}")
}

/// The index of all packages, as `vaisc pkg` asks for it below the API's base.
pub const API_INDEX: &str = "api/v1/index.json";

/// A package as the existing client of the registry's language asks for it.
pub fn api_package(name: &PackageName) -> String {
    format!("api/v1/packages/{}/index.json", name.path_form())
}

/// A release as that client asks for it.
pub fn api_release(name: &PackageName, version: &Version) -> String {
    format!("api/v1/packages/{}/{version}/index.json", name.path_form())
}

/// The line of an alias map in the state map.
pub fn alias_state_key(alias: &Alias) -> String {
    format!("~alias/{}", alias.shard())
}

/// A published checkpoint, kept as history.
pub fn checkpoint_history(size: u64) -> String {
    format!("log/checkpoints/{size}")
}

/// What the keys of all documents of the root of trust begin with.
pub const TRUST: &str = "log/trust/";

/// A document of the root of trust.
pub fn trust(version: u64) -> String {
    format!("{TRUST}{version}")
}

/// In the vault: what a commit will apply.
pub fn staging(commit_id: &str) -> String {
    format!("staging/{commit_id}")
}

/// In the vault: the outcome of an intent.
pub fn done(id: &EventId) -> String {
    format!("done/{id}")
}

/// In the vault: where intents wait whose commit lost the race for head.
pub const INBOX: &str = "inbox/";

/// In the vault: an intent that another process may take along.
pub fn inbox(id: &EventId) -> String {
    format!("{INBOX}{id}")
}

/// In the vault: what lay in the inbox under this name and was no intent.
pub fn inbox_bad(name: &str) -> String {
    format!("inbox-bad/{name}")
}

/// In the vault: what the keys of all tokens begin with.
pub const TOKENS: &str = "tokens/";

/// In the vault: a token, by the SHA-256 of its secret.
pub fn token(digest: &Sha256Digest) -> String {
    format!("{TOKENS}{}", digest.hex())
}

/// In the vault: an account.
pub fn account(id: &AccountId) -> String {
    format!("accounts/{}", id.ulid())
}

/// In the vault: which account has a login.
pub fn login(login: &crate::Login) -> String {
    format!("accounts/by-login/{login}")
}

/// In the vault: that a login was an account's which is gone, by a keyed hash of it.
pub fn login_gone(hash: &str) -> String {
    format!("accounts/gone/{hash}")
}

/// In the vault: the account that a verified e-mail address belongs to, by a keyed hash of it.
pub fn email_claim(hash: &str) -> String {
    format!("email/{hash}")
}

/// In the vault: what mailed tokens are for.
pub const MAIL_LINKS: &str = "links/";

/// In the vault: what a mailed token is for, by its SHA-256.
pub fn mail_link(digest: &Sha256Digest) -> String {
    format!("{MAIL_LINKS}{}", digest.hex())
}

/// In the vault: machines that wait to be signed in.
pub const DEVICES: &str = "device/";

/// In the vault: a machine that waits, by the SHA-256 of the code that it keeps.
pub fn device(digest: &Sha256Digest) -> String {
    format!("{DEVICES}{}", digest.hex())
}

/// In the vault: the codes that such machines show.
pub const DEVICE_CODES: &str = "device-codes/";

/// In the vault: which machine shows a code, by the code's keyed hash.
pub fn device_code(hash: &str) -> String {
    format!("{DEVICE_CODES}{hash}")
}

/// In the vault: people who have left to sign in at their provider.
pub const SIGN_INS: &str = "sign-ins/";

/// In the vault: somebody who has left to sign in, by the SHA-256 of what was sent along.
pub fn sign_in(digest: &Sha256Digest) -> String {
    format!("{SIGN_INS}{}", digest.hex())
}

/// In the vault: the account of a person at the provider where people sign in, by a keyed hash of who that is.
pub fn person(hash: &str) -> String {
    format!("people/{hash}")
}

/// In the vault: where the tokens of an account are listed.
pub fn tokens_of(id: &AccountId) -> String {
    format!("tokens-of/{}/", id.ulid())
}

/// In the vault: one token of an account, by its id.
pub fn token_of(id: &AccountId, token: &EventId) -> String {
    format!("{}{token}", tokens_of(id))
}

/// In the vault: CI identities that wait for packages.
pub const PENDING: &str = "pending/";

/// In the vault: where the CI identities lie that wait for a package to publish its first version.
pub fn pending_publishers(package: &PackageName) -> String {
    format!("{PENDING}{}/", package.canonical())
}

/// In the vault: one of them, by its id.
pub fn pending_publisher(package: &PackageName, publisher: &AccountId) -> String {
    format!("{}{}", pending_publishers(package), publisher.ulid())
}

/// In the vault: which tokens of issuers were exchanged.
pub const IDENTITIES_USED: &str = "jti/";

/// In the vault: that an issuer's token was exchanged, by the SHA-256 of issuer and `jti`.
pub fn identity_used(digest: &Sha256Digest) -> String {
    format!("{IDENTITIES_USED}{}", digest.hex())
}

/// In the vault: all sessions.
pub const SESSIONS: &str = "sessions/";

/// In the vault: where the sessions of an account lie.
pub fn sessions_of(id: &AccountId) -> String {
    format!("{SESSIONS}{}/", id.ulid())
}

/// In the vault: a session.
pub fn session(id: &AccountId, session: &EventId) -> String {
    format!("{}{session}", sessions_of(id))
}

/// In the vault: what an account shows beside its password.
pub fn factors(id: &AccountId) -> String {
    format!("factors/{}", id.ulid())
}

/// In the vault: who belongs to an organisation.
pub fn org(id: &AccountId) -> String {
    format!("orgs/{}", id.ulid())
}

/// In the vault: the organisations that an account acts for.
pub fn member_of(id: &AccountId) -> String {
    format!("member-of/{}", id.ulid())
}

/// In the vault: who created the first package with this owner part, in canonical form.
pub fn scope(owner: &str) -> String {
    format!("scopes/{owner}")
}

/// In the vault: where the security events of an account lie.
pub fn audit_of(id: &AccountId) -> String {
    format!("audit/{}/", id.ulid())
}

/// In the vault: a security event.
pub fn audit(id: &AccountId, event: &EventId) -> String {
    format!("{}{event}", audit_of(id))
}

/// In the vault: the day on which a token was used last.
pub fn token_use(digest: &Sha256Digest) -> String {
    format!("used/{}", digest.hex())
}

/// In the vault: how much of each limit is used up.
pub const BUCKETS: &str = "limits/";

/// In the vault: how much of a limit is used up, by a keyed hash of whom it is for.
pub fn bucket(limit: &str, hash: &str) -> String {
    format!("{BUCKETS}{limit}/{hash}")
}

/// In the vault: the keys that sessions are signed with, and names are hashed with.
pub const AUTH_KEYS: &str = "auth/keys";

/// In the vault: how many packages an account has created.
pub fn quota(id: &AccountId) -> String {
    format!("quota/{}", id.ulid())
}

/// In the vault: a large upload on its way.
pub fn upload(id: &EventId) -> String {
    format!("uploads/{id}")
}

/// In the vault: what a large upload was declared to be.
pub fn upload_ticket(id: &EventId) -> String {
    format!("uploads/{id}.ticket")
}

/// In the vault: where garbage lies until it goes for good.
pub const TRASH: &str = "trash/";

/// In the vault: a file that garbage collection moved away at this time, in seconds since 1970.
pub fn trash(at_unix_s: u64, from_vault: bool, key: &str) -> String {
    format!("{TRASH}{at_unix_s}/{}/{key}", if from_vault { "vault" } else { "public" })
}

/// How an edge may keep a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheClass {
    /// Never changes: named by its hash, or by a position in the log.
    Immutable,
    /// Replaced at a publish.
    Fresh,
    /// Says what is newest.
    NoCache,
}

impl CacheClass {
    /// The value of `Cache-Control`.
    pub const fn cache_control(self) -> &'static str {
        match self {
            Self::Immutable => "public, max-age=31536000, immutable",
            Self::Fresh => "public, max-age=5",
            Self::NoCache => "no-cache",
        }
    }
}

/// Content type of archives.
pub const GZIP: &str = "application/gzip";
/// Content type of JSON files.
pub const JSON: &str = "application/json";
/// Content type of index files, notes and shards.
pub const TEXT: &str = "text/plain; charset=utf-8";
/// Content type of tiles and entry bundles (C2SP tlog-tiles).
pub const BINARY: &str = "application/octet-stream";

/// The cache class and content type of a public key.
///
/// Objects below `o/` are archives as far as the key tells; other objects carry their own type where the store can.
pub fn headers(key: &str) -> (CacheClass, &'static str) {
    match key {
        CHECKPOINT | LATEST_PROOF => (CacheClass::NoCache, TEXT),
        _ if key.starts_with("o/") => (CacheClass::Immutable, GZIP),
        _ if ["log/checkpoints/", "log/state/shard/", TRUST].iter().any(|folder| key.starts_with(folder)) => {
            (CacheClass::Immutable, TEXT)
        }
        _ if key.starts_with("log/") => (CacheClass::Immutable, BINARY),
        _ if key.starts_with("resolve/") => (CacheClass::Fresh, JSON),
        _ if key.ends_with(".json") || key.starts_with("api/") => (CacheClass::Fresh, JSON),
        _ => (CacheClass::Fresh, TEXT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_paths_are_cargos() {
        for (name, path) in [
            ("a", "1/a"),
            ("ab", "2/ab"),
            ("Abc", "3/a/abc"),
            ("serde", "se/rd/serde"),
            ("Serde_JSON", "se/rd/serde_json"),
            ("acme/http", "@acme/ht/tp/http"),
            ("acme/x", "@acme/1/x"),
        ] {
            assert_eq!(index_path(&PackageName::new(name).unwrap()), path);
        }
    }

    #[test]
    fn headers_by_class() {
        for (key, class, content_type) in [
            ("config.json", CacheClass::Fresh, JSON),
            ("index/config.json", CacheClass::Fresh, JSON),
            ("index/se/rd/serde", CacheClass::Fresh, TEXT),
            ("resolve/se/rd/serde", CacheClass::Fresh, JSON),
            ("resolve/se/rd/serde.hint", CacheClass::Fresh, JSON),
            ("packages/serde.json", CacheClass::Fresh, JSON),
            ("api/v1/repos/acme/http/releases/index.json", CacheClass::Fresh, JSON),
            ("aliases.json", CacheClass::Fresh, JSON),
            ("api/v1/resolve/zcrypto", CacheClass::Fresh, JSON),
            ("o/00", CacheClass::Immutable, GZIP),
            ("log/checkpoint", CacheClass::NoCache, TEXT),
            ("log/checkpoints/17", CacheClass::Immutable, TEXT),
            ("log/trust/1", CacheClass::Immutable, TEXT),
            ("log/tile/0/000.p/1", CacheClass::Immutable, BINARY),
            ("log/tile/entries/000", CacheClass::Immutable, BINARY),
            ("log/state/shard/00", CacheClass::Immutable, TEXT),
            ("log/state/tile/1/00", CacheClass::Immutable, BINARY),
        ] {
            assert_eq!(headers(key), (class, content_type), "{key}");
        }
    }
}
