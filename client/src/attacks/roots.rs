//! Attacks that only a root of trust stops: on freshness, on the quorum of witnesses, on keys that were stolen.

use std::time::Duration;

use drystone_log::{
    Cosigner, Hash, NoteSigner, SignedCheckpoint, SignedTrust, TlogProof, TrustDocument, leaf_hash, node_hash,
};
use drystone_schemas::{Sha256Digest, layout};

use super::{
    Client, disproved,
    fake::{Fake, ORIGIN, START_UNIX_MS},
};
use crate::{ClientError, Home, Network, Registry, TrustStore, VerificationError, defences::Defence};

const DAY_S: u64 = 86_400;

/// Three holders of root keys, and three witnesses.
struct Parties {
    holders: Vec<NoteSigner>,
    witnesses: Vec<Cosigner>,
}

impl Parties {
    fn new() -> Self {
        let holder =
            |n: u8| NoteSigner::from_seed(&format!("fake.example/root/{n}"), &[100 + n; 32]).unwrap();
        let witness = |n: u8| Cosigner::from_seed(&format!("witness.example/{n}"), &[200 + n; 32]).unwrap();
        Self { holders: (1..=3).map(holder).collect(), witnesses: (1..=3).map(witness).collect() }
    }

    /// Two of three roots, and two of three witnesses whose word is good for a day.
    fn document(&self, fake: &Fake, version: u64) -> TrustDocument {
        let mut policy = format!("log {}\n", fake.world.log_key());
        for (n, witness) in self.witnesses.iter().enumerate() {
            policy.push_str(&format!("witness w{n} {}\n", witness.verifier()));
        }
        policy.push_str("group two 2 w0 w1 w2\nquorum two\n");
        let digest = Sha256Digest::of(policy.as_bytes());
        fake.world.put(&layout::object(&digest), policy);
        TrustDocument {
            subject: "fake.example".into(),
            version,
            expires: START_UNIX_MS / 1000 + 365 * DAY_S,
            threshold: 2,
            roots: self.holders.iter().map(|holder| holder.verifier().clone()).collect(),
            policy: digest,
            max_age_s: DAY_S,
            final_logs: vec![],
        }
    }

    /// Publishes a document that these holders have signed; `before` is what it follows.
    fn publish(
        &self,
        fake: &Fake,
        document: TrustDocument,
        holders: &[usize],
        before: Option<&TrustDocument>,
    ) {
        let key = format!("log/trust/{}", document.version);
        let mut signed = SignedTrust::new(document).unwrap();
        for holder in holders {
            signed.sign(&self.holders[*holder], before).unwrap();
        }
        fake.world.put(&key, signed.to_bytes());
    }

    fn cosign(&self, fake: &Fake, witnesses: &[usize], at_s: u64) {
        let witnesses: Vec<&Cosigner> = witnesses.iter().map(|n| &self.witnesses[*n]).collect();
        fake.world.cosign(&witnesses, at_s);
    }
}

/// A registry with a root of trust, one release, and the cosignatures of two witnesses.
async fn rooted() -> (Fake, Parties) {
    let (mut fake, parties) = (Fake::start().await, Parties::new());
    parties.publish(&fake, parties.document(&fake, 1), &[0, 1], None);
    fake.world.publish("a", "1.0.0", &[]);
    parties.cosign(&fake, &[0, 1], 0);
    (fake, parties)
}

#[tokio::test]
async fn one_witness_less_is_borne_and_two_are_not() {
    for (witnesses, good) in [(vec![0, 1, 2], true), (vec![1, 2], true), (vec![2], false), (vec![], false)] {
        let (mut fake, parties) = rooted().await;
        fake.world.publish("a", "1.1.0", &[]);
        parties.cosign(&fake, &witnesses, 0);
        let belief = Client::new(&fake, None).versions("a").await;
        assert_eq!(belief.is_ok(), good, "{witnesses:?}: {belief:?}");
    }
}

#[tokio::test]
async fn freeze_at_an_old_state() {
    let attack = async |down| {
        let (fake, _) = rooted().await;
        let client = Client::new(&fake, down);
        assert_eq!(client.versions("a").await?, "1.0.0");
        // Whatever happens since then, the client is shown the same for ever.
        fake.clock.pass(Duration::from_secs(DAY_S));
        assert_eq!(client.versions("a").await.expect("a day is allowed"), "1.0.0");
        fake.clock.pass(Duration::from_secs(1));
        client.versions("a").await
    };
    let error = disproved(Defence::Freshness, attack, "1.0.0").await;
    assert!(matches!(error, VerificationError::Stale { age_s: 86_401, max_age_s: DAY_S, .. }), "{error}");
}

#[tokio::test]
async fn without_a_network_nothing_is_fresh_and_nobody_asked_for_that() {
    let (fake, _) = rooted().await;
    let client = Client::new(&fake, None);
    assert_eq!(client.versions("a").await.unwrap(), "1.0.0");
    fake.clock.pass(Duration::from_secs(DAY_S + 1));
    assert!(client.versions("a").await.is_err());
    let http = client.registry.http().clone();
    let registry = Registry::new(
        client.registry.base(),
        http,
        &client.home.path().join("cache"),
        Network::Offline,
        None,
    );
    let offline = Client { registry: registry.unwrap(), home: client.home.clone() };
    assert_eq!(offline.versions("a").await.unwrap(), "1.0.0");
}

#[tokio::test]
async fn cosignatures_of_the_future_do_not_count() {
    let attack = async |down| {
        let (mut fake, parties) = rooted().await;
        fake.world.publish("a", "1.1.0", &[]);
        parties.cosign(&fake, &[0, 1], 300);
        assert_eq!(Client::new(&fake, None).versions("a").await.unwrap(), "1.0.0 1.1.0");
        fake.world.publish("a", "1.2.0", &[]);
        parties.cosign(&fake, &[0, 1], 301);
        Client::new(&fake, down).versions("a").await
    };
    let error = disproved(Defence::Quorum, attack, "1.0.0 1.1.0 1.2.0").await;
    assert!(matches!(error, VerificationError::NotWitnessed { size: 4, .. }), "{error}");
}

#[tokio::test]
async fn stolen_log_key_without_witnesses() {
    // A fork that the real key signs: with no cosignature, with too few, and with those of somebody else.
    for witnesses in [vec![], vec![0]] {
        let attack = async |down| {
            let (mut fake, parties) = rooted().await;
            fake.replace_world(7);
            parties.publish(&fake, parties.document(&fake, 1), &[0, 1], None);
            fake.world.publish("a", "6.6.6", &[]);
            parties.cosign(&fake, &witnesses, 0);
            let stranger = Cosigner::from_seed("witness.example/1", &[9; 32]).unwrap();
            fake.world.cosign(&[&stranger], 0);
            Client::new(&fake, down).versions("a").await
        };
        let error = disproved(Defence::Quorum, attack, "6.6.6").await;
        assert!(matches!(error, VerificationError::NotWitnessed { .. }), "{error}");
    }
}

#[tokio::test]
async fn fast_forward_by_a_stolen_log_key() {
    // A log of astronomic size, which would make every honest one look like a rollback.
    const SIZE: u64 = 1 << 40;
    let attack = async |down| {
        let (fake, _) = rooted().await;
        let proof = TlogProof::decode(&fake.world.file(layout::LATEST_PROOF)).unwrap();
        let event = String::from_utf8(proof.extra.clone().unwrap()).unwrap();
        let event = event.replace("\"seq\":1,", &format!("\"seq\":{},", SIZE - 1)).into_bytes();
        let hashes: Vec<Hash> = (0..40_u8).map(|level| Hash::digest(&[level])).collect();
        let root = hashes.iter().fold(leaf_hash(&event), |hash, sibling| node_hash(sibling, &hash));
        let checkpoint = fake.world.sign(SIZE, root);
        let forged = TlogProof { extra: Some(event), index: SIZE - 1, hashes, checkpoint };
        fake.world.put(layout::LATEST_PROOF, forged.encode());
        Ok(Client::new(&fake, down).look().await?.checkpoint().size().to_string())
    };
    let error = disproved(Defence::Quorum, attack, "1099511627776").await;
    assert!(matches!(error, VerificationError::NotWitnessed { size: SIZE, .. }), "{error}");
}

#[tokio::test]
async fn the_way_out_of_a_lost_log_is_another_one_on_the_word_of_the_roots() {
    let (mut fake, parties) = rooted().await;
    let client = Client::new(&fake, None);
    client.versions("a").await.unwrap();
    let last = fake.world.file(layout::CHECKPOINT);
    let last = SignedCheckpoint::open(&last, fake.world.log_key(), ORIGIN).unwrap().checkpoint().clone();
    let before = parties.document(&fake, 1);
    let policy = layout::object(&before.policy);
    let kept = fake.world.file(&policy);

    fake.replace_log("fake.example/log/2", 9);
    fake.world.put(&policy, kept);
    fake.world.publish("a", "1.0.1", &[]);
    parties.publish(&fake, before.clone(), &[0, 1], None);
    parties.cosign(&fake, &[0, 2], 0);
    for client in [&client, &Client::new(&fake, None)] {
        let refused = client.again().versions("a").await.unwrap_err();
        assert!(refused.to_string().contains("does not list"), "{refused}");
    }
    // Listing it is not enough for who has used the old one: that has to be retired.
    let listed = parties.document(&fake, 2);
    parties.publish(&fake, listed.clone(), &[1, 2], Some(&before));
    let refused = client.again().versions("a").await.unwrap_err();
    assert!(matches!(refused, ClientError::Verification(VerificationError::KeyChanged { .. })), "{refused}");
    let retired = TrustDocument { final_logs: vec![last], ..parties.document(&fake, 3) };
    parties.publish(&fake, retired, &[1, 2], Some(&listed));
    for client in [&client, &Client::new(&fake, None)] {
        assert_eq!(client.again().versions("a").await.unwrap(), "1.0.1");
    }
}

#[tokio::test]
async fn a_retired_log_says_nothing_after_its_last_checkpoint() {
    let attack = async |down| {
        let (mut fake, parties) = rooted().await;
        let last = fake.world.file(layout::CHECKPOINT);
        let last = SignedCheckpoint::open(&last, fake.world.log_key(), ORIGIN).unwrap().checkpoint().clone();
        let before = parties.document(&fake, 1);
        let retired = TrustDocument { final_logs: vec![last], ..parties.document(&fake, 2) };
        parties.publish(&fake, retired, &[0, 1], Some(&before));
        assert_eq!(Client::new(&fake, None).versions("a").await.unwrap(), "1.0.0");
        fake.world.publish("a", "6.6.6", &[]);
        parties.cosign(&fake, &[0, 1], 0);
        Client::new(&fake, down).versions("a").await
    };
    let error = disproved(Defence::RetiredLog, attack, "1.0.0 6.6.6").await;
    assert!(error.to_string().contains("is retired"), "{error}");
}

#[tokio::test]
async fn a_log_key_that_no_root_has_named() {
    let attack = async |down| {
        let (mut fake, parties) = rooted().await;
        let client = Client::new(&fake, down);
        client.versions("a").await?;
        fake.world.change_key(8);
        fake.world.publish("a", "6.6.6", &[]);
        parties.cosign(&fake, &[0, 1], 0);
        client.again().versions("a").await
    };
    let error = disproved(Defence::PinnedKey, attack, "1.0.0 6.6.6").await;
    assert!(error.to_string().contains("does not list"), "{error}");
}

#[tokio::test]
async fn log_key_is_rotated_by_the_roots() {
    let (mut fake, parties) = rooted().await;
    let client = Client::new(&fake, None);
    client.versions("a").await.unwrap();
    let before = parties.document(&fake, 1);
    fake.world.change_key(8);
    parties.cosign(&fake, &[0, 1], 0);
    parties.publish(&fake, parties.document(&fake, 2), &[0, 1], Some(&before));
    assert_eq!(client.again().versions("a").await.unwrap(), "1.0.0");
    // What the old key signed still binds the log.
    fake.world.publish("a", "1.1.0", &[]);
    parties.cosign(&fake, &[0, 1], 0);
    assert_eq!(client.again().versions("a").await.unwrap(), "1.0.0 1.1.0");
    fake.world.change_key(7);
    let refused = client.again().versions("a").await.unwrap_err();
    assert!(refused.to_string().contains("does not list"), "{refused}");
}

#[tokio::test]
async fn stolen_root_key_below_the_threshold() {
    // One of two holders signs a successor that names the thief's keys; or the thief's own keys sign it alone.
    for thief_signs_for_both in [false, true] {
        let attack = async |down| {
            let (mut fake, parties) = rooted().await;
            let client = Client::new(&fake, down);
            client.versions("a").await?;
            let before = parties.document(&fake, 1);
            let thief = Parties {
                holders: (7..=9)
                    .map(|n: u8| NoteSigner::from_seed(&format!("fake.example/root/{n}"), &[n; 32]).unwrap())
                    .collect(),
                witnesses: (7..=9)
                    .map(|n: u8| Cosigner::from_seed(&format!("thief.example/{n}"), &[n; 32]).unwrap())
                    .collect(),
            };
            // The log goes on as it was, but only the thief's witnesses stand behind it.
            fake.world.publish("a", "6.6.6", &[]);
            let forged = thief.document(&fake, 2);
            let mut signed = SignedTrust::new(forged).unwrap();
            if thief_signs_for_both {
                signed.sign(&thief.holders[0], None).unwrap();
                signed.sign(&thief.holders[1], None).unwrap();
            }
            signed.sign(&parties.holders[0], Some(&before)).unwrap();
            fake.world.put("log/trust/2", signed.to_bytes());
            thief.cosign(&fake, &[0, 1], 0);
            client.versions("a").await
        };
        let error = disproved(Defence::RootChain, attack, "1.0.0 6.6.6").await;
        assert!(error.to_string().contains("log/trust/2"), "{error}");
    }
}

#[tokio::test]
async fn expired_root_of_trust() {
    let attack = async |down| {
        let (fake, parties) = rooted().await;
        fake.clock.pass(Duration::from_secs(366 * DAY_S));
        fake.world.rewrite();
        parties.cosign(&fake, &[0, 1], 366 * DAY_S);
        Client::new(&fake, down).versions("a").await
    };
    let error = disproved(Defence::RootExpiry, attack, "1.0.0").await;
    assert!(error.to_string().contains("expired"), "{error}");
}

#[tokio::test]
async fn the_chain_is_followed_step_by_step_and_never_back() {
    let (fake, parties) = rooted().await;
    let client = Client::new(&fake, None);
    let mut before = parties.document(&fake, 1);
    for version in 2..=70 {
        let document = TrustDocument { version, ..before.clone() };
        parties.publish(&fake, document.clone(), &[1, 2], Some(&before));
        before = document;
    }
    for expected in [64, 6, 0] {
        fake.world.take_seen();
        client.versions("a").await.unwrap();
        let walked = fake.world.take_seen().iter().filter(|seen| seen.line.contains("/log/trust/")).count();
        // The last request of a walk that is not cut short finds nothing.
        assert_eq!(walked, expected + usize::from(expected < 64), "at most 64 in one run");
    }
    // What the registry shows of earlier documents does not matter any more.
    for version in 1..=69 {
        fake.world.put(&format!("log/trust/{version}"), b"nothing".to_vec());
    }
    assert_eq!(client.versions("a").await.unwrap(), "1.0.0");
}

#[tokio::test]
async fn a_document_that_was_handed_over_decides_about_the_first_contact() {
    let (fake, parties) = rooted().await;
    let good = fake.world.file("log/trust/1");
    let store = |client: &Client| TrustStore::new(Home::new(client.home.path()));
    let client = Client::new(&fake, None);
    let trust = store(&client).with_root(&good).unwrap();
    assert_eq!(client.look_with(&trust).await.unwrap().checkpoint().size(), 2);
    // A registry that shows another first document, to everybody who comes for the first time.
    let (mut other, thief) = (fake, Parties { holders: parties.holders, witnesses: vec![] });
    other.replace_world(9);
    let policy = format!("log {}\nquorum none\n", other.world.log_key());
    let digest = Sha256Digest::of(policy.as_bytes());
    other.world.put(&layout::object(&digest), policy);
    let document = TrustDocument { policy: digest, ..thief.document(&other, 1) };
    thief.publish(&other, document, &[0, 1], None);
    let newcomer = Client::new(&other, None);
    newcomer.look().await.expect("at first contact anything goes");
    let newcomer = Client::new(&other, None);
    let trust = store(&newcomer).with_root(&good).unwrap();
    let refused = newcomer.look_with(&trust).await.unwrap_err();
    assert!(matches!(refused, ClientError::Verification(_)), "{refused}");
    assert!(store(&newcomer).with_root(b"nothing").is_err());
}
