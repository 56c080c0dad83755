//! The position in the log that every by-name file carries in its bytes.
//!
//! Owns: where it lies, for each class of file. Invariant: two states of one file never have equal bytes, so that
//! compare-and-swap by content cannot take an earlier state for the present one.
//!
//! Most files are JSON objects with a top-level `seq`. The files below `api/` answer clients of other registries that
//! refuse unknown fields, and some are arrays: there the position follows the value as blanks, which every JSON parser
//! skips (RFC 8259 section 2): in binary, the highest digit first, a space for 0 and a tab for 1, then a newline.

use serde::{Deserialize, Serialize};

use crate::{IndexFile, canonical_json, layout};

/// Longest position in blanks: the digits of a `u64`.
const DIGITS_MAX: usize = 64;

/// Writes a value as canonical JSON with the position in blanks behind it.
pub fn sealed_json<T: Serialize>(value: &T, seq: u64) -> Vec<u8> {
    let mut out = canonical_json(value);
    let digits = format!("{seq:b}");
    out.extend(digits.bytes().map(|digit| if digit == b'1' { b'\t' } else { b' ' }));
    out.push(b'\n');
    out
}

/// The position in the log that a by-name file carries in its bytes; none if it cannot be read.
pub fn file_seq(key: &str, bytes: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Seq {
        seq: u64,
    }
    if key.starts_with(layout::API) {
        blank_seq(bytes)
    } else if key.starts_with("index/") && key != layout::INDEX_CONFIG {
        IndexFile::parse(bytes).ok()?.seq()
    } else {
        serde_json::from_slice::<Seq>(bytes).ok().map(|file| file.seq)
    }
}

fn blank_seq(bytes: &[u8]) -> Option<u64> {
    let line = bytes.strip_suffix(b"\n")?;
    let start = line.iter().rposition(|byte| *byte == b'\n')? + 1;
    let digits = &line[start..];
    if digits.is_empty() || digits.len() > DIGITS_MAX {
        return None;
    }
    digits.iter().try_fold(0, |seq: u64, byte| match byte {
        b' ' => Some(seq << 1),
        b'\t' => Some(seq << 1 | 1),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    proptest! {
        #[test]
        fn a_position_in_blanks_reads_back_and_is_no_part_of_the_value(seq: u64) {
            for value in [json!([]), json!({"a": "b\n"}), json!([1, 2])] {
                let bytes = sealed_json(&value, seq);
                prop_assert_eq!(file_seq("api/v1/x.json", &bytes), Some(seq));
                prop_assert_eq!(&serde_json::from_slice::<Value>(&bytes).unwrap(), &value);
            }
        }
    }

    #[test]
    fn each_class_of_file_has_its_place() {
        assert_eq!(file_seq("packages/a.json", b"{\"seq\":7}\n"), Some(7));
        for bad in [&b""[..], b"\n", b"[]", b"[]\n", b"[]\n\n", b"[]\nx\n", b"[]\n \t"] {
            assert_eq!(file_seq("api/v1/a.json", bad), None, "{bad:?}");
        }
        assert_eq!(file_seq("api/v1/a.json", b"[]\n\t \t\n"), Some(5));
    }
}
