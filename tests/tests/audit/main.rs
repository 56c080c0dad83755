//! The log of a registry, read by others: by programs that share no code with this project, and by `drystone audit` and
//! `drystone monitor` as an outsider runs them.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails, and it starts other programs"
)]

mod commands;
mod others;
mod sizes;
