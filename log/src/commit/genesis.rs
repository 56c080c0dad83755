//! Genesis: the first commit of a log, decided by the creation of head.

use bytes::Bytes;
use drystone_schemas::{AccountId, EventBody, EventId, Sha256Digest, layout};
use drystone_storage::{Key, PROBE_FOLDER};

use crate::{Frontier, Hash, RootTile, empty_root};

use super::{
    CommitError, CommitOutcome, Committed, Committer, EventDraft, Head, PlainFile,
    apply::{json_object_meta, new_object, put_all},
    head::{Gc, HEAD_BYTES_MAX},
};

/// What a new log starts with.
pub struct Genesis {
    /// Id of the first event.
    pub id: EventId,
    /// The operator.
    pub actor: AccountId,
    /// Bytes of the settings, kept as an object.
    pub settings: Vec<u8>,
    /// Version of the projections.
    pub projection: u32,
    /// The configuration files that follow from the settings.
    pub plain: Vec<PlainFile>,
    /// Outcome to keep under the event's id.
    pub done: Bytes,
}

impl Committer {
    /// Makes a new log. Refuses if there is a head, a checkpoint or any public file but objects that nothing names
    /// and what a probe left behind.
    pub async fn genesis(&self, genesis: Genesis) -> Result<Committed, CommitError> {
        let head = self.store.vault.read(&Key::new(layout::HEAD)?, HEAD_BYTES_MAX).await?;
        let mut used = head.is_some();
        let mut after = None;
        while !used {
            let page = self.store.public.list("", after.as_deref()).await?;
            // What an attempt leaves that dies before it has decided anything.
            let left_over = ["o/", PROBE_FOLDER];
            used =
                page.keys.iter().any(|key| !left_over.iter().any(|folder| key.as_str().starts_with(folder)));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if used {
            return Err(CommitError::AlreadyInitialised);
        }
        let config = Sha256Digest::of(&genesis.settings);
        let object = new_object(layout::object(&config), genesis.settings, json_object_meta())?;
        put_all(&*self.store.public, &[object]).await?;

        let mut round = self.round(self.nothing(config), None, self.read_publishing().await?);
        self.load(&mut round, &[]).await?;
        let body = EventBody::Genesis {
            origin: self.origin.clone(),
            log_key: self.signing.log_key().to_string(),
            config,
            projection: genesis.projection,
        };
        let (id, actor, plain, done) = (genesis.id, genesis.actor, genesis.plain, genesis.done);
        let draft = EventDraft {
            id,
            actor,
            body,
            files: Vec::new(),
            plain,
            immutable: Vec::new(),
            private: Vec::new(),
            done,
        };
        match self.commit(round, vec![draft]).await? {
            CommitOutcome::Committed(committed) => Ok(committed),
            CommitOutcome::Lost => Err(CommitError::AlreadyInitialised),
        }
    }

    /// The state before the first event; never stored.
    fn nothing(&self, config: Sha256Digest) -> Head {
        let root_tile = RootTile::empty();
        let state: Hash = root_tile.root();
        Head {
            v: 1,
            origin: self.origin.clone(),
            log_key: self.signing.log_key().to_string(),
            frontier: Frontier::new(),
            root: empty_root(),
            state,
            root_tile,
            time: 0,
            config,
            config_seq: 0,
            commit: String::new(),
            staging: String::new(),
            staging_digest: Sha256Digest::of(b""),
            nonce: String::new(),
            auth_epoch: 0,
            gc: Gc::default(),
        }
    }
}
