//! One registry, run in each of the ways that operators run one.

use std::{path::PathBuf, process::Command};

use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    bucket::PublicBucket,
    process::{Server, program, wait_until_answers},
    runtime::Function,
    web::{self, Daemon},
};

/// How a registry is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `drystone serve` on a directory.
    Serve,
    /// nginx in front of a bucket and of the function as an HTTP server.
    Nginx,
    /// nginx in front of a bucket and of the function inside a Lambda runtime.
    Lambda,
    /// A bucket that everybody reads, and the function as an HTTP server beside it.
    Bucket,
}

/// Longest request that nginx lets through to each kind of function.
const BODY_MAX: [(Kind, &str); 2] = [(Kind::Nginx, "64m"), (Kind::Lambda, "4m")];

/// A registry that runs until its handle goes.
pub struct Deployment {
    /// How it is run.
    pub kind: Kind,
    /// Its base URL.
    pub url: String,
    /// The operator's token.
    pub token: String,
    /// Options by which `drystone admin` finds its store.
    store: Vec<String>,
    environment: Vec<(String, String)>,
    /// What runs, in the order in which it ends.
    _running: Vec<Box<dyn Send>>,
    _folder: TempDir,
}

impl Deployment {
    /// Makes a registry and starts what serves it; none if something that is needed is not installed.
    ///
    /// `more` are options of `drystone admin init`, such as `--private-reads`.
    pub fn start(kind: Kind, more: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a test may make a directory");
        match kind {
            Kind::Serve => Some(Self::serve(folder, more)),
            Kind::Nginx | Kind::Lambda if !web::is_installed("nginx") => None,
            Kind::Nginx | Kind::Lambda => Some(Self::behind_nginx(kind, folder, PublicBucket::make()?, more)),
            Kind::Bucket => {
                let bucket = PublicBucket::make()?;
                let url = bucket.public.trim_end_matches('/').to_owned();
                Some(Self::in_bucket(bucket, &url, more))
            }
        }
    }

    fn serve(folder: TempDir, more: &[&str]) -> Self {
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (data, token_file) = (path("data"), path("token"));
        let arguments = ["--data", &data, "--listen", "127.0.0.1:0", "--token-file", &token_file];
        let server = Server::start(&[&arguments, more].concat(), &[]);
        Self {
            kind: Kind::Serve,
            url: server.url.clone(),
            token: read_token(token_file.into()),
            store: vec!["--data".into(), data],
            environment: Vec::new(),
            _running: vec![Box::new(server)],
            _folder: folder,
        }
    }

    fn behind_nginx(kind: Kind, folder: TempDir, bucket: PublicBucket, more: &[&str]) -> Self {
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (key, token_file) = (path("log.key"), path("token"));
        let listen = format!("127.0.0.1:{}", web::free_port());
        let url = format!("http://{listen}");
        let more = [&["--direct-upload-bytes-max", "4194304"], more].concat();
        let store = init(&bucket, &key, &["--public-url", &url, "--token-file", &token_file], &more);
        let environment = function_environment(&bucket, &key);
        let (api, function) = match kind {
            Kind::Lambda => start_in_lambda(&environment),
            _ => {
                let api = format!("127.0.0.1:{}", web::free_port());
                let function = start_over_http(&api, &environment);
                (api, function)
            }
        };
        let body_max =
            BODY_MAX.iter().find(|(of, _)| *of == kind).expect("every kind has a longest request").1;
        let variables = [
            ("DRYSTONE_LISTEN", &*listen),
            ("DRYSTONE_BUCKET", &bucket.public),
            ("DRYSTONE_API", &api),
            ("DRYSTONE_BODY_MAX", body_max),
        ];
        let mut server = web::template("nginx/drystone-bucket.conf.template", &variables);
        if more.contains(&"--private-reads") {
            server = server.replace("#private ", "");
        }
        let nginx = web::nginx(folder.path(), &server);
        // What anybody may read, by way of nginx and of the function.
        wait_until_answers(&format!("{url}/me"));
        Self {
            kind,
            url,
            token: read_token(token_file.into()),
            store,
            environment: bucket.environment,
            _running: vec![Box::new(nginx), function],
            _folder: folder,
        }
    }

    /// A registry whose files everybody reads from this bucket, at this URL; `more` are options of `drystone admin init`.
    pub fn in_bucket(bucket: PublicBucket, url: &str, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a test may make a directory");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (key, token_file) = (path("log.key"), path("token"));
        let api = format!("127.0.0.1:{}", web::free_port());
        let api_url = format!("http://{api}");
        let urls = ["--public-url", url, "--api-url", &api_url, "--token-file", &token_file];
        let store = init(&bucket, &key, &urls, more);
        let function = start_over_http(&api, &function_environment(&bucket, &key));
        Self {
            kind: Kind::Bucket,
            url: url.into(),
            token: read_token(token_file.into()),
            store,
            environment: bucket.environment,
            _running: vec![function],
            _folder: folder,
        }
    }

    /// Runs `drystone admin` on the registry's store, with this on its standard input; what it printed.
    pub fn admin(&self, arguments: &[&str], stdin: &str) -> String {
        use std::io::Write as _;
        let mut child = Command::new(program("drystone"))
            .arg("admin")
            .args(arguments)
            .args(&self.store)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("the program runs");
        // Not every command reads.
        drop(child.stdin.take().expect("stdin is piped").write_all(stdin.as_bytes()));
        let output = child.wait_with_output().expect("the program ends");
        assert!(output.status.success(), "drystone admin {arguments:?}: {}", output.status);
        String::from_utf8(output.stdout).expect("what it prints is text").trim().to_owned()
    }

    /// A token for this login, with these scopes or, if there are none, those of a publisher.
    pub fn token_of(&self, login: &str, scopes: &[&str]) -> String {
        let mut arguments = vec!["token", "--login", login];
        arguments.extend(scopes.iter().flat_map(|scope| ["--scope", scope]));
        self.admin(&arguments, "")
    }
}

/// Makes a registry in a bucket; the options by which `drystone admin` finds it.
fn init(bucket: &PublicBucket, key: &str, urls: &[&str], more: &[&str]) -> Vec<String> {
    let store = vec!["--store".to_owned(), bucket.store.clone(), "--key-file".into(), key.to_owned()];
    let made = Command::new(program("drystone"))
        .args(["admin", "init"])
        .args(urls)
        .args(&store)
        .args(more)
        .envs(bucket.pairs())
        .output()
        .expect("the program runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    store
}

fn function_environment<'a>(bucket: &'a PublicBucket, key: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut environment = bucket.pairs();
    environment.extend([("DRYSTONE_STORE", &*bucket.store), ("DRYSTONE_LOG_KEY_FILE", key)]);
    environment
}

fn start_over_http(api: &str, environment: &[(&str, &str)]) -> Box<dyn Send> {
    let function = Daemon::spawn(
        Command::new(program("drystone-publisher"))
            .envs(environment.iter().copied())
            .env("DRYSTONE_LISTEN", api),
    );
    wait_until_answers(&format!("http://{api}/healthz"));
    Box::new(function)
}

fn start_in_lambda(environment: &[(&str, &str)]) -> (String, Box<dyn Send>) {
    let runtime = Runtime::new().expect("a runtime starts");
    let (api, function) = runtime.block_on(async {
        let function = Function::start(environment).await;
        (function.listen().await, function)
    });
    (api, Box::new((function, runtime)))
}

fn read_token(file: PathBuf) -> String {
    fs_err::read_to_string(file).expect("the first token is in its file").trim().to_owned()
}
