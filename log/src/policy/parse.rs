//! Reading a policy file, line by line.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::{Group, Member, POLICY_BYTES_MAX, POLICY_LINES_MAX, Policy, PolicyLog, PolicyWitness};
use crate::checkpoint::parse_decimal;
use crate::note::{Algorithm, KeyError, VerifierKey};

/// The name that stands for no cosignature at all.
const NONE: &str = "none";

/// Which line of a policy is wrong, and how.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line} of the policy: {problem}")]
pub struct PolicyError {
    /// Its number, starting at 1; one more than there are lines if something is missing.
    pub line: usize,
    /// What is wrong.
    #[source]
    pub problem: PolicyProblem,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PolicyProblem {
    /// The file is longer than [`POLICY_BYTES_MAX`], or its last line does not end.
    #[error("the file is too long, or its last line does not end")]
    BadFile,
    /// There is a control character, or text that is not UTF-8.
    #[error("it has a character that is not allowed")]
    BadCharacter,
    /// Not `log`, `witness`, `group` or `quorum` with what these take.
    #[error("it is not of a known form")]
    Malformed,
    /// More than [`POLICY_LINES_MAX`] lines of one kind.
    #[error("there are more than {POLICY_LINES_MAX} lines of this kind")]
    TooMany,
    /// The key cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key is for another purpose.
    #[error("algorithm {0:#04x} is not for this kind of line")]
    WrongAlgorithm(u8),
    /// The key stands in another line of this kind.
    #[error("the key is listed twice")]
    DuplicateKey,
    /// The name is taken, or is `none`.
    #[error("the name `{0}` cannot be defined here")]
    BadName(String),
    /// The name is not defined by a line above.
    #[error("`{0}` is not defined above")]
    Undefined(String),
    /// The name is already a member of a group.
    #[error("`{0}` is a member already")]
    UsedTwice(String),
    /// Not `all`, `any` or a number from 1 to that of the members.
    #[error("`{0}` is not a threshold of this group")]
    BadThreshold(String),
    /// There is a second quorum, or none.
    #[error("there is not exactly one quorum")]
    NotOneQuorum,
}

#[derive(Default)]
struct Reader {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    names: BTreeMap<String, Member>,
    used: BTreeSet<Member>,
    quorum: Option<Option<Member>>,
}

pub(super) fn parse(bytes: &[u8]) -> Result<Policy, PolicyError> {
    let at = |line, problem| PolicyError { line, problem };
    if bytes.len() > POLICY_BYTES_MAX {
        return Err(at(1, PolicyProblem::BadFile));
    }
    let mut reader = Reader::default();
    let mut count = 0;
    if !bytes.is_empty() {
        let lines = bytes.strip_suffix(b"\n").ok_or(at(1, PolicyProblem::BadFile))?;
        for (number, line) in (1..).zip(lines.split(|byte| *byte == b'\n')) {
            reader.line(line).map_err(|problem| at(number, problem))?;
            count = number;
        }
    }
    let quorum = reader.quorum.ok_or(at(count + 1, PolicyProblem::NotOneQuorum))?;
    let Reader { logs, witnesses, groups, .. } = reader;
    Ok(Policy { logs, witnesses, groups, quorum })
}

impl Reader {
    fn line(&mut self, line: &[u8]) -> Result<(), PolicyProblem> {
        if line.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
            return Err(PolicyProblem::BadCharacter);
        }
        if line.trim_ascii_start().starts_with(b"#") {
            return Ok(());
        }
        let line = std::str::from_utf8(line).map_err(|_| PolicyProblem::BadCharacter)?;
        let items: Vec<&str> = line.split([' ', '\t']).filter(|item| !item.is_empty()).collect();
        match &items[..] {
            [] => Ok(()),
            ["log", key] => self.log(key, None),
            ["log", key, url] => self.log(key, Some(url)),
            ["witness", name, key] => self.witness(name, key, None),
            ["witness", name, key, url] => self.witness(name, key, Some(url)),
            ["group", name, threshold, members @ ..] if !members.is_empty() => {
                self.group(name, threshold, members)
            }
            ["quorum", name] => self.quorum(name),
            _ => Err(PolicyProblem::Malformed),
        }
    }

    fn log(&mut self, key: &str, url: Option<&str>) -> Result<(), PolicyProblem> {
        let key = read_key(key, |algorithm| algorithm != Algorithm::CosignatureV1)?;
        room(self.logs.len())?;
        if self.logs.iter().any(|log| log.key.public_bytes() == key.public_bytes()) {
            return Err(PolicyProblem::DuplicateKey);
        }
        self.logs.push(PolicyLog { key, url: url.map(str::to_owned) });
        Ok(())
    }

    fn witness(&mut self, name: &str, key: &str, url: Option<&str>) -> Result<(), PolicyProblem> {
        let key = read_key(key, |algorithm| algorithm != Algorithm::Ed25519)?;
        room(self.witnesses.len())?;
        if self.witnesses.iter().any(|witness| witness.key.public_bytes() == key.public_bytes()) {
            return Err(PolicyProblem::DuplicateKey);
        }
        self.define(name, Member::Witness(self.witnesses.len()))?;
        self.witnesses.push(PolicyWitness { name: name.to_owned(), key, url: url.map(str::to_owned) });
        Ok(())
    }

    fn group(&mut self, name: &str, threshold_text: &str, names: &[&str]) -> Result<(), PolicyProblem> {
        room(self.groups.len())?;
        let mut members = Vec::with_capacity(names.len());
        for name in names {
            let member = self.find(name)?;
            if !self.used.insert(member) {
                return Err(PolicyProblem::UsedTwice((*name).to_owned()));
            }
            members.push(member);
        }
        let count = members.len();
        let number = match threshold_text {
            "all" => Some(count),
            "any" => Some(1),
            number => parse_decimal(number).and_then(|number| usize::try_from(number).ok()),
        };
        let threshold = number.filter(|number| (1..=count).contains(number));
        let threshold = threshold.ok_or_else(|| PolicyProblem::BadThreshold(threshold_text.to_owned()))?;
        self.define(name, Member::Group(self.groups.len()))?;
        self.groups.push(Group { threshold, members });
        Ok(())
    }

    fn quorum(&mut self, name: &str) -> Result<(), PolicyProblem> {
        if self.quorum.is_some() {
            return Err(PolicyProblem::NotOneQuorum);
        }
        self.quorum = Some(if name == NONE { None } else { Some(self.find(name)?) });
        Ok(())
    }

    fn find(&self, name: &str) -> Result<Member, PolicyProblem> {
        self.names.get(name).copied().ok_or_else(|| PolicyProblem::Undefined(name.to_owned()))
    }

    fn define(&mut self, name: &str, member: Member) -> Result<(), PolicyProblem> {
        if name == NONE || self.names.insert(name.to_owned(), member).is_some() {
            return Err(PolicyProblem::BadName(name.to_owned()));
        }
        Ok(())
    }
}

fn room(count: usize) -> Result<(), PolicyProblem> {
    if count < POLICY_LINES_MAX { Ok(()) } else { Err(PolicyProblem::TooMany) }
}

fn read_key(text: &str, fits: impl Fn(Algorithm) -> bool) -> Result<VerifierKey, PolicyProblem> {
    let key = VerifierKey::parse(text)?;
    if fits(key.algorithm()) { Ok(key) } else { Err(PolicyProblem::WrongAlgorithm(key.algorithm().byte())) }
}
