//! Packages made for tests.

use drystone_archive::{PackFile, pack};
use drystone_schemas::Limits;

/// A package to publish: a manifest, a source file, a README.
#[derive(Debug, Clone)]
pub struct Pkg {
    /// Name.
    pub name: String,
    /// Version.
    pub vers: String,
    manifest: (String, String),
    payload: Vec<u8>,
}

impl Pkg {
    /// A package of the generic format.
    pub fn new(name: &str, vers: &str) -> Self {
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"{vers}\"\ndescription = \"a package of a test\"\nlicense = \"MIT\"\n"
        );
        Self {
            name: name.into(),
            vers: vers.into(),
            manifest: ("drystone.toml".into(), manifest),
            payload: b"fn main() {}\n".to_vec(),
        }
    }

    /// A package of the cargo format.
    pub fn cargo(name: &str, vers: &str) -> Self {
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"{vers}\"\nedition = \"2021\"\ndescription = \"a package of a test\"\nlicense = \"MIT\"\n"
        );
        Self { manifest: ("Cargo.toml".into(), manifest), ..Self::new(name, vers) }
    }

    /// With its manifest under this name.
    #[must_use]
    pub fn named(mut self, manifest: &str) -> Self {
        self.manifest.0 = manifest.into();
        self
    }

    /// With this text at the end of its manifest.
    #[must_use]
    pub fn with_manifest(mut self, text: &str) -> Self {
        self.manifest.1.push_str(text);
        self
    }

    /// With this as its source file.
    #[must_use]
    pub fn with_payload(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.payload = payload.into();
        self
    }

    /// The packed archive.
    pub fn archive(&self) -> Vec<u8> {
        let root =
            format!("{}-{}", self.name.rsplit('/').next().expect("a split has a last part"), self.vers);
        let files = vec![
            PackFile::bytes(self.manifest.0.clone(), false, self.manifest.1.as_bytes()),
            PackFile::bytes("README.md", false, b"# A package of a test\n"),
            PackFile::bytes("src/lib.rs", false, &self.payload),
        ];
        pack(Vec::new(), &root, files, &Limits::default()).expect("a test's package can be packed")
    }
}
