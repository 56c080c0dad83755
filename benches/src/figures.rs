//! The table of the README: each row a number that was kept, a peer or a limit beside it, their ratio, and what was aimed at.
//!
//! Owns the rows and the text. Does not own the numbers: they come out of `benches/results`, and a test fails if the README
//! says anything else than what they lead to. A row that falls short stays, with the reason.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

use anyhow::Context as _;

use crate::{
    recorded::{self, Pick, Recorded},
    report::rounded,
};

const BEGIN: &str = "<!-- figures: written by `drystone-benches table` -->\n";
const END: &str = "<!-- end of figures -->\n";

/// What a number is compared with.
enum Beside {
    /// Another number of the same measurement.
    Peer(&'static str, Pick),
    /// What it may be, or should.
    Limit(f64),
    /// Nothing that is known.
    Nothing,
}

/// What was aimed at, as a ratio.
enum Aim {
    AtLeast(f64),
    AtMost(f64),
    /// Nothing; it is told because others will want to compare.
    Nothing,
}

impl Aim {
    fn is_reached(&self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(aim) => ratio >= *aim,
            Self::AtMost(aim) => ratio <= *aim,
            Self::Nothing => true,
        }
    }

    fn written(&self) -> String {
        match self {
            Self::AtLeast(aim) => format!("at least {aim}"),
            Self::AtMost(aim) => format!("at most {aim}"),
            Self::Nothing => String::new(),
        }
    }
}

/// One row.
struct Row {
    what: &'static str,
    /// Which measurement.
    bench: &'static str,
    figure: Pick,
    unit: &'static str,
    beside: Beside,
    aim: Aim,
    /// Why it falls short, if it does.
    short: &'static str,
}

const fn pick(of: &'static [(&'static str, &'static str)], field: &'static str) -> Pick {
    Pick { of, field }
}

const MANY: &str = "200 packages x 5 versions";

const FRESH: &str = "drystone, fresh hints";
const OLD: &str = "drystone, hints as old as the packages";
const OURS: &str = "drystone cargo fetch";
const CARGOS: &str = "cargo fetch";
const RELINK: &str = "`drystone install`, from the store into an empty project, `dir`";
const AWAY: &str = "memory, 20 ms away";
const HAS_IT: &str = "an index file that the client has";

const ROWS: &[Row] = &[
    Row {
        what: "PUTs of a publish by a process that has just made one",
        bench: "calls",
        figure: pick(&[("publish", "warm, another version")], "puts"),
        unit: "",
        beside: Beside::Limit(18.0),
        aim: Aim::AtMost(1.0),
        short: "",
    },
    Row {
        what: "its sequential rounds",
        bench: "calls",
        figure: pick(&[("publish", "warm, another version")], "rounds"),
        unit: "",
        beside: Beside::Limit(6.0),
        aim: Aim::AtMost(1.0),
        short: "",
    },
    Row {
        what: "a proof for one of 1,000,000 packages, from nothing, gzip",
        bench: "proof",
        figure: pick(&[("package", "in the median shard, gzip")], "bytes"),
        unit: " B",
        beside: Beside::Limit(20_500.0),
        aim: Aim::AtMost(1.0),
        short: "",
    },
    Row {
        what: "web (269 packages) chosen from nothing with fresh hints: bytes",
        bench: "resolve",
        figure: pick(&[("project", "web"), ("hints", "Fresh")], "bytes"),
        unit: " B",
        beside: Beside::Limit(300_000.0),
        aim: Aim::AtMost(1.0),
        short: "",
    },
    Row {
        what: "bevy (543 packages) in the same way",
        bench: "resolve",
        figure: pick(&[("project", "bevy"), ("hints", "Fresh")], "bytes"),
        unit: " B",
        beside: Beside::Limit(600_000.0),
        aim: Aim::AtMost(1.0),
        short: "",
    },
    Row {
        what: "versions of web chosen with everything at hand: processor time",
        bench: "resolve",
        figure: pick(&[("project", "web")], "ours_cpu_ms"),
        unit: " ms",
        beside: Beside::Peer(
            "`cargo generate-lockfile --offline`",
            pick(&[("project", "web")], "cargo_cpu_ms"),
        ),
        aim: Aim::AtMost(0.05),
        short: "",
    },
    Row {
        what: "those of bevy",
        bench: "resolve",
        figure: pick(&[("project", "bevy")], "ours_cpu_ms"),
        unit: " ms",
        beside: Beside::Peer(
            "`cargo generate-lockfile --offline`",
            pick(&[("project", "bevy")], "cargo_cpu_ms"),
        ),
        aim: Aim::AtMost(0.05),
        short: "",
    },
    Row {
        what: "web chosen from nothing over HTTP/2, every answer 100 ms late, fresh hints",
        bench: "resolve-far",
        figure: pick(&[("project", "web"), ("what", FRESH), ("delay_ms", "100")], "wall_s"),
        unit: " s",
        beside: Beside::Limit(1.0),
        aim: Aim::AtMost(1.0),
        short: "the server runs on the same two cores",
    },
    Row {
        what: "bevy in the same way",
        bench: "resolve-far",
        figure: pick(&[("project", "bevy"), ("what", FRESH), ("delay_ms", "100")], "wall_s"),
        unit: " s",
        beside: Beside::Limit(1.5),
        aim: Aim::AtMost(1.0),
        short: "the server runs on the same two cores",
    },
    Row {
        what: "bevy with hints as old as the packages",
        bench: "resolve-far",
        figure: pick(&[("project", "bevy"), ("what", OLD), ("delay_ms", "100")], "wall_s"),
        unit: " s",
        beside: Beside::Peer(
            "`cargo generate-lockfile`",
            pick(&[("project", "bevy"), ("what", "cargo generate-lockfile"), ("delay_ms", "100")], "wall_s"),
        ),
        aim: Aim::Nothing,
        short: "",
    },
    Row {
        what: "archives of web into an empty home",
        bench: "install",
        figure: pick(&[("project", "web"), ("what", OURS), ("delay_ms", "0")], "wall_s"),
        unit: " s",
        beside: Beside::Peer(
            "`cargo fetch`",
            pick(&[("project", "web"), ("what", CARGOS), ("delay_ms", "0")], "wall_s"),
        ),
        aim: Aim::AtMost(0.5),
        short: "the server runs on the same two cores",
    },
    Row {
        what: "those of bevy",
        bench: "install",
        figure: pick(&[("project", "bevy"), ("what", OURS), ("delay_ms", "0")], "wall_s"),
        unit: " s",
        beside: Beside::Peer(
            "`cargo fetch`",
            pick(&[("project", "bevy"), ("what", CARGOS), ("delay_ms", "0")], "wall_s"),
        ),
        aim: Aim::AtMost(0.5),
        short: "the server runs on the same two cores",
    },
    Row {
        what: "those of bevy, every answer 100 ms late",
        bench: "install",
        figure: pick(&[("project", "bevy"), ("what", OURS), ("delay_ms", "100")], "wall_s"),
        unit: " s",
        beside: Beside::Peer(
            "`cargo fetch`",
            pick(&[("project", "bevy"), ("what", CARGOS), ("delay_ms", "100")], "wall_s"),
        ),
        aim: Aim::AtMost(0.5),
        short: "the server runs on the same two cores",
    },
    Row {
        what: "504 packages from the store into a project, by link: for 1,000",
        bench: "install",
        figure: pick(&[("project", "bevy"), ("what", RELINK)], "s_per_1000"),
        unit: " s",
        beside: Beside::Limit(0.2),
        aim: Aim::AtMost(1.0),
        short: "every file of the store is looked at, tens for each package",
    },
    Row {
        what: "publishes a second, 1 client, directory with fsync",
        bench: "publish",
        figure: pick(&[("what", MANY), ("clients", "1")], "per_s"),
        unit: "/s",
        beside: Beside::Limit(300.0),
        aim: Aim::AtLeast(1.0),
        short: "a publish takes more than 4 ms of processor time, and waits for one sync of the journal",
    },
    Row {
        what: "publishes a second, 8 clients, directory with fsync",
        bench: "publish",
        figure: pick(&[("what", MANY), ("clients", "8")], "per_s"),
        unit: "/s",
        beside: Beside::Limit(1_200.0),
        aim: Aim::AtLeast(1.0),
        short: "a publish takes more than 2 ms of processor time here, and there are two cores, one of them the client's",
    },
    Row {
        what: "the same beside nginx WebDAV, which checks, signs and syncs nothing",
        bench: "publish",
        figure: pick(&[("what", MANY), ("clients", "8")], "per_s"),
        unit: "/s",
        beside: Beside::Peer("nginx", pick(&[("what", MANY), ("clients", "8")], "nginx_per_s")),
        aim: Aim::Nothing,
        short: "",
    },
    Row {
        what: "publishes a second by 64 writers at one publisher, store 20 ms away",
        bench: "writers",
        figure: pick(&[("store", AWAY), ("publishers", "1"), ("writers", "64")], "per_s"),
        unit: "/s",
        beside: Beside::Peer(
            "one writer",
            pick(&[("store", AWAY), ("publishers", "1"), ("writers", "1")], "per_s"),
        ),
        aim: Aim::AtLeast(3.0),
        short: "",
    },
    Row {
        what: "the same at eight publishers, which race for head",
        bench: "writers",
        figure: pick(&[("store", AWAY), ("publishers", "8"), ("writers", "64")], "per_s"),
        unit: "/s",
        beside: Beside::Peer(
            "one writer",
            pick(&[("store", AWAY), ("publishers", "1"), ("writers", "1")], "per_s"),
        ),
        aim: Aim::AtLeast(3.0),
        short: "",
    },
    Row {
        what: "publishes through cargo's API, 8 clients, directory with fsync",
        bench: "cargo-api",
        figure: pick(&[("registry", "drystone serve"), ("clients", "8")], "per_s"),
        unit: "/s",
        beside: Beside::Peer(
            "`cargo-http-registry` 0.1.8, which syncs nothing",
            pick(&[("registry", "cargo-http-registry"), ("clients", "8")], "per_s"),
        ),
        aim: Aim::AtLeast(10.0),
        short: "two cores: see the row of 8 clients above",
    },
    Row {
        what: "the same",
        bench: "cargo-api",
        figure: pick(&[("registry", "drystone serve"), ("clients", "8")], "per_s"),
        unit: "/s",
        beside: Beside::Peer(
            "`ferro-cargo-registry-server` 1.0.0, which syncs nothing",
            pick(&[("registry", "ferro-cargo-registry-server"), ("clients", "8")], "per_s"),
        ),
        aim: Aim::AtLeast(3.0),
        short: "two cores: see the row of 8 clients above",
    },
    Row {
        what: "reads of one index file a second, 64 connections",
        bench: "reads",
        figure: pick(&[("what", "an index file")], "drystone_per_s"),
        unit: "/s",
        beside: Beside::Peer("nginx", pick(&[("what", "an index file")], "nginx_per_s")),
        aim: Aim::AtLeast(0.7),
        short: "",
    },
    Row {
        what: "the same by clients that have it (304)",
        bench: "reads",
        figure: pick(&[("what", HAS_IT)], "drystone_per_s"),
        unit: "/s",
        beside: Beside::Peer("nginx", pick(&[("what", HAS_IT)], "nginx_per_s")),
        aim: Aim::AtLeast(0.7),
        short: "",
    },
    Row {
        what: "reads of an archive of 1 MiB a second, 64 connections",
        bench: "reads",
        figure: pick(&[("what", "an archive")], "drystone_per_s"),
        unit: "/s",
        beside: Beside::Peer("nginx", pick(&[("what", "an archive")], "nginx_per_s")),
        aim: Aim::AtLeast(0.8),
        short: "the bytes go through the process, four times the processor time; nginx leaves them to the kernel (`sendfile`)",
    },
    Row {
        what: "memory of `drystone serve` while it takes 50 MiB in",
        bench: "memory",
        figure: pick(&[("program", "drystone serve")], "rss_peak_mib"),
        unit: " MiB",
        beside: Beside::Limit(128.0),
        aim: Aim::AtMost(1.0),
        short: "",
    },
    Row {
        what: "memory of `drystone-publisher` while it takes 50 MiB in",
        bench: "memory",
        figure: pick(&[("program", "drystone-publisher")], "rss_peak_mib"),
        unit: " MiB",
        beside: Beside::Limit(128.0),
        aim: Aim::AtMost(1.0),
        short: "",
    },
    Row {
        what: "first answer of the function, from the start of its process, here",
        bench: "function",
        figure: pick(&[], "first_answer_ms"),
        unit: " ms",
        beside: Beside::Limit(60.0),
        aim: Aim::AtMost(1.0),
        short: "",
    },
    Row {
        what: "archive of the function to upload",
        bench: "function",
        figure: pick(&[], "zip_mib"),
        unit: " MiB",
        beside: Beside::Limit(12.0),
        aim: Aim::AtMost(1.0),
        short: "",
    },
    Row {
        what: "allocations of one publish, store in memory",
        bench: "allocations",
        figure: pick(&[("what", "one publish, warm, store in memory")], "allocations"),
        unit: "",
        beside: Beside::Nothing,
        aim: Aim::Nothing,
        short: "",
    },
    Row {
        what: "rebuild of 100,000 packages, a million releases, everything missing",
        bench: "rebuild-full",
        figure: pick(&[("packages", "100000"), ("what", "rebuild of everything")], "s"),
        unit: " s",
        beside: Beside::Limit(300.0),
        aim: Aim::AtMost(1.0),
        short: "of processor time it takes less; one core was busy with something else",
    },
    Row {
        what: "its memory",
        bench: "rebuild-full",
        figure: pick(&[("packages", "100000"), ("what", "rebuild of everything")], "peak_mib"),
        unit: " MiB",
        beside: Beside::Limit(512.0),
        aim: Aim::AtMost(1.0),
        short: "",
    },
    Row {
        what: "rebuild of 200,000 packages, two million releases, everything but the writing",
        bench: "rebuild-full",
        figure: pick(&[("packages", "200000")], "s"),
        unit: " s",
        beside: Beside::Limit(600.0),
        aim: Aim::AtMost(1.0),
        short: "it takes 530 s of processor time, and a compiler ran beside it",
    },
    Row {
        what: "its memory",
        bench: "rebuild-full",
        figure: pick(&[("packages", "200000")], "peak_mib"),
        unit: " MiB",
        beside: Beside::Limit(512.0),
        aim: Aim::AtMost(1.0),
        short: "",
    },
    Row {
        what: "audit of a million events, 100,000 packages",
        bench: "rebuild-full",
        figure: pick(&[("packages", "100000"), ("what", "audit")], "s"),
        unit: " s",
        beside: Beside::Limit(60.0),
        aim: Aim::AtMost(1.0),
        short: "all tests ran beside it; each event takes 0.14 ms of processor time where nothing does, so 70 s on two cores are the least",
    },
    Row {
        what: "its memory",
        bench: "rebuild-full",
        figure: pick(&[("packages", "100000"), ("what", "audit")], "peak_mib"),
        unit: " MiB",
        beside: Beside::Limit(512.0),
        aim: Aim::AtMost(1.0),
        short: "",
    },
];

fn readme() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../README.md")
}

/// Writes the table into the README.
pub(crate) fn write() -> anyhow::Result<()> {
    let text = fs_err::read_to_string(readme())?;
    Ok(fs_err::write(readme(), in_place(&text, &table()?)?)?)
}

/// The README with another table.
fn in_place(readme: &str, table: &str) -> anyhow::Result<String> {
    let (before, rest) = readme.split_once(BEGIN).context("the README has a place for the figures")?;
    let (_, after) = rest.split_once(END).context("the place for the figures ends")?;
    Ok(format!("{before}{BEGIN}{table}{END}{after}"))
}

fn table() -> anyhow::Result<String> {
    let mut kept: BTreeMap<&str, Recorded> = BTreeMap::new();
    for row in ROWS {
        if !kept.contains_key(row.bench) {
            kept.extend(recorded::read(row.bench)?.map(|recorded| (row.bench, recorded)));
        }
    }
    let mut text = String::from(
        "\n| what | figure | peer or limit | ratio | aim | measured | falls short because |\n|---|---|---|---|---|---|---|\n",
    );
    for row in ROWS {
        text.push_str(&row.written(kept.get(row.bench)));
    }
    let machines: BTreeMap<String, ()> =
        kept.values().map(|recorded| (recorded.origin.machine.to_string(), ())).collect();
    let machines: Vec<String> = machines.into_keys().collect();
    writeln!(text, "\nMedians of all runs of a release build, on {}.\n", machines.join("; and "))?;
    Ok(text)
}

impl Row {
    /// What it is compared with.
    fn number(&self, recorded: &Recorded) -> Option<f64> {
        match &self.beside {
            Beside::Limit(limit) => Some(*limit),
            Beside::Peer(_, pick) => recorded.number(pick),
            Beside::Nothing => None,
        }
    }

    /// The ratio, if there is one.
    fn ratio(&self, recorded: &Recorded) -> Option<f64> {
        Some(recorded.number(&self.figure)? / self.number(recorded)?)
    }

    fn written(&self, recorded: Option<&Recorded>) -> String {
        let Self { what, bench, unit, aim, .. } = self;
        let aim_text = aim.written();
        let Some((of, figure)) = recorded.and_then(|of| Some((of, of.number(&self.figure)?))) else {
            return format!("| {what} | not recorded | | | {aim_text} | `{bench}` | |\n");
        };
        let name = match self.beside {
            Beside::Peer(name, _) => format!("{name}: "),
            Beside::Limit(_) | Beside::Nothing => String::new(),
        };
        let number = self.number(of).map(|number| format!("{name}{}{unit}", grouped(number)));
        let ratio = self.ratio(of);
        let short = if ratio.is_none_or(|ratio| aim.is_reached(ratio)) { "" } else { self.short };
        format!(
            "| {what} | {}{unit} | {} | {} | {aim_text} | {}, load {}, `{bench}` | {short} |\n",
            grouped(figure),
            number.unwrap_or_default(),
            ratio.map(|ratio| rounded(ratio).to_string()).unwrap_or_default(),
            of.origin.date,
            rounded(of.origin.load),
        )
    }
}

/// A number with three digits, or all before the point, in groups of three.
fn grouped(number: f64) -> String {
    let text = rounded(number).to_string();
    let (whole, rest) = text.split_once('.').map_or((&*text, None), |(whole, rest)| (whole, Some(rest)));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    rest.into_iter().for_each(|rest| _ = write!(grouped, ".{rest}"));
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_says_what_was_measured() {
        let text = fs_err::read_to_string(readme()).unwrap();
        let table = table().unwrap();
        assert!(
            in_place(&text, &table).unwrap() == text,
            "`cargo run -p drystone-benches -- table` writes the table anew:\n{table}"
        );
    }

    #[test]
    fn every_row_that_falls_short_has_a_reason() {
        for row in ROWS {
            let ratio = recorded::read(row.bench).unwrap().and_then(|recorded| row.ratio(&recorded));
            let reached = ratio.is_none_or(|ratio| row.aim.is_reached(ratio));
            assert!(reached || !row.short.is_empty(), "{} has {ratio:?}", row.what);
        }
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [0.123, 1.5, 12.25, 999.6, 1234567.0].map(grouped),
            ["0.12", "1.5", "12.3", "1,000", "1,234,567"]
        );
    }
}
