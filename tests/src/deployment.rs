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
        let store = vec!["--store".to_owned(), bucket.store.clone(), "--key-file".into(), key.clone()];
        let init = Command::new(program("drystone"))
            .args(["admin", "init", "--public-url", &url, "--token-file", &token_file])
            .args(&store)
            .args(["--direct-upload-bytes-max", "4194304"])
            .args(more)
            .envs(bucket.pairs())
            .output()
            .expect("the program runs");
        assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));

        let mut environment = bucket.pairs();
        environment.extend([("DRYSTONE_STORE", &*bucket.store), ("DRYSTONE_LOG_KEY_FILE", &key)]);
        let (api, function) = match kind {
            Kind::Lambda => start_in_lambda(&environment),
            _ => start_over_http(&environment),
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

fn start_over_http(environment: &[(&str, &str)]) -> (String, Box<dyn Send>) {
    let api = format!("127.0.0.1:{}", web::free_port());
    let function = Daemon::spawn(
        Command::new(program("drystone-publisher"))
            .envs(environment.iter().copied())
            .env("DRYSTONE_LISTEN", &api),
    );
    wait_until_answers(&format!("http://{api}/healthz"));
    (api, Box::new(function))
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
