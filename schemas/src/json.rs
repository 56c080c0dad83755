//! One way to write JSON: sorted keys, no spaces, no floats, one line.

use std::borrow::Cow;

use serde::Serialize;

/// Writes a value as canonical JSON with a newline at the end.
///
/// Keys are sorted by their UTF-8 bytes at every level, whatever order the value's map keeps; of two equal keys the later one
/// counts. Numbers must be integers; a float is a bug of the caller's type and panics, as does a map whose keys are not
/// strings.
///
/// The value is written in its own order first, and the text is sorted then: a tree of the value in between would take ten
/// times as long, and this is what a replay of a log does most.
pub fn canonical_json<T: Serialize>(value: &T) -> Vec<u8> {
    let text = serde_json::to_vec(value).expect("wire types have string keys and no fallible serialisers");
    let mut out = Vec::with_capacity(text.len() + 1);
    let rest = copy_sorted(&text, &mut out);
    debug_assert!(rest.is_empty(), "a value is one value");
    out.push(b'\n');
    out
}

/// Copies one value from the start of compact JSON, its keys sorted, and returns what follows it.
fn copy_sorted<'a>(text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    match text[0] {
        b'{' => copy_object(&text[1..], out),
        b'[' => {
            out.push(b'[');
            let mut rest = &text[1..];
            while rest[0] != b']' {
                if rest[0] == b',' {
                    out.push(b',');
                    rest = &rest[1..];
                }
                rest = copy_sorted(rest, out);
            }
            out.push(b']');
            &rest[1..]
        }
        b'"' => {
            let (string, rest) = text.split_at(string_len(text));
            out.extend_from_slice(string);
            rest
        }
        _ => {
            let len = text.iter().position(|b| b",]}".contains(b)).unwrap_or(text.len());
            let (scalar, rest) = text.split_at(len);
            let is_float =
                scalar[0] != b't' && scalar[0] != b'f' && scalar.iter().any(|b| b".eE".contains(b));
            assert!(!is_float, "canonical JSON has no floats");
            out.extend_from_slice(scalar);
            rest
        }
    }
}

/// The same for the members of an object, after its brace.
fn copy_object<'a>(text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let mut members: Vec<(&[u8], std::ops::Range<usize>)> = Vec::new();
    let (mut rest, mut sorted) = (text, true);
    let start = out.len();
    while rest[0] != b'}' {
        if rest[0] == b',' {
            rest = &rest[1..];
        }
        let (key, after) = rest.split_at(string_len(rest));
        sorted &= members.last().is_none_or(|(last, _)| key_of(last) < key_of(key));
        let from = out.len();
        // The colon, then the value.
        rest = copy_sorted(&after[1..], out);
        members.push((key, from..out.len()));
    }
    let values = out.split_off(start);
    if !sorted {
        members.sort_by(|(one, _), (other, _)| key_of(one).cmp(&key_of(other)));
    }
    out.push(b'{');
    let mut members = members.iter().peekable();
    let mut is_first = true;
    while let Some((key, value)) = members.next() {
        if members.peek().is_some_and(|(next, _)| next == key) {
            continue;
        }
        if !std::mem::take(&mut is_first) {
            out.push(b',');
        }
        out.extend_from_slice(key);
        out.push(b':');
        out.extend_from_slice(&values[value.start - start..value.end - start]);
    }
    out.push(b'}');
    &rest[1..]
}

/// Length of the string at the start of the text, with its quotation marks.
fn string_len(text: &[u8]) -> usize {
    let mut at = 1;
    loop {
        match text[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// What a key sorts by: its own bytes, not those of the escapes that it is written with.
fn key_of(quoted: &[u8]) -> Cow<'_, [u8]> {
    let inner = &quoted[1..quoted.len() - 1];
    if !inner.contains(&b'\\') {
        return inner.into();
    }
    let key: String = serde_json::from_slice(quoted).expect("it was written as a string");
    key.into_bytes().into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn keys_are_sorted_at_every_level() {
        let value = json!({"b": {"z": 1, "a": [true, null]}, "a": "é\n"});
        assert_eq!(canonical_json(&value), "{\"a\":\"é\\n\",\"b\":{\"a\":[true,null],\"z\":1}}\n".as_bytes());
    }

    /// The same by way of a tree, as it was done once.
    fn by_tree(value: &Value) -> String {
        match value {
            Value::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_unstable_by(|a, b| a.0.cmp(b.0));
                let entry = |(key, value): (&String, &Value)| format!("{}:{}", json!(key), by_tree(value));
                format!("{{{}}}", entries.into_iter().map(entry).collect::<Vec<_>>().join(","))
            }
            Value::Array(items) => format!("[{}]", items.iter().map(by_tree).collect::<Vec<_>>().join(",")),
            other => other.to_string(),
        }
    }

    #[test]
    fn sorted_text_is_what_a_sorted_tree_is_written_as() {
        for value in [
            json!({}),
            json!([]),
            json!([
                [],
                {},
                [{}],
                "",
                "\\",
                "\"",
                "a\\\"b,]}",
                -1,
                18_446_744_073_709_551_615_u64,
                true,
                false,
                null
            ]),
            json!({"": 0, "\"": 1, "#": 2, "\\": 3, "]": 4, "[": 5, "\u{1}": 6, " ": 7, "é": 8, "zz": 9, "z": {"e": 1, "E": 2}}),
            json!({"z": {"y": {"x": [{"b": 1, "a": [{"d": {}, "c": "}"}]}]}}, "a": [true, {"n": null, "f": false}]}),
        ] {
            assert_eq!(String::from_utf8(canonical_json(&value)).unwrap(), by_tree(&value) + "\n");
        }
    }

    #[test]
    fn members_come_in_the_order_of_their_keys_and_the_later_of_two_counts() {
        struct Pairs(&'static [(&'static str, u32)]);
        impl Serialize for Pairs {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().copied())
            }
        }
        let check = |pairs, text: &str| assert_eq!(canonical_json(&Pairs(pairs)), text.as_bytes());
        check(&[("b", 1), ("a", 2)], "{\"a\":2,\"b\":1}\n");
        check(&[("a", 1), ("b", 2), ("a", 3)], "{\"a\":3,\"b\":2}\n");
        check(&[("a\"", 1), ("a#", 2), ("a!", 3)], "{\"a!\":3,\"a\\\"\":1,\"a#\":2}\n");
    }

    #[test]
    #[should_panic(expected = "no floats")]
    fn floats_are_a_bug() {
        canonical_json(&json!({"a": 1.5}));
    }
}
