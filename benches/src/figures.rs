//! The table of the README: each row a number that was kept, a peer or a limit beside it, their ratio, and what was aimed at.
//!
//! Owns the text. Does not own the rows, which are in `rows`, nor the numbers: they come out of `benches/results`, and a test fails if
//! the README says anything else than what they lead to. A row that falls short stays, with the reason.

mod rows;

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

use anyhow::Context as _;

use self::rows::ROWS;
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
