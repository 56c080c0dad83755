//! Extended headers: the records of pax `x` (IEEE Std 1003.1, "pax Extended Header") and the path of GNU `L`.
//!
//! Owns: which records leave nothing to interpretation. Does not own: the entry that follows.

/// What extended headers say about the next entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Extension {
    pub(crate) path: Option<String>,
    pub(crate) size: Option<u64>,
}

/// Keys whose values nobody uses when a package is unpacked.
const HARMLESS: [&str; 7] = ["mtime", "atime", "ctime", "uid", "gid", "uname", "gname"];

/// Parses the records of one extended header: `length key=value\n`, the length in decimal and counting itself.
///
/// Refuses what parsers treat differently: keys twice, unknown keys, empty values (which delete), NUL and line feed in
/// values, and lengths in any other spelling.
pub(crate) fn parse(data: &[u8]) -> Result<Extension, &'static str> {
    let mut text = std::str::from_utf8(data).map_err(|_| "is not UTF-8")?;
    let mut seen: Vec<&str> = Vec::new();
    let mut extension = Extension::default();
    while !text.is_empty() {
        let (digits, _) = text.split_once(' ').ok_or("has a record without length")?;
        let length = decimal(digits).ok_or("has a record whose length is not a number")?;
        let length = usize::try_from(length).map_err(|_| "has a record longer than itself")?;
        let record = text.get(digits.len() + 1..length).ok_or("has a record longer than itself")?;
        let record =
            record.strip_suffix('\n').ok_or("has a record that does not end where its length says")?;
        let (key, value) = record.split_once('=').ok_or("has a record without `=`")?;
        if value.is_empty() || value.contains(['\0', '\n']) {
            return Err("has a value that is empty or contains NUL or a line feed");
        }
        if seen.contains(&key) {
            return Err("has a key twice");
        }
        match key {
            "path" => extension.path = Some(value.to_owned()),
            "size" => extension.size = Some(decimal(value).ok_or("has a size that is not a number")?),
            _ if HARMLESS.contains(&key) => {}
            _ => return Err("has a key other than path, size, times and owners"),
        }
        seen.push(key);
        text = &text[length..];
    }
    if seen.is_empty() { Err("is empty") } else { Ok(extension) }
}

/// Parses the data of a GNU long name: the path and one NUL.
pub(crate) fn long_name(data: &[u8]) -> Result<&[u8], &'static str> {
    match data.split_last() {
        Some((0, path)) if !path.is_empty() && !path.contains(&0) => Ok(path),
        _ => Err("is not a path and one NUL"),
    }
}

/// A number without sign and leading zeros.
fn decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// Whether the name in a tar header is what writers put there next to the full path: the same, or a shortened form.
///
/// A parser without support for the extension sees this name; it must not be another package's file.
pub(crate) fn stands_for(short: &[u8], path: &[u8]) -> bool {
    // Python writes `?` for characters outside ASCII, Go drops them; GNU tar and Cargo keep the bytes.
    let questioned =
        || String::from_utf8_lossy(path).chars().map(|c| if c.is_ascii() { c } else { '?' }).collect();
    let dropped = || String::from_utf8_lossy(path).chars().filter(char::is_ascii).collect::<String>();
    // Cut at 100 bytes, less up to three of a character that does not fit, less a slash at the end.
    let fits = |full: &[u8]| full == short || (short.len() >= 96 && full.starts_with(short));
    fits(path) || (!path.is_ascii() && (fits(String::as_bytes(&questioned())) || fits(dropped().as_bytes())))
}

/// Writes one record.
pub(crate) fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    // The length counts its own digits, of which there may be one more than in the rest.
    let guess = rest + rest.to_string().len();
    let length = rest + guess.to_string().len();
    format!("{length} {key}={value}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip_at_every_length() {
        for length in 1..1100 {
            let path = "a".repeat(length);
            let parsed = parse(record("path", &path).as_bytes());
            assert_eq!(parsed, Ok(Extension { path: Some(path), size: None }), "{length}");
        }
    }

    #[test]
    fn records_that_are_refused() {
        for bad in [
            "",
            "\n",
            "path=a\n",
            " 9 path=a\n",
            "+9 path=a\n",
            "011 path=a\n",
            "9 path=a",
            "8 path=a\n",
            "99 path=a\n",
            "9 path:a\n",
            "9 path=a\n9 path=a\n",
            "9 path=a\n\0\0",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        for (key, value) in [
            ("path", ""),
            ("path", "a\0"),
            ("path", "a\nb"),
            ("size", "-1"),
            ("size", "01"),
            ("size", "18446744073709551616"),
            ("linkpath", "a"),
            ("hdrcharset", "BINARY"),
            ("GNU.sparse.major", "1"),
        ] {
            assert!(parse(record(key, value).as_bytes()).is_err(), "{key}={value}");
        }
        assert!(parse(b"9 path=\xff\n").is_err());
        assert_eq!(parse(record("size", "7").as_bytes()), Ok(Extension { path: None, size: Some(7) }));
    }

    #[test]
    fn a_short_name_is_the_path_or_its_beginning() {
        let long = format!("p/é{}", "a".repeat(120));
        assert!(stands_for(b"p/a", b"p/a") && stands_for(b"p/?a", "p/éa".as_bytes()));
        assert!(stands_for(&long.as_bytes()[..100], long.as_bytes()));
        assert!(stands_for(format!("p/{}", "a".repeat(98)).as_bytes(), long.as_bytes()));
        assert!(!stands_for(b"p/a", b"p/ab") && !stands_for(b"p/b", b"p/a") && !stands_for(b"", b"a"));
    }
}
