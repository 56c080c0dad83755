//! Everything that leaves the process as text: stdout for data, stderr for the rest.
//!
//! Owns streams, colour, verbosity, the JSON switch and the form of errors. Does not own what is said.
//! Invariant: stdout carries only what was asked for; with `--json` it is one JSON value, also when a command fails.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write},
    sync::Mutex,
};

use drystone_schemas::Problem;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::{
    args::{ColorChoice, Output},
    env::Env,
    failure::Failure,
};

/// Columns that the verb of a step takes, right-aligned.
const VERB_COLUMNS: usize = 12;

/// A colour for a word that has its meaning without it.
#[derive(Debug, Clone, Copy)]
enum Paint {
    Error,
    Warning,
    Step,
    Hint,
}

/// The two streams of the process and the rules for them.
pub struct Printer {
    json: bool,
    quiet: u8,
    verbose: u8,
    color: bool,
    bars: MultiProgress,
    animated: bool,
    out: Mutex<Box<dyn Write + Send>>,
    err: Mutex<Box<dyn Write + Send>>,
}

impl Printer {
    /// The printer of this process, by its flags, environment and terminal.
    pub fn of_process(output: &Output, env: &Env) -> Self {
        let terminal = io::stderr().is_terminal();
        let animated = terminal
            && !output.json
            && output.quiet == 0
            && !output.no_progress
            && !env.is_on("CI")
            && !env.is_on("DRYSTONE_NO_PROGRESS")
            && env.get("TERM") != Some("dumb");
        Self {
            color: use_color(output.color, terminal, env),
            animated,
            ..Self::to(output, Box::new(io::stdout()), Box::new(io::stderr()))
        }
    }

    /// A printer to two sinks, without colour and progress.
    pub fn to(output: &Output, out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Self {
        Self {
            json: output.json,
            quiet: output.quiet,
            verbose: output.verbose,
            color: output.color == ColorChoice::Always,
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
            animated: false,
            out: Mutex::new(out),
            err: Mutex::new(err),
        }
    }

    /// Whether results are JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether progress bars are shown.
    pub fn is_animated(&self) -> bool {
        self.animated
    }

    /// Writes the result of a command: the value as one line of JSON with `--json`, else the text.
    pub fn result<T: Serialize>(&self, value: &T, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json {
            let line = serde_json::to_string(value)
                .map_err(|e| Failure::new(drystone_schemas::Code::Internal, e.to_string()))?;
            self.write_out(&format!("{line}\n"))
        } else {
            self.write_out(&text())
        }
    }

    /// Writes text that was asked for, as it is.
    pub fn data(&self, text: &str) -> Result<(), Failure> {
        self.write_out(text)
    }

    /// One finished step: a verb and what it was about.
    pub fn step(&self, verb: &str, what: &str) {
        if self.quiet == 0 && !self.json {
            let verb = self.painted(Paint::Step, &format!("{verb:>VERB_COLUMNS$}"));
            self.write_err(&format!("{verb} {what}\n"));
        }
    }

    /// A line that continues the last step.
    pub fn more(&self, what: &str) {
        self.step("", what);
    }

    /// A line for those who asked for more with `-v`.
    pub fn detail(&self, what: &str) {
        if self.verbose > 0 {
            self.write_err(&format!("{what}\n"));
        }
    }

    /// What is going on, where it takes time.
    pub fn notice(&self, what: &str) {
        if self.quiet == 0 && !self.json {
            self.write_err(&format!("{what}\n"));
        }
    }

    /// Something that the user should know, though it is no failure.
    pub fn warning(&self, what: &str) {
        if self.quiet < 2 {
            let word = self.painted(Paint::Warning, "warning");
            self.write_err(&format!("{word}: {what}\n"));
        }
    }

    /// What could be done next.
    pub fn hint(&self, what: &str) {
        if self.quiet == 0 && !self.json {
            let word = self.painted(Paint::Hint, "hint");
            self.write_err(&format!("{word}: {what}\n"));
        }
    }

    /// A progress bar over bytes; invisible where nobody watches.
    pub fn bytes_bar(&self, label: &str, len: u64) -> ProgressBar {
        self.bar(len, "{prefix:>12} [{bar:24}] {bytes}/{total_bytes} {msg}", label)
    }

    /// A progress bar over things; invisible where nobody watches.
    pub fn count_bar(&self, label: &str, len: u64) -> ProgressBar {
        self.bar(len, "{prefix:>12} [{bar:24}] {pos}/{len} {msg}", label)
    }

    fn bar(&self, len: u64, template: &str, label: &str) -> ProgressBar {
        if !self.animated {
            return ProgressBar::hidden();
        }
        self.bars.set_draw_target(ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = self.bars.add(ProgressBar::new(len).with_style(style.progress_chars("=> ")));
        bar.set_prefix(label.to_owned());
        bar
    }

    /// Shows why a command failed.
    pub fn failure(&self, failure: &Failure) {
        match failure {
            Failure::BrokenPipe | Failure::Told(_) => {}
            Failure::Interrupted => self.write_err("interrupted\n"),
            Failure::Problems { problems, note } => {
                if self.json {
                    // A reader that is gone has no use for the error either; the exit code tells it.
                    let _ = self.result(&Errors { errors: problems }, String::new);
                } else {
                    self.write_err(&self.problems_text(problems, note.as_deref()));
                }
            }
        }
    }

    /// `error[NUMBER]: detail`, the facts that the detail does not hold, the hint; at the end the count.
    fn problems_text(&self, problems: &[Problem], note: Option<&str>) -> String {
        let mut text = String::new();
        for (at, problem) in problems.iter().enumerate() {
            let word = self.painted(Paint::Error, &format!("error[{}]", problem.number));
            let _ = writeln!(text, "{word}: {}", problem.detail);
            for (name, value) in
                problem.facts.iter().filter(|(_, value)| !problem.detail.contains(value.as_str()))
            {
                if value.contains('\n') {
                    let _ = writeln!(text, "  {name}:");
                    value.lines().for_each(|line| {
                        let _ = writeln!(text, "    {line}");
                    });
                } else {
                    let _ = writeln!(text, "  {name}: {value}");
                }
            }
            // Many problems of one kind need their hint only once.
            if problems.get(at + 1).is_none_or(|next| next.hint != problem.hint) && !problem.hint.is_empty() {
                let _ = writeln!(text, "  {}: {}", self.painted(Paint::Hint, "hint"), problem.hint);
            }
        }
        match (problems.len(), note) {
            (0 | 1, None) => {}
            (0 | 1, Some(note)) => {
                let _ = writeln!(text, "{note}");
            }
            (count, None) => {
                let _ = writeln!(text, "{count} problems found");
            }
            (count, Some(note)) => {
                let _ = writeln!(text, "{count} problems found, {note}");
            }
        }
        text
    }

    fn painted(&self, paint: Paint, text: &str) -> String {
        if !self.color || text.trim().is_empty() {
            return text.to_owned();
        }
        let code = match paint {
            Paint::Error => "1;31",
            Paint::Warning => "1;33",
            Paint::Step => "1;32",
            Paint::Hint => "1;36",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    fn write_out(&self, text: &str) -> Result<(), Failure> {
        let write = || {
            let mut out = self.out.lock().expect("no holder of this lock panics");
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        };
        match self.bars.suspend(write) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Err(Failure::BrokenPipe),
            other => Ok(other?),
        }
    }

    /// Nothing can be done about an error stream that is gone.
    fn write_err(&self, text: &str) {
        self.bars.suspend(|| {
            let mut err = self.err.lock().expect("no holder of this lock panics");
            let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
        });
    }
}

/// Problems as programs read them: the shape of the registry's own error answers.
#[derive(Serialize)]
struct Errors<'a> {
    errors: &'a [Problem],
}

/// `--color`, then `NO_COLOR`, `CLICOLOR_FORCE` and `FORCE_COLOR`, `CLICOLOR=0`, `TERM=dumb`, then the terminal.
fn use_color(choice: ColorChoice, terminal: bool, env: &Env) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto if env.get("NO_COLOR").is_some() => false,
        ColorChoice::Auto if env.is_on("CLICOLOR_FORCE") || env.is_on("FORCE_COLOR") => true,
        ColorChoice::Auto if env.get("CLICOLOR") == Some("0") || env.get("TERM") == Some("dumb") => false,
        ColorChoice::Auto => terminal,
    }
}

/// Bytes for people: `38.2 KiB`.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A count with its noun: `1 file`, `2 files`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
pub(crate) mod tests;
