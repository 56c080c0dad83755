//! Closure hints: the names of the packages that a package leads to.
//!
//! Owns: the form of the file. Does not own: which names, or when it is written.
//! Invariant: a hint that was parsed has at most [`ResolveHint::NAMES_MAX`] names, ascending, and lines that name only these.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{PackageName, Positions, Version, canonical_json};

/// `resolve/<prefix>/<name>.hint`: what a resolver will probably ask for after the package itself.
///
/// Advice, and as old as the package's newest release or the operator's last refresh: a name too many costs bytes, a name too
/// few costs a round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResolveHint {
    /// Position in the log of the event at which it was computed.
    pub seq: u64,
    /// The names, ascending.
    pub names: Vec<PackageName>,
    /// For each line of compatible versions that was followed, the newest first: its least version, and which of the names it
    /// leads to. It is what the hints of other packages are made of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<(Version, Positions)>,
}

/// Why bytes are no hint.
#[derive(Debug, thiserror::Error)]
pub enum ResolveHintError {
    /// Not the JSON of one.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// More names than there may be.
    #[error("a hint has {0} names, at most {max}", max = ResolveHint::NAMES_MAX)]
    TooMany(usize),
    /// The names do not ascend, or a line points at a name that is not there.
    #[error("the names of a hint do not ascend, or a line leads to none of them")]
    Order,
}

impl ResolveHint {
    /// Most names: three times as many as the largest closure that is known.
    pub const NAMES_MAX: usize = 6_000;

    /// A hint from what each line leads to, the newest first. Names beyond [`NAMES_MAX`](Self::NAMES_MAX) are dropped.
    pub fn new(seq: u64, lines: Vec<(Version, Vec<PackageName>)>) -> Self {
        let mut names: Vec<PackageName> = lines.iter().flat_map(|(_, names)| names).cloned().collect();
        names.sort_unstable();
        names.dedup();
        names.truncate(Self::NAMES_MAX);
        let place = |name: &PackageName| names.binary_search(name).ok().and_then(|at| u32::try_from(at).ok());
        let lines =
            lines.into_iter().map(|(line, of)| (line, Positions::new(of.iter().filter_map(place).collect())));
        Self { seq, lines: lines.collect(), names }
    }

    /// Parses the file.
    ///
    /// # Errors
    ///
    /// Anything but a hint within its bounds.
    pub fn parse(bytes: &[u8]) -> Result<Self, ResolveHintError> {
        let hint: Self = serde_json::from_slice(bytes)?;
        if hint.names.len() > Self::NAMES_MAX {
            return Err(ResolveHintError::TooMany(hint.names.len()));
        }
        let inside = hint.lines.iter().all(|(_, names)| names.end() <= hint.names.len() as u64);
        if inside && hint.names.is_sorted_by(|a, b| a < b) { Ok(hint) } else { Err(ResolveHintError::Order) }
    }

    /// The names that a line leads to.
    pub fn names_of<'a>(&'a self, line: &'a Positions) -> impl Iterator<Item = &'a PackageName> {
        line.iter().filter_map(|at| self.names.get(at))
    }

    /// Whether two hints say the same, whenever they were computed.
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.names == other.names && self.lines == other.lines
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical_json(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> PackageName {
        PackageName::new(text).unwrap()
    }

    #[test]
    fn a_hint_reads_back_and_looks_like_this() {
        let line = |version: &str, names: &[&str]| {
            (Version::new(version).unwrap(), names.iter().map(|text| name(text)).collect())
        };
        let hint = ResolveHint::new(7, vec![line("2.0.0", &["c", "a", "b"]), line("1.0.0", &["a", "d"])]);
        let text = "{\"lines\":[[\"2.0.0\",[0,3]],[\"1.0.0\",[0,1,3,1]]],\"names\":[\"a\",\"b\",\"c\",\"d\"],\"seq\":7}\n";
        assert_eq!(String::from_utf8(hint.to_bytes()).unwrap(), text);
        assert_eq!(ResolveHint::parse(text.as_bytes()).unwrap(), hint);
        let second: Vec<&str> = hint.names_of(&hint.lines[1].1).map(PackageName::as_str).collect();
        assert_eq!(second, ["a", "d"]);
        assert!(hint.says_the_same(&ResolveHint { seq: 9, ..hint.clone() }));
    }

    #[test]
    fn what_is_out_of_bounds_is_no_hint() {
        let old = ResolveHint::parse(b"{\"names\":[\"a\"],\"seq\":7}").unwrap();
        assert_eq!(old.lines, [], "hints without lines are good as advice");
        for (why, text) in [
            ("do not ascend", r#"{"names":["b","a"],"seq":7}"#),
            ("do not ascend", r#"{"names":["a","a"],"seq":7}"#),
            ("leads to none", r#"{"lines":[["1.0.0",[1,1]]],"names":["a"],"seq":7}"#),
            ("missing field", r#"{"names":["a"]}"#),
        ] {
            let error = ResolveHint::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let names: Vec<PackageName> =
            (0..=ResolveHint::NAMES_MAX).map(|at| name(&format!("p{at:05}"))).collect();
        let long = ResolveHint { seq: 1, names: names.clone(), lines: vec![] };
        assert!(matches!(ResolveHint::parse(&long.to_bytes()), Err(ResolveHintError::TooMany(_))));
        let cut = ResolveHint::new(1, vec![(Version::new("1.0.0").unwrap(), names)]);
        assert_eq!(cut.names.len(), ResolveHint::NAMES_MAX);
        assert_eq!(ResolveHint::parse(&cut.to_bytes()).unwrap(), cut);
    }
}
