//! What readers see in an archive, to be compared.

use std::io::Read as _;

use drystone_archive::{ArchiveError, Layout, ReadError, read_archive_as};
use drystone_schemas::{Limits, Sha256Digest};

/// Path, length, digest, and whether it is executable.
pub type Listing = Vec<(String, u64, Sha256Digest, bool)>;

/// The files as `drystone-archive` reads them.
pub fn ours(bytes: &[u8]) -> Result<Listing, Vec<ArchiveError>> {
    ours_within(bytes, &Limits::default())
}

/// The files as `drystone-archive` reads them, within limits.
pub fn ours_within(bytes: &[u8], limits: &Limits) -> Result<Listing, Vec<ArchiveError>> {
    ours_as(bytes, limits, Layout::OneRoot)
}

/// The files as `drystone-archive` reads them where they may lie at the top.
pub fn ours_flat(bytes: &[u8]) -> Result<Listing, Vec<ArchiveError>> {
    ours_as(bytes, &Limits::default(), Layout::Flat)
}

fn ours_as(bytes: &[u8], limits: &Limits, layout: Layout) -> Result<Listing, Vec<ArchiveError>> {
    let mut listing = Vec::new();
    let outcome = read_archive_as::<_, std::io::Error>(bytes, limits, layout, &mut |entry, body| {
        let mut content = Vec::new();
        body.read_to_end(&mut content)?;
        let path = match entry.root {
            "" => entry.path.to_owned(),
            root => format!("{root}/{}", entry.path),
        };
        listing.push((path, entry.size, Sha256Digest::of(&content), entry.executable));
        Ok(())
    });
    match outcome {
        Ok(facts) => {
            assert_eq!(facts.files, listing.len() as u64);
            assert_eq!(facts.unpacked, listing.iter().map(|file| file.1).sum::<u64>());
            assert_eq!(facts.size, bytes.len() as u64);
            Ok(listing)
        }
        Err(ReadError::Refused(errors)) => {
            assert!(!errors.is_empty());
            Err(errors)
        }
        Err(other) => panic!("memory does not fail: {other}"),
    }
}

/// Whether the `tar` and `flate2` crates, which Cargo unpacks with, see the same files.
pub fn lists_alike(bytes: &[u8], ours: &Listing) -> bool {
    let mut theirs = Vec::new();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes));
    for entry in archive.entries().expect("it opens") {
        let mut entry = entry.expect("it goes on");
        if entry.header().entry_type() == tar::EntryType::Directory {
            continue;
        }
        assert_eq!(entry.header().entry_type(), tar::EntryType::Regular);
        let path = String::from_utf8(entry.path_bytes().into_owned()).expect("it is UTF-8");
        let executable = entry.header().mode().expect("it has a mode") & 0o111 != 0;
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("it can be read");
        theirs.push((path, content.len() as u64, Sha256Digest::of(&content), executable));
    }
    theirs == *ours
}
