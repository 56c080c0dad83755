//! What may become an alias, and which names aliases keep from packages. Pure.
//!
//! Rules: a package's own name is never an alias, nor an alias a package's name; an alias means one package; a name that is
//! reserved, or that looks like an alias or a package of somebody else, is set by the operator or not at all.

use drystone_schemas::{
    Alias, AliasTarget, Code, EventBody, PackageDocument, PackageName, Problem, confusable::skeleton,
};

use super::Desk;
use crate::Refusal;

/// What setting an alias comes to.
pub(super) enum Set {
    Event(EventBody),
    /// It means the package already, since this position in the log.
    Already(u64),
}

/// Checks that an alias may be set; `trusted` says that the operator asks.
pub(super) fn check_set(
    desk: &Desk,
    alias: &Alias,
    document: &PackageDocument,
    trusted: bool,
) -> Result<Set, Refusal> {
    // A package may also have come into being by an intent before this one.
    let made_now = desk.packages.get(alias.as_str()).is_some_and(|package| package.value.is_some());
    if made_now || desk.taken_by_package.iter().any(|name| name == alias.as_str()) {
        return Err(Refusal::code(Code::AliasIsPackage, format!("there is a package `{alias}`")));
    }
    match target(desk, alias) {
        Some(there) if there.package == document.name => return Ok(Set::Already(there.seq)),
        Some(there) => {
            let detail = format!("`{alias}` means `{}`", there.package);
            return Err(Refusal::new(Problem::new(Code::AliasTaken, detail).fact("package", &there.package)));
        }
        None => {}
    }
    if !trusted {
        check_number(desk, document)?;
        check_reserved(desk, alias)?;
        check_look_alikes(desk, alias, &document.name)?;
    }
    Ok(Set::Event(EventBody::AliasSet { pkg: document.name.clone(), alias: alias.clone() }))
}

/// What an alias means, by the shard on the desk.
pub(super) fn target<'a>(desk: &'a Desk, alias: &Alias) -> Option<&'a AliasTarget> {
    desk.aliases.get(alias.shard())?.value.map.aliases.get(alias)
}

fn check_number(desk: &Desk, document: &PackageDocument) -> Result<(), Refusal> {
    let (count, max) = (document.aliases.len() as u64, desk.settings.limits.aliases_per_package_max);
    if count < max {
        return Ok(());
    }
    let detail = format!("`{}` has {count} aliases of {max}", document.name);
    Err(Refusal::new(Problem::new(Code::AliasLimit, detail).fact("aliases_max", max)))
}

fn check_reserved(desk: &Desk, alias: &Alias) -> Result<(), Refusal> {
    if alias.is_reserved() || desk.settings.reserved.contains(alias) {
        return Err(reserved(alias.as_str()));
    }
    Ok(())
}

fn reserved(name: &str) -> Refusal {
    let detail = format!("`{name}` is reserved");
    Refusal::new(Problem::new(Code::NameReserved, detail).fact("name", name))
}

fn check_look_alikes(desk: &Desk, alias: &Alias, package: &PackageName) -> Result<(), Refusal> {
    let look = skeleton(alias.as_str());
    let by_alias = desk.all_aliases.iter().flat_map(|map| &map.value.aliases).find(|(other, target)| {
        *other != alias && target.package != *package && skeleton(other.as_str()) == look
    });
    let own = package.canonical();
    let by_package = desk.taken_by_package.iter().find(|name| **name != own && skeleton(name) == look);
    let (other, what) = match (by_alias, by_package) {
        (Some((other, target)), _) => (other.to_string(), format!("the alias of `{}`", target.package)),
        (None, Some(name)) => (name.clone(), "a package".to_owned()),
        (None, None) => return Ok(()),
    };
    let detail = format!("`{alias}` looks like `{other}`, {what}");
    Err(Refusal::new(Problem::new(Code::AliasHeld, detail).fact("other", other)))
}

/// Checks that a package which does not exist yet may have this name.
pub(super) fn check_new_package(desk: &Desk, name: &PackageName) -> Result<(), Refusal> {
    let Ok(alias) = Alias::new(name.as_str()) else { return Ok(()) };
    if desk.settings.reserved.contains(&alias) {
        return Err(reserved(name.as_str()));
    }
    let Some(there) = target(desk, &alias) else { return Ok(()) };
    let detail = format!("`{name}` is an alias of `{}`", there.package);
    Err(Refusal::new(Problem::new(Code::NameIsAlias, detail).fact("package", &there.package)))
}
