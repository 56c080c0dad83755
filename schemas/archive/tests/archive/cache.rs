//! Every package that Cargo has downloaded on this machine is accepted, and read as the `tar` crate reads it.

use std::path::PathBuf;

use drystone_archive::inspect;
use drystone_schemas::{Format, Limits, PublishMetadata};

use crate::build::{lists_alike, ours};

#[expect(clippy::disallowed_methods, reason = "where Cargo keeps its packages is in the environment alone")]
fn cargo_home() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")))
}

fn packages() -> Vec<PathBuf> {
    let below =
        |dir: PathBuf| std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let caches = cargo_home().into_iter().flat_map(|home| below(home.join("registry/cache")));
    caches.flat_map(below).filter(|path| path.extension().is_some_and(|end| end == "crate")).collect()
}

#[test]
fn real_packages_are_accepted() {
    let packages = packages();
    if packages.is_empty() {
        println!("Cargo has no downloaded packages here: nothing to check");
        return;
    }
    let mut refused = Vec::new();
    for path in &packages {
        #[expect(clippy::disallowed_methods, reason = "a test reads what another program keeps")]
        let bytes = std::fs::read(path).expect("a package can be read");
        let limits = Limits::default();
        match inspect(&*bytes, &limits, "drystone.toml", &Format::ALL, &PublishMetadata::default()) {
            Err(problems) => {
                refused.extend(problems.iter().map(|problem| format!("{}: {problem}", path.display())))
            }
            Ok(inspected) => {
                let stem = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
                assert_eq!(format!("{}-{}", inspected.record.name, inspected.record.vers), stem);
                assert!(inspected.record.readme.is_some() || !inspected.record.files.is_empty());
                assert!(lists_alike(&bytes, &ours(&bytes).expect("it was accepted")), "{stem}");
            }
        }
    }
    assert_eq!(refused, [""; 0], "of {} packages", packages.len());
}
