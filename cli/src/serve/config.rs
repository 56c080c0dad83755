//! The options of `serve`, from flags, environment and a file.
//!
//! A flag goes before the environment, the environment before the file, the file before the default. Everything has a
//! default; the file is optional, and a key that it does not know is an error.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use drystone_publisher::ConnectionLimits;
use drystone_schemas::{
    Alias, Code, Language, Limits, ManifestFields, PackageName, Problem, Provider, ReadAccess, Registration,
    Settings, TrustedIssuer,
};
use serde::Deserialize;

use crate::{context::Context, env::Env, failure::Failure, operate::StoreArgs};

/// Where `serve` listens unless it is told otherwise.
const DEFAULT_LISTEN: &str = "127.0.0.1:8080";
/// How old cosignatures become unless `serve` is told otherwise, in seconds: a client that looks finds them ten minutes old at
/// most, for some 600 small writes a day.
const DEFAULT_HEARTBEAT_S: u64 = 600;

/// What a new registry starts with.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct NewArgs {
    /// Name of a new registry
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Origin of a new registry's log; for ever
    #[arg(long, value_name = "ORIGIN")]
    pub origin: Option<String>,
    /// A dependency of a crate without a registry means this registry: for mirrors of crates.io
    #[arg(long)]
    pub mirror_crates_io: bool,
    /// Every read needs a token, as Cargo's `auth-required` says
    #[arg(long)]
    pub private_reads: bool,
    /// Anybody may make an account
    #[arg(long)]
    pub open_registration: bool,
    /// Issuer whose CI identities may publish where a package trusts them: `github=URL`, `gitlab=URL` or `oidc=URL`
    #[arg(long = "issuer", value_name = "PROVIDER=URL", value_parser = parse_issuer)]
    pub issuers: Vec<TrustedIssuer>,
    /// Longest archive, in bytes
    #[arg(long, value_name = "BYTES")]
    pub tarball_bytes_max: Option<u64>,
    /// Longest archive of a crate, in bytes; 10 MiB if absent
    #[arg(long, value_name = "BYTES")]
    pub crate_bytes_max: Option<u64>,
    /// Language of a new registry with an existing client: `raven` or `vais`
    #[arg(long, value_name = "NAME")]
    pub language: Option<String>,
    /// Most packages that an account may create
    #[arg(long, value_name = "N")]
    pub packages_per_account_max: Option<u64>,
}

fn parse_issuer(text: &str) -> Result<TrustedIssuer, String> {
    let (provider, url) = text.split_once('=').ok_or("write `PROVIDER=URL`")?;
    let provider = match provider {
        "github" => Provider::Github,
        "gitlab" => Provider::Gitlab,
        "oidc" => Provider::Oidc,
        _ => return Err("providers are `github`, `gitlab` and `oidc`".into()),
    };
    Ok(TrustedIssuer { url: url.trim_end_matches('/').to_owned(), provider })
}

impl NewArgs {
    /// The settings of a new registry at this URL, over those of a file.
    ///
    /// # Errors
    ///
    /// [`Code::BadConfiguration`] for a language that is no preset.
    pub fn settings(
        &self,
        public_url: String,
        file: Limits,
        language: Option<&LanguageTable>,
    ) -> Result<Settings, Failure> {
        let mut settings = Settings::new(self.name.clone().unwrap_or_else(|| "drystone".into()), public_url);
        let preset = LanguageTable { preset: self.language.clone(), ..LanguageTable::default() };
        if let Some(table) = self.language.as_ref().map(|_| &preset).or(language) {
            let (manifest, language) = table.read()?;
            (settings.generic_manifest, settings.language) = (manifest, Some(language));
            settings
                .reserved
                .extend(table.preset.as_deref().map(Language::preset_reserved).unwrap_or_default());
        }
        settings.mirrors_crates_io = self.mirror_crates_io;
        settings.reads = if self.private_reads { ReadAccess::Token } else { ReadAccess::Public };
        settings.registration =
            if self.open_registration { Registration::Open } else { Registration::Closed };
        settings.issuers.clone_from(&self.issuers);
        settings.limits = file.of_new_registry();
        let limits = &mut settings.limits;
        limits.tarball_bytes_max = self.tarball_bytes_max.unwrap_or(limits.tarball_bytes_max);
        limits.crate_bytes_max = self.crate_bytes_max.or(limits.crate_bytes_max);
        limits.packages_per_account_max =
            self.packages_per_account_max.unwrap_or(limits.packages_per_account_max);
        Ok(settings)
    }
}

/// The language of a new registry, as TOML: a preset, or a manifest with its fields.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct LanguageTable {
    preset: Option<String>,
    name: String,
    manifest: String,
    fields: ManifestFields,
    flat: bool,
    entry: Vec<String>,
}

impl LanguageTable {
    fn read(&self) -> Result<(String, Language), Failure> {
        let Some(preset) = &self.preset else {
            let language = Language {
                fields: self.fields.clone(),
                flat: self.flat,
                entry: self.entry.clone(),
                ..Language::new(&*self.name)
            };
            return Ok((self.manifest.clone(), language));
        };
        let unknown = || {
            let problem =
                Problem::new(Code::BadConfiguration, format!("`{preset}` is no language that is known here"));
            Failure::from(
                problem.with_hint("presets are `raven` and `vais`; others are described in `[language]`"),
            )
        };
        let (manifest, language) = Language::preset(preset).ok_or_else(unknown)?;
        Ok((manifest.to_owned(), language))
    }
}

/// The file, as TOML.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    server: Server,
    connections: ConnectionLimits,
    storage: Storage,
    registry: Registry,
    language: Option<LanguageTable>,
    /// Short names that this registry starts with.
    aliases: BTreeMap<Alias, PackageName>,
    limits: Limits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Server {
    listen: Option<String>,
    public_url: Option<String>,
    token_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Storage {
    data: Option<PathBuf>,
    store: Option<String>,
    key_file: Option<PathBuf>,
    freshness_key_file: Option<PathBuf>,
    policy_file: Option<PathBuf>,
    heartbeat_s: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Registry {
    name: Option<String>,
    origin: Option<String>,
    mirror_crates_io: bool,
    private_reads: bool,
    open_registration: bool,
    issuers: Vec<TrustedIssuer>,
}

/// What `serve` goes by.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Base URL that clients use, if it is not the address.
    pub public_url: Option<String>,
    /// File for the first token.
    pub token_file: Option<PathBuf>,
    /// What peers may do.
    pub connections: ConnectionLimits,
    /// Which store.
    pub store: StoreArgs,
    /// How old the newest checkpoint's cosignatures may become, in seconds.
    pub heartbeat_s: u64,
    /// What a new registry starts with.
    pub new: NewArgs,
    /// Limits of a new registry.
    pub limits: Limits,
    /// Language of a new registry.
    pub language: Option<LanguageTable>,
    /// Short names to set at the start, where the package exists and the name is free.
    pub aliases: BTreeMap<Alias, PackageName>,
}

/// Flags of `serve` that have a key in the file as well.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfigArgs {
    /// File with options, as TOML [env: DRYSTONE_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to listen on; 127.0.0.1:8080 if absent [env: DRYSTONE_LISTEN]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Base URL that clients use; `http://` and the address if absent [env: DRYSTONE_PUBLIC_URL]
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// File for the first token, which is printed if absent [env: DRYSTONE_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Which store.
    #[command(flatten)]
    pub store: StoreArgs,
    /// How old the newest checkpoint's cosignatures may become, in seconds; 600 if absent [env: DRYSTONE_HEARTBEAT_S]
    #[arg(long, value_name = "SECONDS")]
    pub heartbeat_s: Option<u64>,
    /// What a new registry starts with.
    #[command(flatten)]
    pub new: NewArgs,
}

impl ConfigArgs {
    /// Puts flags, environment and file together.
    pub fn resolve(self, cx: &Context) -> Result<Config, Failure> {
        let path = self.config.clone().or_else(|| cx.env.get("DRYSTONE_CONFIG").map(PathBuf::from));
        let text = match &path {
            Some(path) => fs_err::read_to_string(cx.path(path))?,
            None => String::new(),
        };
        let name = path.map(|path| path.display().to_string()).unwrap_or_default();
        self.merge(&cx.env, &name, &text)
    }

    fn merge(self, env: &Env, name: &str, text: &str) -> Result<Config, Failure> {
        let file: File = toml::from_str(text).map_err(|e| {
            Failure::new(
                Code::BadConfiguration,
                format!("`{name}` cannot be read: {}", e.to_string().trim_end()),
            )
        })?;
        let from_env = |key: &str| env.get(key).map(str::to_owned);
        let listen = self.listen.or_else(|| from_env("DRYSTONE_LISTEN")).or(file.server.listen);
        let listen = listen.unwrap_or_else(|| DEFAULT_LISTEN.into());
        let listen = listen.parse().map_err(|_| {
            let problem =
                Problem::new(Code::BadConfiguration, format!("`{listen}` is not an address to listen on"));
            Failure::from(problem.with_hint("write an IP address and a port, such as `127.0.0.1:8080`"))
        })?;
        let connections = file.connections.or_environment(|name| env.get(name).map(str::to_owned));
        let connections = connections.map_err(|detail| Failure::new(Code::BadConfiguration, detail))?;
        // Where a flag or the environment names one kind of store, the file's other kind does not count.
        let named =
            self.store.data.is_some() || self.store.store.is_some() || env.get("DRYSTONE_STORE").is_some();
        let (data, store) = if named { (None, None) } else { (file.storage.data, file.storage.store) };
        let key_file = self.store.key_file.or_else(|| from_env("DRYSTONE_LOG_KEY_FILE").map(PathBuf::from));
        let heartbeat_s =
            self.heartbeat_s.map(Ok).or_else(|| env.get("DRYSTONE_HEARTBEAT_S").map(str::parse));
        let heartbeat_s = heartbeat_s.transpose().map_err(|_| {
            Failure::new(Code::BadConfiguration, "`DRYSTONE_HEARTBEAT_S` is not a number of seconds")
        })?;
        let heartbeat_s = heartbeat_s.or(file.storage.heartbeat_s).unwrap_or(DEFAULT_HEARTBEAT_S);
        Ok(Config {
            listen,
            public_url: self
                .public_url
                .or_else(|| from_env("DRYSTONE_PUBLIC_URL"))
                .or(file.server.public_url),
            token_file: self
                .token_file
                .or_else(|| from_env("DRYSTONE_TOKEN_FILE").map(PathBuf::from))
                .or(file.server.token_file),
            connections,
            store: StoreArgs {
                data: self.store.data.or(data),
                store: self.store.store.or(store),
                key_file: key_file.or(file.storage.key_file),
                freshness_key_file: (self.store.freshness_key_file)
                    .or_else(|| from_env("DRYSTONE_FRESHNESS_KEY_FILE").map(PathBuf::from))
                    .or(file.storage.freshness_key_file),
                policy_file: (self.store.policy_file)
                    .or_else(|| from_env("DRYSTONE_POLICY_FILE").map(PathBuf::from))
                    .or(file.storage.policy_file),
            },
            heartbeat_s,
            new: NewArgs {
                name: self.new.name.or(file.registry.name),
                origin: self.new.origin.or(file.registry.origin),
                mirror_crates_io: self.new.mirror_crates_io || file.registry.mirror_crates_io,
                private_reads: self.new.private_reads || file.registry.private_reads,
                open_registration: self.new.open_registration || file.registry.open_registration,
                issuers: if self.new.issuers.is_empty() { file.registry.issuers } else { self.new.issuers },
                ..self.new
            },
            limits: file.limits,
            language: file.language,
            aliases: file.aliases,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[server]\nlisten = \"127.0.0.1:1\"\npublic_url = \"https://file\"\n[storage]\ndata = \"/file\"\n\
                        [registry]\nname = \"file\"\n[limits]\ntarball_bytes_max = 7\n\
                        [connections]\nconnections_max = 9\n";

    fn args() -> ConfigArgs {
        let store = StoreArgs::default();
        ConfigArgs {
            config: None,
            listen: None,
            public_url: None,
            token_file: None,
            store,
            heartbeat_s: None,
            new: NewArgs::default(),
        }
    }

    #[test]
    fn a_flag_goes_before_the_environment_and_that_before_the_file() {
        let env = Env::from_iter([("DRYSTONE_LISTEN", "127.0.0.1:2"), ("DRYSTONE_CONNECTIONS_MAX", "8")]);
        let merged = |args: ConfigArgs, env: &Env| args.merge(env, "f", FILE).unwrap();
        assert_eq!(merged(args(), &Env::default()).listen.port(), 1);
        assert_eq!(merged(args(), &env).listen.port(), 2);
        let flagged = ConfigArgs { listen: Some("127.0.0.1:3".into()), ..args() };
        assert_eq!(merged(flagged, &env).listen.port(), 3);
        let config = merged(args(), &env);
        assert_eq!(config.public_url.as_deref(), Some("https://file"));
        assert_eq!(config.store.data, Some("/file".into()));
        let settings = config.new.settings("http://a".into(), config.limits, None).unwrap();
        assert_eq!((&*settings.name, settings.limits.tarball_bytes_max), ("file", 7));
        assert_eq!((config.connections.connections_max, config.connections.header_s_max), (8, 15));
        let default = args().merge(&Env::default(), "", "").unwrap();
        assert_eq!(
            (default.listen.to_string().as_str(), default.connections),
            (DEFAULT_LISTEN, ConnectionLimits::default())
        );
    }

    #[test]
    fn a_store_of_the_environment_hides_that_of_the_file() {
        let env = Env::from_iter([("DRYSTONE_STORE", "s3://bucket/x")]);
        let config = args().merge(&env, "f", FILE).unwrap();
        assert_eq!((config.store.data, config.store.store), (None, None));
    }

    #[test]
    fn a_language_is_a_preset_or_described() {
        let settings = |text: &str| {
            let config = args().merge(&Env::default(), "f", text).unwrap();
            config.new.settings("http://a".into(), config.limits, config.language.as_ref())
        };
        let raven = settings("[language]\npreset = \"raven\"\n").unwrap();
        assert_eq!(
            (&*raven.generic_manifest, raven.language),
            ("raven.toml", Language::preset("raven").map(|p| p.1))
        );
        let text = "[language]\nname = \"quill\"\nmanifest = \"quill.json\"\n[language.fields]\nname = \"title\"\n\
                    [aliases]\nInk = \"acme/ink\"\n";
        let quill = settings(text).unwrap();
        assert_eq!(quill.check(), Ok(()));
        assert_eq!(
            (&*quill.generic_manifest, &*quill.language.unwrap().fields.name),
            ("quill.json", "title")
        );
        assert_eq!(
            settings("[language]\npreset = \"x\"\n").unwrap_err().code(),
            Some(Code::BadConfiguration)
        );
        let aliases = args().merge(&Env::default(), "f", text).unwrap().aliases;
        assert_eq!(aliases.keys().map(Alias::as_str).collect::<Vec<_>>(), ["ink"]);
    }

    #[test]
    fn unknown_keys_and_bad_addresses_are_refused() {
        for bad in ["[server]\nlisten_on = \"x\"\n", "[serve]\n", "[server]\nlisten = \"nowhere\"\n", "["] {
            let failure = args().merge(&Env::default(), "f", bad).unwrap_err();
            assert_eq!(failure.code(), Some(Code::BadConfiguration), "{bad}");
        }
    }
}
