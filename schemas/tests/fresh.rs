//! The checked-in JSON Schema files are those of the types. `DRYSTONE_UPDATE=1` writes them anew.

use std::path::Path;

#[test]
#[expect(clippy::disallowed_methods, reason = "a test that reads and refreshes checked-in files")]
fn schema_files_are_fresh() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("json");
    let update = std::env::var_os("DRYSTONE_UPDATE").is_some();
    let mut names = Vec::new();
    for (name, schema) in drystone_schemas::all_schemas() {
        let path = folder.join(format!("{name}.schema.json"));
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if update {
            std::fs::write(&path, &text).unwrap();
        }
        let on_disk = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(on_disk == text, "{} is stale: run this test with DRYSTONE_UPDATE=1", path.display());
        names.push(path);
    }
    let mut present: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    present.sort();
    names.sort();
    assert_eq!(present, names, "files without a type, or types without a file");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test that reads and refreshes a checked-in file")]
fn the_description_of_the_api_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let text = serde_json::to_string_pretty(&drystone_schemas::openapi()).unwrap() + "\n";
    if std::env::var_os("DRYSTONE_UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let on_disk = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(on_disk == text, "docs/openapi.json is stale: run this test with DRYSTONE_UPDATE=1");
}
