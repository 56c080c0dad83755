//! What the authors of a package have signed, and whether it is what their rule asks for.
//!
//! Owns the check that stands between the index and an install: nobody who may publish, and not even the registry itself, gets
//! a release past it which the rule in force at that release does not allow. Does not own the rules and signatures.
//! Invariant: a release of a package with a rule passes only if the log itself says when it was published, and if the rules are
//! a continuation of those that were seen before.

use std::collections::{BTreeMap, BTreeSet};

use drystone_log::{AuthorError, AuthorStatement, author::satisfies};
use drystone_schemas::{
    AuthorKey, AuthorKeys, AuthorKeysFile, Event, Exceptions, FileClass, IndexLine, PackageName, RulesAt,
    Sha256Digest, SigningRule, layout, rfc3339,
};
use serde::{Deserialize, Serialize};

use crate::{
    ClientError, Snapshot, VerificationError, defences::Defence, registry::DOCUMENT_BYTES_MAX, tiles, verify,
};

/// By how many seconds an event may be ahead of this machine's clock: as much as a cosignature may.
const AHEAD_S_MAX: u64 = 300;

/// What is remembered of the authors of a package.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeenAuthors {
    /// Keys and rules as they were seen last.
    #[serde(flatten)]
    pub(crate) authors: AuthorKeys,
    /// Releases whose events were proved, by version: they need not be asked for again.
    #[serde(default)]
    releases: BTreeMap<String, SeenRelease>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SeenRelease {
    /// Digest of the index line without what may change.
    line: Sha256Digest,
    /// Time of the event, in seconds since 1970.
    time: u64,
}

/// Who has signed a release, and by which rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authored {
    /// The keys that have signed it.
    pub signers: BTreeSet<AuthorKey>,
    /// The rule in force when it was published.
    pub rule: Option<SigningRule>,
}

impl Snapshot<'_> {
    /// The keys of a package's authors and their rules; `None` proves that there are none.
    ///
    /// # Errors
    ///
    /// [`VerificationError::Authors`] if they are no continuation of what was seen before.
    pub async fn author_keys(&self, name: &PackageName) -> Result<Option<AuthorKeys>, ClientError> {
        Ok(self.seen_and_shown(name).await?.1)
    }

    /// What was seen of a package's authors, brought up to date, and what is shown now.
    async fn seen_and_shown(
        &self,
        name: &PackageName,
    ) -> Result<(SeenAuthors, Option<AuthorKeys>), ClientError> {
        let what = format!("the author keys of `{name}`");
        let (key, by_name) = (name.canonical(), layout::author_keys(name));
        let found = self.file(&key, FileClass::Keys, &by_name, &what, DOCUMENT_BYTES_MAX).await?;
        let shown = match &found {
            Some((bytes, _)) => {
                let file: AuthorKeysFile =
                    serde_json::from_slice(bytes).map_err(|e| self.registry().unexpected(&by_name, &e))?;
                if file.name.canonical() != key {
                    let detail = format!("{what} are those of `{}`", file.name);
                    return Err(VerificationError::Contradiction(detail).into());
                }
                Some(file.authors)
            }
            None => None,
        };
        let seen = self.trust().seen_authors(&self.log().origin, name)?;
        let mut now = seen.clone().unwrap_or_default();
        let continues = shown.clone().unwrap_or_default().continues(&now.authors);
        let continues = continues.then_some(()).ok_or_else(|| {
            let detail = format!("{what} are no continuation of those that were seen before");
            ClientError::from(VerificationError::Authors { detail })
        });
        self.registry().defences().hold(Defence::SeenAuthors, continues)?;
        if let Some(shown) = &shown
            && seen.is_none_or(|seen| seen.authors != *shown)
        {
            now.authors = shown.clone();
            self.trust().remember_authors(&self.log().origin, name, &now)?;
        }
        Ok((now, shown))
    }

    /// Checks that a release has the signatures that the rule in force asked for when it was published, and no bad one.
    ///
    /// # Errors
    ///
    /// [`VerificationError::Authors`].
    pub async fn check_authors(&self, line: &IndexLine) -> Result<Authored, ClientError> {
        let defences = self.registry().defences();
        let (seen, keys) = self.seen_and_shown(&line.name).await?;
        let refused = |detail: &dyn std::fmt::Display| {
            let detail = format!("`{}` {}: {detail}", line.name, line.vers);
            ClientError::from(VerificationError::Authors { detail })
        };
        if keys.is_none() && line.sigs.is_empty() {
            return Ok(Authored::default());
        }
        let tarball = Sha256Digest::from_hex(&line.cksum).map_err(|e| refused(&e))?;
        let statement =
            AuthorStatement { origin: &self.log().origin, name: &line.name, vers: &line.vers, tarball };
        let signers = match defences.up(Defence::AuthorSignature) {
            true => statement.signers(&line.sigs, keys.as_ref(), line.published).map_err(|e| refused(&e))?,
            false => line.sigs.keys().cloned().collect(),
        };
        let Some(keys) = keys.filter(|keys| !keys.rules.is_empty()) else {
            return Ok(Authored { signers, rule: None });
        };
        let time = self.publish_time(line, &tarball, seen).await?;
        let now = self.registry().http().effects().clock.now_unix_s();
        let in_time = if time <= now.saturating_add(AHEAD_S_MAX) {
            Ok(())
        } else {
            Err(refused(&format!("its event is of {}, which is yet to come", rfc3339(time))))
        };
        defences.hold(Defence::EventTime, in_time)?;
        let RulesAt { in_force, .. } = keys.rules_at(line.published, time, Exceptions::Noticeable { now });
        let rule = if defences.up(Defence::TimeLock) { in_force } else { keys.rules.last() };
        if let Some(rule) = rule {
            let enough = satisfies(rule, &signers).map_err(|error| match error {
                AuthorError::TooFew { .. } => refused(&self.explain(&keys, line, time, &error)),
                _ => refused(&error),
            });
            defences.hold(Defence::AuthorRule, enough)?;
        }
        Ok(Authored { signers, rule: rule.cloned() })
    }

    /// Says why a release is refused that the registry took: mostly because a change waits, or was let in by an exception.
    fn explain(&self, keys: &AuthorKeys, line: &IndexLine, time: u64, error: &AuthorError) -> String {
        let strict = keys.rules_at(line.published, time, Exceptions::Noticeable { now: 0 });
        let excepted = strict.waiting.filter(|(rule, _)| rule.exception.is_some());
        match (excepted, strict.waiting) {
            (Some((rule, from)), _) => format!(
                "{error}; the registry lets it pass by the exception of event {}, which counts here from {} on",
                rule.seq,
                rfc3339(from)
            ),
            (None, Some((rule, from))) => {
                format!("{error}; the rule of event {} was not in force before {}", rule.seq, rfc3339(from))
            }
            (None, None) => error.to_string(),
        }
    }

    /// When a release was published, by its event, in seconds since 1970. What the index says of that, the registry could
    /// make up; where an event lies in the log, it cannot.
    async fn publish_time(
        &self,
        line: &IndexLine,
        tarball: &Sha256Digest,
        mut seen: SeenAuthors,
    ) -> Result<u64, ClientError> {
        // What may change without a new release is left out.
        let stable = IndexLine { seq: 0, yanked: false, yank_reason: None, ..line.clone() };
        let digest = Sha256Digest::of(&drystone_schemas::canonical_json(&stable));
        let vers = line.vers.to_string();
        if let Some(there) = seen.releases.get(&vers).filter(|there| there.line == digest) {
            return Ok(there.time);
        }
        let entry = tiles::entry(self.registry(), self.checkpoint(), line.published).await?;
        let event = Event::from_line(&entry)
            .map_err(|e| ClientError::proof(format!("event {}", line.published), e))?;
        let published = verify::check_event(&event, line, tarball);
        self.registry().defences().hold(Defence::ReleaseEvent, published)?;
        seen.releases.insert(vers, SeenRelease { line: digest, time: event.time });
        self.trust().remember_authors(&self.log().origin, &line.name, &seen)?;
        Ok(event.time)
    }
}
