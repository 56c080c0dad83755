//! Stored tokens: `credentials.toml` in the home, readable by the user only.
//!
//! Owns the file. Does not own where else a token may come from.
//! Invariant: the file is never readable by others, not even while it is written.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
};

use drystone_client::{Home, Secret, Token};
use drystone_schemas::{Code, Problem};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The tokens of one user, by registry.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Credentials {
    registries: BTreeMap<String, Stored>,
}

/// A token and what is known of it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Stored {
    token: String,
    /// Base URL of the API that it was stored for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    api: Option<String>,
    /// The login that it acts for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    login: Option<String>,
    /// Whether signing in made it, so that signing out may revoke it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    made_here: bool,
}

impl Stored {
    /// A token for an API.
    pub fn new(token: &Secret, api: String, login: String) -> Self {
        Self { token: token.expose().into(), api: Some(api), login: Some(login), made_here: false }
    }

    /// The same, made by signing in.
    pub fn made_here(self) -> Self {
        Self { made_here: true, ..self }
    }

    /// Whether signing in made it.
    pub fn is_made_here(&self) -> bool {
        self.made_here
    }

    /// The token, bound to the API that it was stored for.
    pub fn token(&self) -> Token {
        Token { secret: Secret::new(self.token.clone()), api: self.api.clone() }
    }
}

impl Credentials {
    /// Reads the file; none is no tokens.
    pub fn read(home: &Home) -> Result<Self, Failure> {
        let path = home.credentials();
        let text = match fs_err::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(e.into()),
        };
        toml::from_str(&text).map_err(|e| {
            // The parser's own message quotes the file, tokens included.
            let line = e.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
            Problem::new(Code::BadConfiguration, format!("`{}` cannot be read: line {line}", path.display()))
                .with_hint("fix the file, or remove it and sign in again")
                .into()
        })
    }

    /// The token of a registry.
    pub fn get(&self, base: &str) -> Option<&Stored> {
        self.registries.get(base)
    }

    /// Sets the token of a registry.
    pub fn set(&mut self, base: &str, stored: Stored) {
        self.registries.insert(base.into(), stored);
    }

    /// Forgets the token of a registry; false if there was none.
    pub fn remove(&mut self, base: &str) -> bool {
        self.registries.remove(base).is_some()
    }

    /// Writes the file, mode 0600.
    pub fn write(&self, home: &Home) -> Result<(), Failure> {
        let text = toml::to_string(self).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        fs_err::create_dir_all(home.dir())?;
        // Temporary files are made with mode 0600, and renaming keeps it.
        let mut file = tempfile::NamedTempFile::new_in(home.dir())?;
        file.write_all(text.as_bytes())?;
        file.persist(home.credentials()).map_err(|e| e.error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_kept_by_registry_and_for_the_user_only() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("home"));
        let mut credentials = Credentials::read(&home).unwrap();
        let stored = Stored::new(&Secret::new("s3cret"), "https://api.example/api/v1".into(), "ann".into());
        credentials.set("https://registry.example", stored);
        credentials.write(&home).unwrap();
        let mut credentials = Credentials::read(&home).unwrap();
        assert_eq!(credentials.get("https://registry.example").unwrap().token().secret.expose(), "s3cret");
        assert!(credentials.get("https://other.example").is_none());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs_err::metadata(home.credentials()).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert!(
            credentials.remove("https://registry.example") && !credentials.remove("https://registry.example")
        );
    }

    #[test]
    fn a_damaged_file_is_told_without_its_tokens() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        fs_err::write(home.credentials(), "[\"https://r.example\"]\ntoken = s3cret\n").unwrap();
        let Err(Failure::Problems { problems, .. }) = Credentials::read(&home) else { panic!("it reads") };
        assert_eq!(problems[0].code, Code::BadConfiguration);
        assert!(!problems[0].to_string().contains("s3cret"), "{problems:?}");
    }
}
