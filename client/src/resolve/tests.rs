use super::*;

fn name(text: &str) -> PackageName {
    PackageName::new(text).unwrap()
}

fn version(text: &str) -> Version {
    Version::new(text).unwrap()
}

/// `["a 1.0.0: b ^1, c *", "a 0.9.0 yanked"]`
fn universe(releases: &[&str]) -> Universe {
    let mut universe = Universe::default();
    for text in releases {
        let (head, needs) = text.split_once(": ").unwrap_or((text, ""));
        let mut words = head.split(' ');
        let package = name(words.next().unwrap());
        let Some(vers) = words.next() else {
            universe.insert(&package, vec![]);
            continue;
        };
        let need = |need: &str| {
            let (dep, req) = need.split_once(' ').unwrap();
            let (req, registry) =
                req.split_once(" @").map_or((req, None), |(req, at)| (req, Some(at.to_owned())));
            Need { name: name(dep), req: VersionReq::new(req).unwrap(), registry }
        };
        let release = Release {
            name: package.clone(),
            version: version(vers),
            yanked: words.next() == Some("yanked"),
            digest: Sha256Digest::of(text.as_bytes()),
            size: 1,
            needs: needs.split("; ").filter(|need| !need.is_empty()).map(need).collect(),
        };
        universe.packages.entry(package.canonical()).or_default().push(release);
    }
    universe
}

fn roots(texts: &[&str]) -> Vec<Requirement> {
    let root = |text: &&str| {
        let (dep, req) = text.split_once(' ').unwrap();
        Requirement { name: name(dep), req: VersionReq::new(req).unwrap() }
    };
    texts.iter().map(root).collect()
}

fn locked(texts: &[&str]) -> BTreeMap<String, Version> {
    let lock = |text: &&str| {
        let (dep, vers) = text.split_once(' ').unwrap();
        (name(dep).canonical(), version(vers))
    };
    texts.iter().map(lock).collect()
}

fn solved(asked: &[&str], known: &[&str], lock: &[&str]) -> String {
    match solve(&roots(asked), &universe(known), &locked(lock)) {
        Outcome::Solved(solution) => {
            let line = |release: &Release| format!("{} {}", release.name, release.version);
            solution.releases.values().map(line).collect::<Vec<_>>().join(", ")
        }
        Outcome::Unknown(names) => format!("? {names:?}"),
        Outcome::Impossible { because } => format!("! {}", because.join("; ")),
    }
}

/// Asked for, known, locked, chosen.
type Choice<'a> = (&'a [&'a str], &'a [&'a str], &'a [&'a str], &'a str);

#[test]
fn choices() {
    let table: &[Choice<'_>] = &[
        (&[], &[], &[], ""),
        (&["a ^1"], &["a 1.0.0", "a 1.10.0", "a 1.9.0", "a 2.0.0"], &[], "a 1.10.0"),
        // A locked version stays, as long as it fits.
        (&["a ^1"], &["a 1.0.0", "a 1.1.0"], &["a 1.0.0"], "a 1.0.0"),
        (&["a ^1.1"], &["a 1.0.0", "a 1.1.0"], &["a 1.0.0"], "a 1.1.0"),
        // Yanked releases are kept, never chosen.
        (&["a ^1"], &["a 1.0.0", "a 1.1.0 yanked"], &[], "a 1.0.0"),
        (&["a ^1"], &["a 1.0.0", "a 1.1.0 yanked"], &["a 1.1.0"], "a 1.1.0"),
        // Pre-releases only where they are named.
        (&["a *"], &["a 1.0.0", "a 2.0.0-rc.1"], &[], "a 1.0.0"),
        (&["a >=2.0.0-rc.1"], &["a 1.0.0", "a 2.0.0-rc.1"], &[], "a 2.0.0-rc.1"),
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
        (&["a *"], &["a 1.1.0: b * @elsewhere", "a 1.0.0"], &[], "a 1.0.0"),
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
        (
            &["a ^1"],
            &["a 1.0.0 yanked"],
            "! the project needs `a` ^1; only versions that are yanked would do, such as `a` 1.0.0",
        ),
        (
            &["a *", "b *"],
            &["a 1.0.0: c ^1", "b 1.0.0: c ^2", "c 1.0.0", "c 2.0.0"],
            "! `a` 1.0.0 needs `c` ^1; `b` 1.0.0 needs `c` ^2; `c` has only 2.0.0, 1.0.0",
        ),
        (
            &["c ^1", "b *"],
            &["b 1.0.0: c ^2", "c 1.0.0", "c 2.0.0"],
            "! the project needs `c` ^1; `b` 1.0.0 needs `c` ^2; `c` 1.0.0 cannot satisfy both, and no other choice can",
        ),
        (
            &["a *"],
            &["a 1.0.0: b * @https://elsewhere.example"],
            "! `a` 1.0.0 needs `b` from another registry, `https://elsewhere.example`",
        ),
    ];
    for (asked, known, expected) in table {
        assert_eq!(solved(asked, known, &[]), *expected, "{asked:?} in {known:?}");
    }
}

#[test]
fn all_unknown_packages_of_one_depth_are_named_together() {
    assert_eq!(solved(&["a *", "b *"], &["b 1.0.0: c *; d *"], &[]), "? {`a`, `c`, `d`}");
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
    assert!(answer.starts_with("! `y` 1.0.0 needs `q` ^1; `z` 1.0.0 needs `q` ^2"), "{answer}");
}
