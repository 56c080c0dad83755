//! Sets of versions of one package, as runs of positions in the ascending list of its versions.
//!
//! Invariant: runs are ascending, not empty, and do not touch, so that equal sets are equal values, as PubGrub demands.

use std::fmt;

use pubgrub::VersionSet;
use smallvec::{SmallVec, smallvec};

/// A set of positions: runs `[start, end)`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct PositionSet(SmallVec<[(u32, u32); 2]>);

impl PositionSet {
    /// The set of these positions, which ascend.
    pub(super) fn ascending(positions: impl IntoIterator<Item = u32>) -> Self {
        let mut runs: SmallVec<[(u32, u32); 2]> = SmallVec::new();
        for position in positions {
            match runs.last_mut() {
                Some((_, end)) if *end == position => *end += 1,
                _ => runs.push((position, position + 1)),
            }
        }
        Self(runs)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of positions below `end`.
    pub(super) fn count_below(&self, end: u32) -> u32 {
        self.0.iter().map(|(from, to)| (*to).min(end).saturating_sub(*from)).sum()
    }

    /// The smallest position.
    pub(super) fn first(&self) -> Option<u32> {
        self.0.first().map(|(start, _)| *start)
    }

    /// The positions below `end`, ascending.
    pub(super) fn below(&self, end: u32) -> impl Iterator<Item = u32> {
        self.0.iter().flat_map(move |(from, to)| *from..(*to).min(end))
    }
}

impl VersionSet for PositionSet {
    type V = u32;

    fn empty() -> Self {
        Self(SmallVec::new())
    }

    fn full() -> Self {
        Self(smallvec![(0, u32::MAX)])
    }

    fn singleton(position: u32) -> Self {
        Self(smallvec![(position, position + 1)])
    }

    fn complement(&self) -> Self {
        let mut runs = SmallVec::new();
        let mut from = 0;
        for (start, end) in &self.0 {
            if from < *start {
                runs.push((from, *start));
            }
            from = *end;
        }
        if from < u32::MAX {
            runs.push((from, u32::MAX));
        }
        Self(runs)
    }

    fn intersection(&self, other: &Self) -> Self {
        let mut runs = SmallVec::new();
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(&&(a_start, a_end)), Some(&&(b_start, b_end))) = (a.peek(), b.peek()) {
            let (start, end) = (a_start.max(b_start), a_end.min(b_end));
            if start < end {
                runs.push((start, end));
            }
            if a_end <= b_end {
                a.next()
            } else {
                b.next()
            };
        }
        Self(runs)
    }

    fn contains(&self, position: &u32) -> bool {
        self.0.iter().any(|(start, end)| (start..end).contains(&position))
    }

    fn is_disjoint(&self, other: &Self) -> bool {
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(&&(a_start, a_end)), Some(&&(b_start, b_end))) = (a.peek(), b.peek()) {
            if a_start.max(b_start) < a_end.min(b_end) {
                return false;
            }
            if a_end <= b_end {
                a.next()
            } else {
                b.next()
            };
        }
        true
    }

    fn subset_of(&self, other: &Self) -> bool {
        let mut theirs = other.0.iter().peekable();
        self.0.iter().all(|(start, end)| {
            while theirs.next_if(|(_, other_end)| other_end < end).is_some() {}
            theirs.peek().is_some_and(|(other_start, _)| other_start <= start)
        })
    }
}

impl fmt::Display for PositionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Debug for PositionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(bits: u32) -> PositionSet {
        PositionSet::ascending((0..6).filter(|at| bits >> at & 1 == 1))
    }

    #[test]
    fn sets_are_sets() {
        let members = |set: &PositionSet| -> u32 { set.below(6).map(|at| 1 << at).sum() };
        for a in 0..64 {
            let left = set(a);
            assert_eq!((members(&left), left.count_below(6)), (a, a.count_ones()));
            assert_eq!(members(&left.complement()), !a & 63);
            assert_eq!(left.complement().complement(), left);
            assert_eq!(left.first(), (a != 0).then(|| a.trailing_zeros()));
            for at in 0..6 {
                assert_eq!(left.contains(&at), a >> at & 1 == 1);
            }
            for b in 0..64 {
                let right = set(b);
                assert_eq!(left.intersection(&right), set(a & b));
                assert_eq!(left.union(&right), set(a | b));
                assert_eq!(left.is_disjoint(&right), a & b == 0);
                assert_eq!(left.subset_of(&right), a & b == a, "{left} {right}");
            }
        }
    }
}
