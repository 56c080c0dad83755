//! The state of one package: its index file and its document.
//!
//! Invariant: the two files are the whole state; what they parse to is what made them.

use drystone_schemas::{
    AccountId, DeleteCode, Deprecation, EventBody, FileClass, IndexFile, IndexLine, OwnerEntry,
    PackageDocument, PackageName, ResolveRecord, Role, Settings, Sha256Digest, TransferOffer,
    TrustedPublisher, Version, VersionRecord, layout, rfc3339,
};

use super::{Draft, ProjectError, ProjectedFile, authors, github, line};

/// The state of one package at some position of the log: its two by-name files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageState {
    /// What is known of it besides its releases.
    pub document: PackageDocument,
    /// Its releases.
    pub index: IndexFile,
}

impl PackageState {
    /// Reads the state back from the package's two files.
    ///
    /// # Errors
    ///
    /// A file that does not parse, or a line of another package.
    pub fn parse(index: &[u8], document: &[u8]) -> Result<Self, ProjectError> {
        let index = IndexFile::parse(index)?;
        let document: PackageDocument = serde_json::from_slice(document).map_err(ProjectError::Document)?;
        match index.lines.iter().find(|line| line.name != document.name) {
            Some(line) => {
                Err(ProjectError::MixedFiles { document: document.name.clone(), line: line.name.clone() })
            }
            None => Ok(Self { document, index }),
        }
    }

    /// The package's index file.
    pub fn index_file(&self) -> ProjectedFile {
        let name = &self.document.name;
        ProjectedFile {
            class: FileClass::Index,
            state_key: name.canonical(),
            key: layout::index_file(name),
            bytes: self.index.to_bytes(),
        }
    }

    /// The package's resolve record.
    pub fn resolve_file(&self) -> ProjectedFile {
        let name = &self.document.name;
        let record = ResolveRecord::of(&self.index).expect("a package has a first release, and lines stay");
        ProjectedFile {
            class: FileClass::Resolve,
            state_key: name.canonical(),
            key: layout::resolve_record(name),
            bytes: record.to_bytes(),
        }
    }

    /// The package's document.
    pub fn document_file(&self) -> ProjectedFile {
        let name = &self.document.name;
        ProjectedFile {
            class: FileClass::Document,
            state_key: name.canonical(),
            key: layout::document(name),
            bytes: self.document.to_bytes(),
        }
    }

    /// The file with the keys of its authors, once there is one.
    pub fn keys_file(&self) -> Option<ProjectedFile> {
        authors::keys_file(self)
    }

    /// A package comes into being by its first release; the actor owns it.
    pub(super) fn create(line: IndexLine, record: &VersionRecord, draft: &Draft<'_>) -> Self {
        let document = PackageDocument {
            seq: draft.seq,
            name: line.name.clone(),
            owners: vec![OwnerEntry { account: draft.actor.clone(), role: Role::Owner }],
            pending_owners: Vec::new(),
            transfer: None,
            author_keys: None,
            created: rfc3339(draft.time),
            updated: rfc3339(draft.time),
            releases: 0,
            latest: None,
            aliases: Vec::new(),
            publishers: Vec::new(),
            deprecated: None,
            description: None,
            authors: Vec::new(),
            license: None,
            keywords: Vec::new(),
            categories: Vec::new(),
            homepage: None,
            repository: None,
            documentation: None,
            zig: None,
        };
        let mut package = Self { document, index: IndexFile { lines: vec![line] } };
        package.take_facts(record);
        package
    }

    /// Adds a release.
    pub(super) fn publish(
        &mut self,
        line: IndexLine,
        record: &VersionRecord,
        draft: &Draft<'_>,
    ) -> Result<(), ProjectError> {
        debug_assert_eq!(line.seq, draft.seq);
        if line.name != self.document.name {
            return Err(ProjectError::Spelling { first: self.document.name.clone(), given: line.name });
        }
        if let Some(there) = self.index.find(&line.vers) {
            return Err(ProjectError::VersionExists { name: line.name, vers: there.vers.clone() });
        }
        self.index.lines.push(line);
        self.take_facts(record);
        Ok(())
    }

    /// Applies an event that is neither a publish nor about an alias.
    pub(super) fn apply(&mut self, draft: &Draft<'_>) -> Result<(), ProjectError> {
        let seq = draft.seq;
        match draft.body {
            EventBody::Yank { vers, reason, .. } => self.yank(vers, *reason, seq),
            EventBody::Unyank { vers, .. } => self.unyank(vers, seq),
            EventBody::Delete { vers, code, .. } => self.delete(vers, *code, seq),
            EventBody::Deprecate { reason, .. } => {
                if self.document.deprecated.as_ref().is_some_and(|there| there.reason == *reason) {
                    return Err(self.no_change(seq));
                }
                self.document.deprecated = Some(Deprecation { seq, reason: *reason });
                Ok(())
            }
            EventBody::Undeprecate { .. } => match self.document.deprecated.take() {
                Some(_) => Ok(()),
                None => Err(self.no_change(seq)),
            },
            EventBody::OwnerAdd { account, role, exception, .. } => {
                self.add_owner(draft, account, *role, exception.is_some())
            }
            EventBody::OwnerRemove { account, exception, .. } => {
                self.remove_owner(draft, account, exception.is_some())
            }
            EventBody::TransferOffer { to, until, .. } => {
                let from = draft.time.saturating_add(self.document.lock_s_at(seq, draft.time));
                let offer = TransferOffer { to: to.clone(), seq, time: draft.time, from, until: *until };
                let goes_on = |there: &TransferOffer| there.to == offer.to;
                if offer.until <= offer.from || self.document.transfer.as_ref().is_some_and(goes_on) {
                    return Err(self.no_change(seq));
                }
                self.document.transfer = Some(offer);
                Ok(())
            }
            EventBody::TransferWithdraw { .. } => {
                let changed = self.document.transfer.take().is_some();
                self.changed(changed, seq)
            }
            EventBody::Transfer { to, .. } => {
                let offered = self.document.transfer.as_ref().is_some_and(|offer| offer.to == *to);
                let from = self.document.transfer_from(seq, draft.time).filter(|_| offered);
                if from.is_none_or(|from| draft.time < from) {
                    let name = self.document.name.clone();
                    return Err(ProjectError::NotOffered { name, account: to.clone() });
                }
                self.document.hand_over(to);
                Ok(())
            }
            EventBody::AuthorKeyAdd { key, .. } => {
                let changed = authors::add_key(&mut self.document, key, seq);
                self.changed(changed, seq)
            }
            EventBody::AuthorKeyRemove { key, .. } => {
                let changed = authors::remove_key(&mut self.document, key, seq);
                self.changed(changed, seq)
            }
            EventBody::Policy { threshold, keys, lock_hours, exception, .. } => {
                let numbers = (*threshold, *lock_hours);
                let changed = authors::add_rule(&mut self.document, draft, numbers, keys, *exception);
                self.changed(changed, seq)
            }
            EventBody::PublisherAdd { publisher, .. } => {
                let there =
                    |other: &TrustedPublisher| other.id == publisher.id || other.is_same_as(publisher);
                if self.document.publishers.iter().any(there) {
                    return Err(self.no_change(seq));
                }
                self.document.publishers.push(publisher.clone());
                Ok(())
            }
            EventBody::PublisherRemove { publisher, .. } => {
                if self.document.publisher(publisher).is_none() {
                    return Err(self.no_change(seq));
                }
                self.document.publishers.retain(|other| other.id != *publisher);
                Ok(())
            }
            EventBody::Genesis { .. }
            | EventBody::Config { .. }
            | EventBody::Trust { .. }
            | EventBody::Heartbeat {}
            | EventBody::Publish { .. }
            | EventBody::AliasSet { .. }
            | EventBody::AliasRemove { .. } => unreachable!("the caller keeps these kinds to itself"),
        }
    }

    /// Brings what follows from the lines and from the event itself up to date.
    pub(super) fn touch(&mut self, draft: &Draft<'_>, settings: &Settings) {
        self.document.seq = draft.seq;
        self.document.updated = rfc3339(draft.time);
        self.document.releases = self.index.lines.iter().filter(|line| line.deleted.is_none()).count() as u64;
        let latest = self.index.latest();
        self.document.latest = latest.map(|line| line.vers.clone());
        self.document.zig = latest.and_then(|line| github::snippet(line, settings));
    }

    /// Checks that an event is about this package, in whatever spelling.
    pub(super) fn check_name(&self, named: &PackageName) -> Result<(), ProjectError> {
        let given = &self.document.name;
        if given.canonical() == named.canonical() {
            Ok(())
        } else {
            Err(ProjectError::OtherPackage { named: named.clone(), given: given.clone() })
        }
    }

    fn yank(&mut self, vers: &Version, reason: Option<Sha256Digest>, seq: u64) -> Result<(), ProjectError> {
        let unchanged = self.no_change(seq);
        let line = self.live_line(vers)?;
        if line.yanked && line.yank_reason == reason {
            return Err(unchanged);
        }
        (line.yanked, line.yank_reason, line.seq) = (true, reason, seq);
        Ok(())
    }

    fn unyank(&mut self, vers: &Version, seq: u64) -> Result<(), ProjectError> {
        let unchanged = self.no_change(seq);
        let line = self.live_line(vers)?;
        if !line.yanked {
            return Err(unchanged);
        }
        (line.yanked, line.yank_reason, line.seq) = (false, None, seq);
        Ok(())
    }

    fn delete(&mut self, vers: &Version, code: DeleteCode, seq: u64) -> Result<(), ProjectError> {
        let line = self.live_line(vers)?;
        let published = line.published;
        line::bury(line, code, seq);
        // What the document says comes from the release published last; a takedown takes its words down too.
        if self.index.lines.iter().all(|line| line.published <= published) {
            self.drop_facts();
        }
        Ok(())
    }

    fn add_owner(
        &mut self,
        draft: &Draft<'_>,
        account: &AccountId,
        role: Role,
        excepted: bool,
    ) -> Result<(), ProjectError> {
        if self.document.role_of(account) == Some(Role::Owner) && role != Role::Owner {
            self.check_other_owner(account)?;
            self.document.transfer = None;
        }
        let wait_s = authors::owners_wait_s(&self.document, draft, excepted);
        let changed = authors::change_owner(&mut self.document, draft, account, Some(role), wait_s);
        self.changed(changed, draft.seq)
    }

    fn remove_owner(
        &mut self,
        draft: &Draft<'_>,
        account: &AccountId,
        excepted: bool,
    ) -> Result<(), ProjectError> {
        let waits = self.document.pending_owners.iter().any(|change| change.account == *account);
        match self.document.role_of(account) {
            None if !waits => {
                let name = self.document.name.clone();
                return Err(ProjectError::NotAnOwner { name, account: account.clone() });
            }
            Some(Role::Owner) => self.check_other_owner(account)?,
            _ => {}
        }
        // Nobody is kept against their will.
        let wait_s = match account == draft.actor {
            true => 0,
            false => authors::owners_wait_s(&self.document, draft, excepted),
        };
        // Whoever is told to go may have made the offer.
        self.document.transfer = None;
        let changed = authors::change_owner(&mut self.document, draft, account, None, wait_s);
        self.changed(changed, draft.seq)
    }

    /// Checks that somebody else than `account` has the full role.
    fn check_other_owner(&self, account: &AccountId) -> Result<(), ProjectError> {
        if self.document.has_other_owner(account) {
            Ok(())
        } else {
            Err(ProjectError::LastOwner { name: self.document.name.clone(), account: account.clone() })
        }
    }

    /// The line of a version that exists and is no tombstone.
    fn live_line(&mut self, vers: &Version) -> Result<&mut IndexLine, ProjectError> {
        let name = &self.document.name;
        let key = vers.precedence_key();
        match self.index.lines.iter_mut().find(|line| line.vers.precedence_key() == key) {
            None => Err(ProjectError::UnknownVersion { name: name.clone(), vers: vers.clone() }),
            Some(line) if line.deleted.is_some() => {
                Err(ProjectError::Deleted { name: name.clone(), vers: line.vers.clone() })
            }
            Some(line) => Ok(line),
        }
    }

    fn changed(&self, changed: bool, seq: u64) -> Result<(), ProjectError> {
        if changed { Ok(()) } else { Err(self.no_change(seq)) }
    }

    fn no_change(&self, seq: u64) -> ProjectError {
        ProjectError::NoChange { seq, name: self.document.name.clone() }
    }

    fn take_facts(&mut self, record: &VersionRecord) {
        let document = &mut self.document;
        document.description = record.description.clone();
        document.authors = record.authors.clone();
        document.license = record.license.clone();
        document.keywords = record.keywords.clone();
        document.categories = record.categories.clone();
        document.homepage = record.homepage.clone();
        document.repository = record.repository.clone();
        document.documentation = record.documentation.clone();
    }

    fn drop_facts(&mut self) {
        let document = &mut self.document;
        document.description = None;
        document.authors = Vec::new();
        document.license = None;
        document.keywords = Vec::new();
        document.categories = Vec::new();
        document.homepage = None;
        document.repository = None;
        document.documentation = None;
    }
}
