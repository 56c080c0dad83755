//! The stop when a thousand events wait to be published: then something is wrong with the key, or with the store.

use drystone_log::commit::{CommitError, CommitOutcome, Committer, EventDraft};
use drystone_schemas::{AccountId, EventBody, EventId, PackageName};
use drystone_storage::{Fault, Faults, Op, new_ulid};
use drystone_tests::TestRegistry;

/// Events in one commit of this test; publishers take fewer.
const BATCH: usize = 500;

async fn commit_some(committer: &Committer, registry: &TestRegistry) -> Result<bool, CommitError> {
    let mut round = committer.begin().await?;
    committer.load(&mut round, &[]).await?;
    let id = || new_ulid(&*registry.clock, &*registry.entropy);
    let drafts = (0..BATCH).map(|_| EventDraft {
        id: EventId::new(id()).expect("a new ULID is a ULID"),
        actor: AccountId::new(format!("acct:{}", id())).expect("a new ULID makes an account id"),
        body: EventBody::Undeprecate { pkg: PackageName::new("http").expect("it is a name") },
        files: Vec::new(),
        plain: Vec::new(),
        immutable: Vec::new(),
        private: Vec::new(),
        done: "{}".into(),
    });
    let drafts = drafts.collect();
    let outcome = committer.commit(round, drafts).await?;
    Ok(matches!(outcome, CommitOutcome::Committed(committed) if committed.proofs.is_some()))
}

#[tokio::test]
async fn commits_stop_when_a_thousand_events_wait_to_be_published() {
    let registry = TestRegistry::new().await;
    let unsigned = Faults::new(|call| {
        let hit = call.op == Op::Replace && call.key == "log/checkpoint";
        if hit { Fault::NotDone } else { Fault::None }
    });
    let committer = |store| {
        let (signer, clock, entropy) =
            (TestRegistry::signer(), registry.clock.clone(), registry.entropy.clone());
        Committer::new(store, signer, TestRegistry::log_key().name().to_owned(), clock, entropy)
    };
    let failing = committer(unsigned.wrap(&registry.store));
    for _ in 0..2 {
        assert!(!commit_some(&failing, &registry).await.expect("it is committed"), "without a proof");
    }
    let refused = commit_some(&failing, &registry).await;
    assert!(matches!(refused, Err(CommitError::LogUnpublished { behind: 1_000 })), "{refused:?}");
    // As soon as it can be published, it is, and the log goes on.
    let working = committer(registry.store.clone());
    assert!(commit_some(&working, &registry).await.expect("it is committed"), "with its proofs");
}
