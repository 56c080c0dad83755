//! Index files.

use drystone_schemas::{IndexFile, IndexLine};

/// What parses is written back to bytes that parse to the same, and those are the only ones.
pub fn index_lines(data: &[u8]) {
    let Ok(file) = IndexFile::parse(data) else { return };
    let bytes = file.to_bytes();
    let again = IndexFile::parse(&bytes).expect("what was written parses");
    assert_eq!(again, file);
    assert_eq!(again.to_bytes(), bytes);
    let largest: Option<&IndexLine> = file.lines.iter().max_by_key(|line| line.seq);
    assert_eq!(file.seq(), largest.map(|line| line.seq));
    for line in &file.lines {
        let found = file.find(&line.vers).expect("a version that is there is found");
        assert_eq!(found.vers.precedence_key(), line.vers.precedence_key());
    }
    assert!(file.latest().is_none_or(|line| !line.yanked));
}
