//! The corpora that the fuzzers left hold their properties on every run of the tests, without a fuzzer.

use std::path::Path;

use drystone_fuzz_targets::ALL;

#[test]
fn every_corpus_holds_its_property() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    for (name, property) in ALL {
        let entries = fs_err::read_dir(folder.join(name)).expect("every fuzzer has a corpus");
        let mut files = 0;
        for entry in entries {
            let path = entry.expect("the corpus can be listed").path();
            let bytes = fs_err::read(&path).expect("the corpus can be read");
            // The file that breaks a property is the last one named.
            println!("{}", path.display());
            property(&bytes);
            files += 1;
        }
        assert!(files >= 5, "{name}: {files} files");
    }
}

#[test]
fn every_property_takes_nothing_and_little() {
    for (_, property) in ALL {
        property(b"");
        (0..=255).for_each(|byte| property(&[byte]));
    }
}

#[test]
fn every_fuzzer_is_built() {
    let manifest = fs_err::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"));
    let manifest = manifest.expect("the fuzzers have a manifest");
    for (name, _) in ALL {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), ALL.len());
}
