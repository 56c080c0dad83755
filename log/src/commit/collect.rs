//! The fence of garbage collection: head says what is being collected, so that no commit names it.
//!
//! Owns: raising the fence, taking over one whose collector died, lowering it. Does not own: what is garbage, nor moving
//! and deleting it. Invariant: every change of the fence raises [`Gc::n`], so that whatever was put before is put again
//! before a commit names it; a key is deleted only by the collector whose run head names, and only in the first half
//! of its lease, so that a deletion under way has the other half to arrive before anybody else takes the keys over.

use std::time::Duration;

use bytes::Bytes;
use drystone_schemas::layout;
use drystone_storage::{Area, Clock, Entropy, Key, Meta, Replace, Tag};

use super::{
    CommitError, Gc, Head,
    committer::{check_clock, new_nonce},
    head::HEAD_BYTES_MAX,
};

/// Most keys that one fence dooms: about 45 KiB of head, which every commit copies while the fence is up.
pub const DOOMED_MAX: usize = 512;
/// How long a fence stays its collector's, in seconds. Nobody else touches its keys before that; whoever died loses them
/// afterwards. Twice the time that S3 accepts a signed request for is less than half of it.
pub const LEASE_S: u64 = 3_600;
/// How often a replacement of head is tried: commits may win the race many times in a row.
const TRIES_MAX: u32 = 64;
/// Longest pause between two tries, in milliseconds.
const PAUSE_MS_MAX: u64 = 320;

/// Head as a collector saw it, to be replaced only if it still is that.
pub struct SeenHead {
    /// The committed state.
    pub head: Head,
    tag: Tag,
}

impl SeenHead {
    /// Reads head. Fails if there is none, or if the clock is off: then ages cannot be told.
    pub async fn read(vault: &dyn Area, clock: &dyn Clock) -> Result<Self, CommitError> {
        let file = vault.read(&Key::new(layout::HEAD)?, HEAD_BYTES_MAX).await?;
        let file = file.ok_or(CommitError::NotInitialised)?;
        check_clock(clock, &file)?;
        Ok(Self { head: Head::parse(&file.bytes)?, tag: file.tag })
    }

    /// Whether this is the same head.
    pub fn is(&self, other: &Self) -> bool {
        self.tag == other.tag
    }
}

impl Gc {
    /// Whether a collection is under way, or died under way.
    pub fn is_up(&self) -> bool {
        !self.run.is_empty() || !self.doomed.is_empty()
    }

    /// Until when the keys are those of the collector that doomed them, in seconds since 1970.
    pub fn leased_until(&self) -> u64 {
        self.since.saturating_add(LEASE_S)
    }

    /// Refuses while the keys are another collector's.
    pub fn refuse_while_leased(&self, now_unix_s: u64) -> Result<(), CommitError> {
        let until = self.leased_until();
        if self.is_up() && now_unix_s < until {
            Err(CommitError::CollectionUnderWay { until })
        } else {
            Ok(())
        }
    }

    /// Whether this key is being collected.
    pub fn dooms(&self, key: &str) -> bool {
        self.doomed.iter().any(|doomed| doomed == key)
    }
}

/// A fence that this process has raised.
pub struct Fence {
    run: String,
    since: u64,
}

impl Fence {
    /// Dooms these keys, if head still is what was seen; none if it is not: see again, and judge again.
    ///
    /// A fence whose lease is over is replaced; one that is leased is [`CommitError::CollectionUnderWay`].
    pub async fn raise(
        vault: &dyn Area,
        seen: &SeenHead,
        doomed: Vec<String>,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
    ) -> Result<Option<Self>, CommitError> {
        assert!(doomed.len() <= DOOMED_MAX, "head stays small");
        let (gc, now) = (&seen.head.gc, clock.now_unix_s());
        gc.refuse_while_leased(now)?;
        let fence = Self { run: new_nonce(entropy), since: now };
        let gc = Gc { n: gc.n + 1, doomed, run: fence.run.clone(), since: now };
        let next = Head { nonce: new_nonce(entropy), gc, ..seen.head.clone() };
        let (key, bytes) = (Key::new(layout::HEAD)?, Bytes::from(next.to_bytes()));
        let mut in_doubt = false;
        for attempt in 0..TRIES_MAX {
            match vault.replace(&key, Some(&seen.tag), bytes.clone(), Meta::PRIVATE).await {
                Ok(Replace::Replaced(_)) => return Ok(Some(fence)),
                Ok(Replace::Conflict) if !in_doubt => return Ok(None),
                Err(error) if !in_doubt => return Err(error.into()),
                Ok(Replace::Conflict | Replace::Unknown(_)) | Err(_) => in_doubt = true,
            }
            let now = Self::read(vault, clock).await?;
            if now.head.gc.run == fence.run {
                return Ok(Some(fence));
            }
            if now.tag != seen.tag {
                return Ok(None);
            }
            pause(clock, attempt).await;
        }
        Err(CommitError::OutcomeUnknown("the fence of a collection could not be raised".into()))
    }

    async fn read(vault: &dyn Area, clock: &dyn Clock) -> Result<SeenHead, CommitError> {
        SeenHead::read(vault, clock).await.map_err(|e| CommitError::OutcomeUnknown(e.to_string()))
    }

    /// Whether head still names this run: nobody has taken over, and head was not made anew.
    pub async fn holds(&self, vault: &dyn Area, clock: &dyn Clock) -> Result<bool, CommitError> {
        Ok(SeenHead::read(vault, clock).await?.head.gc.run == self.run)
    }

    /// Whether a deletion may begin now. Ask right before each one.
    pub fn may_delete(&self, clock: &dyn Clock) -> bool {
        clock.now_unix_s() < self.since + LEASE_S / 2
    }

    /// Dooms nothing any more. To be called once every deletion has been answered for certain.
    pub async fn lower(
        self,
        vault: &dyn Area,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
    ) -> Result<(), CommitError> {
        for attempt in 0..TRIES_MAX {
            let seen = SeenHead::read(vault, clock).await?;
            if seen.head.gc.run != self.run {
                return Ok(());
            }
            let gc = Gc { n: seen.head.gc.n + 1, ..Gc::default() };
            let bytes = Head { nonce: new_nonce(entropy), gc, ..seen.head }.to_bytes();
            let replaced =
                vault.replace(&Key::new(layout::HEAD)?, Some(&seen.tag), bytes.into(), Meta::PRIVATE).await;
            if let Ok(Replace::Replaced(_)) = replaced {
                return Ok(());
            }
            // A conflict is somebody's commit, which copied the fence; anything else is told by reading again.
            pause(clock, attempt).await;
        }
        Err(CommitError::OutcomeUnknown("the fence of a collection could not be lowered".into()))
    }
}

async fn pause(clock: &dyn Clock, attempt: u32) {
    clock.sleep(Duration::from_millis((10 << attempt.min(5)).min(PAUSE_MS_MAX))).await;
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use drystone_schemas::Sha256Digest;
    use drystone_storage::{Store, SystemEntropy};

    use super::*;
    use crate::{Frontier, RootTile, empty_root};

    struct At(u64);

    #[async_trait]
    impl Clock for At {
        fn now_unix_ms(&self) -> u64 {
            self.0 * 1000
        }
        async fn sleep(&self, _: Duration) {}
    }

    async fn vault() -> std::sync::Arc<dyn Area> {
        let vault = Store::memory().vault;
        let root_tile = RootTile::empty();
        let head = Head {
            v: 1,
            origin: "o".into(),
            log_key: "k".into(),
            frontier: Frontier::new(),
            root: empty_root(),
            state: root_tile.root(),
            root_tile,
            time: 0,
            config: Sha256Digest::of(b""),
            config_seq: 0,
            commit: String::new(),
            staging: String::new(),
            staging_digest: Sha256Digest::of(b""),
            nonce: String::new(),
            auth_epoch: 0,
            gc: Gc::default(),
        };
        let key = Key::new(layout::HEAD).unwrap();
        vault.replace(&key, None, head.to_bytes().into(), Meta::PRIVATE).await.unwrap();
        vault
    }

    async fn raise(vault: &dyn Area, seen: &SeenHead, at: u64) -> Result<Option<Fence>, CommitError> {
        Fence::raise(vault, seen, vec!["o/00".into()], &At(at), &SystemEntropy::new()).await
    }

    #[tokio::test]
    async fn a_fence_goes_up_once_and_comes_down() {
        let vault = vault().await;
        let seen = SeenHead::read(&*vault, &At(100)).await.unwrap();
        let fence = raise(&*vault, &seen, 100).await.unwrap().unwrap();
        // Head is not what was seen any more.
        assert!(raise(&*vault, &seen, 100).await.unwrap().is_none());
        let up = SeenHead::read(&*vault, &At(100)).await.unwrap();
        assert!(up.head.gc.n == 1 && up.head.gc.dooms("o/00") && !up.head.gc.dooms("o/01"));
        assert!(fence.holds(&*vault, &At(100)).await.unwrap());
        fence.lower(&*vault, &At(100), &SystemEntropy::new()).await.unwrap();
        let down = SeenHead::read(&*vault, &At(100)).await.unwrap();
        assert_eq!(down.head.gc, Gc { n: 2, ..Gc::default() });
    }

    #[tokio::test]
    async fn a_fence_is_taken_over_when_its_lease_is_over_and_not_before() {
        let vault = vault().await;
        let seen = SeenHead::read(&*vault, &At(100)).await.unwrap();
        let died = raise(&*vault, &seen, 100).await.unwrap().unwrap();
        assert!(died.may_delete(&At(100)) && died.may_delete(&At(99 + LEASE_S / 2)));
        assert!(!died.may_delete(&At(100 + LEASE_S / 2)));
        let seen = SeenHead::read(&*vault, &At(100)).await.unwrap();
        let refused = raise(&*vault, &seen, 99 + LEASE_S).await;
        assert!(matches!(refused, Err(CommitError::CollectionUnderWay { until }) if until == 100 + LEASE_S));
        raise(&*vault, &seen, 100 + LEASE_S).await.unwrap().unwrap();
        assert!(!died.holds(&*vault, &At(100)).await.unwrap());
        // Whoever wakes up late leaves the other's fence alone.
        died.lower(&*vault, &At(100), &SystemEntropy::new()).await.unwrap();
        assert!(SeenHead::read(&*vault, &At(100)).await.unwrap().head.gc.is_up());
    }
}
