//! One way to write JSON: sorted keys, no spaces, no floats, one line.

use serde::Serialize;
use serde_json::Value;

/// Writes a value as canonical JSON with a newline at the end.
///
/// Keys are sorted by their UTF-8 bytes at every level, whatever order the value's map keeps. Numbers must be
/// integers; a float is a bug of the caller's type and panics, as does a map whose keys are not strings.
pub fn canonical_json<T: Serialize>(value: &T) -> Vec<u8> {
    let value = serde_json::to_value(value).expect("wire types have string keys and no fallible serialisers");
    let mut out = Vec::with_capacity(256);
    write(&value, &mut out);
    out.push(b'\n');
    out
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by(|a, b| a.0.cmp(b.0));
            out.push(b'{');
            for (i, (key, value)) in entries.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                scalar(key, out);
                out.push(b':');
                write(value, out);
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Value::Number(number) => {
            assert!(!number.is_f64(), "canonical JSON has no floats");
            scalar(number, out);
        }
        other => scalar(other, out),
    }
}

fn scalar<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("writing a JSON scalar to memory cannot fail");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_sorted_at_every_level() {
        let value = json!({"b": {"z": 1, "a": [true, null]}, "a": "é\n"});
        assert_eq!(canonical_json(&value), "{\"a\":\"é\\n\",\"b\":{\"a\":[true,null],\"z\":1}}\n".as_bytes());
    }

    #[test]
    #[should_panic(expected = "no floats")]
    fn floats_are_a_bug() {
        canonical_json(&json!({"a": 1.5}));
    }
}
