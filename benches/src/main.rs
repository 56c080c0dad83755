//! The measurements that the README quotes: what a publish costs in time, processor, memory and storage calls.
//!
//! `cargo run -p drystone-benches --release -- NAME`, where `NAME` is one of [`BENCHES`] or `all`. Each measurement is
//! one line of JSON on standard output as it is made; tables in Markdown follow. The programs measured are those that
//! lie beside this one: build them first, with `cargo build --release -p drystone -p drystone-mains`.
//!
//! `record NAME` keeps what was measured in `benches/results`, and `table` writes the README's table and the plots
//! of docs/scale.md out of that.

mod allocations;
mod calls;
mod cargo_api;
mod clock;
mod delayed;
mod far;
mod figures;
mod function;
mod install;
mod load;
mod machine;
mod memory;
mod nginx;
mod packages;
mod peers;
mod plot;
mod proof;
mod publish;
mod reads;
mod rebuild;
mod recorded;
mod report;
mod resolve;
mod rounds;
mod scale;
mod server;
mod simulate;
mod writers;

use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::{recorded::Origin, report::Report};

/// One measurement: its name, and what makes it.
type Bench = (&'static str, fn(&mut Report) -> anyhow::Result<()>);

/// Keeps what is measured.
const RECORD: &str = "record";
/// Writes the README's table, and the plots.
const TABLE: &str = "table";
/// The measurement that has to be asked for by its name, because of the room that it takes.
const NOT_IN_ALL: &str = "rebuild-full";

/// The measurements. Counts come first: they are the same on a busy machine.
const BENCHES: [Bench; 17] = [
    ("calls", calls::run),
    ("resolve", resolve::run),
    ("resolve-far", far::run),
    ("proof", proof::run),
    ("rounds", rounds::run),
    ("allocations", allocations::run),
    ("memory", memory::run),
    ("function", function::run),
    ("reads", reads::run),
    ("scale", scale::run),
    ("rebuild", rebuild::run),
    (NOT_IN_ALL, rebuild::run_full),
    ("cargo-api", cargo_api::run),
    ("publish", publish::run),
    ("writers", writers::run),
    ("simulate", simulate::run),
    ("install", install::run),
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let names: Vec<&str> = BENCHES.iter().map(|(name, _)| *name).collect();
    let args: Vec<String> = std::env::args().collect();
    if let [_, asked, project, url] = args.as_slice()
        && asked == far::ONCE
    {
        return far::once(project, url);
    }
    let asked = args.get(1).with_context(|| format!("name a measurement: {names:?} or `all`"))?;
    if asked == TABLE {
        figures::write()?;
        return plot::write();
    }
    if let [_, once, what, dir] = args.as_slice()
        && once == rebuild::ONCE
    {
        return rebuild::once(what, dir);
    }
    let (asked, keeps) = match args.get(2).filter(|_| asked == RECORD) {
        Some(asked) => (asked, true),
        None => (asked, false),
    };
    let in_all = |name: &str| asked == "all" && name != NOT_IN_ALL;
    let chosen: Vec<&Bench> = BENCHES.iter().filter(|(name, _)| in_all(name) || asked == name).collect();
    if chosen.is_empty() {
        bail!("there is no measurement `{asked}`, only {names:?} and `all`");
    }
    let facts = machine::facts()?;
    let mut report = Report::new(&facts)?;
    for (name, bench) in chosen {
        report::say(&format!("measuring {name}"));
        let origin = Origin::now(&facts)?;
        bench(&mut report).with_context(|| format!("the measurement `{name}`"))?;
        let lines = report.take_lines();
        if keeps {
            recorded::keep(name, &origin, &lines)?;
        }
    }
    report.print_tables()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is counted, or computed, and the same on every machine.
    const COUNTED: [&str; 3] = ["calls", "rounds", "scale"];

    #[test]
    fn what_is_counted_is_what_the_table_says() {
        let facts = machine::facts().unwrap();
        for (name, bench) in BENCHES.iter().filter(|(name, _)| COUNTED.contains(name)) {
            let mut report = Report::new(&facts).unwrap();
            bench(&mut report).unwrap();
            let kept = recorded::read(name).unwrap().expect("it was kept");
            assert!(
                kept.is(&report.take_lines()).unwrap(),
                "`cargo run -p drystone-benches --release -- record {name}`, then `table`, keep what is counted now"
            );
        }
    }
}
