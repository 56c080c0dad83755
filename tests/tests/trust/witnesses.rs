//! Witnesses: the server that anyone can run, and a registry that asks several of them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use axum::http::{Method, Request, header};
use bytes::Bytes;
use drystone_log::{
    Checkpoint, Cosigner, MemoryTree, Note, NoteSigner, Policy, Quorum,
    commit::{Heartbeat, Signing, WitnessLink},
    leaf_hash, prove_consistency, tree_root,
    witness::{AddCheckpoint, good_cosignatures, parse_cosignatures},
};
use drystone_publisher::{Witness, witness_path, witness_router};
use drystone_storage::Store;
use drystone_tests::{Answer, TestClock, TestRegistry, ask_router};

use crate::chain::{document, signed};
use crate::freshness::{ORIGIN, Registry, START_S, time_of};

const OTHER: &str = "other.test/log";

fn cosigner(number: u8) -> Cosigner {
    Cosigner::from_seed(&format!("witness{number}.test/w"), &[50 + number; 32]).unwrap()
}

fn other_log() -> NoteSigner {
    NoteSigner::from_seed(OTHER, &[40; 32]).unwrap()
}

fn witness(number: u8, store: &Store) -> Arc<Witness> {
    let logs = [TestRegistry::log_key(), other_log().verifier().clone()];
    let clock = Arc::new(TestClock::at(START_S * 1_000));
    Arc::new(Witness::new(cosigner(number), logs, store.public.clone(), clock))
}

fn tree(size: u64) -> MemoryTree {
    let mut tree = MemoryTree::new();
    (0..size).for_each(|index| tree.append(leaf_hash(&index.to_be_bytes())));
    tree
}

fn checkpoint(size: u64) -> Checkpoint {
    Checkpoint::new(OTHER, size, tree_root(size, &tree(size)).unwrap()).unwrap()
}

fn body(old: u64, new: u64) -> AddCheckpoint {
    let proof =
        if old == 0 || old >= new { Vec::new() } else { prove_consistency(old, new, &tree(new)).unwrap() };
    AddCheckpoint { old_size: old, proof, checkpoint: checkpoint(new).sign(&other_log()).to_bytes() }
}

async fn post(witness: &Arc<Witness>, body: Vec<u8>) -> Answer {
    let request = Request::builder().method(Method::POST).uri("/add-checkpoint").body(body.into()).unwrap();
    ask_router(&witness_router(witness.clone()), request).await
}

async fn monitor(witness: &Arc<Witness>, origin: &str) -> Answer {
    let uri = format!("/{}", witness_path(origin));
    let request = Request::builder().uri(uri).body(Vec::new().into()).unwrap();
    ask_router(&witness_router(witness.clone()), request).await
}

fn is_cosigned(answer: &Answer, size: u64) -> bool {
    let lines = parse_cosignatures(&answer.body).unwrap_or_default();
    let good = good_cosignatures(&checkpoint(size).encode(), lines, &[cosigner(1).verifier().clone()]);
    good.iter().map(|(_, time)| *time).eq([START_S])
}

/// Every row of the specification's table, over HTTP.
#[tokio::test]
async fn the_table_of_the_specification_holds() {
    let store = Store::memory();
    let witness = witness(1, &store);
    assert_eq!(monitor(&witness, OTHER).await.status, 404, "nothing is recorded yet");
    let first = post(&witness, body(0, 5).encode()).await;
    assert!(first.status == 200 && is_cosigned(&first, 5), "{first:?}");
    // The same size again is legal, and how a log renews the time.
    let again = post(&witness, body(5, 5).encode()).await;
    assert!(again.status == 200 && is_cosigned(&again, 5));
    let behind = post(&witness, body(0, 9).encode()).await;
    assert_eq!((behind.status, &behind.body[..]), (409, &b"5\n"[..]));
    assert_eq!(behind.headers[header::CONTENT_TYPE], "text/x.tlog.size");
    assert_eq!(post(&witness, body(9, 5).encode()).await.status, 400);
    assert_eq!(post(&witness, b"old 5\n".to_vec()).await.status, 400);
    assert_eq!(post(&witness, vec![b'x'; 100_000]).await.status, 400);
    let mut broken = body(5, 9);
    broken.proof.reverse();
    assert_eq!(post(&witness, broken.encode()).await.status, 422);
    let stranger = NoteSigner::from_seed(OTHER, &[41; 32]).unwrap();
    let forged = AddCheckpoint { checkpoint: checkpoint(9).sign(&stranger).to_bytes(), ..body(5, 9) };
    assert_eq!(post(&witness, forged.encode()).await.status, 403);
    let unknown = NoteSigner::from_seed("unknown.test/log", &[42; 32]).unwrap();
    let elsewhere = Checkpoint::new("unknown.test/log", 9, leaf_hash(b"")).unwrap().sign(&unknown).to_bytes();
    let elsewhere = AddCheckpoint { checkpoint: elsewhere, ..body(5, 9) };
    assert_eq!(post(&witness, elsewhere.encode()).await.status, 404);
    assert_eq!(post(&witness, body(5, 9).encode()).await.status, 200);
    let recorded = monitor(&witness, OTHER).await;
    assert_eq!(recorded.status, 200);
    let note = Note::parse(&recorded.body).unwrap();
    assert_eq!(note.text(), checkpoint(9).encode());
    let keys = [other_log().verifier().clone(), cosigner(1).verifier().clone()];
    assert_eq!(note.verify(&keys).unwrap().len(), 2, "the log's signature and the witness's");
    assert_eq!(monitor(&witness, "unknown.test/log").await.status, 404);
}

/// What was cosigned is known after a restart: a fork is refused by the next process on the same directory.
#[tokio::test]
async fn a_restart_forgets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let open = || witness(1, &Store::open_dir(dir.path()).unwrap());
    assert_eq!(post(&open(), body(0, 5).encode()).await.status, 200);
    let restarted = open();
    let fork = Checkpoint::new(OTHER, 7, leaf_hash(b"fork")).unwrap().sign(&other_log()).to_bytes();
    let fork = AddCheckpoint { checkpoint: fork, ..body(5, 7) };
    assert_eq!(post(&restarted, fork.encode()).await.status, 422);
    assert_eq!(post(&restarted, body(0, 7).encode()).await.body, b"5\n");
    assert_eq!(post(&restarted, body(5, 7).encode()).await.status, 200);
    assert_eq!(post(&open(), body(7, 7).encode()).await.status, 200);
}

/// Requests at once, on one directory, by two processes: the record only ever grows, and each answer was recorded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_at_once_never_roll_the_record_back() {
    let dir = tempfile::tempdir().unwrap();
    let open = || witness(1, &Store::open_dir(dir.path()).unwrap());
    let processes = [open(), open()];
    let mut clients = Vec::new();
    for number in 0..6u64 {
        let witness = processes[number as usize % 2].clone();
        clients.push(tokio::spawn(async move {
            let (mut old, mut cosigned) = (0, Vec::new());
            while old < 24 {
                let new = (old + 1 + number % 3).min(24);
                let answer = post(&witness, body(old, new).encode()).await;
                match answer.status {
                    200 => {
                        assert!(is_cosigned(&answer, new));
                        cosigned.push(new);
                        old = new;
                    }
                    409 => old = String::from_utf8(answer.body).unwrap().trim().parse().unwrap(),
                    other => panic!("{other}: {:?}", answer.body),
                }
            }
            cosigned
        }));
    }
    let mut won = Vec::new();
    for client in clients {
        let sizes = client.await.unwrap();
        assert!(sizes.windows(2).all(|pair| pair[0] < pair[1]), "{sizes:?}");
        won.extend(sizes);
    }
    // Each move of the record has one winner.
    won.sort_unstable();
    let moves = won.len();
    won.dedup();
    assert_eq!(won.len(), moves, "two requests moved the record to one size from below");
    assert!(is_cosigned(&post(&open(), body(24, 24).encode()).await, 24));
}

/// A witness in this process, that can be switched off.
struct Near {
    witness: Arc<Witness>,
    works: Arc<AtomicBool>,
}

#[async_trait]
impl WitnessLink for Near {
    async fn add_checkpoint(&self, body: Bytes) -> Result<(u16, Bytes), String> {
        if !self.works.load(Ordering::SeqCst) {
            return Err("it is switched off".into());
        }
        let answer = post(&self.witness, body.to_vec()).await;
        Ok((answer.status, answer.body.into()))
    }
}

/// A registry whose proofs need two of three witnesses, and the witnesses' switches.
struct Witnessed {
    registry: Registry,
    policy: Policy,
    switches: Vec<Arc<AtomicBool>>,
}

impl Witnessed {
    async fn new() -> Self {
        let lines: String = (0..3)
            .map(|number| format!("witness w{number} {} http://w{number}\n", cosigner(number).verifier()))
            .collect();
        let lines = format!("{lines}group two 2 w0 w1 w2\nquorum two\n");
        let policy = Policy::parse(lines.as_bytes()).unwrap();
        let switches: Vec<_> = (0..3).map(|_| Arc::new(AtomicBool::new(true))).collect();
        let store = [Store::memory(), Store::memory(), Store::memory()];
        let signing = Signing::from(TestRegistry::signer()).with_witnesses(policy.clone(), |url| {
            let number: u8 = url.trim_start_matches("http://w").parse().unwrap();
            let witness = witness(number, &store[usize::from(number)]);
            Box::new(Near { witness, works: switches[usize::from(number)].clone() })
        });
        Self { registry: Registry::new(signing).await, policy, switches }
    }

    fn switch(&self, number: usize, on: bool) {
        self.switches[number].store(on, Ordering::SeqCst);
    }

    async fn quorum(&self) -> (u64, Quorum) {
        let (size, note) = self.registry.latest().await;
        (size, self.policy.quorum(&note, u64::MAX).unwrap())
    }
}

#[tokio::test]
async fn one_witness_down_is_not_missed_and_two_make_proofs_wait() {
    let witnessed = Witnessed::new().await;
    let registry = &witnessed.registry;
    let (status, answer) = registry.publish("1.0.0").await;
    assert_eq!((status, answer["pending"].as_bool()), (201, None), "{answer}");
    assert!(answer["proof"].is_string());
    assert_eq!(witnessed.quorum().await, (2, Quorum::At(START_S)));
    witnessed.switch(1, false);
    assert!(registry.publish("1.1.0").await.1["proof"].is_string());
    assert_eq!(witnessed.quorum().await.0, 3);
    witnessed.switch(2, false);
    let (status, answer) = registry.publish("1.2.0").await;
    assert_eq!((status, &answer["pending"], &answer["proof"]), (201, &true.into(), &serde_json::Value::Null));
    let signed = registry.checkpoint().await;
    assert!(signed.text().starts_with(&format!("{ORIGIN}\n4\n")), "the checkpoint goes out all the same");
    assert_eq!(witnessed.quorum().await.0, 3, "the proof file waits");
    assert_eq!(registry.service.heartbeat(60).await.unwrap(), Heartbeat::Pending);
    // A commit on top of it is possible; it waits as well.
    assert_eq!(registry.publish("1.3.0").await.1["pending"], true);
    witnessed.switch(1, true);
    assert_eq!(registry.service.heartbeat(60).await.unwrap(), Heartbeat::Renewed);
    assert_eq!(witnessed.quorum().await, (5, Quorum::At(START_S)));
    let keys = [cosigner(0), cosigner(1), cosigner(2)];
    let (_, note) = registry.latest().await;
    let signed: Vec<bool> = keys.iter().map(|key| time_of(&note, key.verifier()).is_some()).collect();
    assert_eq!(signed, [true, true, false]);
}

#[tokio::test]
async fn a_witness_that_was_away_is_led_on_from_where_it_was() {
    let witnessed = Witnessed::new().await;
    witnessed.registry.publish("1.0.0").await;
    witnessed.switch(0, false);
    for minor in 1..5 {
        assert_eq!(witnessed.registry.publish(&format!("1.{minor}.0")).await.0, 201);
    }
    witnessed.switch(0, true);
    witnessed.switch(1, false);
    let (_, answer) = witnessed.registry.publish("1.5.0").await;
    assert!(answer["proof"].is_string(), "{answer}");
    let (_, note) = witnessed.registry.latest().await;
    assert!(time_of(&note, cosigner(0).verifier()).is_some());
}

#[tokio::test]
async fn a_running_publisher_asks_the_witnesses_of_a_new_policy() {
    let store = Store::memory();
    let signing = TestRegistry::signing().following_policy(move |_| {
        let works = Arc::new(AtomicBool::new(true));
        Box::new(Near { witness: witness(0, &store), works })
    });
    let registry = Registry::new(signing).await;
    registry.publish("1.0.0").await;
    let key = cosigner(0).verifier().clone();
    assert_eq!(time_of(&registry.latest().await.1, &key), None);
    let (log, own) = (TestRegistry::log_key(), TestRegistry::cosigner());
    let policy = format!(
        "log {log}\nwitness own {}\nwitness w0 {key} http://w0\ngroup both all own w0\nquorum both\n",
        own.verifier()
    );
    // The operator does it in a process of its own.
    let operator = Registry::open(&registry.store, &registry.clock, TestRegistry::signing()).await.unwrap();
    let document = signed(document(1, &[1, 2], &policy), None, &[1, 2]);
    operator.put_trust(&document, policy.as_bytes()).await.unwrap();
    assert_eq!(time_of(&registry.latest().await.1, &key), None, "nobody has told the one that runs");
    assert_eq!(registry.service.heartbeat(0).await.unwrap(), Heartbeat::Renewed);
    assert_eq!(time_of(&registry.latest().await.1, &key), Some(START_S));
    let (status, answer) = registry.publish("1.1.0").await;
    assert!(status == 201 && answer["proof"].is_string(), "{answer}");
    assert_eq!(time_of(&registry.latest().await.1, &key), Some(START_S));
}
