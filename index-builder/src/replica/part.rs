//! A replica of some packages, or of what is not about packages, for whoever cannot hold all of a registry at once.
//!
//! Owns: folding an event without its claims, and its claims without folding. Does not own which events are shown to it.

use std::sync::Arc;

use drystone_schemas::{Event, Settings, VersionRecord};

use super::{Config, Fault, Replica};
use crate::{outline::is_own_file, project::ProjectError};

impl Replica {
    /// Takes an event's place, its settings and its claims of the state map, without looking at its package: every fault
    /// that can be told so.
    pub(crate) fn apply_claims(&mut self, event: &Event, settings: Option<Settings>) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.place(event, settings, &mut faults);
        let foreign = event.files.iter().find(|change| !is_own_file(event, &change.1));
        if let Some(change) = foreign.filter(|_| event.package().is_some()) {
            faults.push(Fault::BadFile(format!("`{}` is not what it is about", change.1)));
        }
        self.claim(event, &mut faults);
        faults
    }

    /// Folds an event about a package at its position, under the settings in force there. Its claims are not looked at.
    pub(crate) fn fold_at(
        &mut self,
        event: &Event,
        config: Option<&Config>,
        record: Option<VersionRecord>,
    ) -> Result<(), ProjectError> {
        if self.config.as_ref().map(|config| config.seq) != config.map(|config| config.seq) {
            self.config = config.cloned();
            self.shared = config.and_then(|config| config.settings.clone()).map(Arc::new);
        }
        self.next_seq = event.seq;
        self.fold(event, record, |_| ()).map(|_| ())
    }
}
