//! The root of trust: what the operator can put in force, and where it lies then.

use drystone_index_builder::{AreaSource, FsckOptions, RebuildOptions, Silent, fsck, rebuild};
use drystone_log::{Checkpoint, NoteSigner, Policy, SignedTrust, TrustDocument, leaf_hash};
use drystone_publisher::policy_in_force;
use drystone_schemas::{Event, EventBody, Sha256Digest, layout};
use drystone_storage::Key;
use drystone_tests::TestRegistry;

use crate::freshness::{ORIGIN, Registry, START_S};

fn root(number: u8) -> NoteSigner {
    NoteSigner::from_seed(&format!("{ORIGIN}/root/holder{number}"), &[number; 32]).unwrap()
}

fn policy() -> String {
    let (log, own) = (TestRegistry::log_key(), TestRegistry::cosigner());
    format!("log {log}\nwitness own {}\nquorum own\n", own.verifier())
}

pub(crate) fn document(version: u64, roots: &[u8], policy: &str) -> TrustDocument {
    TrustDocument {
        subject: ORIGIN.to_owned(),
        version,
        expires: START_S + 1_000,
        threshold: 2,
        roots: roots.iter().map(|number| root(*number).verifier().clone()).collect(),
        policy: Sha256Digest::of(policy.as_bytes()),
        max_age_s: 600,
        final_logs: Vec::new(),
    }
}

pub(crate) fn signed(document: TrustDocument, before: Option<&TrustDocument>, by: &[u8]) -> Vec<u8> {
    let mut signed = SignedTrust::new(document).unwrap();
    by.iter().for_each(|number| signed.sign(&root(*number), before).unwrap());
    signed.to_bytes()
}

async fn registry() -> Registry {
    Registry::new(TestRegistry::signing()).await
}

async fn put(registry: &Registry, document: &[u8], policy: &str) -> Result<Option<u64>, &'static str> {
    let done = registry.service.put_trust(document, policy.as_bytes()).await;
    done.map(|done| done.seq).map_err(|refusal| refusal.problems[0].code.slug())
}

#[tokio::test]
async fn documents_are_put_in_force_one_after_the_other() {
    let registry = registry().await;
    let first = signed(document(1, &[1, 2, 3], &policy()), None, &[1, 3]);
    assert_eq!(put(&registry, &first, &policy()).await, Ok(Some(1)));
    assert_eq!(registry.file(&layout::trust(1)).await, first);
    assert_eq!(put(&registry, &first, &policy()).await, Ok(None), "it is in force already");
    let next = document(2, &[3, 4], &policy());
    let before = document(1, &[1, 2, 3], &policy());
    let refused = Err("trust-refused");
    for by in [&[3, 4][..], &[1, 2], &[1, 2, 3]] {
        assert_eq!(
            put(&registry, &signed(next.clone(), Some(&before), by), &policy()).await,
            refused,
            "{by:?}"
        );
    }
    let second = signed(next, Some(&before), &[1, 3, 4]);
    assert_eq!(put(&registry, &second, &policy()).await, Ok(Some(2)));
    assert_eq!(put(&registry, &first, &policy()).await, refused, "it never goes back");
    let expected = Policy::parse(policy().as_bytes()).unwrap();
    assert_eq!(policy_in_force(&registry.store).await.unwrap(), Some(expected));
    let proof = drystone_log::TlogProof::decode(&registry.file(layout::LATEST_PROOF).await).unwrap();
    let event = Event::from_line(&proof.extra.unwrap()).unwrap();
    let says = EventBody::Trust {
        version: 2,
        document: Sha256Digest::of(&second),
        policy: Sha256Digest::of(policy().as_bytes()),
    };
    assert_eq!(event.body, says);
}

#[tokio::test]
async fn what_is_not_good_is_refused() {
    let registry = registry().await;
    let refused = Err("trust-refused");
    let good = document(1, &[1, 2], &policy());
    assert_eq!(put(&registry, &signed(good.clone(), None, &[1]), &policy()).await, refused, "too few");
    assert_eq!(put(&registry, b"no document", &policy()).await, refused);
    let later = document(2, &[1, 2], &policy());
    assert_eq!(put(&registry, &signed(later, None, &[1, 2]), &policy()).await, refused, "the first is 1");
    let expired = TrustDocument { expires: START_S, ..good.clone() };
    assert_eq!(put(&registry, &signed(expired, None, &[1, 2]), &policy()).await, refused);
    let both = signed(good, None, &[1, 2]);
    assert_eq!(put(&registry, &both, "quorum none\n").await, refused, "another policy");
    let foreign = "quorum none\n";
    let of_no_log = signed(document(1, &[1, 2], foreign), None, &[1, 2]);
    assert_eq!(put(&registry, &of_no_log, foreign).await, refused, "the policy names another log");
    assert_eq!(policy_in_force(&registry.store).await.unwrap(), None);
    assert_eq!(put(&registry, &both, &policy()).await, Ok(Some(1)));
}

#[tokio::test]
async fn a_chain_is_carried_over_to_the_log_that_takes_the_place_of_another() {
    let registry = registry().await;
    let carry = async |document: &[u8], policy: &str| {
        let done = registry.service.carry_trust(document, policy.as_bytes()).await;
        done.map(|done| done.seq).map_err(|refusal| refusal.problems[0].code.slug())
    };
    let refused = Err("trust-refused");
    // It names another log, and has expired meanwhile.
    let of_the_old_log = "quorum none\n";
    let before = TrustDocument { expires: START_S, ..document(1, &[1, 2, 3], of_the_old_log) };
    let first = signed(before.clone(), None, &[1, 3]);
    assert_eq!(put(&registry, &first, of_the_old_log).await, refused);
    assert_eq!(carry(&first, &policy()).await, refused, "another policy");
    assert_eq!(carry(&signed(before.clone(), None, &[1]), of_the_old_log).await, refused, "too few");
    assert_eq!(carry(&first, of_the_old_log).await, Ok(Some(1)));
    assert_eq!(registry.file(&layout::trust(1)).await, first);
    let last = Checkpoint::new("registry.example/log/old", 700, leaf_hash(b"last")).unwrap();
    let next = TrustDocument { final_logs: vec![last], ..document(2, &[1, 2, 3], &policy()) };
    let second = signed(next, Some(&before), &[2, 3]);
    assert_eq!(put(&registry, &second, &policy()).await, Ok(Some(2)));
    let expected = Policy::parse(policy().as_bytes()).unwrap();
    assert_eq!(policy_in_force(&registry.store).await.unwrap(), Some(expected));
}

#[tokio::test]
async fn a_lost_document_is_found_out_and_made_again() {
    let registry = registry().await;
    let first = signed(document(1, &[1, 2], &policy()), None, &[1, 2]);
    put(&registry, &first, &policy()).await.unwrap();
    let source = AreaSource::new(registry.store.public.clone());
    let problems =
        async || fsck(&source, None, &FsckOptions { key: None, deep: true }, &Silent).await.problems;
    assert_eq!(problems().await, []);
    let key = Key::new(layout::trust(1)).unwrap();
    registry.store.public.delete(&key).await.unwrap();
    let keys: Vec<String> = problems().await.into_iter().map(|problem| problem.key).collect();
    assert_eq!(keys, ["log/trust/1"]);
    let report =
        rebuild(&registry.store, &RebuildOptions { key: None, dry_run: false }, &Silent).await.unwrap();
    assert_eq!(report.written, ["log/trust/1"]);
    assert_eq!(registry.file(&layout::trust(1)).await, first);
    assert_eq!(problems().await, []);
}
