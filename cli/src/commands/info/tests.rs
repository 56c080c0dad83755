use drystone_schemas::{AccountId, Alias, DeleteCode, IndexDep, OwnerEntry, PackageName};

use super::*;

fn line(version: &str, yanked: bool, deleted: Option<DeleteCode>) -> IndexLine {
    let dep = |name: &str, kind: DepKind, optional: bool| IndexDep {
        name: name.into(),
        req: "^1".into(),
        features: vec![],
        optional,
        default_features: true,
        target: None,
        kind,
        registry: None,
        package: None,
    };
    IndexLine {
        name: PackageName::new("acme/http").unwrap(),
        vers: Version::new(version).unwrap(),
        deps: vec![
            dep("url", DepKind::Normal, false),
            dep("tls", DepKind::Normal, true),
            dep("check", DepKind::Dev, false),
        ],
        cksum: Sha256Digest::of(version.as_bytes()).hex(),
        features: Default::default(),
        yanked,
        links: None,
        v: 1,
        features2: Default::default(),
        rust_version: None,
        pubtime: "2025-10-09T09:09:59Z".into(),
        seq: 9,
        published: 9,
        size: 2048,
        format: Format::Generic,
        record: Sha256Digest::of(b"record"),
        sigs: Default::default(),
        zig: None,
        yank_reason: None,
        deleted,
    }
}

fn document() -> PackageDocument {
    PackageDocument {
        seq: 12,
        name: PackageName::new("acme/http").unwrap(),
        owners: vec![OwnerEntry {
            account: AccountId::new("acct:01JD3K6Q0Z0000000000000000").unwrap(),
            role: Role::Owner,
        }],
        pending_owners: vec![],
        transfer: None,
        author_keys: None,
        created: "2025-10-09T09:09:59Z".into(),
        updated: "2025-10-10T09:09:59Z".into(),
        releases: 2,
        latest: Some(Version::new("1.1.0").unwrap()),
        aliases: vec![Alias::new("http").unwrap()],
        publishers: vec![],
        deprecated: None,
        authors: vec![],
        description: Some("Talks \u{1b}[31mHTTP.\nMore.".into()),
        license: Some("MIT".into()),
        keywords: vec!["http".into(), "net".into()],
        categories: vec![],
        homepage: None,
        repository: Some("https://example.com/http".into()),
        documentation: None,
        zig: None,
    }
}

#[test]
fn a_package_looks_like_this() {
    let versions = vec![
        line("1.0.0", true, None),
        line("1.1.0", false, None),
        line("0.9.0", true, Some(DeleteCode::Spam)),
    ];
    let response = PackageResponse { document: document(), versions };
    let expected = format!(
        "acme/http 1.1.0
  Talks  [31mHTTP.
  keywords       http, net
  license        MIT
  repository     https://example.com/http
  versions       1.1.0, 1.0.0 (yanked), 0.9.0 (taken down)
  owners         acct:01JD3K6Q0Z0000000000000000
  aliases        http
  created        2025-10-09T09:09:59Z
  updated        2025-10-10T09:09:59Z (event 12)
  format         generic
  size           2.0 KiB
  sha256         {}
  needs          url ^1
  needs          tls ^1 (optional)
  proved by      registry.example/log/1 at size 13
",
        Sha256Digest::of(b"1.1.0").hex()
    );
    assert_eq!(package_text(&response, None, "registry.example/log/1 at size 13"), expected);
}

#[test]
fn a_yanked_release_says_why_and_what_is_newer() {
    let line = line("1.0.0", true, None);
    let response = VersionResponse {
        zig_snippet: None,
        checksum: line.cksum.clone(),
        download_url: "https://registry.example/o/00".into(),
        yank_reason_text: Some("leaks".into()),
        vcs: Some(VcsInfo {
            git_sha1: "aac20b6e7e543e6dd4118b246c77225e3a3a1302".into(),
            path_in_vcs: "crates/http".into(),
            dirty: true,
        }),
        line,
    };
    let text = version_text(&document(), &response);
    assert!(text.starts_with("acme/http 1.0.0\n"), "{text}");
    for expected in [
        "  yanked         leaks\n",
        "  newest         1.1.0\n",
        "  sources        git aac20b6e7e543e6dd4118b246c77225e3a3a1302, in crates/http, with changes that were not \
         committed\n",
        "  download       https://registry.example/o/00\n",
    ] {
        assert!(text.contains(expected), "{text}");
    }
}
