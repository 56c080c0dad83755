//! The public files over HTTP: tags, ranges, headers by class, compression, and what is nobody's business.

use std::{collections::BTreeMap, io::Read, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, Method, Request},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use drystone_publisher::{ConnectionLimits, serve};
use drystone_schemas::{ReadAccess, Settings, Sha256Digest, layout};
use drystone_storage::Store;
use drystone_tests::{Answer, Pkg, TestRegistry, checks::contents};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const INDEX: &str = "/index/ht/tp/http";

/// A registry with a package whose files are long enough to be compressed.
async fn registry() -> TestRegistry {
    let registry = TestRegistry::new().await;
    let text: String = (0..2000).map(|i| format!("// line {}\n", i * 7919 % 1009)).collect();
    assert_eq!(registry.publish(&Pkg::new("http", "1.0.0").with_payload(text)).await.status, 201);
    assert_eq!(registry.publish(&Pkg::new("http", "1.1.0")).await.status, 201);
    let alias = registry.ask(Method::PUT, "/api/v1/aliases/h", Some(json!({"package": "http"}))).await;
    assert_eq!(alias.status, 200);
    registry
}

async fn ask(registry: &TestRegistry, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    registry.send(request(method, path, headers)).await
}

/// Path of the archive and of the version record of the first release, and the archive's bytes.
async fn objects(registry: &TestRegistry) -> (String, String, Vec<u8>) {
    let line = registry.get("/api/v1/packages/http/1.0.0").await.json();
    let archive = format!("/o/{}", line["cksum"].as_str().expect("a line has a digest"));
    let record =
        format!("/o/{}", line["record"].as_str().expect("a line has a record").trim_start_matches("sha256:"));
    let bytes = registry.get(&archive).await.body;
    assert!(bytes.len() > 1000);
    (archive, record, bytes)
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.get(name).map(|value| value.to_str().expect("a header is text"))
}

#[tokio::test]
async fn every_file_has_the_type_and_the_lifetime_of_its_class() {
    let registry = registry().await;
    let (archive, record, _) = objects(&registry).await;
    let (fresh, forever, never) = ("public, max-age=5", "public, max-age=31536000, immutable", "no-cache");
    let (json, text, binary, gzip) =
        ("application/json", "text/plain; charset=utf-8", "application/octet-stream", "application/gzip");
    for (path, content_type, cache_control) in [
        ("/config.json", json, fresh),
        ("/index/config.json", json, fresh),
        (INDEX, text, fresh),
        ("/packages/http.json", json, fresh),
        ("/aliases/h_.json", json, fresh),
        ("/aliases.json", json, fresh),
        ("/log/checkpoint", text, never),
        ("/log/latest.tlog-proof", text, never),
        ("/log/checkpoints/4", text, forever),
        ("/log/tile/0/000.p/4", binary, forever),
        ("/log/tile/entries/000.p/4", binary, forever),
        (&archive, gzip, forever),
        (&record, json, forever),
    ] {
        let path = if path.starts_with("/aliases/") {
            let maps = contents(&*registry.store.public).await;
            format!("/{}", maps.keys().find(|key| key.starts_with("aliases/")).unwrap())
        } else {
            path.to_owned()
        };
        for method in ["GET", "HEAD"] {
            let answer = ask(&registry, method, &path, &[]).await;
            assert_eq!(answer.status, 200, "{method} {path}");
            assert_eq!(header(&answer, "content-type"), Some(content_type), "{method} {path}");
            assert_eq!(header(&answer, "cache-control"), Some(cache_control), "{method} {path}");
            assert_eq!(header(&answer, "x-content-type-options"), Some("nosniff"), "{method} {path}");
            assert!(header(&answer, "etag").is_some_and(|tag| tag.ends_with('"')), "{method} {path}");
            assert_eq!(answer.body.is_empty(), method == "HEAD", "{method} {path}");
        }
    }
    // Every kind of node of the state map.
    let files = contents(&*registry.store.public).await;
    for (prefix, content_type) in
        [("log/state/tile/1/", binary), ("log/state/tile/0/", binary), ("log/state/shard/", text)]
    {
        let key = files.keys().find(|key| key.starts_with(prefix)).unwrap();
        let answer = registry.get(&format!("/{key}")).await;
        assert_eq!((answer.status, &answer.body), (200, &files[key]), "{key}");
        assert_eq!(header(&answer, "content-type"), Some(content_type), "{key}");
    }
}

/// What is served is what is stored, byte by byte, and has the headers that the layout gives its key.
#[tokio::test]
async fn every_file_is_served_as_it_lies() {
    let registry = registry().await;
    let files = contents(&*registry.store.public).await;
    assert!(files.len() > 30);
    for (key, bytes) in files {
        let answer = registry.get(&format!("/{key}")).await;
        assert_eq!((answer.status, &answer.body), (200, &bytes), "{key}");
        let (class, _) = layout::headers(&key);
        assert_eq!(header(&answer, "cache-control"), Some(class.cache_control()), "{key}");
        let head = ask(&registry, "HEAD", &format!("/{key}"), &[]).await;
        assert_eq!(header(&head, "content-length"), Some(&*bytes.len().to_string()), "{key}");
    }
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let registry = registry().await;
    let (archive, record, _) = objects(&registry).await;
    for path in [INDEX, "/config.json", "/log/checkpoint", "/log/tile/0/000.p/4", &archive, &record] {
        let first = registry.get(path).await;
        let etag = header(&first, "etag").unwrap();
        let strong = etag.trim_start_matches("W/");
        for asked in [etag, strong, "*", &format!("\"x\", {etag}"), &format!("W/{strong}")] {
            for method in ["GET", "HEAD"] {
                let answer = ask(&registry, method, path, &[("if-none-match", asked)]).await;
                assert_eq!((answer.status, answer.body.len()), (304, 0), "{method} {path} {asked}");
                assert_eq!(header(&answer, "etag"), Some(etag), "{path}");
                assert_eq!(header(&answer, "cache-control"), header(&first, "cache-control"), "{path}");
            }
        }
        for asked in ["\"x\"", "", &strong[1..], "W/\"\""] {
            let answer = ask(&registry, "GET", path, &[("if-none-match", asked)]).await;
            assert_eq!((answer.status, &answer.body), (200, &first.body), "{path} {asked}");
        }
    }
    // A change changes the tag.
    let before = registry.get(INDEX).await;
    assert_eq!(registry.ask(Method::POST, "/api/v1/packages/http/1.0.0/yank", None).await.status, 200);
    let after = ask(&registry, "GET", INDEX, &[("if-none-match", header(&before, "etag").unwrap())]).await;
    assert_eq!(after.status, 200);
    assert_ne!(after.body, before.body);
    // What is not there has no tag, whatever is asked.
    let missing = format!("/o/{}", "0".repeat(64));
    for path in [&missing, "/index/no/th/nothing"] {
        assert_eq!(ask(&registry, "GET", path, &[("if-none-match", "*")]).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn parts_of_immutable_files() {
    let registry = registry().await;
    let (archive, record, bytes) = objects(&registry).await;
    let len = bytes.len();
    let last = len - 1;
    let part = async |range: &str| ask(&registry, "GET", &archive, &[("range", range)]).await;
    for (range, start, end) in [
        ("bytes=0-0".to_owned(), 0, 1),
        ("bytes=0-99".to_owned(), 0, 100),
        ("bytes=100-199".to_owned(), 100, 200),
        ("bytes=100-".to_owned(), 100, len),
        (format!("bytes={last}-"), last, len),
        (format!("bytes=100-{}", len * 2), 100, len),
        ("bytes=-100".to_owned(), len - 100, len),
        (format!("bytes=-{}", len * 2), 0, len),
    ] {
        let answer = part(&range).await;
        assert_eq!((answer.status, &answer.body[..]), (206, &bytes[start..end]), "{range}");
        let expected = format!("bytes {start}-{}/{len}", end - 1);
        assert_eq!(header(&answer, "content-range"), Some(&*expected), "{range}");
        assert_eq!(header(&answer, "content-length"), Some(&*(end - start).to_string()), "{range}");
        assert_eq!(header(&answer, "content-type"), Some("application/gzip"), "{range}");
    }
    for (range, content_type) in [("bytes=0-0", "application/json"), ("bytes=50-60", "application/json")] {
        let answer = ask(&registry, "GET", &record, &[("range", range)]).await;
        assert_eq!((answer.status, header(&answer, "content-type")), (206, Some(content_type)), "{range}");
    }
    for range in [format!("bytes={len}-"), format!("bytes={}-{}", len + 5, len + 9), "bytes=-0".into()] {
        let answer = part(&range).await;
        assert_eq!((answer.status, answer.body.len()), (416, 0), "{range}");
        assert_eq!(header(&answer, "content-range"), Some(&*format!("bytes */{len}")), "{range}");
    }
    for range in ["bytes=0-1,4-5", "bytes=9-1", "lines=1-2", "bytes=a-b", "nonsense"] {
        let answer = part(range).await;
        assert_eq!((answer.status, &answer.body), (200, &bytes), "{range}");
    }
    let etag = registry.get(&archive).await;
    let etag = header(&etag, "etag").unwrap();
    for (if_range, status) in
        [(etag, 206), ("\"other\"", 200), (&format!("W/{etag}"), 200), ("Thu, 01 Jan 1970 00:00:00 GMT", 200)]
    {
        let answer = ask(&registry, "GET", &archive, &[("range", "bytes=0-9"), ("if-range", if_range)]).await;
        assert_eq!(answer.status, status, "{if_range}");
    }
    let head = ask(&registry, "HEAD", &archive, &[]).await;
    assert_eq!(header(&head, "accept-ranges"), Some("bytes"));
    let digest = STANDARD.encode(Sha256Digest::of(&bytes).as_bytes());
    for answer in [&head, &part("bytes=5-9").await] {
        // Of the whole file, also beside a part of it (RFC 9530).
        assert_eq!(header(answer, "repr-digest"), Some(&*format!("sha-256=:{digest}:")));
    }
    let missing = format!("/o/{}", "0".repeat(64));
    assert_eq!(ask(&registry, "GET", &missing, &[("range", "bytes=0-9")]).await.status, 404);
    // Files that change are served whole: between two parts another publish may come.
    let whole = ask(&registry, "GET", INDEX, &[("range", "bytes=0-9")]).await;
    assert_eq!((whole.status, &whole.body), (200, &registry.get(INDEX).await.body));
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).expect("it was compressed");
    plain
}

#[tokio::test]
async fn text_is_compressed_for_those_who_ask() {
    let registry = registry().await;
    let (archive, record, bytes) = objects(&registry).await;
    for path in [INDEX, "/packages/http.json", "/config.json", &record] {
        let plain = registry.get(path).await;
        assert_eq!(header(&plain, "content-encoding"), None, "{path}");
        assert_eq!(header(&plain, "vary"), Some("accept-encoding"), "{path}");
        let small = ask(&registry, "GET", path, &[("accept-encoding", "br, gzip")]).await;
        assert_eq!((small.status, header(&small, "content-encoding")), (200, Some("gzip")), "{path}");
        assert!(small.body.len() < plain.body.len(), "{path}");
        assert_eq!(gunzip(&small.body), plain.body, "{path}");
        // Other bytes have another strong tag, or a weak one; and the weak one still says that nothing has changed.
        let etag = header(&small, "etag").unwrap();
        assert!(etag.starts_with("W/"), "{path} {etag}");
        assert_eq!(header(&small, "repr-digest"), None, "{path}");
        let again =
            ask(&registry, "GET", path, &[("accept-encoding", "gzip"), ("if-none-match", etag)]).await;
        assert_eq!(again.status, 304, "{path}");
        let refused = ask(&registry, "GET", path, &[("accept-encoding", "gzip;q=0")]).await;
        assert_eq!((header(&refused, "content-encoding"), &refused.body), (None, &plain.body), "{path}");
    }
    // A part of a file is a part of its own bytes.
    let etag = registry.get(&record).await;
    let etag = header(&etag, "etag").unwrap();
    assert!(!etag.starts_with("W/"));
    let asked = [("accept-encoding", "gzip"), ("range", "bytes=0-299"), ("if-range", etag)];
    let part = ask(&registry, "GET", &record, &asked).await;
    assert_eq!((part.status, header(&part, "content-encoding")), (206, None));
    assert_eq!(part.body, registry.get(&record).await.body[..300]);
    // Archives and tiles are as small as they get.
    let answer = ask(&registry, "GET", &archive, &[("accept-encoding", "gzip")]).await;
    assert_eq!((header(&answer, "content-encoding"), &answer.body), (None, &bytes));
    assert!(header(&answer, "etag").is_some_and(|etag| etag.starts_with('"')));
    let tile = ask(&registry, "GET", "/log/tile/entries/000.p/4", &[("accept-encoding", "gzip")]).await;
    assert_eq!((tile.status, header(&tile, "content-encoding")), (200, None));
    let root = contents(&*registry.store.public).await;
    let key = root.keys().find(|key| key.starts_with("log/state/tile/1/")).unwrap();
    let tile = ask(&registry, "GET", &format!("/{key}"), &[("accept-encoding", "gzip")]).await;
    assert_eq!((tile.status, header(&tile, "content-encoding"), &tile.body), (200, None, &root[key]));
}

#[tokio::test]
async fn what_is_nobodys_business_is_not_there() {
    let registry = registry().await;
    let missing = format!("/o/{}", "0".repeat(64));
    for path in [
        "/",
        "/index",
        "/index/",
        "/o/",
        "/log/",
        "/nothing",
        "/index/no/th/nothing",
        "/packages/nothing.json",
        "/packages/http",
        &missing,
        "/o/xyz",
        "/log/tile/0/000.p/9",
        "/.tmp/x",
        "/index/.tmp/x",
        "/o/.hidden",
        "/vault/head",
        "/head",
        "/staging/x",
        "/tokens/x",
        "/../vault/head",
        "/index/../../vault/head",
        "/o/../config.json",
        "/index/./config.json",
        "//config.json",
        "/index//config.json",
        "/config.json/",
        "/%2e%2e/vault/head",
        "/index/%2e%2e/%2e%2e/vault/head",
        "/index%2fconfig.json",
        "/index/..%2f..%2fvault%2fhead",
        "/o/%00",
        "/index/ht\\tp",
        "/CONFIG.JSON",
    ] {
        for method in ["GET", "HEAD"] {
            let answer = ask(&registry, method, path, &[]).await;
            assert_eq!(answer.status, 404, "{method} {path}");
        }
        registry.get(path).await.assert_refused(path, 404, &["no-such-route"]);
    }
    let long = format!("/index/{}", "a/".repeat(2000));
    let answer = registry.get(&long).await;
    answer.assert_refused("a long path", 404, &["no-such-route"]);
    assert!(answer.body.len() < 1000);
}

#[tokio::test]
async fn files_are_only_read() {
    let registry = registry().await;
    let before = contents(&*registry.store.public).await;
    for path in
        ["/config.json", INDEX, "/log/checkpoint", "/packages/new.json", &format!("/o/{}", "0".repeat(64))]
    {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let answer =
                ask(&registry, method, path, &[("authorization", &format!("Bearer {}", registry.admin))])
                    .await;
            answer.assert_refused(&format!("{method} {path}"), 405, &["method-not-allowed"]);
            assert_eq!(header(&answer, "allow"), Some("GET, HEAD"));
        }
    }
    let answer = ask(&registry, "PUT", "/vault/head", &[]).await;
    answer.assert_refused("what is not there", 404, &["no-such-route"]);
    assert_eq!(contents(&*registry.store.public).await, before);
}

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let request =
        headers.iter().fold(Request::builder().method(method).uri(path), |r, (k, v)| r.header(*k, *v));
    request.body(Body::empty()).expect("a test's request is a request")
}

#[tokio::test]
async fn what_is_answered_at_once_is_what_the_router_answers() {
    let folder = tempfile::tempdir().unwrap();
    let registry = TestRegistry::now_on(Store::open_dir(folder.path()).unwrap()).await;
    let publish = async |registry: &TestRegistry, version: &str| {
        assert_eq!(registry.publish(&Pkg::new("http", version)).await.status, 201);
    };
    publish(&registry, "1.0.0").await;
    let at_once = |method: &str, path: &str, headers: &[(&str, &str)]| {
        registry.front().at_once(&request(method, path, headers))
    };
    // A file of this moment may still become another one that looks the same.
    for _ in 0..3 {
        registry.get(INDEX).await;
        assert!(at_once("GET", INDEX, &[]).is_none());
    }
    registry.clock.advance(Duration::from_secs(3));
    let paths = [INDEX, "/index/config.json", "/packages/http.json", "/config.json", "/log/checkpoint"];
    for path in paths {
        for _ in 0..3 {
            registry.get(path).await;
        }
        let etag = registry.get(path).await.headers["etag"].to_str().unwrap().to_owned();
        for headers in [
            &[][..],
            &[("accept-encoding", "gzip")],
            &[
                ("accept-encoding", "deflate, gzip"),
                ("accept", "text/plain"),
                ("cargo-protocol", "version=1"),
            ],
            &[("range", "bytes=0-9")],
            &[("if-none-match", &*etag)],
            &[("if-none-match", &*etag), ("accept-encoding", "gzip")],
            &[("if-none-match", "\"other\"")],
            &[("authorization", "whatever")],
        ] {
            let quick = at_once("GET", path, headers).unwrap_or_else(|| panic!("{path} is not at hand"));
            let routed = ask(&registry, "GET", path, headers).await;
            assert_eq!(quick.status(), routed.status, "{path} {headers:?}");
            assert_eq!(quick.body(), &routed.body, "{path} {headers:?}");
            let plain = |headers: &HeaderMap| {
                assert_eq!(headers["x-request-id"].len(), 26, "{path}");
                let told = headers
                    .iter()
                    .filter(|(name, _)| !["x-request-id", "content-length"].contains(&name.as_str()));
                told.map(|(name, value)| (name.to_string(), value.clone())).collect::<BTreeMap<_, _>>()
            };
            assert_eq!(plain(quick.headers()), plain(&routed.headers), "{path} {headers:?}");
        }
        assert!(at_once("HEAD", path, &[]).is_some(), "{path}");
    }
    for (method, path) in
        [("PUT", INDEX), ("GET", "/index/no/th/nothing"), ("GET", "/healthz"), ("GET", "index")]
    {
        assert!(at_once(method, path, &[]).is_none(), "{method} {path}");
    }
    // What another process changes is changed here.
    let other = registry.another(|_| Store::open_dir(folder.path()).unwrap()).await;
    for version in ["1.1.0", "1.2.0"] {
        publish(&other, version).await;
        assert!(at_once("GET", INDEX, &[]).is_none());
        let answer = registry.get(INDEX).await;
        assert!(String::from_utf8(answer.body).unwrap().contains(version));
    }
    registry.clock.advance(Duration::from_secs(3));
    registry.get(INDEX).await;
    assert!(at_once("GET", INDEX, &[]).is_some());
    fs_err::remove_file(folder.path().join("public").join(&INDEX[1..])).unwrap();
    assert!(at_once("GET", INDEX, &[]).is_none());
    // Where reads are private, everybody is looked at.
    assert!(at_once("GET", "/packages/http.json", &[]).is_none(), "it has changed");
    registry.get("/packages/http.json").await;
    assert!(at_once("GET", "/packages/http.json", &[]).is_some());
    let settings = (*registry.service.settings()).clone();
    registry.service.configure(Settings { reads: ReadAccess::Token, ..settings }).await.unwrap();
    assert!(at_once("GET", "/packages/http.json", &[]).is_none());
    assert_eq!(ask(&registry, "GET", "/packages/http.json", &[]).await.status, 401);
}

#[tokio::test]
async fn a_head_has_no_body_however_it_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let registry = TestRegistry::now_on(Store::open_dir(folder.path()).unwrap()).await;
    registry.clock.advance(Duration::from_secs(3));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = ConnectionLimits::default();
    tokio::spawn(serve(listener, registry.front().clone(), limits, std::future::pending()));
    let mut told = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let asked = b"HEAD /config.json HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(asked).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "");
        let mut lines: Vec<_> = head.lines().filter(|line| !line.starts_with("x-request-id")).collect();
        lines.retain(|line| !line.starts_with("date"));
        lines.sort_unstable();
        told.push(lines.join("\n"));
    }
    assert!(registry.front().at_once(&request("HEAD", "/config.json", &[])).is_some());
    let len = fs_err::metadata(folder.path().join("public/config.json")).unwrap().len();
    assert!(told[0].contains(&format!("content-length: {len}")), "{}", told[0]);
    assert!(told.iter().all(|other| *other == told[0]), "{told:?}");
}
