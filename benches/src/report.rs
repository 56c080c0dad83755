//! What was measured, for programs (a line of JSON at once) and for readers (tables in Markdown at the end).

use std::{cell::RefCell, io::Write, time::Duration};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::machine::Facts;

/// Tells the person who waits, beside the results.
pub(crate) fn say(text: &str) {
    // Nobody may be listening.
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// Results of one measurement, as a reader wants them.
struct Table {
    title: &'static str,
    columns: &'static [&'static str],
    rows: Vec<Map<String, Value>>,
}

/// One line for programs.
#[derive(Serialize)]
struct Line<'a, T> {
    bench: &'a str,
    measured: &'a T,
}

/// Everything measured so far.
pub(crate) struct Report {
    facts: String,
    tables: Vec<Table>,
    /// The lines for programs that nobody has taken yet.
    lines: RefCell<Vec<String>>,
}

impl Report {
    /// Starts with the facts of the machine.
    pub(crate) fn new(facts: &Facts) -> anyhow::Result<Self> {
        print_line(&line(&Line { bench: "machine", measured: facts })?)?;
        Ok(Self { facts: serde_json::to_string(facts)?, tables: Vec::new(), lines: RefCell::default() })
    }

    /// Prints one measurement as a line of JSON.
    pub(crate) fn measured(&self, bench: &str, what: &impl Serialize) -> anyhow::Result<()> {
        let line = line(&Line { bench, measured: what })?;
        print_line(&line)?;
        self.lines.borrow_mut().push(line);
        Ok(())
    }

    /// The lines since the last time.
    pub(crate) fn take_lines(&self) -> Vec<String> {
        self.lines.take()
    }

    /// Keeps rows for a table; the columns are fields of theirs.
    pub(crate) fn table<T: Serialize>(
        &mut self,
        title: &'static str,
        columns: &'static [&'static str],
        rows: &[T],
    ) -> anyhow::Result<()> {
        let row = |row: &T| match serde_json::to_value(row) {
            Ok(Value::Object(row)) => Ok(row),
            Ok(other) => anyhow::bail!("a row is an object, not `{other}`"),
            Err(error) => Err(error.into()),
        };
        let rows = rows.iter().map(row).collect::<anyhow::Result<_>>()?;
        self.tables.push(Table { title, columns, rows });
        Ok(())
    }

    /// Prints the tables.
    pub(crate) fn print_tables(&self) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "\nMachine: {}", self.facts)?;
        for Table { title, columns, rows } in &self.tables {
            let head: Vec<String> = columns.iter().map(|column| column.replace('_', " ")).collect();
            writeln!(out, "\n{title}\n\n| {} |\n|{}", head.join(" | "), "---|".repeat(columns.len()))?;
            for row in rows {
                let cells: Vec<String> = columns.iter().map(|column| cell(&row[*column])).collect();
                writeln!(out, "| {} |", cells.join(" | "))?;
            }
        }
        Ok(())
    }
}

fn line<T: Serialize>(line: &Line<'_, T>) -> anyhow::Result<String> {
    Ok(serde_json::to_string(line)?)
}

fn print_line(line: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A number with so few digits as mean something: three, or all before the point.
pub(crate) fn rounded(number: f64) -> f64 {
    let places = if number.abs() >= 100.0 {
        0
    } else if number.abs() >= 10.0 {
        1
    } else {
        2
    };
    let unit = 10_f64.powi(places);
    (number * unit).round() / unit
}

/// The number that half of them do not exceed; `None` of none.
pub(crate) fn median(numbers: impl IntoIterator<Item = f64>) -> Option<f64> {
    quantile(numbers, 0.5)
}

/// The number that this part of them does not exceed (nearest rank); `None` of none.
pub(crate) fn quantile(numbers: impl IntoIterator<Item = f64>, part: f64) -> Option<f64> {
    let mut numbers: Vec<f64> = numbers.into_iter().collect();
    numbers.sort_unstable_by(f64::total_cmp);
    let rank = (part * numbers.len() as f64).ceil() as usize;
    numbers.get(rank.saturating_sub(1)).copied()
}

/// A duration in milliseconds.
pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_numbers_that_were_measured() {
        let numbers: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(median(numbers.clone()), Some(50.0));
        assert_eq!(quantile(numbers, 0.99), Some(99.0));
        assert_eq!((median([7.0]), median([])), (Some(7.0), None));
    }

    #[test]
    fn numbers_keep_three_digits_or_all_before_the_point() {
        assert_eq!([1234.56, 99.94, 9.876, 0.1234].map(rounded), [1235.0, 99.9, 9.88, 0.12]);
    }
}
