//! The metadata of a publish must say what the archive says, field by field, however either is written.

use drystone_tests::{Pkg, TestRegistry};
use serde_json::{Value, json};

use crate::{frame, put_bytes};

const REGISTRY: &str = "sparse+http://registry.test/index/";
const OTHER: &str = "sparse+http://other.test/index/";
const CRATES_IO: &str = "https://github.com/rust-lang/crates.io-index";

fn package(vers: &str) -> Pkg {
    Pkg::cargo("dry-top", vers).with_manifest(&format!(
        "links = 'z'\nrust-version = '1.70'\n\
         [features]\ndefault = ['x']\nx = ['dep:a', 'renamed?/std']\n\
         [dependencies]\na = {{ version = '1.0', optional = true, features = ['f', 'g'], registry-index = '{REGISTRY}' }}\n\
         renamed = {{ package = 'b-lib', version = '>=0.1, <0.3', default-features = false, registry-index = '{OTHER}', optional = true }}\n\
         [build-dependencies]\nc = '1'\n[dev-dependencies]\nlocal = {{ path = '../local' }}\n\
         [target.'cfg( any(unix, windows,) )'.dependencies]\nd = '~0.2.1'\n"
    ))
}

fn dep(name: &str, req: &str, kind: &str, registry: Option<&str>) -> Value {
    json!({
        "optional": false, "default_features": true, "name": name, "features": [], "version_req": req,
        "target": null, "kind": kind, "registry": registry,
    })
}

fn metadata(vers: &str) -> Value {
    let mut deps = [
        dep("a", "^1.0", "normal", None),
        dep("b-lib", ">=0.1, <0.3", "normal", Some(OTHER)),
        dep("c", "^1", "build", Some(CRATES_IO)),
        dep("d", "~0.2.1", "normal", Some(CRATES_IO)),
    ];
    deps[0]["optional"] = json!(true);
    deps[0]["features"] = json!(["f", "g"]);
    deps[1]["optional"] = json!(true);
    deps[1]["default_features"] = json!(false);
    deps[1]["explicit_name_in_toml"] = json!("renamed");
    deps[3]["target"] = json!("cfg(any(unix, windows))");
    json!({
        "name": "dry-top", "vers": vers, "deps": deps, "links": "z", "rust_version": "1.70",
        "features": {"default": ["x"], "x": ["dep:a", "renamed?/std"]},
    })
}

/// The metadata with other values at these pointers; `null` beside a last part `-` takes the field away.
fn changed(vers: &str, changes: &[(&str, Value)]) -> Value {
    let mut metadata = metadata(vers);
    for (pointer, value) in changes {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        match metadata.pointer_mut(parent).unwrap() {
            Value::Object(object) => match field.strip_prefix('-') {
                Some(gone) => drop(object.remove(gone).unwrap()),
                None => drop(object.insert(field.to_owned(), value.clone())),
            },
            Value::Array(list) if field == "push" => list.push(value.clone()),
            Value::Array(list) => drop(list.remove(field.parse().unwrap())),
            other => panic!("{pointer} leads to {other}"),
        }
    }
    metadata
}

#[tokio::test]
async fn every_field_that_disagrees_is_named() {
    let registry = TestRegistry::new().await;
    let archive = package("1.0.0").archive();
    let extra = dep("e", "^1", "normal", None);
    /// Fields of the request, and those that the answer must name.
    type Case = (Vec<(&'static str, Value)>, Vec<&'static str>);
    let cases: Vec<Case> = vec![
        (vec![("/name", json!("dry_top"))], vec!["name"]),
        (vec![("/vers", json!("1.0.1"))], vec!["vers"]),
        (vec![("/vers", json!("1.0.0+b"))], vec!["vers"]),
        (vec![("/links", json!("y"))], vec!["links"]),
        (vec![("/links", Value::Null)], vec!["links"]),
        (vec![("/rust_version", json!("1.71"))], vec!["rust_version"]),
        (vec![("/features/default", json!([]))], vec!["features.default"]),
        (vec![("/features/-x", Value::Null)], vec!["features.x"]),
        (vec![("/features/y", json!(["x"]))], vec!["features.y"]),
        (vec![("/deps/0/version_req", json!("^1.1"))], vec!["deps.a.version_req"]),
        (vec![("/deps/0/version_req", json!("one"))], vec!["deps.a.version_req"]),
        (vec![("/deps/0/optional", json!(false))], vec!["deps.a.optional"]),
        (vec![("/deps/0/default_features", json!(false))], vec!["deps.a.default_features"]),
        (vec![("/deps/0/features", json!(["f"]))], vec!["deps.a.features"]),
        (vec![("/deps/0/kind", json!("build"))], vec!["deps.a.kind"]),
        (vec![("/deps/0/registry", json!(OTHER))], vec!["deps.a.registry"]),
        (vec![("/deps/1/registry", Value::Null)], vec!["deps.renamed.registry"]),
        (vec![("/deps/2/registry", Value::Null)], vec!["deps.c.registry"]),
        (vec![("/deps/1/name", json!("other"))], vec!["deps.renamed.name"]),
        (vec![("/deps/1/-explicit_name_in_toml", Value::Null)], vec!["deps.renamed.explicit_name_in_toml"]),
        (vec![("/deps/3/target", json!("cfg(unix)"))], vec!["deps.d.target"]),
        (vec![("/deps/3/target", Value::Null)], vec!["deps.d.target"]),
        (vec![("/deps/2", Value::Null)], vec!["deps.c"]),
        (vec![("/deps/push", extra)], vec!["deps.e"]),
        (
            vec![("/name", json!("x")), ("/links", json!("y")), ("/deps/0/kind", json!("dev"))],
            vec!["name", "links", "deps.a.kind"],
        ),
    ];
    for (changes, fields) in cases {
        let case = format!("{changes:?}");
        let metadata = changed("1.0.0", &changes);
        let answer = put_bytes(&registry, frame(&metadata.to_string(), &archive)).await;
        answer.assert_refused(&case, 422, &vec!["manifest-disagrees"; fields.len()]);
        let errors = answer.json()["errors"].as_array().unwrap().clone();
        let told: Vec<&str> = errors.iter().map(|error| error["facts"]["field"].as_str().unwrap()).collect();
        assert_eq!(told, fields, "{case}");
        // The one thing that cargo shows holds the field, both values, and at its end what to do.
        let last = errors.last().unwrap();
        assert!(last["detail"].as_str().unwrap().contains("\nhint: "), "{case}: {last}");
    }
    assert_eq!(registry.log_size().await, 1);
    assert!(registry.visible().await.is_empty());
}

#[tokio::test]
async fn other_spellings_are_no_disagreement() {
    let registry = TestRegistry::new().await;
    let cases: Vec<Vec<(&str, Value)>> = vec![
        vec![],
        vec![("/deps/0/version_req", json!("1.0")), ("/deps/1/version_req", json!(">= 0.1,<0.3"))],
        vec![("/deps/0/features", json!(["g", "f", "g"])), ("/features/x", json!(["renamed?/std", "dep:a"]))],
        vec![("/-links", Value::Null), ("/-rust_version", Value::Null), ("/deps/0/kind", Value::Null)],
        vec![
            ("/deps/0/explicit_name_in_toml", json!("a")),
            ("/deps/3/target", json!("cfg(any(unix,windows))")),
        ],
        vec![("/deps/0/registry", json!("sparse+http://registry.test/index"))],
        vec![("/deps/0/-registry", Value::Null), ("/deps/0/artifact", json!(["bin"])), ("/newer", json!(1))],
    ];
    for (i, changes) in cases.into_iter().enumerate() {
        let vers = format!("1.0.{i}");
        let mut metadata = changed(&vers, &changes);
        metadata["deps"].as_array_mut().unwrap().reverse();
        let answer = put_bytes(&registry, frame(&metadata.to_string(), &package(&vers).archive())).await;
        assert_eq!(answer.status, 200, "{changes:?}: {}", answer.json());
        let expected = json!({"warnings": {"invalid_categories": [], "invalid_badges": [], "other": []}});
        assert_eq!(answer.json(), expected, "{changes:?}");
    }
    assert_eq!(registry.visible().await["dry-top"].len(), 7);
    registry.assert_clean("after publishes").await;
}

#[tokio::test]
async fn a_flood_of_disagreements_is_cut() {
    let registry = TestRegistry::new().await;
    let archive = package("1.0.0").archive();
    let features: Value = (0..1000).map(|i| (format!("f{i}"), json!(["x".repeat(300)]))).collect();
    let many = changed("1.0.0", &[("/features", features)]);
    let answer = put_bytes(&registry, frame(&many.to_string(), &archive)).await;
    answer.assert_refused("many features", 422, &["manifest-disagrees"; 20]);
    assert!(answer.body.len() < 32 << 10, "{}", answer.body.len());

    let deps: Vec<Value> = (0..501).map(|i| dep(&format!("d{i}"), "^1", "normal", None)).collect();
    let many = changed("1.0.0", &[("/deps", json!(deps))]);
    let answer = put_bytes(&registry, frame(&many.to_string(), &archive)).await;
    answer.assert_refused("many dependencies", 422, &["too-many-dependencies"]);
}
