//! Which logs are believed, and whose cosignatures make their checkpoints good (C2SP tlog-policy).
//!
//! Owns the format and the evaluation of the quorum. Does not own how old a cosignature may be: it says of which
//! moment the quorum speaks, and the caller compares that with its clock.
//! Invariant: a witness counts in one way only, because no key and no name is used twice.

mod parse;

use crate::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::note::{Note, NoteError, Verified, VerifierKey};

pub use parse::{PolicyError, PolicyProblem};

/// Largest policy that is read, in bytes.
pub const POLICY_BYTES_MAX: usize = 64 * 1024;

/// Most logs, witnesses and groups, each, that are read; the format asks for at least 32.
pub const POLICY_LINES_MAX: usize = 64;

/// A policy, as its file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    quorum: Option<Member>,
}

/// A log whose checkpoints are believed. The name of its key is its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyLog {
    /// The key of its checkpoints.
    pub key: VerifierKey,
    /// Where it is served.
    pub url: Option<String>,
}

/// A cosigner that may count towards the quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyWitness {
    /// Its name within the policy, without meaning elsewhere.
    pub name: String,
    /// The key of its cosignatures. It may be of an algorithm that is not implemented, and then never counts.
    pub key: VerifierKey,
    /// Submission prefix of its tlog-witness interface.
    pub url: Option<String>,
}

/// At least `threshold` of the members.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    threshold: usize,
    members: Vec<Member>,
}

/// A position in the list of witnesses or, further up, of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Member {
    Witness(usize),
    Group(usize),
}

/// What a set of cosignatures says under a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quorum {
    /// The policy asks for no cosignature, so that nothing is said about time.
    NotAsked,
    /// Too few have cosigned.
    Missing,
    /// Enough have cosigned at this time or later, in seconds since 1970; it is the latest such time.
    At(u64),
}

impl Policy {
    /// Reads a policy file.
    ///
    /// Names and URLs must be UTF-8, which the format only recommends.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] names the first line that the format does not allow.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        parse::parse(bytes)
    }

    /// The logs, as listed.
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// The witnesses, as listed.
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// Whether any cosignature is asked for.
    pub fn asks_for_cosignatures(&self) -> bool {
        self.quorum.is_some()
    }

    /// Opens a checkpoint that the log `origin` of this policy has signed.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] if it is malformed, of another origin, or not signed by a key that the policy lists for it.
    pub fn open(&self, bytes: &[u8], origin: &str) -> Result<SignedCheckpoint, CheckpointError> {
        let mut refused = CheckpointError::Note(NoteError::NotSignedByKnownKey);
        for log in self.logs.iter().filter(|log| log.key.name() == origin) {
            match SignedCheckpoint::open(bytes, &log.key, origin) {
                Err(error @ CheckpointError::Note(NoteError::NotSignedByKnownKey)) => refused = error,
                opened => return opened,
            }
        }
        Err(refused)
    }

    /// Whether enough witnesses have signed, as `signed` tells of each of them.
    pub fn is_met(&self, signed: impl Fn(&PolicyWitness) -> bool) -> bool {
        let Some(quorum) = self.quorum else { return true };
        let witnessed: Vec<bool> = self.witnesses.iter().map(signed).collect();
        let mut groups: Vec<bool> = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            // Members stand before their groups, so that each is known here.
            let met = group.members.iter().filter(|member| counts(**member, &witnessed, &groups)).count();
            groups.push(met >= group.threshold);
        }
        counts(quorum, &witnessed, &groups)
    }

    /// What the cosignatures under a checkpoint's note come to. Those that state a later time than `not_after`, in seconds
    /// since 1970, do not count.
    ///
    /// # Errors
    ///
    /// [`NoteError::WrongSignature`] if a witness of this policy is said to have signed and has not.
    pub fn quorum(&self, note: &Note, not_after: u64) -> Result<Quorum, NoteError> {
        if self.quorum.is_none() {
            return Ok(Quorum::NotAsked);
        }
        let keys: Vec<VerifierKey> = self.witnesses.iter().map(|witness| witness.key.clone()).collect();
        let good = match note.verify(&keys) {
            Err(NoteError::NotSignedByKnownKey) => return Ok(Quorum::Missing),
            good => good?,
        };
        Ok(self.quorum_of(&good, not_after))
    }

    /// What these cosignatures come to; see [`Policy::quorum`].
    pub fn quorum_of(&self, good: &[Verified<'_>], not_after: u64) -> Quorum {
        if self.quorum.is_none() {
            return Quorum::NotAsked;
        }
        let time_of = |witness: &PolicyWitness| {
            let mut times = good.iter().filter(|good| *good.key == witness.key).filter_map(|good| good.time);
            times.find(|time| *time <= not_after)
        };
        let mut times: Vec<u64> = self.witnesses.iter().filter_map(time_of).collect();
        times.sort_unstable();
        let latest = times
            .into_iter()
            .rev()
            .find(|since| self.is_met(|witness| time_of(witness).is_some_and(|time| time >= *since)));
        latest.map_or(Quorum::Missing, Quorum::At)
    }
}

fn counts(member: Member, witnessed: &[bool], groups: &[bool]) -> bool {
    match member {
        Member::Witness(position) => witnessed[position],
        Member::Group(position) => groups[position],
    }
}
