//! Package archives: read strictly, inspected, packed canonically.
//!
//! Owns: what an archive may be ([`read_archive`]), what it says of itself ([`inspect`], [`parse_cargo`] and
//! [`parse_generic`]), and the one form in which Drystone writes archives ([`pack`]). Does not own: where bytes come
//! from and go to; nothing here touches disk, network, clock, randomness or environment.
//!
//! Invariant: no archive is accepted that two parsers could read differently, and the version record is a function of
//! the archive's bytes and its format.

mod body;
mod error;
mod generic;
mod gzip;
mod header;
mod inspect;
mod manifest;
mod pack;
mod path;
mod paths;
mod pax;
mod read;
mod readme;
mod vcs;

pub use error::{ArchiveError, ReadError};
pub use generic::{Generic, root_directory};
pub use inspect::{Inspected, archive_too_big, inspect};
pub use manifest::{Details, Manifest, ReadmeChoice, parse_cargo, parse_generic, parse_language};
pub use pack::{PackError, PackFile, pack};
pub use read::{ArchiveFacts, Entry, Layout, read_archive, read_archive_as};
