//! The root of trust of a registry, as far as this client has followed it: which policy is in force.
//!
//! Owns the walk over `log/trust/<N>` and what the policy says of a checkpoint: quorum, age, retirement. Does not own the
//! rule by which a document follows another, nor the format of policies.
//! Invariant: a document is in force only if an unbroken chain leads to it from the first one that was seen or given, and
//! it has not expired; what was reached once is never given up for an older one.

use drystone_log::{
    Policy, Quorum, SignedCheckpoint, SignedTrust, TrustDocument, VerifierKey, note::NOTE_BYTES_MAX,
    policy::POLICY_BYTES_MAX,
};
use drystone_schemas::RegistryConfig;

use crate::{
    ClientError, Network, Registry, TrustStore, VerificationError, defences::Defence, http, trust::PinnedLog,
};

/// Most documents that are followed in one run; the next run goes on from there.
const STEPS_MAX: u32 = 64;
/// How far the clocks of cosigners may be ahead, in seconds.
const AHEAD_S_MAX: u64 = 300;

/// What the holders of the roots say.
#[derive(Debug, Clone)]
pub(crate) struct InForce {
    document: TrustDocument,
    policy: Policy,
}

/// The document that is in force, after following all that are new. None where the registry has never had one.
pub(crate) async fn in_force(
    registry: &Registry,
    trust: &TrustStore,
) -> Result<Option<InForce>, ClientError> {
    let Some(signed) = follow(registry, trust).await? else { return Ok(None) };
    let document = signed.unverified().clone();
    let what = || key_of(document.version);
    let now = registry.http().effects().clock.now_unix_s();
    let expired = document.check_time(now).map_err(|e| ClientError::proof(what(), e));
    registry.defences().hold(Defence::RootExpiry, expired)?;
    let digest = document.policy;
    let policy = registry.object(&digest, POLICY_BYTES_MAX as u64).await?;
    let missing = || VerificationError::Missing { what: format!("the policy that `{}` names", what()) };
    let policy =
        Policy::parse(&policy.ok_or_else(missing)?).map_err(|e| ClientError::proof("the policy", e))?;
    Ok(Some(InForce { document, policy }))
}

/// Walks from the newest document that is known to the newest that there is.
async fn follow(registry: &Registry, trust: &TrustStore) -> Result<Option<SignedTrust>, ClientError> {
    let mut known = trust.root(registry.base())?;
    if registry.network() == Network::Offline {
        return Ok(known);
    }
    for _ in 0..STEPS_MAX {
        let version = known.as_ref().map_or(1, |known| known.unverified().version + 1);
        let Some(next) = fetch(registry, version).await? else { break };
        let refused = |e: &dyn std::fmt::Display| ClientError::proof(key_of(version), e);
        let accepted = match &known {
            Some(before) => next.succeed(before.unverified()),
            None => next.begin(),
        };
        let accepted = accepted.map(drop).map_err(|e| refused(&e));
        registry.defences().hold(Defence::RootChain, accepted)?;
        // Kept step by step: what was reached once is never given up.
        trust.keep_root(registry.base(), &next)?;
        known = Some(next);
    }
    Ok(known)
}

async fn fetch(registry: &Registry, version: u64) -> Result<Option<SignedTrust>, ClientError> {
    let key = key_of(version);
    let url = registry.url(&key);
    let answer = registry.read(&url, None, NOTE_BYTES_MAX as u64).await?;
    match answer.status.as_u16() {
        200 => SignedTrust::parse(&answer.body).map(Some).map_err(|e| ClientError::proof(key, e)),
        404 => Ok(None),
        _ => Err(http::status_error(&url, answer.status)),
    }
}

fn key_of(version: u64) -> String {
    format!("log/trust/{version}")
}

impl InForce {
    /// The log that the registry names, if the policy lists its key.
    pub(crate) fn log(&self, config: &RegistryConfig) -> Result<PinnedLog, ClientError> {
        let log = PinnedLog::offered(config)?;
        let lists = |key: &VerifierKey| self.policy.logs().iter().any(|listed| listed.key == *key);
        if log.key.name() == log.origin && lists(&log.key) {
            return Ok(log);
        }
        Err(ClientError::proof(
            "the key of the log",
            format!("the policy of `{}` does not list it", self.name()),
        ))
    }

    /// Whether a log that was used before may be left for another one.
    pub(crate) fn retires(&self, origin: &str) -> bool {
        self.document.final_log(origin).is_some()
    }

    /// Checks what the policy asks of a checkpoint that its log has signed: enough cosigners, recently enough; and
    /// of a retired log, that it is the last one.
    pub(crate) fn check(&self, registry: &Registry, signed: &SignedCheckpoint) -> Result<(), ClientError> {
        let (checkpoint, defences) = (signed.checkpoint(), registry.defences());
        let origin = checkpoint.origin();
        if self.document.final_log(origin).is_some_and(|last| last != checkpoint) {
            let detail = format!("the log `{origin}` is retired, and this is not its last checkpoint");
            defences.hold(Defence::RetiredLog, Err(VerificationError::Contradiction(detail)))?;
        }
        let now = registry.http().effects().clock.now_unix_s();
        let quorum = self.policy.quorum(signed.note(), now.saturating_add(AHEAD_S_MAX));
        match quorum.map_err(|e| ClientError::proof("the checkpoint", e))? {
            Quorum::NotAsked => Ok(()),
            Quorum::Missing => {
                let unwitnessed =
                    VerificationError::NotWitnessed { origin: origin.into(), size: checkpoint.size() };
                defences.hold(Defence::Quorum, Err(unwitnessed.into()))
            }
            // Without a network nothing can be fresh, and whoever asked for that knows.
            Quorum::At(_) if registry.network() == Network::Offline => Ok(()),
            Quorum::At(time) => {
                let (age_s, max_age_s) = (now.saturating_sub(time), self.document.max_age_s);
                let stale = VerificationError::Stale { origin: origin.into(), age_s, max_age_s };
                let fresh = if age_s <= max_age_s { Ok(()) } else { Err(stale.into()) };
                defences.hold(Defence::Freshness, fresh)
            }
        }
    }

    /// The policy in words.
    pub(crate) fn name(&self) -> String {
        key_of(self.document.version)
    }
}
