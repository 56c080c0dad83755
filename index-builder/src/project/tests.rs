//! Properties of the projection over arbitrary histories of a few packages, and examples of each kind of event.

use std::collections::{BTreeMap, HashSet};

use drystone_schemas::{
    AccountId, Alias, AliasHistory, AliasMap, AuthorKey, AuthorKeysFile, DeleteCode, DepKind, EventBody,
    FileClass, Format, IndexFile, PackageDocument, PackageName, RecordDep, RecordFile, ResolveRecord, Role,
    Settings, Sha256Digest, Version, VersionRecord,
};
use proptest::prelude::*;

use super::*;

fn account(n: u8) -> AccountId {
    AccountId::new(format!("acct:01JD3K6Q0Z000000000000000{n}")).unwrap()
}

fn name(text: &str) -> PackageName {
    PackageName::new(text).unwrap()
}

fn version(text: &str) -> Version {
    Version::new(text).unwrap()
}

fn settings() -> Settings {
    Settings::new("demo", "https://pkg.example")
}

/// The record of a release; what it says depends on the version, so that releases differ.
fn record(pkg: &PackageName, vers: &Version) -> VersionRecord {
    VersionRecord {
        v: 1,
        name: pkg.clone(),
        vers: vers.clone(),
        format: Format::Cargo,
        tarball: Sha256Digest::of(format!("{pkg} {vers}").as_bytes()),
        size: 100,
        unpacked: 200,
        deps: vec![RecordDep {
            name: "serde".into(),
            rename: None,
            req: "^1".into(),
            features: vec![],
            optional: true,
            default_features: true,
            target: None,
            kind: DepKind::Normal,
            registry_index: None,
        }],
        features: [("serde".to_owned(), vec!["dep:serde".to_owned()])].into(),
        links: None,
        rust_version: Some("1.85".into()),
        description: Some(format!("what {vers} is")),
        license: Some("MIT".into()),
        authors: vec![],
        keywords: vec!["stone".into()],
        categories: vec![],
        homepage: None,
        repository: Some("https://git.example/x".into()),
        documentation: None,
        zig: None,
        readme: None,
        vcs: None,
        files: vec![RecordFile("src/lib.rs".into(), 200, "00".into())],
    }
}

fn publish(pkg: &str, vers: &str) -> EventBody {
    let (pkg, vers) = (name(pkg), version(vers));
    let record = record(&pkg, &vers);
    EventBody::Publish {
        tarball: record.tarball,
        record: Sha256Digest::of(&record.to_bytes()),
        pkg,
        vers,
        sigs: Default::default(),
    }
}

/// Every package and alias shard of a small registry, as a publisher keeps them.
#[derive(Clone, Default)]
struct World {
    seq: u64,
    packages: BTreeMap<String, PackageState>,
    shards: BTreeMap<String, (AliasMap, AliasHistory)>,
    aliases: AliasMap,
    /// The bytes of every by-name file.
    files: BTreeMap<String, Vec<u8>>,
}

impl World {
    fn apply(&mut self, body: &EventBody) -> Result<Vec<ProjectedFile>, ProjectError> {
        let key = body.package().map(PackageName::canonical).unwrap_or_default();
        let shard = match body {
            EventBody::AliasSet { alias, .. } | EventBody::AliasRemove { alias, .. } => alias.shard(),
            _ => "",
        };
        let aliases = (!shard.is_empty()).then(|| {
            let (shard, history) = self.shards.get(shard).cloned().unwrap_or_default();
            AliasState { shard, history, all: self.aliases.clone() }
        });
        let before = Touched { package: self.packages.get(&key).cloned(), aliases };
        let mut touched = before.clone();
        let actor = account(1);
        let draft = Draft { seq: self.seq, time: 1_760_000_000 + self.seq, actor: &actor, body };
        let record = match body {
            EventBody::Publish { pkg, vers, .. } => Some(record(pkg, vers)),
            _ => None,
        };
        let result = project(&mut touched, &draft, record.as_ref(), &settings());
        match &result {
            Err(_) => assert_eq!(touched, before, "a refused event changes nothing"),
            Ok(files) => {
                self.seq += 1;
                if let Some(package) = touched.package {
                    self.packages.insert(key, package);
                }
                if let Some(state) = touched.aliases {
                    self.shards.insert(shard.to_owned(), (state.shard, state.history));
                    self.aliases = state.all;
                }
                for file in files {
                    self.files.insert(file.key.clone(), file.bytes.clone());
                }
            }
        }
        result
    }

    fn package(&self, canonical: &str) -> &PackageState {
        &self.packages[canonical]
    }

    /// The same world, with every state read back from its files.
    fn reread(&self) -> Self {
        let package = |state: &PackageState| {
            let (index, document) = (state.index_file(), state.document_file());
            PackageState::parse(&self.files[&index.key], &self.files[&document.key]).unwrap()
        };
        let shard = |shard: &String| {
            let (map, history) =
                (&self.files[&layout::alias_map(shard)], &self.files[&layout::alias_history(shard)]);
            (serde_json::from_slice(map).unwrap(), serde_json::from_slice(history).unwrap())
        };
        let aliases = self.files.get(layout::ALIASES).map(|bytes| serde_json::from_slice(bytes).unwrap());
        Self {
            seq: self.seq,
            packages: self.packages.iter().map(|(key, state)| (key.clone(), package(state))).collect(),
            shards: self.shards.keys().map(|name| (name.clone(), shard(name))).collect(),
            aliases: aliases.unwrap_or_default(),
            files: self.files.clone(),
        }
    }
}

/// The position that a file's bytes carry.
fn seq_of(file: &ProjectedFile) -> u64 {
    match file.class {
        FileClass::Index => IndexFile::parse(&file.bytes).unwrap().seq().unwrap(),
        FileClass::Resolve => ResolveRecord::parse(&file.bytes).unwrap().seq,
        FileClass::Document => serde_json::from_slice::<PackageDocument>(&file.bytes).unwrap().seq,
        FileClass::Keys => serde_json::from_slice::<AuthorKeysFile>(&file.bytes).unwrap().seq,
        FileClass::Alias => serde_json::from_slice::<AliasMap>(&file.bytes).unwrap().seq,
        FileClass::History => serde_json::from_slice::<AliasHistory>(&file.bytes).unwrap().seq,
    }
}

/// The author key with this number.
fn key(number: u8) -> AuthorKey {
    AuthorKey::ed25519(&[number; 32])
}

prop_compose! {
    fn any_body()(
        kind in 0u8..24,
        pkg in prop::sample::select(vec!["http", "acme/http", "Net_Kit", "net-kit"]),
        vers in prop::sample::select(vec!["1.0.0", "1.0.0+build", "1.1.0", "2.0.0-rc.1"]),
        reason in prop::option::of(Just(Sha256Digest::of(b"reason"))),
        who in 1u8..4,
        alias in prop::sample::select(vec!["ht", "http-client", "net"]),
        role in prop::sample::select(vec![Role::Owner, Role::Collaborator]),
    ) -> EventBody {
        let (p, v, account, alias) = (name(pkg), version(vers), account(who), Alias::new(alias).unwrap());
        match kind {
            0..=4 => publish(pkg, vers),
            5 | 6 => EventBody::Yank { pkg: p, vers: v, reason },
            7 => EventBody::Unyank { pkg: p, vers: v },
            8 => EventBody::Deprecate { pkg: p, reason },
            9 => EventBody::Undeprecate { pkg: p },
            10 => EventBody::Delete { pkg: p, vers: v, code: DeleteCode::Malware },
            11 => EventBody::OwnerAdd { pkg: p, account, role, exception: reason },
            12 => EventBody::OwnerRemove { pkg: p, account, exception: reason },
            19 | 20 => EventBody::TransferOffer { pkg: p, to: account, until: u64::from(who) << 40 },
            21 => EventBody::TransferWithdraw { pkg: p },
            22 => EventBody::Transfer { pkg: p, to: account },
            15 => EventBody::AuthorKeyAdd { pkg: p, key: key(who) },
            16 => EventBody::AuthorKeyRemove { pkg: p, key: key(who) },
            17 | 18 => {
                let (threshold, keys) = (u32::from(who - 1), (1..who).map(key).collect());
                EventBody::Policy { pkg: p, threshold, keys, lock_hours: 1, exception: reason }
            }
            13 => EventBody::AliasSet { pkg: p, alias },
            14 => EventBody::AliasRemove { pkg: p, alias },
            _ => EventBody::Heartbeat {},
        }
    }
}

proptest! {
    #[test]
    fn a_prefix_and_the_rest_make_the_whole(bodies in prop::collection::vec(any_body(), 1..60), cut in 0usize..60) {
        let mut whole = World::default();
        let mut parts = World::default();
        for (i, body) in bodies.iter().enumerate() {
            if i == cut {
                parts = parts.reread();
            }
            prop_assert_eq!(whole.apply(body).ok(), parts.apply(body).ok());
        }
        prop_assert_eq!(&whole.files, &parts.files);
        prop_assert_eq!(&whole.packages, &parts.packages);
    }

    #[test]
    fn files_are_the_whole_state(bodies in prop::collection::vec(any_body(), 1..60)) {
        let mut world = World::default();
        for body in &bodies {
            if world.apply(body).is_ok() {
                let reread = world.reread();
                prop_assert_eq!(&reread.packages, &world.packages);
                prop_assert_eq!((&reread.shards, &reread.aliases), (&world.shards, &world.aliases));
            }
        }
    }

    #[test]
    fn every_file_carries_its_seq_and_never_repeats(bodies in prop::collection::vec(any_body(), 1..60)) {
        let mut world = World::default();
        let mut seen = HashSet::new();
        for body in &bodies {
            let seq = world.seq;
            for file in world.apply(body).unwrap_or_default() {
                prop_assert_eq!(seq_of(&file), seq);
                prop_assert!(seen.insert((file.key, file.bytes)), "two states have equal bytes");
            }
        }
    }

    #[test]
    fn lines_stay_and_lists_are_sorted(bodies in prop::collection::vec(any_body(), 1..60)) {
        let mut world = World::default();
        for body in &bodies {
            let before = world.clone();
            if world.apply(body).is_err() {
                continue;
            }
            for (key, package) in &world.packages {
                let old = before.packages.get(key).map(|p| &*p.index.lines).unwrap_or_default();
                let lines = &package.index.lines;
                prop_assert!(lines.len() >= old.len());
                for (line, was) in lines.iter().zip(old) {
                    prop_assert_eq!((&line.vers, &line.cksum, line.published), (&was.vers, &was.cksum, was.published));
                    prop_assert!(line == was || line.seq == before.seq);
                }
                let document = &package.document;
                prop_assert!(document.owners.is_sorted_by(|a, b| a.account < b.account));
                prop_assert!(document.owners.iter().any(|owner| owner.role == Role::Owner));
                prop_assert!(document.aliases.is_sorted_by(|a, b| a < b));
            }
        }
    }
}

#[test]
fn a_first_release_makes_the_package() {
    let mut world = World::default();
    let files = world.apply(&publish("acme/Http_2", "1.0.0")).unwrap();
    let keys: Vec<_> = files.iter().map(|f| (f.class.letter(), &*f.state_key, &*f.key)).collect();
    assert_eq!(
        keys,
        [
            ('i', "acme/http-2", "index/@acme/ht/tp/http_2"),
            ('r', "acme/http-2", "resolve/@acme/ht/tp/http_2"),
            ('d', "acme/http-2", "packages/acme/http_2.json")
        ]
    );
    let change = files[0].change();
    assert_eq!(
        (change.0, &*change.1, change.3),
        (FileClass::Index, "acme/http-2", files[0].bytes.len() as u64)
    );
    let state = world.package("acme/http-2");
    assert_eq!(state.document.role_of(&account(1)), Some(Role::Owner));
    assert_eq!((state.document.releases, state.document.latest.clone()), (1, Some(version("1.0.0"))));
    assert_eq!(state.document.description.as_deref(), Some("what 1.0.0 is"));
    let line = &state.index.lines[0];
    assert_eq!((line.v, line.features.len(), &*line.pubtime), (2, 0, "2025-10-09T08:53:20Z"));
}

#[test]
fn a_takedown_leaves_only_what_events_say() {
    let mut world = World::default();
    world.apply(&publish("http", "1.0.0")).unwrap();
    world.apply(&publish("http", "1.1.0")).unwrap();
    let delete = EventBody::Delete { pkg: name("http"), vers: version("1.1.0"), code: DeleteCode::Privacy };
    world.apply(&delete).unwrap();
    let state = world.package("http");
    assert_eq!(
        String::from_utf8(state.index_file().bytes).unwrap().lines().nth(1).unwrap(),
        format!(
            "{{\"name\":\"http\",\"vers\":\"1.1.0\",\"deps\":[],\"cksum\":\"{}\",\"features\":{{}},\"yanked\":true,\
             \"v\":1,\"pubtime\":\"2025-10-09T08:53:21Z\",\"seq\":2,\"published\":1,\"size\":0,\"format\":\"generic\",\
             \"record\":\"{}\",\"deleted\":\"privacy\"}}",
            record(&name("http"), &version("1.1.0")).tarball.hex(),
            Sha256Digest::of(&record(&name("http"), &version("1.1.0")).to_bytes()),
        )
    );
    assert_eq!((state.document.description.as_deref(), state.document.license.as_deref()), (None, None));
    assert_eq!((state.document.releases, state.document.latest.clone()), (1, Some(version("1.0.0"))));
    for body in [
        delete,
        EventBody::Unyank { pkg: name("http"), vers: version("1.1.0") },
        EventBody::Yank { pkg: name("http"), vers: version("1.1.0"), reason: None },
    ] {
        assert!(matches!(world.apply(&body), Err(ProjectError::Deleted { .. })));
    }
    assert!(matches!(world.apply(&publish("http", "1.1.0")), Err(ProjectError::VersionExists { .. })));
}

#[test]
fn aliases_change_the_map_first_and_an_emptied_map_stays() {
    let mut world = World::default();
    world.apply(&publish("acme/http", "1.0.0")).unwrap();
    let (pkg, alias) = (name("acme/http"), Alias::new("http").unwrap());
    let files = world.apply(&EventBody::AliasSet { pkg: pkg.clone(), alias: alias.clone() }).unwrap();
    assert_eq!(
        files.iter().map(|f| &*f.key).collect::<Vec<_>>(),
        ["aliases/ht.json", "aliases/ht.history.json", "aliases.json", "packages/acme/http.json"]
    );
    assert_eq!((&*files[0].state_key, &*files[0].change().1), ("~alias/ht", "~alias/ht"));
    assert_eq!(world.package("acme/http").document.aliases, std::slice::from_ref(&alias));

    world.apply(&publish("http", "1.0.0")).unwrap();
    let taken = EventBody::AliasSet { pkg: name("http"), alias: alias.clone() };
    assert!(matches!(world.apply(&taken), Err(ProjectError::AliasTaken { .. })));
    let foreign = EventBody::AliasRemove { pkg: name("http"), alias: alias.clone() };
    assert!(matches!(world.apply(&foreign), Err(ProjectError::UnknownAlias { .. })));

    let files = world.apply(&EventBody::AliasRemove { pkg, alias }).unwrap();
    assert_eq!(files[0].bytes, b"{\"aliases\":{},\"seq\":3}\n");
    assert_eq!(files[2].bytes, files[0].bytes);
    let history: AliasHistory = serde_json::from_slice(&files[1].bytes).unwrap();
    let told: Vec<_> = history.changes.iter().map(|change| (change.seq, change.change.as_str())).collect();
    assert_eq!((history.seq, told), (3, vec![(1, "set"), (3, "remove")]));
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let mut world = World::default();
    world.apply(&publish("Net_Kit", "1.0.0")).unwrap();
    let pkg = name("net-kit");
    let refused = |body| world.clone().apply(&body).unwrap_err().to_string();
    for (body, message) in [
        (publish("net-kit", "2.0.0-rc.1"), "package `Net_Kit` is published as `net-kit`"),
        (publish("Net_Kit", "1.0.0+build"), "version `1.0.0` of `Net_Kit` already exists"),
        (EventBody::Undeprecate { pkg: name("http") }, "there is no package `http`"),
        (EventBody::Undeprecate { pkg: pkg.clone() }, "event 1 about `Net_Kit` changes nothing"),
        (
            EventBody::Unyank { pkg: pkg.clone(), vers: version("1.0.0") },
            "event 1 about `Net_Kit` changes nothing",
        ),
        (
            EventBody::Yank { pkg: pkg.clone(), vers: version("1.1.0"), reason: None },
            "`Net_Kit` has no version `1.1.0`",
        ),
        (
            EventBody::OwnerRemove { pkg: pkg.clone(), account: account(1), exception: None },
            "`acct:01JD3K6Q0Z0000000000000001` is the last owner of `Net_Kit`",
        ),
        (
            EventBody::OwnerAdd {
                pkg: pkg.clone(),
                account: account(1),
                role: Role::Collaborator,
                exception: None,
            },
            "`acct:01JD3K6Q0Z0000000000000001` is the last owner of `Net_Kit`",
        ),
        (
            EventBody::OwnerRemove { pkg, account: account(2), exception: None },
            "`acct:01JD3K6Q0Z0000000000000002` is not an owner of `Net_Kit`",
        ),
    ] {
        assert_eq!(refused(body), message);
    }
}

#[test]
fn what_the_caller_gives_must_be_what_the_event_names() {
    let mut world = World::default();
    world.apply(&publish("http", "1.0.0")).unwrap();
    let actor = account(1);
    let state = world.package("http").clone();
    let given = |body: &EventBody, record: Option<&VersionRecord>, aliases: Option<AliasState>| {
        let mut touched = Touched { package: Some(state.clone()), aliases };
        project(&mut touched, &Draft { seq: 1, time: 0, actor: &actor, body }, record, &settings())
            .unwrap_err()
    };
    let other = publish("net", "1.0.0");
    assert!(matches!(given(&other, None, None), ProjectError::OtherPackage { .. }));
    let next = publish("http", "1.1.0");
    assert!(matches!(given(&next, None, None), ProjectError::NoRecord { seq: 1 }));
    let wrong = record(&name("http"), &version("1.0.0"));
    assert!(matches!(given(&next, Some(&wrong), None), ProjectError::OtherRecord { what: "version", .. }));
    let mut state_of_ne = AliasState::default();
    let target = drystone_schemas::AliasTarget { package: name("http"), seq: 0 };
    state_of_ne.shard.aliases.insert(Alias::new("net").unwrap(), target);
    let set = EventBody::AliasSet { pkg: name("http"), alias: Alias::new("ht").unwrap() };
    assert!(matches!(given(&set, None, Some(state_of_ne)), ProjectError::OtherShard { .. }));

    let (index, document) = (state.index_file().bytes, state.document_file().bytes);
    let renamed = String::from_utf8(index.clone()).unwrap().replace("\"http\"", "\"nett\"");
    assert!(matches!(
        PackageState::parse(renamed.as_bytes(), &document),
        Err(ProjectError::MixedFiles { .. })
    ));
    assert!(matches!(PackageState::parse(b"{}\n", &document), Err(ProjectError::Index(_))));
    assert!(matches!(PackageState::parse(&index, b"{}"), Err(ProjectError::Document(_))));
}

#[test]
fn config_files_carry_their_seq() {
    let files = project_config(7, "pkg.example/log", "pkg.example/log+00000000+AA", &settings());
    let keys: Vec<_> = files.iter().map(|(key, _)| &**key).collect();
    let api = "api/v1/registry/config/index.json";
    assert_eq!(keys, ["config.json", "index/config.json", api, "health.json"]);
    for (key, bytes) in files {
        assert_eq!(drystone_schemas::file_seq(&key, &bytes), Some(7), "{key}");
    }
}
