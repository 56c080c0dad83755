use std::sync::Arc;

use drystone_schemas::{DepKind, Format, IndexDep, IndexFile, IndexLine, ResolveRecord, Sha256Digest};

use super::*;

fn version(text: &str) -> Version {
    Version::new(text).unwrap()
}

/// `b ^1`, `b ^1 @https://elsewhere.example`, `b >=1,<3 +feature`
fn dep(text: &str) -> IndexDep {
    let mut words = text.split(' ');
    let name = words.next().unwrap();
    let mut dep = IndexDep {
        name: name.into(),
        req: words.next().unwrap().into(),
        features: vec![],
        optional: false,
        default_features: true,
        target: None,
        kind: DepKind::Normal,
        registry: None,
        package: None,
    };
    for word in words {
        match word.split_at(1) {
            ("@", url) => dep.registry = Some(url.into()),
            ("+", feature) => dep.features.push(feature.into()),
            _ => panic!("{word}"),
        }
    }
    dep
}

/// `["a 1.0.0: b ^1; c *", "a 0.9.0 yanked", "b 1.0.0 [z]", "nothing"]`
fn universe(releases: &[&str]) -> Universe {
    let mut universe = Universe::default();
    let mut files: BTreeMap<PackageKey, IndexFile> = BTreeMap::new();
    for text in releases {
        let (head, deps) = text.split_once(": ").unwrap_or((text, ""));
        let mut words = head.split(' ');
        let name = PackageName::new(words.next().unwrap()).unwrap();
        let Some(vers) = words.next() else {
            universe.insert(PackageKey::own(&name), None);
            continue;
        };
        let rest: Vec<&str> = words.collect();
        let tagged = |tag: char| rest.iter().find_map(|word| word.strip_prefix(tag).map(str::to_owned));
        let line = IndexLine {
            name: name.clone(),
            vers: version(vers),
            deps: deps.split("; ").filter(|dep| !dep.is_empty()).map(dep).collect(),
            cksum: String::new(),
            features: tagged('+').map(|feature| (feature, vec![])).into_iter().collect(),
            yanked: rest.contains(&"yanked"),
            links: tagged('['),
            v: 1,
            features2: BTreeMap::new(),
            rust_version: tagged('>'),
            pubtime: String::new(),
            seq: 1,
            published: 1,
            size: 1,
            format: Format::Generic,
            record: Sha256Digest::of(b""),
            sigs: Default::default(),
            zig: None,
            yank_reason: None,
            deleted: None,
        };
        files.entry(PackageKey::own(&name)).or_default().lines.push(line);
    }
    for (key, file) in files {
        universe.insert(key, ResolveRecord::of(&file).map(|record| Arc::new(Package::new(record))));
    }
    universe
}

fn roots(texts: &[&str]) -> Vec<Requirement> {
    let root = |text: &&str| {
        let dep = dep(text);
        Requirement {
            features: dep.features,
            registry: dep.registry,
            ..Requirement::new(PackageName::new(dep.name).unwrap(), VersionReq::new(&dep.req).unwrap())
        }
    };
    texts.iter().map(root).collect()
}

fn locked(texts: &[&str]) -> BTreeMap<PackageKey, BTreeSet<Version>> {
    let mut locked: BTreeMap<PackageKey, BTreeSet<Version>> = BTreeMap::new();
    for text in texts {
        let (name, vers) = text.split_once(' ').unwrap();
        let key = PackageKey::own(&PackageName::new(name).unwrap());
        locked.entry(key).or_default().insert(version(vers));
    }
    locked
}

fn told(asked: &[&str], known: &[&str], rules: &Rules) -> String {
    match solve(&roots(asked), &universe(known), rules) {
        Outcome::Solved(solution) => {
            let line = |((_, version), chosen): (&(PackageKey, Version), &Chosen)| {
                format!("{} {version}", chosen.name)
            };
            solution.releases.iter().map(line).collect::<Vec<_>>().join(", ")
        }
        Outcome::Unknown(names) => format!("? {:?}", names.into_values().collect::<Vec<_>>()),
        Outcome::Impossible(conflict) => format!("! {}", conflict.because.join("; ")),
    }
}

fn solved(asked: &[&str], known: &[&str], lock: &[&str]) -> String {
    told(asked, known, &Rules { locked: locked(lock), ..Rules::newest(Versions::One) })
}

/// What is asked for, what is known, a third list, and what is expected.
type Row<'a> = (&'a [&'a str], &'a [&'a str], &'a [&'a str], &'a str);

#[test]
fn one_version_of_each_package() {
    let table: &[Row<'_>] = &[
        // Newest first, yanked never, pre-releases only where they are named, locked before all others.
        (&["a *"], &["a 1.0.0", "a 1.1.0", "a 2.0.0-rc.1"], &[], "a 1.1.0"),
        (&["a *"], &["a 1.0.0", "a 1.1.0 yanked"], &[], "a 1.0.0"),
        (&["a *"], &["a 1.0.0", "a 1.1.0"], &["a 1.0.0"], "a 1.0.0"),
        (&["a *"], &["a 1.0.0 yanked", "a 1.1.0"], &["a 1.0.0"], "a 1.0.0"),
        (&["a ^1.1"], &["a 1.0.0", "a 1.1.0"], &["a 1.0.0"], "a 1.1.0"),
        (&["a >=2.0.0-rc.0"], &["a 1.0.0", "a 2.0.0-rc.1"], &[], "a 2.0.0-rc.1"),
        // Transitive, diamond, cycle, and names in another spelling.
        (&["a *"], &["a 1.0.0: b ^1", "b 1.0.0: c ^1", "c 1.0.0"], &[], "a 1.0.0, b 1.0.0, c 1.0.0"),
        (
            &["a *", "b *"],
            &["a 1.0.0: C_x >=1.1", "b 1.0.0: c-x <1.3", "c-x 1.0.0", "c-x 1.2.0", "c-x 1.3.0"],
            &[],
            "a 1.0.0, b 1.0.0, c-x 1.2.0",
        ),
        (&["a *"], &["a 1.0.0: b *", "b 1.0.0: a ^1"], &[], "a 1.0.0, b 1.0.0"),
        // The newest `a` does not go with `b`: an older one is taken.
        (
            &["a *", "b *"],
            &["a 2.0.0: c ^2", "a 1.0.0: c ^1", "b 1.0.0: c ^1", "c 1.0.0", "c 2.0.0"],
            &[],
            "a 1.0.0, b 1.0.0, c 1.0.0",
        ),
        // The clash shows only two levels down; `m` between them is not to blame.
        (
            &["a *", "m *", "b *"],
            &[
                "a 2.0.0: x ^1",
                "a 1.0.0",
                "x 1.0.0: c ^2",
                "m 1.0.0",
                "m 0.9.0",
                "b 1.0.0: c ^1",
                "c 1.0.0",
                "c 2.0.0",
            ],
            &[],
            "a 1.0.0, b 1.0.0, c 1.0.0, m 1.0.0",
        ),
        // Dependencies of other registries are not followed silently.
        (&["a *"], &["a 1.1.0: b * @https://elsewhere.example", "a 1.0.0"], &[], "a 1.0.0"),
    ];
    for (asked, known, lock, expected) in table {
        assert_eq!(solved(asked, known, lock), *expected, "{asked:?} in {known:?}");
    }
}

#[test]
fn conflicts_are_explained() {
    let table: &[(&[&str], &[&str], &str)] = &[
        (&["a ^2"], &["a 1.0.0", "a 1.1.0"], "! the project needs `a` ^2; `a` has only 1.1.0, 1.0.0"),
        (&["a ^2"], &["a"], "! the project needs `a` ^2; there is no package `a`"),
        (&["a ^1"], &["a 1.0.0 yanked"], "! the project needs `a` ^1; every version of `a` is yanked"),
        (
            &["a ^1"],
            &["a 1.0.0 yanked", "a 2.0.0"],
            "! the project needs `a` ^1; only versions that are yanked would do, such as `a` 1.0.0",
        ),
        (
            &["a *", "b *"],
            &["a 1.0.0: c ^1", "b 1.0.0: c ^2", "c 1.0.0", "c 2.0.0"],
            "! the project needs `a` *; `a` 1.0.0 needs `c` ^1; the project needs `b` *; `b` 1.0.0 needs `c` ^2; \
             no version of `c` is for ^1 and ^2 at once",
        ),
        (
            &["c ^1", "b *"],
            &["b 1.0.0: c ^2", "c 1.0.0", "c 2.0.0"],
            "! the project needs `c` ^1; the project needs `b` *; `b` 1.0.0 needs `c` ^2; \
             no version of `c` is for ^1 and ^2 at once",
        ),
        (
            &["a *"],
            &["a 1.0.0: b * @https://elsewhere.example"],
            "! the project needs `a` *; `a` 1.0.0 needs `b` from another registry, `https://elsewhere.example`",
        ),
        (
            &["a * +fast"],
            &["a 1.0.0 +slow", "a 1.1.0"],
            "! the project needs `a` * with feature `fast`; no version of `a` for * has the feature `fast`",
        ),
        (
            &["a *", "b *"],
            &["a 1.0.0 [z", "b 1.0.0 [z"],
            "! the project needs `a` *; `a` 1.0.0 links the native library `z`, as only one package may; \
             the project needs `b` *; `b` 1.0.0 links the native library `z`, as only one package may",
        ),
    ];
    for (asked, known, expected) in table {
        assert_eq!(solved(asked, known, &[]), *expected, "{asked:?} in {known:?}");
    }
}

#[test]
fn a_way_out_is_shown_only_if_it_was_solved() {
    let way_out = |asked: &[&str], known: &[&str]| {
        let (asked, known, rules) = (roots(asked), universe(known), Rules::newest(Versions::One));
        let Outcome::Impossible(conflict) = solve(&asked, &known, &rules) else { panic!("it is solved") };
        suggest(&asked, &known, &rules, &conflict)
    };
    let known = ["b 1.0.0: c ^2", "c 1.0.0", "c 2.1.0"];
    assert_eq!(way_out(&["c ^1", "b *"], &known).as_deref(), Some("`c` ^2.1.0 would do, in place of ^1"));
    assert_eq!(way_out(&["a ^2"], &["a 1.0.0"]).as_deref(), Some("`a` ^1.0.0 would do, in place of ^2"));
    assert_eq!(way_out(&["a *"], &["a 1.0.0: b ^1", "b"]), None);
    // What no other requirement brings.
    let search = "check the spelling, or search with `drystone search a`";
    assert_eq!(way_out(&["a *"], &["a"]).as_deref(), Some(search));
    let ask = "a lock file that names `a` goes on working; ask its owners for another version";
    assert_eq!(way_out(&["a *"], &["a 1.0.0 yanked"]).as_deref(), Some(ask));
}

#[test]
fn all_unknown_packages_of_one_depth_are_named_together() {
    assert_eq!(solved(&["a *", "b *"], &["b 1.0.0: c *; d *"], &[]), "? [`a`, `c`, `d`]");
}

#[test]
fn several_majors_stand_side_by_side_where_the_rules_say_so() {
    let side_by_side = Rules::newest(Versions::OnePerCompatible);
    let known = ["a 1.0.0: c ^1", "b 1.0.0: c ^2", "c 1.0.0", "c 1.1.0", "c 2.0.0", "d 1.0.0: c >=1,<3"];
    assert_eq!(told(&["a *", "b *"], &known, &side_by_side), "a 1.0.0, b 1.0.0, c 1.1.0, c 2.0.0");
    assert_eq!(told(&["d *"], &known, &side_by_side), "c 2.0.0, d 1.0.0");
    let oldest = Rules { order: Order::OldestFirst, ..side_by_side.clone() };
    assert_eq!(told(&["d *"], &known, &oldest), "c 1.0.0, d 1.0.0");
    let compiler = Rules { rust_version: Some("1.80.0".parse().unwrap()), ..side_by_side };
    let known = ["a 1.0.0 >1.70", "a 1.1.0 >1.81", "b 1.0.0 >1.99"];
    assert_eq!(told(&["a *", "b *"], &known, &compiler), "a 1.0.0, b 1.0.0");
}

#[test]
fn a_name_comes_from_the_registry_that_it_is_bound_to() {
    let mut universe = universe(&["a 1.0.0: b * @sparse+https://other.example/index/", "b 9.0.0"]);
    let other = universe.add_registry(vec!["https://other.example/index".into()]);
    let theirs = self::universe(&["b 1.0.0: c *", "c 1.0.0"]);
    for name in ["b", "c"] {
        let own = PackageKey { registry: RegistryId::default(), name: name.into() };
        let package = theirs.get(&own).unwrap().cloned();
        universe.insert(PackageKey { registry: other, ..own }, package);
    }
    let rules = Rules::newest(Versions::One);
    let Outcome::Solved(solution) = solve(&roots(&["a *", "b *"]), &universe, &rules) else { panic!() };
    let all: Vec<String> = solution
        .releases
        .keys()
        .map(|(key, version)| format!("{} {} {version}", key.registry.0, key.name))
        .collect();
    assert_eq!(all, ["0 a 1.0.0", "0 b 9.0.0", "1 b 1.0.0", "1 c 1.0.0"]);
}

#[test]
fn a_hopeless_search_ends() {
    // Thirty packages with thirty versions each, and one that fits with none: independent choices are not permuted.
    let mut known: Vec<String> = Vec::new();
    let mut asked: Vec<String> = Vec::new();
    for package in 0..30 {
        asked.push(format!("p{package} *"));
        known.extend((0..30).map(|minor| format!("p{package} 1.{minor}.0")));
    }
    asked.extend(["y *".into(), "z *".into()]);
    known.extend(["y 1.0.0: q ^1".into(), "z 1.0.0: q ^2".into(), "q 1.0.0".into(), "q 2.0.0".into()]);
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let answer = solved(&asked, &known, &[]);
    assert!(answer.ends_with("no version of `q` is for ^1 and ^2 at once"), "{answer}");
}
