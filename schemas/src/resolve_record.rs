//! Resolve records: what choosing versions needs to know of a package, and nothing else.
//!
//! Owns: the form of the file, and what of an index file goes into it. Does not own: where it lies, or the choice.
//! It says what the index file says, without digests, lengths, dates, dev-dependencies, platforms and releases that were
//! taken down; a dependency or feature that many releases have is written once. Invariant: equal index files give equal
//! records, and the record of an index file has the position in the log of that file.

mod growing;

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, SeqAccess, Visitor},
    ser::SerializeSeq as _,
};

use crate::{DepKind, IndexDep, IndexFile, IndexLine, PackageName, Version, canonical_json};

pub use growing::GrowingResolveRecord;

/// Version of the form.
const FORM: u32 = 1;
/// Newest cargo syntax of features that is understood; newer lines are left out, as cargo leaves them out.
const INDEX_V_MAX: u32 = 2;
/// A dependency that a feature must turn on.
const OPTIONAL: u32 = 1;
/// A dependency without its default features.
const NO_DEFAULT: u32 = 2;
/// A release that is yanked.
const YANKED: u32 = 1;

/// What choosing versions needs to know of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolveRecord {
    /// Version of the form; 1.
    v: u32,
    /// Position in the log of the event that last changed it.
    pub seq: u64,
    /// Name, as its author writes it.
    pub name: PackageName,
    /// Every dependency that some release has.
    #[serde(rename = "d", default, skip_serializing_if = "Vec::is_empty")]
    pub deps: Vec<ResolveDep>,
    /// Every feature that some release has, with what it turns on.
    #[serde(rename = "f", default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<ResolveFeature>,
    /// Sets of positions in `deps`; the first one is empty.
    #[serde(rename = "l")]
    pub dep_sets: Vec<Positions>,
    /// Sets of positions in `features`; the first one is empty.
    #[serde(rename = "m")]
    pub feature_sets: Vec<Positions>,
    /// The releases, in the order of publication.
    #[serde(rename = "r")]
    pub releases: Vec<ResolveRelease>,
}

/// One dependency: `[name, requirement, bits, features, real name, registry]`, what is missing at the end being empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResolveDep {
    /// Name under which the package uses it.
    pub name: String,
    /// Requirement.
    pub req: String,
    /// Whether a feature must turn it on.
    pub optional: bool,
    /// Whether its default features are on.
    pub default_features: bool,
    /// Features asked for.
    pub features: Vec<String>,
    /// Real name, where it is renamed.
    pub package: Option<String>,
    /// Index URL of another registry; none means this one.
    pub registry: Option<String>,
}

impl ResolveDep {
    /// The name of the package that is meant.
    pub fn package_name(&self) -> &str {
        self.package.as_deref().unwrap_or(&self.name)
    }
}

/// One feature: its name, then what it turns on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResolveFeature {
    /// Name.
    pub name: String,
    /// What it turns on, in Cargo's syntax.
    pub values: Vec<String>,
}

/// One release: `[version, dependencies, features, bits, rust version, links]`, what is missing at the end being empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolveRelease {
    /// Version.
    pub vers: Version,
    /// Which of the dependency sets.
    pub deps: u32,
    /// Which of the feature sets.
    pub features: u32,
    /// Whether it is yanked.
    pub yanked: bool,
    /// Least compiler version.
    pub rust_version: Option<String>,
    /// The native library that it links.
    pub links: Option<String>,
}

/// A set of positions, as runs: `[first, count, first, count, ...]`, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Positions(Vec<u32>);

impl Positions {
    /// The set of these positions.
    pub fn new(mut positions: Vec<u32>) -> Self {
        positions.sort_unstable();
        positions.dedup();
        let mut runs: Vec<u32> = Vec::new();
        for position in positions {
            match runs.as_mut_slice() {
                [.., first, count] if *first + *count == position => *count += 1,
                _ => runs.extend([position, 1]),
            }
        }
        Self(runs)
    }

    /// The positions, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.chunks_exact(2).flat_map(|run| run[0] as usize..run[0] as usize + run[1] as usize)
    }

    /// Whether a position is in the set.
    pub fn contains(&self, position: usize) -> bool {
        let runs = self.0.as_chunks::<2>().0;
        let after = runs.partition_point(|[first, _]| *first as usize <= position);
        runs[..after].last().is_some_and(|[first, count]| position < *first as usize + *count as usize)
    }

    /// One more than the last position; 0 for the empty set.
    pub(crate) fn end(&self) -> u64 {
        self.0.chunks_exact(2).map(|run| u64::from(run[0]) + u64::from(run[1])).max().unwrap_or(0)
    }
}

/// Why bytes are no resolve record.
#[derive(Debug, thiserror::Error)]
pub enum ResolveRecordError {
    /// Not the JSON of one.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Of another form.
    #[error("the resolve record has form {0}, which is not known here")]
    Form(u32),
    /// A release names a set that is not there, or a set a position that is not there.
    #[error("the resolve record of `{0}` points at what is not there")]
    Dangling(PackageName),
}

impl ResolveRecord {
    /// The record of an index file; none if the file has no line.
    pub fn of(index: &IndexFile) -> Option<Self> {
        let (seq, first) = (index.seq()?, index.lines.first()?);
        let mut tables = Tables::new();
        let releases =
            index.lines.iter().filter(|line| is_readable(line)).map(|line| tables.release(line)).collect();
        Some(Self {
            v: FORM,
            seq,
            name: first.name.clone(),
            deps: tables.deps.in_order(),
            features: tables.features.in_order(),
            dep_sets: tables.dep_sets.in_order(),
            feature_sets: tables.feature_sets.in_order(),
            releases,
        })
    }

    /// Parses the file.
    ///
    /// # Errors
    ///
    /// Anything but a record whose every position leads somewhere.
    pub fn parse(bytes: &[u8]) -> Result<Self, ResolveRecordError> {
        let record: Self = serde_json::from_slice(bytes)?;
        if record.v != FORM {
            return Err(ResolveRecordError::Form(record.v));
        }
        let inside = |sets: &[Positions], len: usize| sets.iter().all(|set| set.end() <= len as u64);
        let known = |release: &ResolveRelease| {
            (release.deps as usize) < record.dep_sets.len()
                && (release.features as usize) < record.feature_sets.len()
        };
        let whole = inside(&record.dep_sets, record.deps.len())
            && inside(&record.feature_sets, record.features.len())
            && record.releases.iter().all(known);
        if whole { Ok(record) } else { Err(ResolveRecordError::Dangling(record.name)) }
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical_json(self)
    }

    /// The dependencies of a release.
    pub fn deps_of<'a>(&'a self, release: &ResolveRelease) -> impl Iterator<Item = &'a ResolveDep> + use<'a> {
        self.dep_sets[release.deps as usize].iter().map(|at| &self.deps[at])
    }

    /// The features of a release.
    pub fn features_of<'a>(
        &'a self,
        release: &ResolveRelease,
    ) -> impl Iterator<Item = &'a ResolveFeature> + use<'a> {
        self.feature_sets[release.features as usize].iter().map(|at| &self.features[at])
    }
}

/// Whether a release is one to choose from.
fn is_readable(line: &IndexLine) -> bool {
    line.deleted.is_none() && line.v <= INDEX_V_MAX
}

/// Values numbered in the order in which they were met.
#[derive(Debug, Clone)]
struct Numbered<T>(BTreeMap<T, u32>);

impl<T: Ord + Clone> Numbered<T> {
    fn number(&mut self, value: T) -> u32 {
        let next =
            u32::try_from(self.0.len()).expect("a package has fewer than 2^32 dependencies and features");
        *self.0.entry(value).or_insert(next)
    }

    fn in_order(self) -> Vec<T> {
        let mut all: Vec<(T, u32)> = self.0.into_iter().collect();
        all.sort_unstable_by_key(|(_, number)| *number);
        all.into_iter().map(|(value, _)| value).collect()
    }
}

#[derive(Debug, Clone)]
struct Tables {
    deps: Numbered<ResolveDep>,
    features: Numbered<ResolveFeature>,
    dep_sets: Numbered<Positions>,
    feature_sets: Numbered<Positions>,
}

impl Tables {
    fn new() -> Self {
        let empty = || Numbered(BTreeMap::from([(Positions::default(), 0)]));
        Self {
            deps: Numbered(BTreeMap::new()),
            features: Numbered(BTreeMap::new()),
            dep_sets: empty(),
            feature_sets: empty(),
        }
    }

    fn release(&mut self, line: &IndexLine) -> ResolveRelease {
        let deps = line.deps.iter().filter(|dep| dep.kind != DepKind::Dev);
        let deps = deps.map(|dep| self.deps.number(resolve_dep(dep))).collect();
        let features = line.features.iter().chain(&line.features2).map(|(name, values)| {
            self.features.number(ResolveFeature { name: name.clone(), values: values.clone() })
        });
        let features = features.collect();
        ResolveRelease {
            vers: line.vers.clone(),
            deps: self.dep_sets.number(Positions::new(deps)),
            features: self.feature_sets.number(Positions::new(features)),
            yanked: line.yanked,
            rust_version: line.rust_version.clone(),
            links: line.links.clone(),
        }
    }
}

fn resolve_dep(dep: &IndexDep) -> ResolveDep {
    ResolveDep {
        name: dep.name.clone(),
        req: dep.req.clone(),
        optional: dep.optional,
        default_features: dep.default_features,
        features: dep.features.clone(),
        package: dep.package.clone(),
        registry: dep.registry.clone(),
    }
}

/// Writes a row: the fields that every row has, then the others up to the last one that is not empty.
macro_rules! row {
    ($serializer:expr, [$($always:expr),*], [$(($set:expr, $field:expr)),*]) => {{
        let present = [$($set),*];
        let mut left = present.iter().rposition(|set| *set).map_or(0, |last| last + 1);
        let mut seq = $serializer.serialize_seq(None)?;
        $(seq.serialize_element($always)?;)*
        $(if left > 0 { seq.serialize_element($field)?; left -= 1; })*
        let _ = left;
        seq.end()
    }};
}

impl Serialize for ResolveDep {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bits = u32::from(self.optional) * OPTIONAL + u32::from(!self.default_features) * NO_DEFAULT;
        row!(
            serializer,
            [&self.name, &self.req],
            [
                (bits != 0, &bits),
                (!self.features.is_empty(), &self.features),
                (self.package.is_some(), self.package.as_deref().unwrap_or_default()),
                (self.registry.is_some(), self.registry.as_deref().unwrap_or_default())
            ]
        )
    }
}

impl Serialize for ResolveFeature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(std::iter::once(&self.name).chain(&self.values))
    }
}

impl Serialize for ResolveRelease {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bits = u32::from(self.yanked) * YANKED;
        row!(
            serializer,
            [&self.vers],
            [
                (self.deps != 0, &self.deps),
                (self.features != 0, &self.features),
                (bits != 0, &bits),
                (self.rust_version.is_some(), self.rust_version.as_deref().unwrap_or_default()),
                (self.links.is_some(), self.links.as_deref().unwrap_or_default())
            ]
        )
    }
}

/// The next field of a row; empty at its end.
fn next<'de, T: Deserialize<'de> + Default, A: SeqAccess<'de>>(seq: &mut A) -> Result<T, A::Error> {
    Ok(seq.next_element()?.unwrap_or_default())
}

fn first<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(seq: &mut A) -> Result<T, A::Error> {
    seq.next_element()?.ok_or_else(|| A::Error::custom("a row lacks a field"))
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

macro_rules! from_row {
    ($type:ty, $what:literal, |$seq:ident| $make:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Row;
                impl<'de> Visitor<'de> for Row {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($what)
                    }

                    fn visit_seq<A: SeqAccess<'de>>(self, mut $seq: A) -> Result<Self::Value, A::Error> {
                        Ok($make)
                    }
                }
                deserializer.deserialize_seq(Row)
            }
        }
    };
}

from_row!(ResolveDep, "the row of a dependency", |seq| {
    let (name, req, bits): (String, String, u32) = (first(&mut seq)?, first(&mut seq)?, next(&mut seq)?);
    ResolveDep {
        name,
        req,
        optional: bits & OPTIONAL != 0,
        default_features: bits & NO_DEFAULT == 0,
        features: next(&mut seq)?,
        package: some(next(&mut seq)?),
        registry: some(next(&mut seq)?),
    }
});

from_row!(ResolveFeature, "the row of a feature", |seq| {
    let name = first(&mut seq)?;
    let mut values = Vec::with_capacity(seq.size_hint().unwrap_or(0));
    while let Some(value) = seq.next_element()? {
        values.push(value);
    }
    ResolveFeature { name, values }
});

from_row!(ResolveRelease, "the row of a release", |seq| {
    let (vers, deps, features, bits): (Version, u32, u32, u32) =
        (first(&mut seq)?, next(&mut seq)?, next(&mut seq)?, next(&mut seq)?);
    ResolveRelease {
        vers,
        deps,
        features,
        yanked: bits & YANKED != 0,
        rust_version: some(next(&mut seq)?),
        links: some(next(&mut seq)?),
    }
});

#[cfg(test)]
mod tests;
