//! Short names that are like what somebody wrote, and short names that are still free for a package.
//!
//! Owns: the order of suggestions. Does not own: what may be set, which the registry decides.
//! Invariant: a suggestion is proved by the snapshot; nothing is suggested that the registry would refuse at once.

use std::cmp::Reverse;

use drystone_schemas::{
    Alias, AliasMap, PackageName,
    confusable::{look_alikes, skeleton, slips},
};
use serde::Serialize;

use crate::{ClientError, Snapshot};

/// Most suggestions.
const SUGGESTIONS_MAX: usize = 5;

/// A short name that is like what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suggestion {
    /// The short name.
    pub alias: Alias,
    /// What it means.
    pub package: PackageName,
}

/// The short names that are most like a text: those that look the same, then by the number of slips, then by name.
///
/// A short name whose package ends in the text is as near as one with a single slip. What differs in more than a third of
/// its letters is not alike.
pub fn similar(map: &AliasMap, text: &str) -> Vec<Suggestion> {
    let text = text.to_ascii_lowercase().replace('_', "-");
    let look = skeleton(&text);
    let mut found: Vec<_> = map
        .aliases
        .iter()
        .filter_map(|(alias, target)| {
            let same = skeleton(alias.as_str()) == look;
            let by_package = target.package.short().to_ascii_lowercase().replace('_', "-") == text;
            let slips = match slips(alias.as_str(), &text) {
                slips if by_package => slips.min(1),
                slips => slips,
            };
            let near = same || slips <= (text.len() / 3).max(1);
            near.then_some((Reverse(same), slips, alias, target))
        })
        .collect();
    found.sort_by_key(|(same, slips, alias, _)| (*same, *slips, (*alias).clone()));
    let suggestion =
        |alias: &Alias, package: &PackageName| Suggestion { alias: alias.clone(), package: package.clone() };
    found
        .into_iter()
        .take(SUGGESTIONS_MAX)
        .map(|(_, _, alias, target)| suggestion(alias, &target.package))
        .collect()
}

/// Short names that could be set for a package: its short name, with its owner before it, with its owner after it.
pub async fn free_names(snapshot: &Snapshot<'_>, package: &PackageName) -> Result<Vec<Alias>, ClientError> {
    let short = package.short();
    let mut candidates = vec![short.to_owned()];
    candidates.extend(
        package
            .owner()
            .into_iter()
            .flat_map(|owner| [format!("{owner}-{short}"), format!("{short}-{owner}")]),
    );
    let map = snapshot.aliases().await?.unwrap_or_default();
    let config = snapshot.registry().config().await?;
    let mut free = Vec::new();
    for alias in candidates.into_iter().filter_map(|text| Alias::new(text).ok()) {
        let look = skeleton(alias.as_str());
        let by_alias = map.aliases.iter().any(|(other, target)| {
            *other == alias || (target.package != *package && skeleton(other.as_str()) == look)
        });
        let reserved = alias.is_reserved() || config.settings.reserved.contains(&alias);
        if !by_alias && !reserved && !has_rival(snapshot, &alias, package).await? {
            free.push(alias);
        }
    }
    Ok(free)
}

/// Whether a package of that name, or of one that looks like it, keeps an alias from being set.
async fn has_rival(
    snapshot: &Snapshot<'_>,
    alias: &Alias,
    package: &PackageName,
) -> Result<bool, ClientError> {
    let own = package.canonical();
    let mut names: Vec<String> =
        look_alikes(alias.as_str()).into_iter().filter(|name| *name != own).collect();
    names.push(alias.as_str().to_owned());
    snapshot.load(&names).await?;
    for name in &names {
        if snapshot.entry(name).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use drystone_schemas::AliasTarget;

    use super::*;

    #[test]
    fn the_most_similar_come_first() {
        let pairs =
            [("zcrypto", "ck/zcrypto"), ("zcrypt0", "evil/x"), ("zhttp", "acme/http"), ("tls", "acme/tls")];
        let target = |package: &str| AliasTarget { package: PackageName::new(package).unwrap(), seq: 1 };
        let aliases = pairs.map(|(alias, package)| (Alias::new(alias).unwrap(), target(package)));
        let map = AliasMap { seq: 1, aliases: aliases.into_iter().collect() };
        let names =
            |text: &str| similar(&map, text).into_iter().map(|s| s.alias.to_string()).collect::<Vec<_>>();
        assert_eq!(names("zcrypto"), ["zcrypto", "zcrypt0"]);
        assert_eq!(names("ZCRYPTTO"), ["zcrypto", "zcrypt0"]);
        assert_eq!(names("http"), ["zhttp"]);
        assert_eq!(names("t1s"), ["tls"]);
        assert_eq!(names("json"), [""; 0]);
    }
}
