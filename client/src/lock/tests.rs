//! Locks as they are written, read and compared.

use drystone_schemas::VersionReq;

use super::*;

fn package(name: &str, version: &str, dependencies: &[&str]) -> (String, LockedPackage) {
    let name = PackageName::new(name).unwrap();
    let locked = LockedPackage {
        version: Version::new(version).unwrap(),
        digest: Sha256Digest::of(format!("{name} {version}").as_bytes()),
        size: 7,
        dependencies: dependencies.iter().map(|&dep| dep.to_owned()).collect(),
        name: name.clone(),
    };
    (name.canonical(), locked)
}

fn lock(packages: Vec<(String, LockedPackage)>) -> Lock {
    Lock {
        registry: "https://registry.example".into(),
        origin: "registry.example/log/1".into(),
        checkpoint: LockedCheckpoint { size: 7, root: Hash::digest(b"root") },
        overrides: BTreeMap::new(),
        packages: packages.into_iter().collect(),
        locals: BTreeMap::new(),
    }
}

#[test]
fn a_lock_reads_back_and_looks_like_this() {
    let lock = lock(vec![package("acme/Http", "1.2.0", &["url-x"]), package("Url_x", "0.1.0", &[])]);
    let text = lock.to_text().unwrap();
    let expected = format!(
        r#"{HEADER}version = 1
registry = "https://registry.example"
origin = "registry.example/log/1"

[[package]]
name = "acme/Http"
version = "1.2.0"
sha256 = "{}"
size = 7
dependencies = ["url-x"]

[[package]]
name = "Url_x"
version = "0.1.0"
sha256 = "{}"
size = 7

[checkpoint]
size = 7
root = "{}"
"#,
        Sha256Digest::of(b"acme/Http 1.2.0").hex(),
        Sha256Digest::of(b"Url_x 0.1.0").hex(),
        Hash::digest(b"root").to_base64()
    );
    assert_eq!(text, expected);
    assert_eq!(Lock::parse(&text), Ok(lock));
}

#[test]
fn what_the_project_itself_says_is_locked_and_told() {
    let version = Version::new("0.2.0").unwrap();
    let name = PackageName::new("acme/Util").unwrap();
    let local = LockedLocal { name, version, path: "../util".into(), dependencies: vec!["url-x".into()] };
    let plain = lock(vec![package("a", "1.0.0", &["acme/util"]), package("url-x", "0.1.0", &[])]);
    let overrides = BTreeMap::from([("url-x".to_owned(), "=0.1.0".to_owned())]);
    let lock = plain.clone().on_disk(overrides, [local]);
    let text = lock.to_text().unwrap();
    let (head, _) = text.split_once("[[package]]").unwrap();
    assert_eq!(
        head.strip_prefix(HEADER).unwrap(),
        r#"version = 1
registry = "https://registry.example"
origin = "registry.example/log/1"

[overrides]
url-x = "=0.1.0"

[[local]]
name = "acme/Util"
version = "0.2.0"
path = "../util"
dependencies = ["url-x"]

"#
    );
    assert_eq!(Lock::parse(&text), Ok(lock.clone()));
    assert_eq!(
        lock.diff(Some(&plain)),
        ["+ acme/Util 0.2.0 (../util), needs url-x", "+ url-x is replaced with =0.1.0"]
    );
    assert_eq!(plain.diff(Some(&lock)).len(), 2);
    let root = Requirement::new(PackageName::new("a").unwrap(), VersionReq::new("^1").unwrap());
    assert!(lock.satisfies(std::slice::from_ref(&root)) && !lock.same_choice(&plain));
    assert!(!plain.satisfies(&[root]), "`acme/util` is nowhere");
    let twice = text.replace("name = \"acme/Util\"", "name = \"A\"").replace("\"acme/util\"", "\"a\"");
    assert_eq!(Lock::parse(&twice), Err("`a` is there twice".into()));
}

#[test]
fn a_lock_that_contradicts_itself_is_refused() {
    let good = lock(vec![package("a", "1.0.0", &["b"]), package("b", "1.0.0", &[])]).to_text().unwrap();
    assert!(Lock::parse(&good).is_ok());
    for (what, bad) in [
        ("needs `b`, which is not there", good.replace("name = \"b\"", "name = \"c\"")),
        ("is there twice", good.replace("name = \"b\"", "name = \"A\"").replace("\"b\"", "\"a\"")),
        ("has format 2", good.replace("version = 1\n", "version = 2\n")),
        ("merge conflicts", format!("<<<<<<< ours\n{good}")),
        ("is not a SHA-256 digest", good.replace(&Sha256Digest::of(b"a 1.0.0").hex(), "00")),
        ("unknown field", format!("surprise = 1\n{good}")),
    ] {
        let error = Lock::parse(&bad).unwrap_err();
        assert!(error.contains(what), "{what}: {error}");
    }
}

#[test]
fn a_lock_satisfies_what_it_was_made_for_and_nothing_else() {
    let lock = lock(vec![package("a", "1.2.0", &["b"]), package("b", "1.0.0", &["a"])]);
    let satisfies = |roots: &[(&str, &str)]| {
        let root = |&(name, req): &(&str, &str)| {
            Requirement::new(PackageName::new(name).unwrap(), VersionReq::new(req).unwrap())
        };
        lock.satisfies(&roots.iter().map(root).collect::<Vec<_>>())
    };
    assert!(satisfies(&[("A", "^1.1")]) && satisfies(&[("b", "*")]));
    assert!(!satisfies(&[("a", "^2")]), "the requirement is not met");
    assert!(!satisfies(&[("a", "^1"), ("c", "*")]), "`c` is not locked");
    assert!(!satisfies(&[]), "nothing asks for `a` and `b` any more");
}

#[test]
fn differences_are_told_package_by_package() {
    let old = lock(vec![package("a", "1.0.0", &[]), package("b", "1.0.0", &[]), package("c", "1.0.0", &[])]);
    let new = lock(vec![package("a", "1.1.0", &[]), package("b", "1.0.0", &[]), package("d", "1.0.0", &[])]);
    assert_eq!(new.diff(Some(&old)), ["~ a 1.0.0 -> 1.1.0", "+ d 1.0.0", "- c 1.0.0"]);
    assert_eq!(old.diff(Some(&old)), Vec::<String>::new());
    assert_eq!(old.diff(None).len(), 3);
    let later = Lock { checkpoint: LockedCheckpoint { size: 9, ..old.checkpoint }, ..old.clone() };
    assert!(later.same_choice(&old) && !new.same_choice(&old));
}
