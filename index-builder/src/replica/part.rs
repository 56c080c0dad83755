//! A replica of some packages, or of what is not about packages, for whoever cannot hold all of a registry at once.
//!
//! Owns: folding an event without its claims, its claims without folding, and taking packages out of a replica and back.
//! Does not own which events are shown to it.

use std::{collections::BTreeSet, sync::Arc};

use drystone_schemas::{Event, FileChange, PackageName, Settings, VersionRecord};

use super::{Config, Fault, Replica};
use crate::{
    outline::is_own_file,
    project::{ProjectError, ProjectedFile, Touched, changed_files},
};

impl Replica {
    /// Takes an event's place, its settings and its claims of the state map, without looking at its package.
    pub(crate) fn apply_place(&mut self, event: &Event, settings: Option<Settings>) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.place(event, settings, &mut faults);
        self.claim(event, &mut faults);
        faults
    }

    /// The same, with every fault of its files that can be told without its package.
    pub(crate) fn apply_claims(&mut self, event: &Event, settings: Option<Settings>) -> Vec<Fault> {
        let mut faults = self.apply_place(event, settings);
        let foreign = event.files.iter().find(|change| !is_own_file(event, &change.1));
        if let Some(change) = foreign.filter(|_| event.package().is_some()) {
            faults.push(Fault::BadFile(format!("`{}` is not what it is about", change.1)));
        }
        faults
    }

    /// Folds an event about a package at its position, under the settings in force there. Its claims are not looked at.
    pub(crate) fn fold_at(
        &mut self,
        event: &Event,
        config: Option<&Config>,
        record: Option<VersionRecord>,
    ) -> Result<(), ProjectError> {
        self.go_to(event.seq, config);
        self.fold(event, record, |_| ()).map(|_| ())
    }

    /// The same for the event at position `seq`, and tells what is wrong with the files that it names.
    ///
    /// `digests` may tell quickly what files have become: a claim that it confirms is right, and of any other the
    /// files are made.
    pub(crate) fn check_at(
        &mut self,
        seq: u64,
        event: &Event,
        config: Option<&Config>,
        record: Option<VersionRecord>,
        digests: impl FnOnce(&Touched, &Event) -> Option<Vec<FileChange>>,
    ) -> Option<Fault> {
        let canonical = event.package().map(PackageName::canonical)?;
        self.go_to(seq, config);
        let made = self.fold(event, record, |touched| {
            let quick = digests(touched, event).filter(|changes| *changes == event.files);
            let slow = || changed_files(touched, &event.body).iter().map(ProjectedFile::change).collect();
            quick.unwrap_or_else(slow)
        });
        match made {
            Ok(made) => self.judge_files(event, &canonical, &made.unwrap_or_default()),
            Err(error) => {
                self.unknown.insert(canonical, BTreeSet::new());
                Some(error.into())
            }
        }
    }

    /// Prepares for the event at this position.
    fn go_to(&mut self, seq: u64, config: Option<&Config>) {
        if self.config.as_ref().map(|config| config.seq) != config.map(|config| config.seq) {
            self.config = config.cloned();
            self.shared = config.and_then(|config| config.settings.clone()).map(Arc::new);
        }
        self.next_seq = seq;
    }

    /// Takes packages out, for a replica of their own; with the alias maps, if they are those that have to do with them.
    pub(crate) fn take_packages<'a>(
        &mut self,
        names: impl IntoIterator<Item = &'a str>,
        with_aliases: bool,
    ) -> Self {
        let mut part = Self { identity: self.identity.clone(), ..Self::default() };
        for name in names {
            part.packages.extend(self.packages.remove_entry(name));
            part.api.extend(self.api.remove_entry(name));
            part.unknown.extend(self.unknown.remove_entry(name));
        }
        if with_aliases {
            part.shards = std::mem::take(&mut self.shards);
            part.aliases = std::mem::take(&mut self.aliases);
        }
        part
    }

    /// Takes the packages of a part in, and the alias maps if it has them.
    pub(crate) fn put_packages(&mut self, part: Self) {
        self.packages.extend(part.packages);
        self.api.extend(part.api);
        self.unknown.extend(part.unknown);
        if !part.shards.is_empty() {
            (self.shards, self.aliases) = (part.shards, part.aliases);
        }
    }
}
