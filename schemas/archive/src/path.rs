//! Which paths every system can write, and when two of them are one.
//!
//! Owns: the rules for one path, and the collision key. Does not own: the set of paths seen.

use drystone_schemas::Limits;
use unicode_normalization::{UnicodeNormalization as _, is_nfc};

use crate::error::{ArchiveError, shown};

/// Checks one path, root directory included, by itself.
pub(crate) fn check(path: &str, limits: &Limits) -> Result<(), ArchiveError> {
    let too_long = |found: usize, unit, limit| {
        let found = found as u64;
        let error = || ArchiveError::PathTooLong { path: shown(path.as_bytes()), found, unit, limit };
        if found > limit { Err(error()) } else { Ok(()) }
    };
    too_long(path.len(), "bytes", limits.path_bytes_max)?;
    too_long(path.matches('/').count(), "directories", limits.depth_max)?;
    flaw(path).map_or(Ok(()), |why| Err(ArchiveError::UnsafePath { path: shown(path.as_bytes()), why }))
}

/// What is wrong with a path, if anything is; `/` separates segments, and none may lie at either end.
fn flaw(path: &str) -> Option<&'static str> {
    if path.starts_with('/') {
        return Some("is absolute");
    }
    if path.contains('\\') {
        return Some("contains a backslash, which separates directories on Windows");
    }
    if path.chars().any(is_invisible) {
        return Some("contains a control, formatting or invisible character");
    }
    if !is_nfc(path) {
        return Some("is not in Unicode normalization form C");
    }
    path.split('/').find_map(segment_flaw)
}

fn segment_flaw(segment: &str) -> Option<&'static str> {
    match segment {
        "" => return Some("has an empty segment"),
        "." => return Some("has a segment `.`"),
        ".." => return Some("has a segment `..`"),
        _ => {}
    }
    if segment.contains(['<', '>', ':', '"', '|', '?', '*']) {
        return Some("contains one of `< > : \" | ? *`, which Windows cannot write");
    }
    if segment.ends_with(['.', ' ']) {
        return Some("has a segment that ends with a dot or space, which Windows drops");
    }
    let key = collision_key(segment);
    if is_windows_device(&key) {
        return Some("has a segment that is the name of a Windows device");
    }
    if matches!(&*key, ".git" | "git~1") {
        return Some("has a segment `.git`, which Git treats as a repository");
    }
    None
}

/// Whether Windows takes this file name, in its collision key, for a device, whatever its extension.
///
/// The superscripts ¹ ² ³ count as digits there; the key has them as digits already.
fn is_windows_device(key: &str) -> bool {
    let stem = key.split('.').next().unwrap_or(key).trim_end_matches(' ');
    let numbered =
        |prefix: &str| stem.strip_prefix(prefix).is_some_and(|rest| matches!(rest.as_bytes(), [b'0'..=b'9']));
    matches!(stem, "con" | "prn" | "aux" | "nul" | "conin$" | "conout$" | "clock$")
        || numbered("com")
        || numbered("lpt")
}

/// The form in which two segments are equal if any common file system takes them for one.
///
/// NFKC, then full case folding. The standard library has no table for the latter; lower, upper and lower case in a
/// row come to the same (`ß` and `ẞ` to `ss`, `ſ` to `s`, `ς` to `σ`), and where they differ they join more, never less.
pub(crate) fn collision_key(segment: &str) -> String {
    if segment.is_ascii() {
        return segment.to_ascii_lowercase();
    }
    segment
        .nfkc()
        .filter(|c| !is_variation_selector(*c))
        .flat_map(char::to_lowercase)
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .nfkc()
        .collect()
}

/// Emoji need them in names, and some systems ignore them.
const fn is_variation_selector(c: char) -> bool {
    matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// Whether a character cannot be seen: Cc, Cf, Zl, Zp and the default ignorable code points of Unicode 16, without
/// variation selectors and ordinary spaces. These include the bidirectional controls and what HFS+ ignores.
pub(crate) fn is_invisible(c: char) -> bool {
    c.is_control()
        || (!is_variation_selector(c)
            && matches!(c,
                '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
                | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
                | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_are_refused() {
        for bad in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "./a",
            "a/.",
            "..",
            "a/../b",
            "a\\b",
            "C:evil",
            "C:/evil",
            "a::$DATA",
            "a\0b",
            "a\nb",
            "a\u{202e}b",
            "a\u{200d}b",
            "e\u{301}",
            "CON",
            "con.txt",
            "a/NUL .tar",
            "COM¹.log",
            "lpt9",
            "CONOUT$",
            "a.",
            "a ",
            "a./b",
            ".git/config",
            "a/.GIT",
            "git~1",
            ".g\u{200c}it",
            "a?b",
            "a*",
            "a|b",
            "<a>",
            "\"",
        ] {
            assert!(flaw(bad).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn paths_that_are_allowed() {
        for good in [
            "a",
            "a/b.rs",
            ".gitignore",
            ".github/workflows/ci.yml",
            "é",
            "日本語/ファイル",
            "a b",
            "-a",
            "~a",
            "con1",
            "common",
            "lpt10",
            "a..b",
            "...a",
            "{{name}}",
            "[a]",
            "a'b",
            "#a",
            "100%",
            "a@b",
            "a+b",
            "☺\u{fe0f}",
        ] {
            assert_eq!(flaw(good), None, "{good:?}");
        }
    }

    #[test]
    fn what_some_file_system_joins_has_one_key() {
        for (a, b) in [
            ("README", "readme"),
            ("Straße", "STRASSE"),
            ("ẞ", "ss"),
            ("ﬁle", "FILE"),
            ("Σς", "σσ"),
            ("K", "k"),
            ("e\u{301}", "É"),
            ("①", "1"),
            ("ſ", "S"),
            ("☺\u{fe0f}", "☺"),
        ] {
            assert_eq!(collision_key(a), collision_key(b), "{a} {b}");
        }
        assert_ne!(collision_key("e"), collision_key("é"));
    }
}
