//! The root of trust of a registry: its newest document, and putting the next one in force.
//!
//! Owns what the operator may put in force. Does not own the documents' rules, nor how they are made: that happens where no
//! server is.
//! Invariant: what lies at `log/trust/<N>` was accepted as the successor of what lies before it.

use std::sync::Arc;

use drystone_log::{Policy, SignedTrust, TrustDocument, note::NOTE_BYTES_MAX, policy::POLICY_BYTES_MAX};
use drystone_schemas::{Code, Sha256Digest, layout};
use drystone_storage::{Body, Key, NewObject, Store};

use crate::{Action, Done, Refusal, Service, spool};

/// The newest document; none before the first.
pub(crate) async fn newest(store: &Store) -> Result<Option<SignedTrust>, Refusal> {
    let (mut newest, mut after) = (0, None);
    loop {
        let page = store.public.list(layout::TRUST, after.as_deref()).await?;
        let version = |key: &Key| key.as_str().strip_prefix(layout::TRUST)?.parse::<u64>().ok();
        newest = page.keys.iter().filter_map(version).max().unwrap_or(0).max(newest);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if newest == 0 {
        return Ok(None);
    }
    let key = Key::new(layout::trust(newest)).map_err(Refusal::internal)?;
    let bytes = store.public.get(&key, NOTE_BYTES_MAX as u64).await?;
    let bytes = bytes.ok_or_else(|| Refusal::internal(format!("`{key}` is missing")))?;
    SignedTrust::parse(&bytes).map(Some).map_err(|e| Refusal::internal(format!("`{key}`: {e}")))
}

/// The policy that the newest document names; none before the first.
///
/// # Errors
///
/// The storage's, and one if the policy is missing or damaged.
pub async fn policy_in_force(store: &Store) -> Result<Option<Policy>, Refusal> {
    let Some(signed) = newest(store).await? else { return Ok(None) };
    let digest = signed.unverified().policy;
    let key = Key::new(layout::object(&digest)).map_err(Refusal::internal)?;
    let bytes = store.public.get(&key, POLICY_BYTES_MAX as u64).await?;
    let bytes = bytes.filter(|bytes| Sha256Digest::of(bytes) == digest);
    let bytes =
        bytes.ok_or_else(|| Refusal::internal(format!("`{key}`, the policy, is missing or damaged")))?;
    Policy::parse(&bytes).map(Some).map_err(Refusal::internal)
}

fn refused(detail: String) -> Refusal {
    Refusal::code(Code::TrustRefused, detail)
}

/// Reads a document and the policy that it names.
fn read(document: &[u8], policy: &[u8]) -> Result<SignedTrust, Refusal> {
    let signed = SignedTrust::parse(document).map_err(|e| refused(e.to_string()))?;
    if Sha256Digest::of(policy) != signed.unverified().policy {
        return Err(refused("the policy is not the one that the document names".into()));
    }
    Policy::parse(policy).map_err(|e| refused(e.to_string()))?;
    Ok(signed)
}

impl Service {
    /// Puts the next document of the root of trust in force, with the policy that it names. Answers that things are so
    /// already if it is the one in force.
    ///
    /// # Errors
    ///
    /// [`Code::TrustRefused`] if its holders have not signed it as they must, if it has expired, or if its policy does
    /// not name the key of this registry's log.
    pub async fn put_trust(&self, document: &[u8], policy: &[u8]) -> Result<Done, Refusal> {
        let signed = read(document, policy)?;
        let says = signed.unverified();
        says.check_time(self.core.clock.now_unix_s()).map_err(|e| refused(e.to_string()))?;
        self.check_log(says, policy)?;
        self.store_trust(signed, document, policy).await
    }

    /// Takes a document over from another registry, whose log this one's takes the place of: a step of the chain on the way to
    /// the document that says so. It need not name this log, nor be in force still.
    ///
    /// # Errors
    ///
    /// [`Code::TrustRefused`] if its holders have not signed it as they must.
    pub async fn carry_trust(&self, document: &[u8], policy: &[u8]) -> Result<Done, Refusal> {
        let signed = read(document, policy)?;
        self.store_trust(signed, document, policy).await
    }

    async fn store_trust(
        &self,
        signed: SignedTrust,
        document: &[u8],
        policy: &[u8],
    ) -> Result<Done, Refusal> {
        let object = |bytes: &[u8]| {
            let key = Key::new(layout::object(&Sha256Digest::of(bytes))).map_err(Refusal::internal)?;
            let body = Body::Bytes(bytes.to_vec().into());
            Ok::<_, Refusal>(NewObject { key, body, meta: spool::object_meta(layout::TEXT) })
        };
        let objects = vec![object(document)?, object(policy)?];
        let done = self.operate(Action::Trust { document: Arc::new(signed) }, objects).await?;
        self.take_policy().await;
        Ok(done)
    }

    /// The policy must be one by which this log can be believed.
    fn check_log(&self, says: &TrustDocument, policy: &[u8]) -> Result<(), Refusal> {
        let policy = Policy::parse(policy).map_err(|e| refused(e.to_string()))?;
        let log_key = self.core.committer.signing().log_key();
        let is_final = says.final_log(log_key.name()).is_some();
        if !is_final && !policy.logs().iter().any(|log| log.key == *log_key) {
            return Err(refused(format!("the policy does not name `{log_key}`, the key of this log")));
        }
        Ok(())
    }

    /// The policy that this registry's own keys make: its log, and its freshness key where there is one.
    pub fn own_policy(&self) -> String {
        let signing = self.core.committer.signing();
        let log = format!("log {} {}/log\n", signing.log_key(), self.settings().public_url);
        match signing.freshness_key() {
            Some(key) => format!("{log}witness freshness {key}\nquorum freshness\n"),
            None => format!("{log}quorum none\n"),
        }
    }
}
