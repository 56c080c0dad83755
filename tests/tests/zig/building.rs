//! The real zig depends on packages of a registry, and builds and runs a program of them, with one request per package.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use drystone_tests::{
    bucket::PublicBucket,
    deployment::Deployment,
    process::{Server, User, unique, wait_until_answers},
    web::{free_port, is_installed, nginx, template},
    zig::{VERSIONS, Zig},
};

/// Copies a project of the tests.
fn project(name: &str, into: &Path) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/zig/project").join(name);
    let to = into.join(name);
    fs_err::create_dir_all(to.join("src")).unwrap();
    for file in ["build.zig", "build.zig.zon"] {
        fs_err::copy(from.join(file), to.join(file)).unwrap();
    }
    for file in fs_err::read_dir(from.join("src")).unwrap() {
        let name = file.unwrap().file_name();
        fs_err::copy(from.join("src").join(&name), to.join("src").join(&name)).unwrap();
    }
    to
}

/// Where an entry of `.dependencies` says that its archive is, as an address.
fn address_of(project: &Path, name: &str) -> String {
    let text = fs_err::read_to_string(project.join("build.zig.zon")).unwrap();
    let zon = drystone_archive::parse_zon(&text).unwrap();
    let dep = zon.field("dependencies").unwrap().node.field(name).unwrap();
    let url = dep.node.field("url").unwrap().node.text().unwrap();
    url[url.find("/o/").unwrap()..].to_owned()
}

/// Publishes `leaf`, and `mid`, which depends on it.
fn publish(folder: &Path, url: &str, token: &str) -> (PathBuf, PathBuf) {
    let author = User::new(url, Some(token));
    let (leaf, mid) = (project("leaf", folder), project("mid", folder));
    let told = author.run(&leaf, &["publish", "--scope", "acme"]);
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(
        told.contains("Published acme/leaf 1.0.0") || told.contains("acme/leaf 1.0.0 as event"),
        "{told}"
    );
    author.ok(&mid, &["add", "--zig", "acme/leaf"]);
    let text = fs_err::read_to_string(mid.join("build.zig.zon")).unwrap();
    assert!(text.contains("// What the word is made of.") && !text.contains(".path = \"leaf\""), "{text}");
    author.ok(&mid, &["publish", "--scope", "acme"]);
    let shown = author.ok(&mid, &["info", "acme/mid"]);
    assert!(shown.contains(".hash = \"mid-0.2.0-"), "{shown}");
    (leaf, mid)
}

/// Builds and runs a program with this zig, as somebody who has fetched nothing yet.
fn build(zig: &Zig, folder: &Path, mid_url: &str) {
    let app = project("app", folder);
    // Packages are those of this run; what zig compiles for itself is kept.
    let fetched = zig.command().current_dir(&app).args(["fetch", "--save", mid_url]).output().unwrap();
    assert!(
        fetched.status.success(),
        "{zig:?}: {}: {}",
        fetched.status,
        String::from_utf8_lossy(&fetched.stderr)
    );
    let built = zig.command().current_dir(&app).arg("build").output().unwrap();
    assert!(built.status.success(), "{zig:?}: {}: {}", built.status, String::from_utf8_lossy(&built.stderr));
    let ran = std::process::Command::new(app.join("zig-out/bin/app")).status().unwrap();
    assert_eq!(ran.code(), Some("drystone".len() as i32));
    fs_err::remove_dir_all(&app).unwrap();
}

/// The tests share the caches, so that they take turns: zig uses every core by itself.
static TURN: Mutex<()> = Mutex::new(());

/// Every zig that is there builds a program with a transitive dependency, and asks for each package once.
///
/// `asked` gives the first line of every request so far.
fn every_zig_builds(url: &str, token: &str, asked: impl Fn() -> Vec<String>) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let zigs: Vec<Zig> = VERSIONS.into_iter().filter_map(Zig::find).collect();
    let folder = tempfile::tempdir().unwrap();
    make_unique(folder.path());
    let (_, mid) = publish(folder.path(), url, token);
    let user = project("app", &folder.path().join("user"));
    User::new(url, None).ok(&user, &["add", "--zig", "acme/mid"]);
    let wanted = [address_of(&mid, "leaf"), address_of(&user, "mid")];
    for zig in &zigs {
        let before = asked().len();
        build(zig, folder.path(), &format!("{url}{}", wanted[1]));
        let during = asked().split_off(before);
        for address in &wanted {
            let of_it: Vec<_> = during.iter().filter(|line| line.contains(&**address)).collect();
            assert!(of_it.len() == 1 && of_it[0].starts_with("GET "), "{zig:?}: {during:?}");
        }
        // Nothing else is asked for: no index, no HEAD, no second try.
        assert_eq!(during.len(), wanted.len(), "{zig:?}: {during:?}");
    }
}

/// Every run publishes packages of its own hash: the caches of zig are kept between runs.
fn make_unique(folder: &Path) {
    for name in ["leaf", "mid"] {
        let note = folder.join(name).join("src/note.txt");
        fs_err::create_dir_all(note.parent().unwrap()).unwrap();
        fs_err::write(note, unique("note")).unwrap();
    }
}

#[test]
fn every_zig_builds_from_nginx_with_one_request_per_package() {
    if !is_installed("nginx") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let (data, token_file) = (path("data"), path("token"));
    let listen = ["--listen", "127.0.0.1:0", "--token-file", &token_file];
    let server = Server::start(&[&["--data", &data, "--public-url", &url], &listen[..]].concat(), &[]);
    let token = fs_err::read_to_string(&token_file).unwrap();
    let api = server.local.trim_start_matches("http://").to_owned();
    let (listen, public, log) = (format!("127.0.0.1:{port}"), path("data/public"), path("requests.log"));
    let variables = [("DRYSTONE_LISTEN", &*listen), ("DRYSTONE_PUBLIC", &*public), ("DRYSTONE_API", &*api)];
    let text = template("nginx/drystone.conf.template", &variables);
    let logged = format!("server {{\n    access_log {log} asked;");
    let format = "log_format asked \"$request_method $request_uri $status\";\n";
    let _nginx = nginx(folder.path(), &(format.to_owned() + &text.replacen("server {", &logged, 1)));
    wait_until_answers(&format!("{url}/config.json"));
    every_zig_builds(&url, token.trim(), || {
        fs_err::read_to_string(&log).unwrap().lines().map(str::to_owned).collect()
    });
}

/// Passes connections on to an S3 server, which tells nobody what it was asked, and keeps the first line of every request.
struct Counter {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Counter {
    fn start(to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let kept = requests.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, kept, to) = (client.unwrap(), kept.clone(), to.clone());
                std::thread::spawn(move || drop(pass(&client, &to, &kept)));
            }
        });
        Self { url, requests }
    }
}

/// One connection: what the client sends is looked at line by line, what the server answers is not.
fn pass(client: &TcpStream, to: &str, kept: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let server = TcpStream::connect(to)?;
    let (mut answers, mut back) = (server.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || {
        drop(std::io::copy(&mut answers, &mut back));
        drop(back.shutdown(std::net::Shutdown::Write));
    });
    let mut reader = BufReader::new(client.try_clone()?);
    let mut line = Vec::new();
    while reader.by_ref().read_until(b'\n', &mut line)? > 0 {
        if line.ends_with(b" HTTP/1.1\r\n") {
            kept.lock().unwrap().push(String::from_utf8_lossy(&line).trim().to_owned());
        }
        (&server).write_all(&line)?;
        line.clear();
    }
    server.shutdown(std::net::Shutdown::Write)
}

/// The archives come straight from the S3 server: nothing of ours, and no web server, is asked for them.
#[test]
fn every_zig_builds_from_an_s3_server_with_one_request_per_package() {
    let Some(bucket) = PublicBucket::make() else { return };
    let (endpoint, place) = bucket.public.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let counter = Counter::start(endpoint.to_owned());
    let url = format!("{}/{}", counter.url, place.trim_end_matches('/'));
    let registry = Deployment::in_bucket(bucket, &url, &[]);
    every_zig_builds(&url, &registry.token, || counter.requests.lock().unwrap().clone());
}
