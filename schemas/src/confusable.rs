//! Short names that a reader takes for one another, and names that are alike.
//!
//! Owns: the rule by which two names look the same, and the number of slips between two names. Does not own: what follows
//! from it. Names hold only `[a-z0-9-]` (canonical form), so that of Unicode's confusables (UTS #39, `confusables.txt`)
//! few are left: `0` and `o`; `1`, `i` and `l`; `rn` and `m`. `_` is `-` in the canonical form already.
//! Invariant: [`skeleton`] is idempotent, and names look the same exactly where their skeletons are equal.

use std::collections::BTreeSet;

/// Most names that [`look_alikes`] gives.
const LOOK_ALIKES_MAX: usize = 64;

/// Pieces that look the same; the first of each class stands for it.
const CLASSES: [&[&str]; 3] = [&["o", "0"], &["l", "1", "i"], &["m", "rn"]];

/// The form that all names which look the same share (UTS #39, section 4, for the letters of names).
pub fn skeleton(canonical: &str) -> String {
    let mut out = canonical.to_owned();
    for class in CLASSES {
        for other in &class[1..] {
            out = out.replace(other, class[0]);
        }
    }
    out
}

/// Names that look like this one and differ in one piece; at most 64, in their order.
pub fn look_alikes(canonical: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in canonical.char_indices() {
        let rest = &canonical[at..];
        for class in CLASSES {
            let Some(piece) = class.iter().find(|piece| rest.starts_with(**piece)) else { continue };
            for other in class.iter().filter(|other| *other != piece) {
                found.insert(format!("{}{other}{}", &canonical[..at], &rest[piece.len()..]));
            }
        }
    }
    found.into_iter().take(LOOK_ALIKES_MAX).collect()
}

/// How many characters must be added, dropped or replaced to make one name the other (Levenshtein).
pub fn slips(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_looks_the_same() {
        for (a, b) in [("lodash", "1odash"), ("zion", "z1on"), ("rnodern", "modem"), ("http0", "httpo")] {
            assert_eq!(skeleton(a), skeleton(b), "{a} {b}");
        }
        for (a, b) in [("http", "https"), ("json", "jsom"), ("a-b", "ab"), ("s", "5")] {
            assert_ne!(skeleton(a), skeleton(b), "{a} {b}");
        }
        let alike: Vec<String> = look_alikes("mi").into_iter().collect();
        assert_eq!(alike, ["m1", "ml", "rni"]);
    }

    #[test]
    fn slips_between_names() {
        for (a, b, slips_) in
            [("", "", 0), ("http", "htpp", 1), ("http", "https", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(slips(a, b), slips_, "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn skeletons_are_stable_and_shared_by_look_alikes(name in "[a-z0-9][a-z0-9-]{0,30}") {
            let own = skeleton(&name);
            prop_assert_eq!(&skeleton(&own), &own);
            for other in look_alikes(&name) {
                prop_assert_ne!(&other, &name);
                prop_assert_eq!(&skeleton(&other), &own, "{}", other);
            }
        }
    }
}
