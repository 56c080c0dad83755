//! Bringing files to what they must be: what is there is read first, and what is not right is written in rounds.
//!
//! Owns: when a file may stay as it is, and what becomes of writes whose outcome is unknown. Does not own which files.

use bytes::Bytes;
use drystone_log::{TlogProof, commit::Head, proof_file::PROOF_BYTES_MAX};
use drystone_schemas::{ResolveHint, file_seq, layout};
use drystone_storage::{
    Area, Body, Key, Meta, NewObject, Outcome, Replace, Store, StoreError, Tag, Versioned,
};
use futures_util::TryStreamExt;

use super::{BY_NAME_BYTES_MAX, HEAD_BYTES_MAX, RebuildError, meta_of};
use crate::{concurrent::in_order, published::Published};

/// How often a write is tried whose outcome is unknown, or that lost a race.
const TRIES_MAX: usize = 8;
/// Files of one round of writes: a directory is synced once for it.
const ROUND: usize = 128;

/// What became of one file.
pub(super) enum Done {
    /// It was right.
    Right,
    /// It was written, or would be.
    Written(String),
    /// It may stay as it is.
    Ahead(String),
}

impl Done {
    /// The same where whatever may stay is right.
    pub(super) fn unless_ahead(self) -> Self {
        match self {
            Self::Ahead(_) => Self::Right,
            other => other,
        }
    }
}

/// Where files are written, and on which terms.
#[derive(Clone, Copy)]
pub(super) struct Writing<'a> {
    pub(super) store: &'a Store,
    /// The published size.
    pub(super) size: u64,
    /// Whether by-name files stay that a commit beyond the published size may have written.
    pub(super) keeps_ahead: bool,
    /// Only tell.
    pub(super) dry_run: bool,
}

impl Writing<'_> {
    /// Brings immutable files to what they must be.
    pub(super) async fn objects(
        &self,
        files: Vec<(String, Vec<u8>, Meta)>,
    ) -> Result<Vec<Done>, RebuildError> {
        let public = &*self.store.public;
        let dry_run = self.dry_run;
        let look = files.into_iter().map(|(key, bytes, meta)| async move {
            let right = matches(public, &key, &bytes, dry_run).await?;
            let body = Body::Bytes(bytes.into());
            Ok::<_, RebuildError>((right, NewObject { key: Key::new(key)?, body, meta }))
        });
        let looked: Vec<(bool, NewObject)> = in_order(look.collect()).try_collect().await?;
        let (right, wrong): (Vec<_>, Vec<_>) = looked.into_iter().partition(|(right, _)| *right);
        let mut done: Vec<Done> = right.iter().map(|_| Done::Right).collect();
        let wrong: Vec<NewObject> = wrong.into_iter().map(|(_, object)| object).collect();
        for round in wrong.chunks(ROUND) {
            let outcomes = match dry_run {
                true => round.iter().map(|_| Ok(Outcome::Created)).collect(),
                false => public.put_round(round).await,
            };
            for (object, outcome) in round.iter().zip(outcomes) {
                create(public, object, Some(outcome)).await?;
                done.push(Done::Written(object.key.to_string()));
            }
        }
        Ok(done)
    }

    /// Brings by-name files to what they must be.
    pub(super) async fn by_name(&self, files: Vec<(String, Vec<u8>)>) -> Result<Vec<Done>, RebuildError> {
        let (store, size, dry_run) = (self.store, self.size, self.dry_run);
        let keep = || if self.keeps_ahead { Keep::Ahead { store, size } } else { Keep::Nothing };
        let look = files.into_iter().map(|(key, bytes)| async move {
            let found = look(&*store.public, &key, &bytes, &keep()).await?;
            Ok::<_, RebuildError>((key, Bytes::from(bytes), found))
        });
        let looked: Vec<_> = in_order(look.collect()).try_collect().await?;
        let (mut done, mut wrong) = (Vec::with_capacity(looked.len()), Vec::new());
        for (key, bytes, found) in looked {
            match found {
                Found::Right => done.push(Done::Right),
                Found::MayStay => done.push(Done::Ahead(key)),
                Found::Wrong(seen) => wrong.push((Key::new(key)?, seen, bytes)),
            }
        }
        for round in wrong.chunks(ROUND) {
            let swap = |(key, seen, bytes): &(Key, Option<Tag>, Bytes)| {
                (key.clone(), seen.clone(), bytes.clone(), meta_of(key.as_str()))
            };
            let outcomes = match dry_run {
                true => Vec::new(),
                false => store.public.replace_round(round.iter().map(swap).collect()).await,
            };
            let mut outcomes = outcomes.into_iter();
            for (key, _, bytes) in round {
                done.push(match outcomes.next().transpose()? {
                    None | Some(Replace::Replaced(_)) => Done::Written(key.to_string()),
                    // Whoever was there before, or whatever became of it: look again.
                    Some(Replace::Conflict | Replace::Unknown(_)) => {
                        let there =
                            replace(&*store.public, key.as_str(), bytes.clone(), false, &keep()).await?;
                        match there {
                            Done::Right => Done::Written(key.to_string()),
                            other => other,
                        }
                    }
                });
            }
        }
        Ok(done)
    }
}

/// Whether a commit that is not published yet may have written a file with this position: head says so, or is gone.
async fn commit_may_have(store: &Store, seq: u64) -> Result<bool, RebuildError> {
    let head = store.vault.read(&Key::new(layout::HEAD)?, HEAD_BYTES_MAX).await?;
    let head = head.and_then(|file| Head::parse(&file.bytes).ok());
    Ok(head.is_none_or(|head| head.size() > seq))
}

/// Reads a file; one that is longer than it can be reads as empty.
pub(super) async fn get(area: &dyn Area, key: &str, len_max: u64) -> Result<Option<Bytes>, RebuildError> {
    match area.get(&Key::new(key)?, len_max).await {
        Err(StoreError::TooLong { .. }) => Ok(Some(Bytes::new())),
        other => Ok(other?),
    }
}

/// Whether an immutable file is what it must be. Damaged bytes are deleted, since nothing may replace them.
async fn matches(area: &dyn Area, key: &str, bytes: &[u8], dry_run: bool) -> Result<bool, RebuildError> {
    match get(area, key, bytes.len() as u64).await? {
        Some(present) if present == bytes => return Ok(true),
        Some(_) if !dry_run => area.delete(&Key::new(key)?).await?,
        _ => {}
    }
    Ok(false)
}

/// Brings one immutable file to what it must be.
pub(super) async fn put(
    area: &dyn Area,
    key: &str,
    bytes: Bytes,
    meta: Meta,
    dry_run: bool,
) -> Result<Done, RebuildError> {
    if matches(area, key, &bytes, dry_run).await? {
        return Ok(Done::Right);
    }
    if !dry_run {
        create(area, &NewObject { key: Key::new(key)?, body: Body::Bytes(bytes), meta }, None).await?;
    }
    Ok(Done::Written(key.to_owned()))
}

/// Creates an immutable file, after a first answer if there was one.
async fn create(
    area: &dyn Area,
    object: &NewObject,
    first: Option<Result<Outcome, StoreError>>,
) -> Result<(), RebuildError> {
    let mut first = first;
    for _ in 0..TRIES_MAX {
        let outcome = match first.take() {
            Some(outcome) => outcome,
            None => area.put_new(object).await,
        };
        match outcome {
            Ok(Outcome::Created | Outcome::AlreadyThereSame) => return Ok(()),
            Ok(Outcome::AlreadyThereDifferent) | Err(StoreError::Unknown { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(RebuildError::Contended { key: object.key.to_string() })
}

/// Which files with other bytes than expected may stay.
pub(super) enum Keep<'a> {
    /// None.
    Nothing,
    /// Those that a commit beyond the published size may have written.
    Ahead { store: &'a Store, size: u64 },
    /// Any proof file that holds.
    Proof { published: &'a Published },
    /// A hint that says the same, or is of a later event.
    Hint(&'a ResolveHint),
}

impl Keep<'_> {
    async fn allows(&self, key: &str, present: &[u8]) -> Result<bool, RebuildError> {
        match self {
            Self::Nothing => Ok(false),
            Self::Ahead { store, size } => match file_seq(key, present) {
                Some(seq) if seq >= *size => commit_may_have(store, seq).await,
                _ => Ok(false),
            },
            Self::Proof { published } => Ok(TlogProof::decode(present).is_ok_and(|proof| {
                let entry = proof.extra.as_deref().unwrap_or_default();
                proof.verify(entry, &published.key, published.checkpoint.origin()).is_ok()
            })),
            Self::Hint(hint) => Ok(ResolveHint::parse(present)
                .is_ok_and(|there| there.seq > hint.seq || there.says_the_same(hint))),
        }
    }
}

/// What is there of a mutable file.
enum Found {
    /// What must be.
    Right,
    /// Something else, which may stay.
    MayStay,
    /// Something else, or nothing.
    Wrong(Option<Tag>),
}

async fn look(area: &dyn Area, key: &str, bytes: &[u8], keep: &Keep<'_>) -> Result<Found, RebuildError> {
    let len_max = BY_NAME_BYTES_MAX.max(PROOF_BYTES_MAX as u64);
    let present: Option<Versioned> = area.read(&Key::new(key)?, len_max).await?;
    Ok(match present {
        Some(present) if present.bytes == bytes => Found::Right,
        Some(present) if keep.allows(key, &present.bytes).await? => Found::MayStay,
        present => Found::Wrong(present.map(|file| file.tag)),
    })
}

/// Brings one mutable file to what it must be, unless what is there may stay.
pub(super) async fn replace(
    area: &dyn Area,
    key: &str,
    bytes: Bytes,
    dry_run: bool,
    keep: &Keep<'_>,
) -> Result<Done, RebuildError> {
    for _ in 0..TRIES_MAX {
        let seen = match look(area, key, &bytes, keep).await? {
            Found::Right => return Ok(Done::Right),
            Found::MayStay => return Ok(Done::Ahead(key.to_owned())),
            Found::Wrong(_) if dry_run => return Ok(Done::Written(key.to_owned())),
            Found::Wrong(seen) => seen,
        };
        let meta = meta_of(key);
        if let Replace::Replaced(_) =
            area.replace(&Key::new(key)?, seen.as_ref(), bytes.clone(), meta).await?
        {
            return Ok(Done::Written(key.to_owned()));
        }
    }
    Err(RebuildError::Contended { key: key.to_owned() })
}
