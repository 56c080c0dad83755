//! What Cargo's public registry asks of a name beyond what every format does, so that no crate here has a name that
//! cargo or the compiler takes for something else. Pure.

use drystone_schemas::{Code, Format, Problem, VersionRecord};

/// Crates that come with every compiler: a dependency of such a name would hide them, or be hidden.
const BUILT_IN: [&str; 5] = ["alloc", "core", "proc-macro", "std", "test"];

/// Checks the name of a release of the cargo format.
pub(super) fn check(record: &VersionRecord) -> Result<(), Problem> {
    if record.format != Format::Cargo {
        return Ok(());
    }
    let name = record.name.as_str();
    let refuse = |why: &str, hint: &str| {
        let problem = Problem::new(Code::InvalidName, format!("`{name}` is not a name for a crate: {why}"));
        Err(problem.fact("name", name).with_hint(hint))
    };
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return refuse("it does not start with a letter", "start the name with a letter");
    }
    if BUILT_IN.contains(&&*record.name.canonical()) {
        return refuse("a crate of that name comes with the compiler", "choose another name");
    }
    Ok(())
}
