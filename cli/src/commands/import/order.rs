//! In which order archives are published: what others need comes before them.
//!
//! Invariant: every item is in exactly one level; equal inputs give equal levels.

use std::collections::BTreeMap;

use drystone_client::LocalArchive;
use drystone_schemas::{DepKind, PackageName, Version, VersionRecord, VersionReq};

/// An archive to be published, with what the order needs of it.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) archive: LocalArchive,
    pub(super) name: PackageName,
    pub(super) version: Version,
    /// Canonical names with requirements; a requirement that cannot be read means any version.
    needs: Vec<(String, Option<VersionReq>)>,
}

impl Item {
    pub(super) fn new(archive: LocalArchive, record: &VersionRecord) -> Self {
        let needs = record.deps.iter().filter(|dep| dep.kind != DepKind::Dev).filter_map(|dep| {
            let name = PackageName::new(&dep.name).ok()?;
            Some((name.canonical(), VersionReq::new(&dep.req).ok()))
        });
        Self { archive, name: record.name.clone(), version: record.vers.clone(), needs: needs.collect() }
    }
}

/// Groups items so that each needs only items of earlier groups, and older versions of a package come before newer.
///
/// Optional dependencies may form cycles; those are cut where the first of the rest is, in the order of names.
pub(super) fn levels(mut items: Vec<Item>) -> Vec<Vec<Item>> {
    items.sort_by(|a, b| (a.name.canonical(), &a.version).cmp(&(b.name.canonical(), &b.version)));
    let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, item) in items.iter().enumerate() {
        by_name.entry(item.name.canonical()).or_default().push(at);
    }
    // For each item, who waits for it; and for how many each waits.
    let mut waiters: Vec<Vec<usize>> = vec![Vec::new(); items.len()];
    let mut open: Vec<usize> = vec![0; items.len()];
    let mut wait = |waiter: usize, needed: usize| {
        waiters[needed].push(waiter);
        open[waiter] += 1;
    };
    for (at, item) in items.iter().enumerate() {
        for (name, req) in &item.needs {
            let candidates = by_name.get(name).into_iter().flatten().copied();
            let fits = |needed: &usize| req.as_ref().is_none_or(|req| req.matches(&items[*needed].version));
            candidates.filter(|needed| *needed != at).filter(fits).for_each(|needed| wait(at, needed));
        }
    }
    for versions in by_name.values() {
        versions.windows(2).for_each(|pair| wait(pair[1], pair[0]));
    }
    let level_of = assign(&waiters, open);
    let mut levels: Vec<Vec<Item>> = Vec::new();
    for (item, level) in items.into_iter().zip(level_of) {
        levels.resize_with(levels.len().max(level + 1), Vec::new);
        levels[level].push(item);
    }
    levels
}

/// The level of each item.
fn assign(waiters: &[Vec<usize>], mut open: Vec<usize>) -> Vec<usize> {
    let mut level_of: Vec<Option<usize>> = vec![None; open.len()];
    for level in 0.. {
        let mut ready: Vec<usize> =
            (0..open.len()).filter(|at| level_of[*at].is_none() && open[*at] == 0).collect();
        if ready.is_empty() {
            match level_of.iter().position(Option::is_none) {
                Some(first) => ready.push(first),
                None => break,
            }
        }
        for at in ready {
            level_of[at] = Some(level);
            for waiter in &waiters[at] {
                open[*waiter] = open[*waiter].saturating_sub(1);
            }
        }
    }
    level_of.into_iter().map(Option::unwrap_or_default).collect()
}

#[cfg(test)]
mod tests {
    use drystone_schemas::Sha256Digest;

    use super::*;

    fn item(name: &str, version: &str, needs: &[(&str, &str)]) -> Item {
        Item {
            archive: LocalArchive {
                owner: None,
                path: format!("{name}-{version}.crate").into(),
                file_name: String::new(),
                digest: Sha256Digest::of(b""),
                size: 0,
                format: None,
            },
            name: PackageName::new(name).unwrap(),
            version: Version::new(version).unwrap(),
            needs: needs.iter().map(|&(name, req)| (name.to_owned(), VersionReq::new(req).ok())).collect(),
        }
    }

    fn shown(items: Vec<Item>) -> Vec<Vec<String>> {
        let show = |item: &Item| format!("{} {}", item.name, item.version);
        levels(items).iter().map(|level| level.iter().map(show).collect()).collect()
    }

    #[test]
    fn what_is_needed_comes_first_and_old_versions_before_new() {
        let items = vec![
            item("app", "1.0.0", &[("lib", "^2"), ("elsewhere", "*")]),
            item("Lib", "2.0.0", &[("base", "*")]),
            item("Lib", "1.0.0", &[]),
            item("base", "1.0.0", &[]),
        ];
        assert_eq!(shown(items), [vec!["base 1.0.0", "Lib 1.0.0"], vec!["Lib 2.0.0"], vec!["app 1.0.0"]]);
    }

    #[test]
    fn cycles_are_cut_and_nothing_is_lost() {
        let items = vec![
            item("a", "1.0.0", &[("b", "*")]),
            item("b", "1.0.0", &[("a", "*")]),
            item("c", "1.0.0", &[("b", "*")]),
            item("d", "1.0.0", &[("d", "*")]),
        ];
        assert_eq!(shown(items), [vec!["d 1.0.0"], vec!["a 1.0.0"], vec!["b 1.0.0"], vec!["c 1.0.0"]]);
    }
}
