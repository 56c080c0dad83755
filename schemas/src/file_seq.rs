//! The position in the log that every by-name file carries in its bytes.
//!
//! An index file has it in its lines, a JSON file of ours as its top-level `seq`. A file whose form somebody else fixed, and
//! which has no room for a field, carries it as blanks after its last bracket: the bits of the number, the highest first, a
//! space for 0 and a tab for 1, and a newline. Every JSON parser skips them. Invariant: no two states of a file are equal.

use serde::{Deserialize, Serialize};

use crate::{IndexFile, canonical_json, layout};

/// Writes a value as canonical JSON with its position in the log behind it, as blanks.
pub fn sealed_json<T: Serialize>(value: &T, seq: u64) -> Vec<u8> {
    let mut json = canonical_json(value);
    // The blanks follow the last bracket directly.
    json.pop();
    with_blank_seq(json, seq)
}

/// Ends a JSON text with its position in the log, written as blanks.
pub fn with_blank_seq(mut json: Vec<u8>, seq: u64) -> Vec<u8> {
    let bits = (u64::BITS - seq.leading_zeros()).max(1);
    json.extend((0..bits).rev().map(|bit| if seq >> bit & 1 == 1 { b'\t' } else { b' ' }));
    json.push(b'\n');
    json
}

fn blank_seq(bytes: &[u8]) -> Option<u64> {
    let text = bytes.strip_suffix(b"\n")?;
    let blanks = text.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let (json, blanks) = text.split_at(text.len() - blanks);
    if !(1..=64).contains(&blanks.len()) || !matches!(json.last()?, b'}' | b']') {
        return None;
    }
    Some(blanks.iter().fold(0, |seq, byte| seq << 1 | u64::from(*byte == b'\t')))
}

/// The position in the log that a by-name file carries in its bytes; none if it cannot be read.
pub fn file_seq(key: &str, bytes: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Seq {
        seq: u64,
    }
    if key.starts_with("index/") && key != layout::INDEX_CONFIG {
        return IndexFile::parse(bytes).ok()?.seq();
    }
    blank_seq(bytes).or_else(|| serde_json::from_slice::<Seq>(bytes).ok().map(|file| file.seq))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_hold_a_number_and_are_no_part_of_the_json() {
        for seq in [0, 1, 2, 5, 999, u64::MAX] {
            for json in ["{\"resolved\":true}", "[]"] {
                let bytes = with_blank_seq(json.into(), seq);
                assert_eq!(file_seq("api/v1/x", &bytes), Some(seq));
                let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
                assert_eq!(value.to_string(), json);
            }
        }
        for other in ["{}", "{}\n", "", "\n", " \n", "x \n"] {
            assert_eq!(file_seq("api/v1/x", other.as_bytes()), None, "{other:?}");
        }
        assert_eq!(file_seq("packages/a.json", b"{\"seq\":7}\n"), Some(7));
    }
}
