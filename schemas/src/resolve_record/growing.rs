//! The resolve record of an index file that grows by releases, without making it anew for each.
//!
//! Owns: the texts of the record's lists so far. Does not own lines that change: whoever changes one begins anew.
//! Invariant: the bytes are those of [`ResolveRecord::of`] the lines that were pushed.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{FORM, Numbered, Tables, is_readable};
use crate::{IndexFile, IndexLine, PackageName};

/// The record of the lines so far.
#[derive(Debug, Clone)]
pub struct GrowingResolveRecord {
    tables: Tables,
    name: PackageName,
    seq: u64,
    deps: List,
    features: List,
    dep_sets: List,
    feature_sets: List,
    releases: List,
}

/// A JSON array without its brackets, and how many elements it has.
#[derive(Debug, Clone, Default)]
struct List(Vec<u8>, u32);

impl List {
    fn push(&mut self, value: &impl Serialize) {
        if self.1 > 0 {
            self.0.push(b',');
        }
        self.1 += 1;
        serde_json::to_writer(&mut self.0, value).expect("rows are lists of texts and numbers");
    }

    /// Appends the values that were numbered since the last time.
    fn push_new<T: Ord + Clone + Serialize>(&mut self, of: &Numbered<T>) {
        if of.0.len() == self.1 as usize {
            return;
        }
        let known = self.1;
        let new = of.0.iter().map(|(value, number)| (*number, value));
        let new: BTreeMap<u32, &T> = new.filter(|(number, _)| *number >= known).collect();
        new.into_values().for_each(|value| self.push(value));
    }
}

impl GrowingResolveRecord {
    /// The record of an index file; none if it has no line.
    pub fn of(index: &IndexFile) -> Option<Self> {
        let mut record = Self {
            tables: Tables::new(),
            name: index.lines.first()?.name.clone(),
            seq: 0,
            deps: List::default(),
            features: List::default(),
            dep_sets: List::default(),
            feature_sets: List::default(),
            releases: List::default(),
        };
        record.dep_sets.push_new(&record.tables.dep_sets);
        record.feature_sets.push_new(&record.tables.feature_sets);
        index.lines.iter().for_each(|line| record.push(line));
        Some(record)
    }

    /// Takes the next line of the index file.
    pub fn push(&mut self, line: &IndexLine) {
        self.seq = self.seq.max(line.seq);
        if !is_readable(line) {
            return;
        }
        let release = self.tables.release(line);
        self.deps.push_new(&self.tables.deps);
        self.features.push_new(&self.tables.features);
        self.dep_sets.push_new(&self.tables.dep_sets);
        self.feature_sets.push_new(&self.tables.feature_sets);
        self.releases.push(&release);
    }

    /// The file's bytes: canonical JSON, as [`ResolveRecord::to_bytes`](super::ResolveRecord::to_bytes) writes it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let lists = [&self.deps, &self.features, &self.dep_sets, &self.feature_sets, &self.releases];
        let mut out = Vec::with_capacity(lists.iter().map(|list| list.0.len() + 8).sum::<usize>() + 160);
        let list = |out: &mut Vec<u8>, before: &str, list: &List, after: &str| {
            out.extend_from_slice(before.as_bytes());
            out.extend_from_slice(&list.0);
            out.extend_from_slice(after.as_bytes());
        };
        out.push(b'{');
        for (key, of) in [("\"d\":[", &self.deps), ("\"f\":[", &self.features)] {
            if of.1 > 0 {
                list(&mut out, key, of, "],");
            }
        }
        list(&mut out, "\"l\":[", &self.dep_sets, "],");
        list(&mut out, "\"m\":[", &self.feature_sets, "],\"name\":");
        serde_json::to_writer(&mut out, &self.name).expect("a name is a text");
        list(&mut out, ",\"r\":[", &self.releases, "],");
        out.extend_from_slice(format!("\"seq\":{},\"v\":{FORM}}}\n", self.seq).as_bytes());
        out
    }
}
