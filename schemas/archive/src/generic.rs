//! How a registry reads packages of the generic format: which file is the manifest, and how an archive lies.
//!
//! Owns: the choice between `drystone.toml` and a language's own manifest. Does not own: reading either.

use drystone_schemas::{Format, Language, PackageName, Problem, Settings, Version};

use crate::{
    manifest::{Draft, Manifest, draft, draft_of_language},
    read::Layout,
};

/// The one root directory of a release's archive: `name-version`, without the owner.
pub fn root_directory(name: &PackageName, version: &Version) -> String {
    format!("{}-{version}", name.short())
}

/// How a registry reads packages of the generic format: the manifest's file name alone, or its [`Settings`].
#[derive(Debug, Clone, Copy)]
pub struct Generic<'a> {
    manifest: &'a str,
    language: Option<&'a Language>,
}

impl<'a> From<&'a str> for Generic<'a> {
    fn from(manifest: &'a str) -> Self {
        Self { manifest, language: None }
    }
}

impl<'a> From<&'a Settings> for Generic<'a> {
    fn from(settings: &'a Settings) -> Self {
        Self { manifest: &settings.generic_manifest, language: settings.language.as_ref() }
    }
}

impl<'a> Generic<'a> {
    /// The manifest's file name.
    pub const fn manifest(&self) -> &'a str {
        self.manifest
    }

    /// Whether archives have no root directory.
    pub fn is_flat(&self) -> bool {
        self.language.is_some_and(|language| language.flat)
    }

    /// The root directory of a release's archive; empty for a flat one.
    pub fn root_directory(&self, name: &PackageName, version: &Version) -> String {
        if self.is_flat() { String::new() } else { root_directory(name, version) }
    }

    /// Parses a manifest of the generic format, whatever the registry calls it.
    ///
    /// # Errors
    ///
    /// Every problem of the manifest, up to 20.
    pub fn parse(&self, text: &str) -> Result<Manifest, Vec<Problem>> {
        self.draft(text).finish()
    }

    pub(crate) fn draft(&self, text: &str) -> Draft {
        match self.language {
            Some(language) => draft_of_language(self.manifest, language, text),
            None => draft(Format::Generic, text, None),
        }
    }

    /// The files of which an archive must hold one.
    pub(crate) fn entry(&self) -> &'a [String] {
        self.language.map_or(&[], |language| &language.entry)
    }

    /// How an archive lies that is to be read as `wanted`, or as what it is.
    pub(crate) fn layout(&self, wanted: Option<Format>, allowed: &[Format]) -> Layout {
        let generic =
            wanted.map_or_else(|| allowed.contains(&Format::Generic), |wanted| wanted == Format::Generic);
        if self.is_flat() && generic { Layout::Flat } else { Layout::OneRoot }
    }
}
