//! The verdict on a run: what was asked and answered, against what is there. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use drystone_schemas::{Event, EventBody, EventId, IndexLine, PackageName, Sha256Digest, Version};

use super::{
    reading::Shown,
    writer::{Asked, Change, Fate},
};

/// The verdict.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) acknowledged_publishes: u64,
    pub(super) acknowledged_toggles: u64,
    pub(super) in_doubt: u64,
    pub(super) in_doubt_in_log: u64,
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) half: u64,
    pub(super) violations: Vec<String>,
}

/// Looks at everything.
pub(super) fn audit(asked: &[Asked], shown: &Shown) -> Verdict {
    let mut verdict = Verdict::default();
    let by_id: HashMap<&EventId, &Asked> = asked.iter().map(|asked| (&asked.id, asked)).collect();
    let releases = verdict.look_at_log(&shown.events, &by_id);
    verdict.look_at_answers(asked, &shown.events);
    verdict.look_at_files(&releases, shown);
    verdict
}

/// A release as the log tells it.
struct Release<'a> {
    event: &'a Event,
    tarball: Sha256Digest,
    record: Sha256Digest,
    yanked: bool,
}

type Releases<'a> = BTreeMap<(&'a PackageName, &'a Version), Release<'a>>;

impl Verdict {
    fn violation(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }

    /// The log on its own: in order, no id and no release twice, nothing that nobody asked for.
    fn look_at_log<'a>(&mut self, events: &'a [Event], by_id: &HashMap<&EventId, &Asked>) -> Releases<'a> {
        let mut ids = BTreeSet::new();
        let mut releases = Releases::new();
        let mut time = 0;
        for (position, event) in events.iter().enumerate() {
            if event.seq != position as u64 {
                self.violation(format!("the event at {position} says that it is {}", event.seq));
            }
            if event.time < time {
                self.violation(format!("event {position} is older than the one before"));
            }
            time = event.time;
            if !ids.insert(&event.id) {
                self.doubled += 1;
                self.violation(format!("{} is in the log again at {position}", event.id));
            }
            let known = by_id.get(&event.id).is_some_and(|asked| says(&event.body, asked));
            if !known && position > 0 {
                self.violation(format!("nobody asked for event {position}: {:?}", event.body));
            }
            match &event.body {
                EventBody::Publish { pkg, vers, tarball, record, .. } => {
                    let release = Release { event, tarball: *tarball, record: *record, yanked: false };
                    if releases.insert((pkg, vers), release).is_some() {
                        self.doubled += 1;
                        self.violation(format!("`{pkg}` {vers} is published again at {position}"));
                    }
                }
                EventBody::Yank { pkg, vers, .. } | EventBody::Unyank { pkg, vers } => {
                    let yanked = matches!(event.body, EventBody::Yank { .. });
                    match releases.get_mut(&(pkg, vers)) {
                        Some(release) => release.yanked = yanked,
                        None => self.violation(format!("event {position} is about no release")),
                    }
                }
                _ => {}
            }
        }
        releases
    }

    /// Every answer: the event that it named is there, and later than those that were named before.
    fn look_at_answers(&mut self, asked: &[Asked], events: &[Event]) {
        let in_log: BTreeSet<&EventId> = events.iter().map(|event| &event.id).collect();
        let mut last: HashMap<usize, u64> = HashMap::new();
        for asked in asked {
            let Fate::Acknowledged(seq) = asked.fate else {
                self.in_doubt += 1;
                self.in_doubt_in_log += u64::from(in_log.contains(&asked.id));
                continue;
            };
            match asked.change {
                Change::Publish(_) => self.acknowledged_publishes += 1,
                Change::Yanked(_) => self.acknowledged_toggles += 1,
            }
            if events.get(seq as usize).is_none_or(|event| event.id != asked.id) {
                self.lost += 1;
                self.violation(format!("acknowledged as event {seq}, and not there: {asked:?}"));
            }
            if last.insert(asked.writer, seq).is_some_and(|before| before >= seq) {
                self.violation(format!(
                    "asked for after the answer to another, and before it in the log: {asked:?}"
                ));
            }
        }
    }

    /// The files: every release of the log is there whole, as the log has left it, and nothing else is.
    fn look_at_files(&mut self, releases: &Releases<'_>, shown: &Shown) {
        let mut lines: BTreeMap<(&PackageName, &Version), &IndexLine> = BTreeMap::new();
        for (name, file) in &shown.index {
            for line in &file.lines {
                if lines.insert((name, &line.vers), line).is_some() {
                    self.half += 1;
                    self.violation(format!("`{name}` {} has two lines", line.vers));
                }
                if !releases.contains_key(&(name, &line.vers)) {
                    self.half += 1;
                    self.violation(format!("`{name}` {} is in the index and not in the log", line.vers));
                }
            }
        }
        for (&(name, vers), release) in releases {
            let missing = match lines.get(&(name, vers)) {
                None => Some("has no line in the index"),
                Some(line) if line.cksum != release.tarball.hex() => Some("has a line of other bytes"),
                Some(line) if line.published != release.event.seq => Some("has a line of another event"),
                Some(line) if line.yanked != release.yanked => Some("is not yanked as the log says"),
                Some(_) if !shown.objects.contains(&release.tarball) => Some("has no archive of its digest"),
                Some(_) if !shown.objects.contains(&release.record) => Some("has no record of its digest"),
                Some(_) => None,
            };
            if let Some(missing) = missing {
                self.half += 1;
                self.violation(format!("`{name}` {vers}, event {}, {missing}", release.event.seq));
            }
        }
    }
}

/// Whether an event is what was asked for.
fn says(body: &EventBody, asked: &Asked) -> bool {
    match (body, &asked.change) {
        (EventBody::Publish { pkg, vers, tarball, .. }, Change::Publish(digest)) => {
            (pkg, vers, tarball) == (&asked.name, &asked.vers, digest)
        }
        (EventBody::Yank { pkg, vers, .. }, Change::Yanked(true))
        | (EventBody::Unyank { pkg, vers }, Change::Yanked(false)) => {
            (pkg, vers) == (&asked.name, &asked.vers)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
