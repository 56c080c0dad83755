//! `drystone`: packages from signed, content-addressed files, and the registry that serves them.
//!
//! Opens the doors (environment, clock, randomness, streams) once and hands them to one command. Does not decide.

#![expect(unreachable_pub, reason = "a program exports nothing: `pub` is for its other modules")]

mod admin;
mod args;
mod commands;
mod context;
mod credentials;
mod demo;
mod env;
mod failure;
mod first;
mod maintain;
mod operate;
mod printer;
mod serve;
mod source;
mod trust;
mod witness;

use std::{ffi::OsString, process::ExitCode, sync::Arc};

use clap::{Parser as _, error::ErrorKind};
use drystone_client::Effects;
use drystone_schemas::{Code, Problem};
use drystone_storage::{SystemClock, SystemEntropy};

use crate::{
    args::{Cli, ColorChoice, Command, Output},
    context::Context,
    env::Env,
    failure::Failure,
    printer::Printer,
};

fn main() -> ExitCode {
    let env = Env::of_process();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &arguments, &env),
    };
    let printer = Arc::new(Printer::of_process(&cli.output, &env));
    let outcome = match cli.command {
        None => printer.data(args::SHORT_HELP),
        Some(command) => {
            let effects = Effects::new(Arc::new(SystemClock), Arc::new(SystemEntropy::new()));
            run(command, |cwd| Context::new(printer.clone(), env, effects, cwd, cli.network))
        }
    };
    exit(&printer, outcome)
}

/// Runs one command on a runtime of its own.
fn run(command: Command, context: impl FnOnce(std::path::PathBuf) -> Context) -> Result<(), Failure> {
    let context = context(std::env::current_dir()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        // A server ends in its own way.
        if matches!(command, Command::Serve(_) | Command::Witness(_)) {
            return commands::run(command, &context).await;
        }
        tokio::select! {
            outcome = commands::run(command, &context) => outcome,
            _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted),
        }
    });
    // Work that blocks is not waited for: what it would have written is not in place yet.
    runtime.shutdown_background();
    outcome
}

fn exit(printer: &Printer, outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            printer.failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Help and version are results; anything else is a usage problem. The options are not known here, so that `--json` is
/// looked for by hand.
fn usage(error: &clap::Error, arguments: &[OsString], env: &Env) -> ExitCode {
    let json = arguments.iter().any(|argument| argument == "--json");
    let output = Output { json, quiet: 0, verbose: 0, color: ColorChoice::Auto, no_progress: true };
    let printer = Printer::of_process(&output, env);
    let text = error.render().to_string();
    let outcome = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => printer.data(&text),
        _ => Err(usage_problem(&text).into()),
    };
    exit(&printer, outcome)
}

/// The first paragraph of the parser's message is the problem, the rest is the hint.
fn usage_problem(text: &str) -> Problem {
    let text = text.strip_prefix("error: ").unwrap_or(text).trim_end();
    let (detail, rest) = text.split_once("\n\n").unwrap_or((text, ""));
    let problem = Problem::new(Code::BadUsage, detail);
    let rest: Vec<&str> = rest
        .lines()
        .map(str::trim)
        .map(|line| line.strip_prefix("tip: ").unwrap_or(line))
        .filter(|line| !line.is_empty())
        .collect();
    match rest.is_empty() {
        true => problem,
        false => problem.with_hint(rest.join("\n        ")),
    }
}
