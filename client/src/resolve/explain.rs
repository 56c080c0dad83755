//! A conflict in sentences.

use drystone_schemas::{PackageName, Version};

use super::{
    Need, Release,
    search::{Asker, Decision, Demand},
};

/// Why the newest choice did not work out.
#[derive(Debug)]
pub(super) struct Explanation(Vec<String>);

/// How many versions are named before the rest is counted.
const VERSIONS_SHOWN_MAX: usize = 5;

impl Explanation {
    /// No release satisfies all who ask for the package.
    pub(super) fn no_version(
        name: &PackageName,
        releases: &[Release],
        demands: &[Demand<'_>],
        stack: &[Decision<'_>],
    ) -> Self {
        let mut sentences: Vec<String> = demands
            .iter()
            .map(|demand| format!("{} needs `{name}` {}", who(demand.asker, stack), demand.req))
            .collect();
        let usable: Vec<&Release> = releases.iter().filter(|release| !release.yanked).collect();
        let fits = |release: &Release| demands.iter().all(|demand| demand.req.matches(&release.version));
        sentences.push(if releases.is_empty() {
            format!("there is no package `{name}`")
        } else if let Some(yanked) = releases.iter().find(|release| release.yanked && fits(release)) {
            format!("only versions that are yanked would do, such as `{name}` {}", yanked.version)
        } else if usable.is_empty() {
            format!("every version of `{name}` is yanked")
        } else {
            format!("`{name}` has only {}", versions(&usable))
        });
        Self(sentences)
    }

    /// A release needs another version of a package than the one that others lead to.
    pub(super) fn clash(
        candidate: &Release,
        need: &Need,
        decided: &Version,
        demands: &[Demand<'_>],
        stack: &[Decision<'_>],
    ) -> Self {
        let name = &need.name;
        let mut sentences: Vec<String> = demands
            .iter()
            .map(|demand| format!("{} needs `{name}` {}", who(demand.asker, stack), demand.req))
            .collect();
        sentences.push(format!("`{}` {} needs `{name}` {}", candidate.name, candidate.version, need.req));
        sentences.push(format!("`{name}` {decided} cannot satisfy both, and no other choice can"));
        Self(sentences)
    }

    /// A release needs something from another registry.
    pub(super) fn foreign(candidate: &Release, need: &Need, registry: &str) -> Self {
        Self(vec![format!(
            "`{}` {} needs `{}` from another registry, `{registry}`",
            candidate.name, candidate.version, need.name
        )])
    }

    pub(super) fn sentences(self) -> Vec<String> {
        self.0
    }
}

fn who(asker: Asker, stack: &[Decision<'_>]) -> String {
    match asker {
        Asker::Project => "the project".into(),
        Asker::Decision(at) => match stack.get(at).and_then(|decision| decision.chosen) {
            Some(release) => format!("`{}` {}", release.name, release.version),
            None => "a dependency".into(),
        },
    }
}

/// The newest versions first, the rest counted.
fn versions(releases: &[&Release]) -> String {
    let mut versions: Vec<&Version> = releases.iter().map(|release| &release.version).collect();
    versions.sort_by(|a, b| b.cmp(a));
    let shown: Vec<String> = versions.iter().take(VERSIONS_SHOWN_MAX).map(ToString::to_string).collect();
    match versions.len().saturating_sub(VERSIONS_SHOWN_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
