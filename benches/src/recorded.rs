//! What was measured, kept in the tree: `benches/results/NAME.jsonl`, one file for each measurement.
//!
//! Owns the files: a line with the day, the load and the facts of the machine, then what the measurement printed. Does not own
//! what is made of them; `figures` has that.

use std::path::PathBuf;

use anyhow::Context as _;
use drystone_schemas::rfc3339;
use drystone_storage::{Clock as _, SystemClock};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    machine::{self, Facts},
    report::median,
};

/// When and where something was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// `2026-11-22`.
    pub(crate) date: String,
    /// Load of the machine before.
    pub(crate) load: f64,
    pub(crate) machine: Facts,
}

/// One measurement, as it was kept.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) origin: Origin,
    lines: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Line {
    measured: Value,
}

/// One number out of a measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pick {
    /// Which of its lines: fields and what they say.
    pub(crate) of: &'static [(&'static str, &'static str)],
    /// The field.
    pub(crate) field: &'static str,
}

impl Origin {
    /// Here and now.
    pub(crate) fn now(facts: &Facts) -> anyhow::Result<Self> {
        let mut date = rfc3339(SystemClock.now_unix_ms() / 1000);
        date.truncate("2026-11-22".len());
        Ok(Self { date, load: machine::load()?, machine: facts.clone() })
    }
}

fn path(bench: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("results").join(format!("{bench}.jsonl"))
}

/// Keeps what a measurement printed, in place of what was kept before.
pub(crate) fn keep(bench: &str, origin: &Origin, lines: &[String]) -> anyhow::Result<()> {
    let path = path(bench);
    fs_err::create_dir_all(path.parent().context("the file lies in a folder")?)?;
    let first = serde_json::to_string(origin)?;
    let text: String = std::iter::once(&first).chain(lines).flat_map(|line| [line, "\n"]).collect();
    Ok(fs_err::write(path, text)?)
}

/// What is kept of a measurement; none if it was never kept.
pub(crate) fn read(bench: &str) -> anyhow::Result<Option<Recorded>> {
    let path = path(bench);
    if !path.is_file() {
        return Ok(None);
    }
    Recorded::parse(&fs_err::read_to_string(path)?).map(Some)
}

impl Recorded {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let (first, rest) = text.split_once('\n').context("the first line says when and where")?;
        let lines = rest.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(Self { origin: serde_json::from_str(first)?, lines })
    }

    /// Whether it is what these lines say.
    #[cfg(test)]
    pub(crate) fn is(&self, lines: &[String]) -> anyhow::Result<bool> {
        let lines: Vec<Line> =
            lines.iter().map(|line| serde_json::from_str(line)).collect::<Result<_, _>>()?;
        Ok(lines == self.lines)
    }

    /// What was measured of something.
    pub(crate) fn chosen<'a>(
        &'a self,
        of: &'a [(&'static str, &'static str)],
    ) -> impl Iterator<Item = &'a Value> {
        let says = |value: &Value, text: &str| match value {
            Value::String(said) => said == text,
            other => serde_json::to_string(other).is_ok_and(|said| said == text),
        };
        let chosen = self
            .lines
            .iter()
            .filter(move |line| of.iter().all(|(field, text)| says(&line.measured[*field], text)));
        chosen.map(|line| &line.measured)
    }

    /// The median of a number over all runs; none if nothing of the kind was measured.
    pub(crate) fn number(&self, pick: &Pick) -> Option<f64> {
        median(self.chosen(pick.of).filter_map(|measured| measured[pick.field].as_f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_medians_of_the_lines_that_are_meant() {
        let text = r#"{"date":"2026-11-22","load":1.5,"machine":{"cores":2,"kernel":"6","rustc":"rustc 1","file_system":"ext4"}}
{"bench":"a","measured":{"what":"x","clients":8,"per_s":3.0}}
{"bench":"a","measured":{"what":"x","clients":8,"per_s":1.0}}
{"bench":"a","measured":{"what":"x","clients":8,"per_s":2.0}}
{"bench":"a","measured":{"what":"x","clients":1,"per_s":9.0}}
{"bench":"a-other","measured":{"what":"y","clients":8,"per_s":9.0}}
"#;
        let recorded = Recorded::parse(text).unwrap();
        let pick = |of, field| recorded.number(&Pick { of, field });
        assert_eq!(pick(&[("what", "x"), ("clients", "8")], "per_s"), Some(2.0));
        assert_eq!(pick(&[("clients", "2")], "per_s"), None);
        assert_eq!(pick(&[], "nothing"), None);
        assert_eq!(recorded.origin.date, "2026-11-22");
    }
}
