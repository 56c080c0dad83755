//! The real zig depends on packages of a registry, and builds and runs a program of them, with one request per package.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use drystone_tests::{
    process::{Server, User, s3_environment, unique, wait_until_answers},
    web::{Daemon, free_port, is_installed, nginx, template},
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
    // A cache of packages of its own; what zig compiles for itself is kept.
    let fetched = zig.command().current_dir(&app).args(["fetch", "--save", mid_url]).output().unwrap();
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    let built = zig.command().current_dir(&app).arg("build").output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let ran = std::process::Command::new(app.join("zig-out/bin/app")).status().unwrap();
    assert_eq!(ran.code(), Some("drystone".len() as i32));
    fs_err::remove_dir_all(&app).unwrap();
}

/// nginx on the public directory, with a log of what it was asked.
struct Nginx {
    log: PathBuf,
    _daemon: Daemon,
}

impl Nginx {
    fn start(folder: &Path, port: u16, api: &str) -> Self {
        let (listen, public) =
            (format!("127.0.0.1:{port}"), folder.join("data/public").display().to_string());
        let variables = [("DRYSTONE_LISTEN", &*listen), ("DRYSTONE_PUBLIC", &*public), ("DRYSTONE_API", api)];
        let log = folder.join("requests.log");
        let server = template("nginx/drystone.conf.template", &variables);
        let logged = format!("server {{\n    access_log {} asked;", log.display());
        let format = "log_format asked \"$request_method $request_uri $status\";\n";
        let text = format.to_owned() + &server.replacen("server {", &logged, 1);
        Self { log, _daemon: nginx(folder, &text) }
    }

    /// Every request so far: method, address and status.
    fn requests(&self) -> Vec<String> {
        fs_err::read_to_string(&self.log).unwrap().lines().map(str::to_owned).collect()
    }
}

/// Starts a server with a first token in this file.
fn serve(folder: &Path, more: &[&str], environment: &[(&str, &str)]) -> (Server, String) {
    let file = folder.join("token");
    let path = file.display().to_string();
    let mut arguments = vec!["--listen", "127.0.0.1:0", "--token-file", &path];
    arguments.extend_from_slice(more);
    let server = Server::start(&arguments, environment);
    let token = fs_err::read_to_string(&file).unwrap().trim().to_owned();
    (server, token)
}

/// Every test publishes packages of its own hash: the caches of zig are kept between runs.
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
    let zigs: Vec<Zig> = VERSIONS.into_iter().filter_map(Zig::find).collect();
    for zig in &zigs {
        // Each zig has fetched nothing of these packages.
        let folder = tempfile::tempdir().unwrap();
        make_unique(folder.path());
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        let data = folder.path().join("data").display().to_string();
        let (server, token) = serve(folder.path(), &["--data", &data, "--public-url", &url], &[]);
        let api = server.local.trim_start_matches("http://").to_owned();
        let nginx = Nginx::start(folder.path(), port, &api);
        wait_until_answers(&format!("{url}/config.json"));
        let (_, mid) = publish(folder.path(), &url, &token);
        let user = project("app", &folder.path().join("user"));
        User::new(&url, None).ok(&user, &["add", "--zig", "acme/mid"]);
        let wanted = [address_of(&mid, "leaf"), address_of(&user, "mid")];
        build(zig, folder.path(), &format!("{url}{}", wanted[1]));
        let requests = nginx.requests();
        for address in &wanted {
            let asked: Vec<_> = requests.iter().filter(|request| request.contains(&**address)).collect();
            assert_eq!(*asked, [&format!("GET {address} 200")], "{zig:?}");
        }
        // The answers for API clients are files here.
        let answer = requests.len();
        wait_until_answers(&format!("{url}/api/v1/repos/acme/mid/releases"));
        drop(server);
        wait_until_answers(&format!("{url}/api/v1/packages/acme/mid"));
        assert!(nginx.requests().len() >= answer + 2);
    }
}

/// Passes connections on, and keeps the first line of every request.
struct Counter {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Counter {
    fn start(listener: TcpListener, to: String) -> Self {
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
        if line.starts_with(b"GET ") {
            kept.lock().unwrap().push(String::from_utf8_lossy(&line).trim().to_owned());
        }
        (&server).write_all(&line)?;
        line.clear();
    }
    server.shutdown(std::net::Shutdown::Write)
}

#[test]
fn zig_builds_from_an_s3_server_with_one_request_per_package() {
    let Some(environment) = s3_environment() else { return };
    let Some(zig) = Zig::find(VERSIONS[0]) else { return };
    let environment: Vec<(&str, &str)> = environment.iter().map(|(k, v)| (&**k, &**v)).collect();
    let folder = tempfile::tempdir().unwrap();
    make_unique(folder.path());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let key = folder.path().join("log.key").display().to_string();
    let store = format!("s3://drystone/{}", unique("zig"));
    let arguments = ["--store", &store, "--key-file", &key, "--public-url", &url];
    let (server, token) = serve(folder.path(), &arguments, &environment);
    let counter = Counter::start(listener, server.local.trim_start_matches("http://").to_owned());
    assert_eq!(counter.url, url);
    let (_, mid) = publish(folder.path(), &url, &token);
    let user = project("app", &folder.path().join("user"));
    User::new(&url, None).ok(&user, &["add", "--zig", "acme/mid"]);
    let wanted = [address_of(&mid, "leaf"), address_of(&user, "mid")];
    build(&zig, folder.path(), &format!("{url}{}", wanted[1]));
    let requests = counter.requests.lock().unwrap().clone();
    for address in &wanted {
        let asked = requests.iter().filter(|request| request.contains(&**address)).count();
        assert_eq!(asked, 1, "{requests:?}");
    }
}
