//! Names, versions, and the other words of the vocabulary.

use drystone_schemas::{
    AccountId, Alias, EventId, Login, PackageName, Sha256Digest, Version, VersionReq, layout,
};

/// A word that is accepted is kept, or has one written form; canonical forms are names of their own.
pub fn names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(name) = PackageName::new(text) {
        assert_eq!(name.as_str(), text);
        let canonical = PackageName::new(name.canonical()).expect("a canonical form is a name");
        assert_eq!(canonical.canonical(), canonical.as_str());
        assert_eq!(canonical.canonical(), name.canonical());
        assert_eq!(
            PackageName::new(name.path_form()).expect("a path is a name").canonical(),
            name.canonical()
        );
        // A name never leads out of the folder of its kind.
        for path in [layout::index_file(&name), layout::document(&name)] {
            assert!(path.split('/').all(|segment| !matches!(segment, "" | "." | "..")), "{path}");
        }
    }
    if let Ok(version) = Version::new(text) {
        let again = Version::new(&version.to_string()).expect("what was written parses");
        assert_eq!(again, version);
        assert_eq!(again.to_string(), text);
        let key = Version::new(&version.precedence_key()).expect("a key is a version");
        assert_eq!(key.precedence_key(), version.precedence_key());
        assert_eq!(key.is_prerelease(), version.is_prerelease());
    }
    if let Ok(requirement) = VersionReq::new(text) {
        let again = VersionReq::new(&requirement.to_string()).expect("what was written parses");
        assert_eq!(again.to_string(), requirement.to_string());
        for version in ["0.0.0", "1.2.3", "1.2.3-a.1", "18446744073709551615.0.0"] {
            let version = Version::new(version).expect("it is one");
            assert_eq!(again.matches(&version), requirement.matches(&version));
        }
    }
    if let Ok(alias) = Alias::new(text) {
        assert_eq!(Alias::new(alias.as_str()), Ok(alias), "an alias is kept in its one form");
    }
    let kept = [
        Login::new(text).map(|login| login.as_str().to_owned()).ok(),
        AccountId::new(text).map(|account| account.as_str().to_owned()).ok(),
        EventId::new(text).map(|id| id.as_str().to_owned()).ok(),
        text.parse::<Sha256Digest>().map(|digest| digest.to_string()).ok(),
        Sha256Digest::from_hex(text).map(|digest| digest.hex()).ok(),
    ];
    assert!(kept.iter().flatten().all(|word| word == text), "{kept:?}");
}
