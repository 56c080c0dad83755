//! `cargo fetch`, `cargo vendor`: the fast way to what a `Cargo.lock` names.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

use drystone_client::{
    cargo::{CARGO_LOCK, CargoConfig, CargoFetch, CargoHome, CargoLock, CargoWorkspace, LeftOver},
    disk::{Disk as _, RealDisk},
};
use drystone_schemas::{Code, Limits, Problem};

use super::install::{finish, on_install};
use crate::{args, context::Context, failure::Failure, printer::count};

/// Longest content of a crate that is unpacked: longer than any that cargo takes by default (`limits` of its own).
const UNPACKED_BYTES_MAX: u64 = 2 << 30;

pub(super) async fn cargo(args: &args::Cargo, cx: &Context) -> Result<(), Failure> {
    let path = match args {
        args::Cargo::Fetch(args) => &args.lock_path,
        args::Cargo::Vendor(args) => &args.lock_path,
    };
    let home = cargo_home(cx)?;
    let variable = |name: &str| cx.env.get(name).map(str::to_owned);
    let config = CargoConfig::read(&cx.cwd, home.dir(), &variable)?;
    let defaults = Limits::default();
    let limits = Limits {
        tarball_bytes_max: UNPACKED_BYTES_MAX,
        unpacked_bytes_max: UNPACKED_BYTES_MAX,
        files_max: defaults.files_max * 10,
        path_bytes_max: defaults.path_bytes_max * 4,
        depth_max: defaults.depth_max * 4,
        ..defaults
    };
    let (http, on_install) = (cx.http(), on_install(cx));
    let fetch = CargoFetch {
        home: &home,
        config: &config,
        http: &http,
        network: cx.asked_network(),
        limits: &limits,
        disk: Arc::new(RealDisk),
        on_install: &on_install,
    };
    let path = match path {
        Some(path) => cx.path(path),
        None => match CargoLock::find(&cx.cwd) {
            Some(path) => path,
            None => write_lock(cx, &fetch).await?,
        },
    };
    let lock = CargoLock::read(&path)?;
    match args {
        args::Cargo::Fetch(_) => {
            let report = fetch.fetch(&lock).await?;
            tell_left(cx, &report.left);
            let all = count(report.packages, "crate");
            let (downloaded, unpacked) = (report.downloaded, report.unpacked);
            cx.printer.step("Fetched", &format!("{all}: {downloaded} downloaded, {unpacked} unpacked"));
            cx.printer.hint("`cargo build --locked --offline` needs no network now");
            finish(cx, &report)
        }
        args::Cargo::Vendor(args) => {
            let dir = cx.path(&args.dir);
            let report = fetch.vendor(&lock, &dir, &args.dir.display().to_string()).await?;
            tell_left(cx, &report.left);
            let (all, gone) = (count(report.packages, "crate"), report.removed.len());
            let place = args.dir.display();
            cx.printer.step("Vendored", &format!("{all} in {place}/, {} new, {gone} gone", report.added));
            cx.printer.hint("cargo looks there once `.cargo/config.toml` says:");
            cx.printer.result(&report, || report.config.clone())
        }
    }
}

fn tell_left(cx: &Context, left: &[LeftOver]) {
    for LeftOver { what, why } in left {
        cx.printer.warning(&format!("{what}: left to cargo, because {why}"));
    }
}

/// Chooses versions for the workspace around the working directory, as cargo tells it, and writes its lock file.
async fn write_lock(cx: &Context, fetch: &CargoFetch<'_>) -> Result<PathBuf, Failure> {
    let metadata = ask(cx, "CARGO", "cargo", &["metadata", "--no-deps", "--format-version", "1"])?;
    let root = ask(cx, "CARGO", "cargo", &["locate-project", "--workspace", "--message-format", "plain"])?;
    let root = PathBuf::from(String::from_utf8_lossy(&root).trim());
    let workspace = CargoWorkspace::parse(&metadata, &fs_err::read_to_string(root)?)?;
    let compiler = ask(cx, "RUSTC", "rustc", &["--version"])?;
    // `rustc 1.95.0 (...)`, or `rustc 1.97.0-nightly (...)`, which counts as the release that it becomes.
    let compiler = String::from_utf8_lossy(&compiler);
    let compiler = compiler.split(' ').nth(1).and_then(|text| text.split('-').next()?.parse().ok());
    let text = fetch.lock(&workspace, compiler).await?;
    let path = workspace.root.join(CARGO_LOCK);
    RealDisk.replace(&path, text.as_bytes())?;
    let crates = text.matches("\n[[package]]\n").count();
    cx.printer.step("Locked", &format!("{} in `{CARGO_LOCK}`", count(crates, "package")));
    Ok(path)
}

/// What a program of the toolchain says; the environment may name another one.
fn ask(cx: &Context, variable: &str, program: &str, arguments: &[&str]) -> Result<Vec<u8>, Failure> {
    let program = cx.env.get(variable).unwrap_or(program);
    let told = Command::new(program).args(arguments).current_dir(&cx.cwd).stdin(Stdio::null()).output();
    let failed = |why: &str| {
        let detail =
            format!("there is no `{CARGO_LOCK}`, and `{program} {}` fails: {why}", arguments.join(" "));
        Failure::from(Problem::new(Code::ProjectNotFound, detail).with_hint(format!(
            "go to a project of cargo's, and set `{variable}` if it is not where programs are"
        )))
    };
    match told {
        Ok(output) if output.status.success() => Ok(output.stdout),
        Ok(output) => Err(failed(String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(failed(&error.to_string())),
    }
}

/// `CARGO_HOME`, else `.cargo` below the user's home.
fn cargo_home(cx: &Context) -> Result<CargoHome, Failure> {
    let below_user = || {
        cx.env
            .get("HOME")
            .or_else(|| cx.env.get("USERPROFILE"))
            .map(|dir| cx.path(dir.as_ref()).join(".cargo"))
    };
    let dir = cx.env.get("CARGO_HOME").map(|dir| cx.path(dir.as_ref())).or_else(below_user);
    let dir = dir.ok_or_else(|| {
        Problem::new(Code::BadConfiguration, "there is no home directory").with_hint("set `CARGO_HOME`")
    })?;
    Ok(CargoHome::new(dir))
}
