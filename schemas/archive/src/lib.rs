//! Package archives: read strictly, inspected, packed canonically.
//!
//! Owns: what an archive may be ([`read_archive`]), what it says of itself ([`inspect`], [`parse_cargo`],
//! [`parse_generic`] and [`parse_zig`]), how Zig hashes it ([`zig_package_hash`]), and the one form in which Drystone writes archives ([`pack`]). Does not own: where bytes come
//! from and go to; nothing here touches disk, network, clock, randomness or environment.
//!
//! Invariant: no archive is accepted that two parsers could read differently, and the version record is a function of
//! the archive's bytes and its format.

mod body;
mod contents;
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
mod repack;
mod vcs;
mod zig_hash;
mod zon;

pub use error::{ArchiveError, ReadError};
pub use generic::{Generic, root_directory};
pub use inspect::{Inspected, archive_too_big, inspect};
pub use manifest::{
    Details, Manifest, ReadmeChoice, ZigManifest, parse_cargo, parse_generic, parse_language, parse_zig,
};
pub use pack::{PackError, PackFile, pack};
pub use read::{ArchiveFacts, Entry, Layout, read_archive, read_archive_as};
pub use repack::{RepackError, can_be_repacked, leave_out_layout, repack_zig};
pub use zig_hash::{ZigHash, zig_package_hash};
pub use zon::{
    DEPTH_MAX as ZON_DEPTH_MAX, Field as ZonField, Node as ZonNode, Value as ZonValue, ZonError, parse_zon,
};
