//! Who signs what is committed: the log's key, the registry's own cosigner, and witnesses elsewhere.
//!
//! Owns the doors to keys and witnesses. Does not own when anything is signed, or how a witness is asked.
//! Invariant: a log key signs texts and never states a time; a cosigner states a time with everything it signs.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Cosigner, Note, NoteSigner, Policy, Quorum, VerifierKey,
    note::{NoteSignature, grease},
    policy::PolicyWitness,
};

/// The key cannot sign now: its service does not answer, or refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key `{name}` cannot sign: {detail}")]
pub struct KeyUnavailable {
    /// Name of the key.
    pub name: String,
    /// What the service says.
    pub detail: String,
}

/// The log's key, wherever its secret is: in memory, in a key service, in hardware.
///
/// Signing again what was signed before gives the same bytes, as Ed25519 does (RFC 8032 section 5.1.6): the history of
/// checkpoints relies on it. Whoever implements this bounds the time that an answer takes.
#[async_trait]
pub trait LogKey: Send + Sync + 'static {
    /// The public key; its name is the origin.
    fn verifier(&self) -> &VerifierKey;

    /// Signs a text (C2SP signed-note, algorithm 0x01).
    async fn sign(&self, text: &str) -> Result<NoteSignature, KeyUnavailable>;
}

/// The key that says how new a checkpoint is.
#[async_trait]
pub trait FreshnessKey: Send + Sync + 'static {
    /// The public key.
    fn verifier(&self) -> &VerifierKey;

    /// Signs a checkpoint's text together with a time in seconds since 1970 (C2SP tlog-cosignature, algorithm 0x04).
    async fn cosign(&self, text: &str, time: u64) -> Result<NoteSignature, KeyUnavailable>;
}

/// The way to a witness (C2SP tlog-witness).
#[async_trait]
pub trait WitnessLink: Send + Sync + 'static {
    /// Posts the body of `add-checkpoint`, and answers with the status and body; in words what came between.
    async fn add_checkpoint(&self, body: Bytes) -> Result<(u16, Bytes), String>;
}

#[async_trait]
impl LogKey for NoteSigner {
    fn verifier(&self) -> &VerifierKey {
        self.verifier()
    }

    async fn sign(&self, text: &str) -> Result<NoteSignature, KeyUnavailable> {
        Ok(self.sign(text))
    }
}

#[async_trait]
impl FreshnessKey for Cosigner {
    fn verifier(&self) -> &VerifierKey {
        self.verifier()
    }

    async fn cosign(&self, text: &str, time: u64) -> Result<NoteSignature, KeyUnavailable> {
        Ok(self.sign(text, time))
    }
}

/// Makes the way to the submission prefix of a witness.
type Connect = Arc<dyn Fn(&str) -> Box<dyn WitnessLink> + Send + Sync>;

/// Everything that signs for one log.
#[derive(Clone)]
pub struct Signing {
    pub(super) log: Arc<dyn LogKey>,
    pub(super) freshness: Option<Arc<dyn FreshnessKey>>,
    /// The witnesses that are asked; shared by all copies, because a new policy may name others.
    outside: Arc<Mutex<Option<Arc<Outside>>>>,
    /// The way to witnesses, where they are those of the policy in force.
    connect: Option<Connect>,
    /// The freshness key that the registry announces, for processes that do not have it themselves.
    announced: Arc<Mutex<Option<VerifierKey>>>,
}

/// The witnesses elsewhere, and what makes them enough.
pub(super) struct Outside {
    pub(super) policy: Policy,
    pub(super) witnesses: Vec<Asked>,
}

/// A witness that is asked.
pub(super) struct Asked {
    pub(super) key: VerifierKey,
    pub(super) link: Box<dyn WitnessLink>,
    /// Size of the tree that it has recorded, as far as is known here; it tells if that is wrong.
    pub(super) recorded: Mutex<u64>,
}

impl Signing {
    /// Signs with this key alone: nothing says how new a checkpoint is.
    pub fn new(log: Arc<dyn LogKey>) -> Self {
        Self { log, freshness: None, outside: Arc::default(), connect: None, announced: Arc::default() }
    }

    /// Has every checkpoint cosigned by the registry's own freshness key.
    #[must_use]
    pub fn with_freshness(self, key: Arc<dyn FreshnessKey>) -> Self {
        Self { freshness: Some(key), ..self }
    }

    /// Asks the witnesses of a policy that have a URL, and takes the policy's quorum to be what a proof file needs.
    ///
    /// `connect` makes the way to the submission prefix of a witness. The own freshness key is not asked, though the policy may name
    /// it.
    #[must_use]
    pub fn with_witnesses(self, policy: Policy, connect: impl Fn(&str) -> Box<dyn WitnessLink>) -> Self {
        let outside = self.outside_of(policy, &connect);
        Self { outside: Arc::new(Mutex::new(Some(Arc::new(outside)))), ..self }
    }

    /// Asks the witnesses of whichever policy is in force: [`Signing::adopt`] says which.
    #[must_use]
    pub fn following_policy(
        self,
        connect: impl Fn(&str) -> Box<dyn WitnessLink> + Send + Sync + 'static,
    ) -> Self {
        Self { connect: Some(Arc::new(connect)), ..self }
    }

    /// Whether the witnesses are those of the policy in force.
    pub fn follows_policy(&self) -> bool {
        self.connect.is_some()
    }

    /// Takes a policy to be the one in force, for this and every copy; without effect on one that does not follow it.
    pub fn adopt(&self, policy: Option<Policy>) {
        let Some(connect) = &self.connect else { return };
        let before = self.outside();
        if before.as_ref().map(|outside| &outside.policy) == policy.as_ref() {
            return;
        }
        let outside = policy.map(|policy| Arc::new(self.outside_of(policy, &**connect)));
        if let Some(outside) = &outside {
            tracing::info!(witnesses = outside.witnesses.len(), "another policy is in force");
        }
        *self.outside.lock().expect("no holder of this lock panics") = outside;
    }

    /// The witnesses that are asked, and what makes them enough.
    pub(super) fn outside(&self) -> Option<Arc<Outside>> {
        self.outside.lock().expect("no holder of this lock panics").clone()
    }

    fn outside_of(&self, policy: Policy, connect: &dyn Fn(&str) -> Box<dyn WitnessLink>) -> Outside {
        let own = self.freshness.as_ref().map(|key| key.verifier());
        let asked = |witness: &PolicyWitness| {
            let url = witness.url.as_deref().filter(|_| Some(&witness.key) != own)?;
            Some(Asked { key: witness.key.clone(), link: connect(url), recorded: Mutex::new(0) })
        };
        let witnesses = policy.witnesses().iter().filter_map(asked).collect();
        Outside { policy, witnesses }
    }

    /// The log's public key.
    pub fn log_key(&self) -> &VerifierKey {
        self.log.verifier()
    }

    /// The public key of the own cosigner.
    pub fn freshness_key(&self) -> Option<&VerifierKey> {
        self.freshness.as_ref().map(|key| key.verifier())
    }

    /// Takes note of the freshness key that the registry announces. A process that does not have it leaves the proof file to
    /// one that does.
    pub fn announce(&self, key: Option<VerifierKey>) {
        *self.announced.lock().expect("no holder of this lock panics") = key;
    }

    fn announced(&self) -> Option<VerifierKey> {
        self.announced.lock().expect("no holder of this lock panics").clone()
    }

    /// Whether the proof file may have to wait for somebody else's cosignature.
    pub(super) fn waits_for_others(&self) -> bool {
        self.outside().is_some() || (self.freshness.is_none() && self.announced().is_some())
    }

    /// Whether this process has somebody say how new a checkpoint is, so that it has to be said again from time to time.
    pub fn tells_time(&self) -> bool {
        self.freshness.is_some() || self.outside().is_some()
    }

    /// Whether a checkpoint's cosignatures are as many as the policy of the witnesses wants.
    pub(super) fn is_enough(&self, note: &Note) -> bool {
        let Some(outside) = self.outside() else { return false };
        !matches!(outside.policy.quorum(note, u64::MAX), Ok(Quorum::Missing) | Err(_))
    }

    /// The newest time that a cosigner known here states.
    pub(super) fn newest_time(&self, note: &Note) -> u64 {
        let outside = self.outside();
        let outside = outside.iter().flat_map(|outside| outside.policy.witnesses());
        let mut keys: Vec<VerifierKey> = outside.map(|witness| witness.key.clone()).collect();
        let own = self.freshness_key().cloned().or_else(|| self.announced());
        keys.extend(own.filter(|own| !keys.contains(own)));
        let good = note.verify(&keys).unwrap_or_default();
        good.iter().filter_map(|good| good.time).max().unwrap_or(0)
    }

    /// The signature lines of a checkpoint's text that are made here: the log's first.
    pub(super) async fn sign(&self, text: &str, time: u64) -> Result<Vec<NoteSignature>, KeyUnavailable> {
        let mut lines = vec![self.log.sign(text).await?];
        if let Some(key) = &self.freshness {
            match key.cosign(text, time).await {
                Ok(line) => lines.push(line),
                // The checkpoint is good without it; the next heartbeat tries again.
                Err(error) => tracing::warn!("a checkpoint is published without its time: {error}"),
            }
        }
        lines.push(grease(text));
        Ok(lines)
    }
}

impl From<NoteSigner> for Signing {
    fn from(signer: NoteSigner) -> Self {
        Self::new(Arc::new(signer))
    }
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let witnesses = self.outside().map_or(0, |outside| outside.witnesses.len());
        f.debug_struct("Signing")
            .field("log", self.log_key())
            .field("freshness", &self.freshness_key())
            .field("witnesses", &witnesses)
            .finish()
    }
}
