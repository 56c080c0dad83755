//! The table.

use axum::{body::Body, http::Method};
use drystone_schemas::Limits;
use drystone_storage::Store;
use drystone_tests::{
    Pkg, multipart_body,
    raw::{RawArchive, Taken, cut, endless, stalled},
};
use futures_util::future::join_all;

use super::{
    Expected::{All, Sorted},
    Row,
    cases::{
        AFTER_COMMIT, BEFORE_COMMIT, PACKAGE_PART, archive, bad_versions, bomb, crashes, dependencies, http,
        lengths_that_lie, manifest, packed, send, send_chunked, stalled_uploads, strangers, with_manifest,
    },
};

const TAKEN: (u16, &[&str]) = (409, &["version-exists"]);
const ONE: &[(&str, &[&str])] = &[("http", &["1.0.0"])];
const EIGHT: &[(&str, &[&str])] =
    &[("http", &["1.0.0", "1.0.1", "1.0.2", "1.0.3", "1.0.4", "1.0.5", "1.0.6", "1.0.7"])];

pub(crate) const ROWS: &[Row] = &[
    Row {
        case: "the same version again, same bytes",
        run: |r| Box::pin(async { vec![r.publish(&http()).await, r.publish(&http()).await] }),
        expected: Sorted(&[(200, &[]), (201, &[])]),
        published: ONE,
    },
    Row {
        case: "the same version again, other bytes",
        run: |r| {
            Box::pin(async { vec![r.publish(&http()).await, r.publish(&http().with_payload("x")).await] })
        },
        expected: Sorted(&[(201, &[]), TAKEN]),
        published: ONE,
    },
    Row {
        case: "8 clients, the same version",
        run: |r| {
            Box::pin(join_all((0..8).map(async |i| r.publish(&http().with_payload(format!("{i}"))).await)))
        },
        expected: Sorted(&[(201, &[]), TAKEN, TAKEN, TAKEN, TAKEN, TAKEN, TAKEN, TAKEN]),
        published: ONE,
    },
    Row {
        case: "8 versions of one new package at once",
        run: |r| {
            Box::pin(join_all((0..8).map(async |i| r.publish(&Pkg::new("http", &format!("1.0.{i}"))).await)))
        },
        expected: All(201, &[]),
        published: EIGHT,
    },
    Row {
        case: "8 versions of one new package at once, by two processes",
        run: |r| {
            Box::pin(async {
                let both = [r.another(Store::clone).await, r.another(Store::clone).await];
                let publish =
                    async |i: usize| both[i % 2].publish(&Pkg::new("http", &format!("1.0.{i}"))).await;
                join_all((0..8).map(publish)).await
            })
        },
        expected: All(201, &[]),
        published: EIGHT,
    },
    Row {
        case: "variants of a name in case, `-` and `_`",
        run: |r| {
            Box::pin(async {
                let names = ["my-http", "My-Http", "my_http", "MY_HTTP"];
                let mut answers = Vec::new();
                for name in names {
                    answers.push(r.publish(&Pkg::new(name, "1.0.0")).await);
                }
                answers
            })
        },
        expected: Sorted(&[
            (201, &[]),
            (409, &["name-collision"]),
            (409, &["name-collision"]),
            (409, &["name-collision"]),
        ]),
        published: &[("my-http", &["1.0.0"])],
    },
    Row {
        case: "`../` in the name",
        run: |r| {
            Box::pin(async {
                let names = ["../evil", "..", "acme/..", "../../evil", "/etc/passwd", "..\\\\evil", "con"];
                let mut answers = Vec::new();
                for name in names {
                    answers.push(r.publish_bytes(&r.admin, None, &archive(name, "1.0.0")).await);
                }
                let yank = "/api/v1/packages/..%2f..%2fevil/1.0.0/yank";
                answers.push(r.ask(Method::POST, yank, None).await);
                answers
            })
        },
        expected: All(422, &["invalid-name"]),
        published: &[],
    },
    Row {
        case: "`../` in the version, and versions that are not SemVer",
        run: |r| Box::pin(bad_versions(r)),
        expected: All(422, &["invalid-version"]),
        published: &[],
    },
    Row {
        case: "`../` in a path of the archive",
        run: |r| {
            Box::pin(async {
                let paths = [
                    "http-1.0.0/../../evil",
                    "../evil",
                    "/etc/passwd",
                    "http-1.0.0/./x",
                    "http-1.0.0/a\\..\\b",
                ];
                let mut answers = Vec::new();
                for path in paths {
                    answers.push(
                        r.publish_bytes(&r.admin, None, &with_manifest().file(path, b"x").finish()).await,
                    );
                }
                answers
            })
        },
        expected: All(422, &["unsafe-path"]),
        published: &[],
    },
    Row {
        case: "the connection is cut in the middle of the body",
        run: |r| {
            Box::pin(async {
                let (_, body) = multipart_body(Some("{}"), &http().archive());
                let mut answers = Vec::new();
                for at in [0, 1, 30, 100, 150, body.len() / 2, body.len() - 12, body.len() - 5] {
                    answers.push(send(r, body.len() as u64, cut(&body[..at])).await);
                    // The same, by a client that ends the body properly.
                    answers.push(send(r, at as u64, Body::from(body[..at].to_vec())).await);
                }
                answers
            })
        },
        expected: All(400, &["malformed-multipart"]),
        published: &[],
    },
    Row {
        case: "declared lengths that are too long: body, metadata, tar entry",
        run: |r| Box::pin(lengths_that_lie(r)),
        expected: Sorted(&[
            (400, &["malformed-multipart"]),
            (422, &["archive-truncated"]),
            (422, &["length-mismatch"]),
            (422, &["unpacked-too-big"]),
        ]),
        published: &[],
    },
    Row {
        case: "64 MiB and 8 GiB announced, nothing of it read",
        run: |r| {
            Box::pin(async {
                let taken = Taken::default();
                let mut answers = Vec::new();
                for len in [64 << 20, 8 << 30, u64::from(u32::MAX), u64::MAX] {
                    answers.push(send(r, len, stalled(b"--b\r\n", &taken)).await);
                }
                assert_eq!(taken.bytes(), 0);
                answers
            })
        },
        expected: All(413, &["tarball-too-big"]),
        published: &[],
    },
    Row {
        case: "an endless archive that announces no length",
        run: |r| {
            Box::pin(async {
                let taken = Taken::default();
                let answer = send_chunked(r, endless(PACKAGE_PART, b'x', &taken)).await;
                let limit = Limits::default().tarball_bytes_max;
                assert!(
                    (limit..limit + (1 << 20)).contains(&taken.bytes()),
                    "{} bytes were taken",
                    taken.bytes()
                );
                vec![answer]
            })
        },
        expected: All(413, &["tarball-too-big"]),
        published: &[],
    },
    Row {
        case: "bodies that never come to the point: no part, no end of a part's head, an endless part",
        run: |r| {
            Box::pin(async {
                let mut answers = Vec::new();
                let part =
                    |name: &str| format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n");
                for head in ["".into(), "--b\r\ncontent-disposition: ".into(), part("metadata"), part("more")]
                {
                    let taken = Taken::default();
                    answers.push(send_chunked(r, endless(head.as_bytes(), b'x', &taken)).await);
                    assert!(taken.bytes() < 1 << 20, "{} bytes were taken after {head:?}", taken.bytes());
                }
                answers
            })
        },
        expected: Sorted(&[
            (400, &["malformed-multipart"]),
            (413, &["body-too-big"]),
            (413, &["body-too-big"]),
            (413, &["body-too-big"]),
        ]),
        published: &[],
    },
    Row {
        case: "a wrong checksum is sent",
        run: |r| {
            Box::pin(async {
                let metadata = format!(r#"{{"sha256":"{}"}}"#, "0".repeat(64));
                vec![r.publish_bytes(&r.admin, Some(&metadata), &http().archive()).await]
            })
        },
        expected: All(422, &["digest-mismatch"]),
        published: &[],
    },
    Row {
        case: "name and version of the archive are not those of the request",
        run: |r| {
            Box::pin(async {
                let metadata = r#"{"name":"other","vers":"2.0.0"}"#;
                vec![r.publish_bytes(&r.admin, Some(metadata), &http().archive()).await]
            })
        },
        expected: All(422, &["manifest-disagrees", "manifest-disagrees"]),
        published: &[],
    },
    Row {
        case: "name and version of the manifest are not those of the directory",
        run: |r| {
            Box::pin(async {
                let manifest = manifest("http", "1.0.0");
                vec![r.publish_bytes(&r.admin, None, &packed("other-2.0.0", &manifest)).await]
            })
        },
        expected: All(422, &["wrong-root"]),
        published: &[],
    },
    Row {
        case: "1.0.0+a, then 1.0.0+b",
        run: |r| {
            Box::pin(async {
                vec![
                    r.publish(&Pkg::new("http", "1.0.0+a")).await,
                    r.publish(&Pkg::new("http", "1.0.0+b")).await,
                ]
            })
        },
        expected: Sorted(&[(201, &[]), TAKEN]),
        published: &[("http", &["1.0.0+a"])],
    },
    Row {
        case: "no manifest",
        run: |r| {
            Box::pin(async {
                let archive = RawArchive::default().file("http-1.0.0/README.md", b"x").finish();
                vec![r.publish_bytes(&r.admin, None, &archive).await]
            })
        },
        expected: All(422, &["manifest-missing"]),
        published: &[],
    },
    Row {
        case: "not gzip, and zero bytes",
        run: |r| {
            Box::pin(async {
                let zip: &[u8] = b"PK\x03\x04 and so on";
                join_all([zip, b"not an archive", b""].map(|bytes| r.publish_bytes(&r.admin, None, bytes)))
                    .await
            })
        },
        expected: All(422, &["not-an-archive"]),
        published: &[],
    },
    Row {
        case: "100,000 dependencies",
        run: |r| Box::pin(async { vec![r.publish(&http().with_manifest(&dependencies(100_000))).await] }),
        expected: All(422, &["too-many-dependencies"]),
        published: &[],
    },
    Row {
        case: "a gzip bomb",
        run: |r| Box::pin(bomb(r)),
        expected: All(422, &["unpacked-too-big"]),
        published: &[],
    },
    Row {
        case: "no token, and wrong tokens",
        run: |r| Box::pin(strangers(r)),
        expected: Sorted(&[(401, &["token-invalid"]), (401, &["token-invalid"]), (401, &["token-missing"])]),
        published: &[],
    },
    Row {
        case: "200 stalled uploads",
        run: |r| Box::pin(stalled_uploads(r)),
        expected: All(201, &[]),
        published: ONE,
    },
    Row {
        case: "a crash in the middle of a publish, before the commit",
        run: |r| Box::pin(crashes(r, &BEFORE_COMMIT)),
        expected: All(201, &[]),
        published: &[("crash-0", &["1.0.0"]), ("crash-1", &["1.0.0"]), ("crash-2", &["1.0.0"])],
    },
    Row {
        case: "a crash in the middle of a publish, after the commit",
        run: |r| Box::pin(crashes(r, &AFTER_COMMIT)),
        expected: All(200, &[]),
        published: &[
            ("crash-0", &["1.0.0"]),
            ("crash-1", &["1.0.0"]),
            ("crash-2", &["1.0.0"]),
            ("crash-3", &["1.0.0"]),
        ],
    },
];
