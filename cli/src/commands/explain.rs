//! `explain`: what an error code means, without a network.

use std::fmt::Write as _;

use drystone_schemas::{Code, Problem};
use serde::Serialize;

use crate::{args, context::Context, failure::Failure};

#[derive(Serialize)]
struct Explained {
    number: &'static str,
    code: Code,
    title: &'static str,
    hint: &'static str,
    status: u16,
    exit_code: u8,
}

impl From<Code> for Explained {
    fn from(code: Code) -> Self {
        Self {
            number: code.number(),
            code,
            title: code.title(),
            hint: code.hint(),
            status: code.status(),
            exit_code: code.exit_code(),
        }
    }
}

pub(super) fn explain(args: &args::Explain, cx: &Context) -> Result<(), Failure> {
    let Some(text) = &args.code else {
        let all: Vec<Explained> = Code::ALL.iter().copied().map(Explained::from).collect();
        return cx.printer.result(&all, || table(&all));
    };
    let same =
        |code: &Code| code.number().eq_ignore_ascii_case(text) || code.slug().eq_ignore_ascii_case(text);
    let Some(code) = Code::ALL.iter().copied().find(same) else {
        let problem = Problem::new(Code::BadUsage, format!("`{text}` is not an error code"));
        return Err(problem.with_hint("list them with `drystone explain`").into());
    };
    let explained = Explained::from(code);
    cx.printer.result(&explained, || page(&explained))
}

fn table(all: &[Explained]) -> String {
    all.iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{}  {:<24} {}", line.number, line.code.slug(), line.title);
        text
    })
}

fn page(explained: &Explained) -> String {
    let Explained { number, code, title, hint, status, exit_code } = explained;
    format!(
        "{number} {}\n\n  {title}\n\n  what to do: {hint}\n  exit code:  {exit_code}\n  HTTP:       {status}\n",
        code.slug()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_looks_like_this() {
        assert_eq!(
            page(&Code::VersionExists.into()),
            "DRY0104 version-exists\n\n  the version exists with other bytes\n\n  what to do: a version never changes: raise the version\n  exit code:  1\n  HTTP:       409\n"
        );
        let all: Vec<Explained> = Code::ALL.iter().copied().map(Explained::from).collect();
        assert_eq!(table(&all).lines().count(), Code::ALL.len());
    }
}
