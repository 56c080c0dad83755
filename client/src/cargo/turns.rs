//! Work that blocks: as much of it at once as there are cores.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::{
    ClientError,
    install::{blocking, threads},
};

/// Turns at work that blocks.
pub(super) struct Turns {
    all: Arc<Semaphore>,
    count: u32,
}

impl Turns {
    /// As many as there are cores.
    pub(super) fn new() -> Self {
        let count = threads();
        Self { all: Arc::new(Semaphore::new(count)), count: u32::try_from(count).unwrap_or(1) }
    }

    /// Does something when it is its turn. Once begun it goes on to its end, also if nobody waits for it any more.
    pub(super) async fn take<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ClientError> + Send + 'static,
    ) -> Result<T, ClientError> {
        let turn = self.all.clone().acquire_owned().await;
        let turn = turn.map_err(|e| ClientError::Internal(e.to_string()))?;
        blocking(move || {
            let done = work();
            drop(turn);
            done
        })
        .await
    }

    /// Waits for the end of everything that was begun.
    pub(super) async fn settled(&self) {
        drop(self.all.acquire_many(self.count).await);
    }
}
