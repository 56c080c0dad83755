//! What every command gets: the doors that `main` opened, and the options that all commands share.
//!
//! Owns the choice of registry, token and project. Does not own what commands do with them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use drystone_client::{
    ClientError, Effects, Home, Http, HttpOptions, Network, Project, Registry, Secret, Snapshot, Token,
    TrustStore, Wait, aliases::similar, normalise_base, project::DEFAULT_MANIFEST,
};
use drystone_schemas::{Alias, Code, Language, Limits, PackageName, Problem};

use crate::{
    args::{NetworkArgs, ProjectArgs},
    credentials::{Credentials, Stored},
    env::Env,
    failure::Failure,
    printer::Printer,
};

/// Waits shorter than this are not worth a line.
const NOTICED: Duration = Duration::from_secs(2);

/// The doors and the shared options.
pub struct Context {
    /// Where text goes.
    pub printer: Arc<Printer>,
    /// The environment as it was at the start.
    pub env: Env,
    /// Clock and randomness.
    pub effects: Effects,
    /// The working directory.
    pub cwd: PathBuf,
    /// Which registry, and how it is reached.
    pub network: NetworkArgs,
}

impl Context {
    /// Puts the doors together; waits that a user may notice are told.
    pub fn new(
        printer: Arc<Printer>,
        env: Env,
        effects: Effects,
        cwd: PathBuf,
        network: NetworkArgs,
    ) -> Self {
        let teller = printer.clone();
        let on_wait = Arc::new(move |wait: &Wait| {
            let text = format!("waiting {} s: {}", wait.duration.as_secs_f64().ceil(), wait.reason);
            if wait.duration >= NOTICED { teller.notice(&text) } else { teller.detail(&text) }
        });
        Self { printer, env, effects: Effects { on_wait, ..effects }, cwd, network }
    }

    /// The per-user directory.
    pub fn home(&self) -> Result<Home, Failure> {
        let dir = self.env.home().ok_or_else(|| {
            Problem::new(Code::BadConfiguration, "there is no home directory")
                .with_hint("set `DRYSTONE_HOME`")
        })?;
        Ok(Home::new(self.cwd.join(dir)))
    }

    /// What this user has seen of registries before, and the trust document that was handed over, if one was.
    pub fn trust(&self) -> Result<TrustStore, Failure> {
        let trust = TrustStore::new(self.home()?);
        match self.env.get("DRYSTONE_TRUST") {
            Some(path) => Ok(trust.with_root(&fs_err::read(self.cwd.join(path))?)?),
            None => Ok(trust),
        }
    }

    /// A pool of connections.
    pub fn http(&self) -> Arc<Http> {
        let options = HttpOptions {
            allow_plain_http: self.network.allow_http,
            ..HttpOptions::new(concat!("drystone/", env!("CARGO_PKG_VERSION")))
        };
        Http::new(options, self.effects.clone())
    }

    /// The registry's base URL: `--registry`, `DRYSTONE_REGISTRY`, then the one that the project names.
    pub fn registry_url(&self, project: Option<&Project>) -> Result<String, Failure> {
        let given = self.given_registry_url().or_else(|| project.and_then(Project::registry_url));
        let url = given.ok_or_else(|| {
            Problem::new(Code::BadConfiguration, "no registry is named").with_hint(
                "give `--registry URL`, set `DRYSTONE_REGISTRY`, or write `[registry]` with `url` into the manifest",
            )
        })?;
        Ok(normalise_base(url)?)
    }

    fn given_registry_url(&self) -> Option<&str> {
        self.network.registry.as_deref().or_else(|| self.env.get("DRYSTONE_REGISTRY"))
    }

    /// Opens the registry that flags, environment or project name.
    pub fn registry(&self, project: Option<&Project>) -> Result<Registry, Failure> {
        self.open(&self.registry_url(project)?, self.asked_network())
    }

    /// Opens the registry that flags, environment or the project around the working directory name.
    pub fn registry_here(&self) -> Result<Registry, Failure> {
        if self.given_registry_url().is_some() {
            return self.registry(None);
        }
        self.registry(Project::find(&self.cwd, DEFAULT_MANIFEST).ok().as_ref())
    }

    /// What `--offline` says.
    pub fn asked_network(&self) -> Network {
        if self.network.offline { Network::Offline } else { Network::Online }
    }

    /// Opens a registry, with its token if there is one.
    pub fn open(&self, base: &str, network: Network) -> Result<Registry, Failure> {
        let home = self.home()?;
        let token = match self.env.get("DRYSTONE_TOKEN") {
            Some(token) => Some(Token { secret: Secret::new(token), api: None }),
            None => Credentials::read(&home)?.get(base).map(Stored::token),
        };
        let registry = Registry::new(base, self.http(), &home.cache(), network, token)?;
        Ok(registry.with_mirrors(&self.mirrors())?)
    }

    /// Opens a registry with this token.
    pub fn open_as(&self, base: &str, token: Option<Token>) -> Result<Registry, Failure> {
        Ok(Registry::new(base, self.http(), &self.home()?.cache(), self.asked_network(), token)?)
    }

    /// Mirrors of the command line, else of the environment.
    fn mirrors(&self) -> Vec<String> {
        if !self.network.mirrors.is_empty() {
            return self.network.mirrors.clone();
        }
        let listed = self.env.get("DRYSTONE_MIRRORS").unwrap_or_default();
        listed.split(',').map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned).collect()
    }

    /// Reads the project's manifest: the one given, or the nearest one, under the name that the registry gives it.
    pub async fn project(&self, args: &ProjectArgs) -> Result<Project, Failure> {
        if let Some(path) = &args.manifest_path {
            let project = Project::open(&self.cwd.join(path))?;
            let ours = path.file_name().is_some_and(|name| name == DEFAULT_MANIFEST);
            return if ours { Ok(project) } else { Ok(self.as_language_reads(project).await?) };
        }
        match Project::find(&self.cwd, DEFAULT_MANIFEST) {
            Err(ClientError::ProjectNotFound { .. }) if self.given_registry_url().is_some() => {
                let (name, _) = self.manifest().await?;
                self.as_language_reads(Project::find(&self.cwd, &name)?).await
            }
            other => Ok(other?),
        }
    }

    async fn as_language_reads(&self, project: Project) -> Result<Project, Failure> {
        Ok(match self.manifest().await?.1 {
            Some(language) => project.with_fields(language.fields),
            None => project,
        })
    }

    /// The name of manifests, and the language, of the registry that flags or environment name; ours if none is named.
    pub async fn manifest(&self) -> Result<(String, Option<Language>), Failure> {
        if self.given_registry_url().is_none() {
            return Ok((DEFAULT_MANIFEST.into(), None));
        }
        let registry = self.registry(None)?;
        let settings = &registry.config().await?.settings;
        Ok((settings.generic_manifest.clone(), settings.language.clone()))
    }

    /// Paths on the command line are relative to the working directory.
    pub fn path(&self, path: &Path) -> PathBuf {
        self.cwd.join(path)
    }
}

/// Limits for reading archives of a registry: its own, but not below the defaults, as they may have been lowered.
pub async fn read_limits(registry: &Registry) -> Limits {
    let defaults = Limits::default();
    let Ok(config) = registry.config().await else { return defaults };
    let own = &config.settings.limits;
    Limits {
        tarball_bytes_max: own.tarball_bytes_max.max(defaults.tarball_bytes_max),
        unpacked_bytes_max: own.unpacked_bytes_max.max(defaults.unpacked_bytes_max),
        files_max: own.files_max.max(defaults.files_max),
        path_bytes_max: own.path_bytes_max.max(defaults.path_bytes_max),
        depth_max: own.depth_max.max(defaults.depth_max),
        manifest_bytes_max: own.manifest_bytes_max.max(defaults.manifest_bytes_max),
        readme_bytes_max: own.readme_bytes_max.max(defaults.readme_bytes_max),
        record_bytes_max: own.record_bytes_max.max(defaults.record_bytes_max),
        dependencies_max: own.dependencies_max.max(defaults.dependencies_max),
        ..defaults
    }
}

/// Reads a package name from the command line.
pub fn package_name(text: &str) -> Result<PackageName, Failure> {
    PackageName::new(text).map_err(|e| Failure::new(Code::InvalidName, e.to_string()))
}

/// Reads a short name from the command line.
pub fn alias(text: &str) -> Result<Alias, Failure> {
    Alias::new(text).map_err(|e| Failure::new(Code::InvalidAlias, e.to_string()))
}

/// Splits `NAME@REST`.
pub fn split_spec(text: &str) -> (&str, Option<&str>) {
    match text.split_once('@') {
        Some((name, rest)) => (name, Some(rest)),
        None => (text, None),
    }
}

/// The package that a name on the command line means: a package of that name, else the alias of that name.
pub async fn named_package(
    cx: &Context,
    snapshot: &Snapshot<'_>,
    text: &str,
) -> Result<PackageName, Failure> {
    let name = package_name(text)?;
    let key = name.canonical();
    if snapshot.entry(&key).await?.is_some() {
        return Ok(name);
    }
    if let Ok(short) = Alias::new(text)
        && let Some(package) = snapshot.alias(&short).await?
    {
        cx.printer.step("Alias", &format!("{short} means {package}"));
        return Ok(package);
    }
    let problem =
        Problem::new(Code::PackageNotFound, ClientError::PackageNotFound { name: name.clone() }.to_string());
    // One more read is worth it where somebody is lost anyway.
    let near = similar(&snapshot.aliases().await?.unwrap_or_default(), name.short());
    let hint =
        near.first().map(|near| format!("did you mean `{}`, the alias of `{}`?", near.alias, near.package));
    Err(match hint {
        Some(hint) => problem.with_hint(hint).into(),
        None => problem.into(),
    })
}
