//! What a release makes of its package's files, told without making them: an index file only grows by a line, a resolve
//! record by some rows, and a digest goes on from where it was.
//!
//! Without this, a replay takes a time for each release that grows with the releases before it.
//! Does not own the truth: what is told here only ever confirms a claim, and where it does not, the files are made.

use std::collections::HashMap;

use drystone_schemas::{
    Event, EventBody, FileChange, FileClass, GrowingResolveRecord, IndexFile, IndexLine, Sha256Digest,
};
use sha2::{Digest, Sha256};

use crate::project::Touched;

/// The files of some packages, so far.
#[derive(Default)]
pub(super) struct Digests(HashMap<String, Files>);

/// The growing files of a package.
struct Files {
    index: Sha256,
    index_len: u64,
    resolve: GrowingResolveRecord,
    /// The newest line, written down.
    line: Vec<u8>,
}

impl Files {
    fn of(index: &IndexFile) -> Option<Self> {
        let resolve = GrowingResolveRecord::of(index)?;
        let mut files = Self { index: Sha256::new(), index_len: 0, resolve, line: Vec::new() };
        index.lines.iter().for_each(|line| files.take(line));
        Some(files)
    }

    /// Takes a line into the digest of the index file.
    fn take(&mut self, line: &IndexLine) {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line).expect("index lines have string keys");
        self.line.push(b'\n');
        self.index.update(&self.line);
        self.index_len += self.line.len() as u64;
    }

    fn push(&mut self, line: &IndexLine) {
        self.take(line);
        self.resolve.push(line);
    }
}

impl Digests {
    /// What a release changes, as its event must name it; none of any other event.
    pub(super) fn changes(&mut self, touched: &Touched, event: &Event) -> Option<Vec<FileChange>> {
        let package = touched.package.as_ref()?;
        let canonical = package.document.name.canonical();
        let files = match &event.body {
            EventBody::Publish { .. } => match self.0.get_mut(&canonical) {
                Some(files) => {
                    files.push(package.index.lines.last()?);
                    files
                }
                None => self.0.entry(canonical.clone()).or_insert(Files::of(&package.index)?),
            },
            EventBody::Yank { .. } | EventBody::Unyank { .. } | EventBody::Delete { .. } => {
                // A line in the middle changes, and with it all that was told so far.
                self.0.remove(&canonical);
                return None;
            }
            _ => return None,
        };
        let of = |class, bytes: &[u8]| {
            FileChange(class, canonical.clone(), Sha256Digest::of(bytes), bytes.len() as u64)
        };
        let index = Sha256Digest::from_bytes(files.index.clone().finalize().into());
        Some(vec![
            FileChange(FileClass::Index, canonical.clone(), index, files.index_len),
            of(FileClass::Resolve, &files.resolve.to_bytes()),
            of(FileClass::Document, &package.document.to_bytes()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use drystone_schemas::{DeleteCode, EventId};

    use super::*;
    use crate::{
        project::{Draft, ProjectedFile, project},
        support::{account, name, publish, record, settings, version},
    };

    #[test]
    fn what_is_told_quickly_is_what_the_files_are() {
        let (pkg, vers) = (name("Net_Kit"), |text: &str| version(text));
        let yank = EventBody::Yank { pkg: pkg.clone(), vers: vers("1.1.0"), reason: None };
        let unyank = EventBody::Unyank { pkg: pkg.clone(), vers: vers("1.1.0") };
        let delete = EventBody::Delete { pkg: pkg.clone(), vers: vers("1.0.0"), code: DeleteCode::Spam };
        let bodies = [
            publish("Net_Kit", "1.0.0"),
            publish("Net_Kit", "1.1.0"),
            publish("Net_Kit", "0.9.0"),
            yank,
            publish("Net_Kit", "1.2.0"),
            EventBody::Deprecate { pkg, reason: None },
            publish("Net_Kit", "1.3.0"),
            unyank,
            delete,
            publish("Net_Kit", "2.0.0-rc.1"),
            publish("Net_Kit", "2.0.0"),
        ];
        let (mut touched, mut digests, mut told) = (Touched::default(), Digests::default(), 0);
        for (seq, body) in (7..).zip(bodies) {
            let actor = account(1);
            let draft = Draft { seq, time: 1_000 + seq, actor: &actor, body: &body };
            let record = match &body {
                EventBody::Publish { pkg, vers, .. } => Some(record(pkg.as_str(), &vers.to_string())),
                _ => None,
            };
            let files = project(&mut touched, &draft, record.as_ref(), &settings()).unwrap();
            let event = Event {
                v: 1,
                seq,
                id: EventId::new("01JD3K6Q0Z0000000000000000").unwrap(),
                time: draft.time,
                actor: actor.clone(),
                state: Sha256Digest::of(b""),
                files: files.iter().map(ProjectedFile::change).collect(),
                body,
            };
            if let Some(changes) = digests.changes(&touched, &event) {
                assert_eq!(changes, event.files, "event {seq}");
                told += 1;
            }
        }
        assert_eq!(told, 7, "every release is told quickly");
    }
}
