//! Projection of events into state-mapped files: index files, package documents and shards of the alias map; and into
//! answers for API clients, which are files outside the state map.
//!
//! Owns: what each kind of event changes, and in which order the files are named. Does not own: where the bytes go,
//! the state map, or whether an actor may do what an event says.
//! Invariant: every file that an event changes carries the event's position in its bytes, so that no two states of a
//! file are equal; a refused event changes nothing.

mod aliases;
mod authors;
mod error;
mod github;
mod line;
mod package;
mod raven;
#[cfg(test)]
mod tests;
mod vais;

use drystone_schemas::{
    AccountId, ApiConfig, CargoIndexConfig, EventBody, FileChange, FileClass, LanguageApi, RegistryConfig,
    Settings, Sha256Digest, VersionRecord, canonical_json, layout, sealed_json,
};

pub use aliases::AliasState;
pub(crate) use aliases::{resolve_file, whole_map};
pub use error::ProjectError;
pub use github::github_release;
pub(crate) use github::project_api;
pub(crate) use line::index_deps;
pub use package::PackageState;
pub use vais::{vais_index_file, vais_package};

/// An event before its files and state root are known.
#[derive(Debug, Clone, Copy)]
pub struct Draft<'a> {
    /// Position in the log.
    pub seq: u64,
    /// When it was committed, in seconds since 1970.
    pub time: u64,
    /// Who asked for it.
    pub actor: &'a AccountId,
    /// What happens.
    pub body: &'a EventBody,
}

/// What an event touches, as it was before it: nothing where there was nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// The package that the event names.
    pub package: Option<PackageState>,
    /// The alias map around the alias that the event names.
    pub aliases: Option<AliasState>,
}

/// One state-mapped file after an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectedFile {
    /// Its class.
    pub class: FileClass,
    /// Its line in the state map: the package's canonical name, or `~alias/<xx>`.
    pub state_key: String,
    /// Where it lies by name, below the public area.
    pub key: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl ProjectedFile {
    /// How the event names it: by class, state key, digest and length.
    pub fn change(&self) -> FileChange {
        FileChange(self.class, self.state_key.clone(), Sha256Digest::of(&self.bytes), self.bytes.len() as u64)
    }
}

/// The version of these projections, as genesis events name it. Another version would be another function beside
/// this one, for the events after it.
pub const PROJECTION_VERSION: u32 = 1;

/// Folds one event into what it touches and returns every state-mapped file that it changes: the index file with the resolve
/// record, or those of the alias map, first, the package document last.
///
/// `record` is the version record that a publish event names, and is not looked at for other kinds. `settings` are
/// those in force at the event. Genesis, `config` and heartbeat events change no state-mapped file.
///
/// # Errors
///
/// An event that does not fit the state before it; then `touched` is as it was.
pub fn project(
    touched: &mut Touched,
    draft: &Draft<'_>,
    record: Option<&VersionRecord>,
    settings: &Settings,
) -> Result<Vec<ProjectedFile>, ProjectError> {
    fold(touched, draft, record, settings)?;
    Ok(changed_files(touched, draft.body))
}

/// The same without making the files, for whoever wants those of a later event only.
pub(crate) fn fold(
    touched: &mut Touched,
    draft: &Draft<'_>,
    record: Option<&VersionRecord>,
    settings: &Settings,
) -> Result<(), ProjectError> {
    // What time alone has changed since the last event.
    let waited = touched.package.as_ref().map(|package| &package.document);
    let waited = waited.filter(|document| !document.pending_owners.is_empty() || document.transfer.is_some());
    let waited = waited.cloned();
    if let Some(package) = &mut touched.package {
        package.document.ripen(draft.time);
    }
    let folded = fold_event(touched, draft, record, settings);
    if let (Err(_), Some(package), Some(document)) = (&folded, &mut touched.package, waited) {
        package.document = document;
    }
    folded
}

fn fold_event(
    touched: &mut Touched,
    draft: &Draft<'_>,
    record: Option<&VersionRecord>,
    settings: &Settings,
) -> Result<(), ProjectError> {
    let Some(name) = draft.body.package() else { return Ok(()) };
    if let Some(package) = &touched.package {
        package.check_name(name)?;
    }
    let package = match (&mut touched.package, draft.body) {
        (slot, EventBody::Publish { pkg, vers, tarball, record: digest, sigs }) => {
            let record = record.ok_or(ProjectError::NoRecord { seq: draft.seq })?;
            line::check_record(record, pkg, vers, tarball)?;
            let line = line::index_line(record, *digest, sigs, draft, settings);
            match slot {
                Some(package) => package.publish(line, record, draft)?,
                None => *slot = Some(PackageState::create(line, record, draft)),
            }
            slot.as_mut().expect("it was there or has just been made")
        }
        (None, _) => return Err(ProjectError::UnknownPackage { name: name.clone() }),
        (Some(package), EventBody::AliasSet { alias, .. } | EventBody::AliasRemove { alias, .. }) => {
            let mut state = touched.aliases.clone().unwrap_or_default();
            aliases::apply(&mut state, package, alias, draft)?;
            touched.aliases = Some(state);
            package
        }
        (Some(package), _) => {
            package.apply(draft)?;
            package
        }
    };
    package.touch(draft, settings);
    Ok(())
}

/// The state-mapped files that an event has changed in what it touched.
pub(crate) fn changed_files(touched: &Touched, body: &EventBody) -> Vec<ProjectedFile> {
    let Some(package) = touched.package.as_ref().filter(|_| body.package().is_some()) else {
        return Vec::new();
    };
    let mut files = Vec::with_capacity(3);
    match body {
        EventBody::Publish { .. }
        | EventBody::Yank { .. }
        | EventBody::Unyank { .. }
        | EventBody::Delete { .. } => {
            files.extend([package.index_file(), package.resolve_file()]);
        }
        EventBody::AliasSet { alias, .. } | EventBody::AliasRemove { alias, .. } => {
            let state = touched.aliases.as_ref().expect("an alias event leaves a map behind");
            files.extend(state.files(alias));
        }
        EventBody::AuthorKeyAdd { .. } | EventBody::AuthorKeyRemove { .. } | EventBody::Policy { .. } => {
            files.extend(package.keys_file());
        }
        _ => {}
    }
    files.push(package.document_file());
    files
}

/// The by-name files outside the state map that an event changes, besides the configuration: what clients of other
/// registries ask for, in their own form. `package` is the package that the event names, after it.
pub fn project_plain(
    package: &PackageState,
    body: &EventBody,
    seq: u64,
    settings: &Settings,
) -> Vec<(String, Vec<u8>)> {
    let name = &package.document.name;
    let mut files = package_files(package, settings, Some(seq));
    files.extend(project_api(package, settings));
    match body {
        EventBody::AliasSet { alias, .. } => files.push(resolve_file(alias, Some(name), seq)),
        EventBody::AliasRemove { alias, .. } => files.push(resolve_file(alias, None, seq)),
        _ => {}
    }
    files
}

/// What the existing client of the registry's language asks for of one package; with `since`, what changed then. Such
/// clients have no owners in names.
pub(crate) fn package_files(
    package: &PackageState,
    settings: &Settings,
    since: Option<u64>,
) -> Vec<(String, Vec<u8>)> {
    match settings.language_api() {
        Some(_) if package.document.name.owner().is_some() => Vec::new(),
        Some(LanguageApi::Raven) => vec![raven::package_file(package)],
        Some(LanguageApi::Vais) => vais::package_files(package, settings, since),
        None => Vec::new(),
    }
}

/// `config.json`, `index/config.json` and what API clients ask of a registry, after a genesis or `config` event at `seq`.
/// They are not state-mapped.
pub fn project_config(seq: u64, origin: &str, log_key: &str, settings: &Settings) -> Vec<(String, Vec<u8>)> {
    let registry = RegistryConfig::new(seq, origin.into(), log_key.into(), settings.clone());
    vec![
        (layout::CONFIG.into(), registry.to_bytes()),
        (layout::INDEX_CONFIG.into(), CargoIndexConfig::new(seq, settings).to_bytes()),
        (layout::API_CONFIG.into(), sealed_json(&ApiConfig::new(registry), seq)),
        (layout::HEALTH.into(), canonical_json(&serde_json::json!({"seq": seq, "status": "ok"}))),
    ]
}
