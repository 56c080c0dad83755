use std::sync::Arc;

use drystone_schemas::Code;

use super::*;

/// What was written to one stream.
#[derive(Clone, Default)]
pub(crate) struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn output() -> Output {
    Output { json: false, quiet: 0, verbose: 0, color: ColorChoice::Auto, no_progress: false }
}

fn printed(output: &Output, print: impl FnOnce(&Printer)) -> (String, String) {
    let (out, err) = (Sink::default(), Sink::default());
    print(&Printer::to(output, Box::new(out.clone()), Box::new(err.clone())));
    (out.text(), err.text())
}

fn two_problems() -> Failure {
    let link = |path: &str| {
        Problem::new(Code::EntryType, format!("`{path}` is a symbolic link"))
            .fact("path", path)
            .with_hint("remove it")
    };
    let conflict = Problem::new(Code::NoVersionsFit, "no versions fit")
        .fact("because", "`a` 1.0.0 needs `c` ^1\n`b` 1.0.0 needs `c` ^2")
        .fact("request", "01JD");
    Failure::from(vec![link("a"), link("b"), conflict]).noting("nothing was uploaded")
}

#[test]
fn errors_have_this_form() {
    let (out, err) = printed(&output(), |printer| printer.failure(&two_problems()));
    assert_eq!(out, "");
    assert_eq!(
        err,
        "error[DRY0207]: `a` is a symbolic link
error[DRY0207]: `b` is a symbolic link
  hint: remove it
error[DRY0703]: no versions fit
  because:
    `a` 1.0.0 needs `c` ^1
    `b` 1.0.0 needs `c` ^2
  request: 01JD
  hint: loosen a requirement
3 problems found, nothing was uploaded
"
    );
}

#[test]
fn errors_in_json_go_to_stdout_and_nothing_else_is_said() {
    let json = Output { json: true, ..output() };
    let (out, err) = printed(&json, |printer| {
        printer.step("Packing", "a");
        printer.hint("b");
        printer.failure(&Failure::new(Code::PackageNotFound, "there is no package `a`"));
    });
    assert_eq!(err, "");
    assert_eq!(
        out,
        "{\"errors\":[{\"code\":\"package-not-found\",\"number\":\"DRY0106\",\"detail\":\"there is no package `a`\",\
         \"hint\":\"check the spelling, or search with `drystone search NAME`\"}]}\n"
    );
}

#[test]
fn verbosity() {
    let all = |printer: &Printer| {
        printer.step("Packing", "a");
        printer.warning("w");
        printer.detail("d");
        printer.hint("h");
    };
    let err = |output: &Output| printed(output, all).1;
    assert_eq!(err(&output()), "     Packing a\nwarning: w\nhint: h\n");
    assert_eq!(err(&Output { verbose: 1, ..output() }), "     Packing a\nwarning: w\nd\nhint: h\n");
    assert_eq!(err(&Output { quiet: 1, ..output() }), "warning: w\n");
    assert_eq!(err(&Output { quiet: 2, ..output() }), "");
    let colored = Output { color: ColorChoice::Always, ..output() };
    assert_eq!(
        err(&colored),
        "\u{1b}[1;32m     Packing\u{1b}[0m a\n\u{1b}[1;33mwarning\u{1b}[0m: w\n\u{1b}[1;36mhint\u{1b}[0m: h\n"
    );
}

#[test]
fn a_reader_that_has_gone_ends_the_command_quietly() {
    let printer = Printer::to(&output(), Box::new(Closed), Box::new(Closed));
    assert_eq!(printer.data("text"), Err(Failure::BrokenPipe));
    printer.step("Packing", "a");
}

/// Flag, whether there is a terminal, environment, whether there is colour.
type Case<'a> = (ColorChoice, bool, &'a [(&'a str, &'a str)], bool);

#[test]
fn colour_follows_flag_environment_and_terminal() {
    let table: &[Case<'_>] = &[
        (ColorChoice::Auto, true, &[], true),
        (ColorChoice::Auto, false, &[], false),
        (ColorChoice::Auto, true, &[("NO_COLOR", "1")], false),
        (ColorChoice::Auto, true, &[("NO_COLOR", "")], true),
        (ColorChoice::Auto, true, &[("TERM", "dumb")], false),
        (ColorChoice::Auto, true, &[("CLICOLOR", "0")], false),
        (ColorChoice::Auto, false, &[("CLICOLOR_FORCE", "1")], true),
        (ColorChoice::Auto, false, &[("FORCE_COLOR", "1"), ("NO_COLOR", "1")], false),
        (ColorChoice::Always, false, &[("NO_COLOR", "1")], true),
        (ColorChoice::Never, true, &[("FORCE_COLOR", "1")], false),
    ];
    for (choice, terminal, pairs, expected) in table {
        let env: Env = pairs.iter().copied().collect();
        assert_eq!(use_color(*choice, *terminal, &env), *expected, "{choice:?} {terminal} {pairs:?}");
    }
}

#[test]
fn numbers_for_people() {
    for (bytes, text) in
        [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (39_117, "38.2 KiB"), (52_428_800, "50.0 MiB")]
    {
        assert_eq!(human_bytes(bytes), text);
    }
    assert_eq!((count(1, "file"), count(0, "file")), ("1 file".to_owned(), "0 files".to_owned()));
}
