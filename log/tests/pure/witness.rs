//! Witnessing: bodies, and every answer of the specification's table.

use drystone_log::checkpoint::SignedCheckpoint;
use drystone_log::note::{NOTE_BYTES_MAX, NoteSignature, SIGNATURES_MAX};
use drystone_log::witness::{
    AddCheckpoint, MalformedRequest, REQUEST_BYTES_MAX, WitnessRefusal, encode_size, good_cosignatures,
    judge, parse_cosignatures, parse_size,
};
use drystone_log::{
    Checkpoint, Cosigner, Hash, NoteSigner, VerifierKey, empty_root, leaf_hash, prove_consistency, tree_root,
};
use proptest::prelude::*;

use crate::support::memory_tree;

const ORIGIN: &str = "registry.example/log";

fn log_signer() -> NoteSigner {
    NoteSigner::from_seed(ORIGIN, &[1; 32]).unwrap()
}

fn keys() -> Vec<VerifierKey> {
    vec![NoteSigner::from_seed(ORIGIN, &[2; 32]).unwrap().verifier().clone(), log_signer().verifier().clone()]
}

fn checkpoint(size: u64) -> Checkpoint {
    Checkpoint::new(ORIGIN, size, tree_root(size, &memory_tree(size)).unwrap()).unwrap()
}

fn request(old: u64, new: u64) -> AddCheckpoint {
    let proof = if old == 0 || old >= new {
        Vec::new()
    } else {
        prove_consistency(old, new, &memory_tree(new)).unwrap()
    };
    AddCheckpoint { old_size: old, proof, checkpoint: checkpoint(new).sign(&log_signer()).to_bytes() }
}

fn answer(request: &AddCheckpoint, recorded: Option<u64>) -> Result<Checkpoint, u16> {
    let recorded = recorded.map(checkpoint);
    judge(request, &keys(), recorded.as_ref())
        .map(|signed| signed.checkpoint().clone())
        .map_err(|refusal| refusal.status())
}

/// The example of the specification reads and writes.
#[test]
fn the_example_of_the_specification_is_read() {
    let body = "old 20852014\nPlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\njrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\nexample.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\u{2014} example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=\n";
    let read = AddCheckpoint::decode(body.as_bytes()).unwrap();
    assert_eq!((read.old_size, read.proof.len()), (20_852_014, 4));
    assert_eq!(read.origin().unwrap(), "example.com/behind-the-sofa");
    assert_eq!(read.encode(), body.as_bytes());
    let answer = "\u{2014} witness.example/w1 CMp+6LWBU0anHGH5aNDTJkH/gj79sG+T6+iP2ThYN5krrDJbR1HDnucjL39QsZTSvVjyQLrdk3DXDqI5G2HgLatVs0pWh6Up69HVOw==\n\u{2014} witness.example/w2 AWui8Sk55XjYLOijihBjhqEH6nS1ndDymE0a+6idX7pLcnoB+dhnz0854aLZgrrKbYKA7nC3HNJhm/kWl7oJlqU3rXXvpysAdyP3wQ==\n";
    assert_eq!(parse_cosignatures(answer.as_bytes()).unwrap().len(), 2);
}

#[test]
fn the_largest_request_fits() {
    let request = AddCheckpoint {
        old_size: u64::MAX,
        proof: vec![leaf_hash(b""); 63],
        checkpoint: vec![b'x'; NOTE_BYTES_MAX],
    };
    assert_eq!(AddCheckpoint::decode(&request.encode()), Ok(request.clone()));
    // Not many bytes more than that do.
    let spare = REQUEST_BYTES_MAX - request.encode().len();
    assert_eq!((REQUEST_BYTES_MAX, spare), (68_403, 6));
    let with = |more: usize| {
        let checkpoint = vec![b'x'; NOTE_BYTES_MAX + more];
        AddCheckpoint::decode(&AddCheckpoint { checkpoint, ..request.clone() }.encode())
    };
    assert!(with(spare).is_ok() && with(spare + 1).is_err());
}

#[test]
fn what_extends_the_record_is_cosigned() {
    for (old, new) in [(1, 1), (1, 2), (7, 8), (7, 7), (255, 256), (100, 300)] {
        assert_eq!(answer(&request(old, new), Some(old)), Ok(checkpoint(new)), "{old} {new}");
    }
    for new in [0, 1, 300] {
        assert_eq!(answer(&request(0, new), None), Ok(checkpoint(new)), "{new}");
    }
    // Size 0, once recorded, is as good a start as none.
    assert_eq!(answer(&request(0, 0), Some(0)), Ok(checkpoint(0)));
    assert_eq!(answer(&request(0, 5), Some(0)), Ok(checkpoint(5)));
}

#[test]
fn every_refusal_has_its_status() {
    let good = request(7, 8);
    let with = |checkpoint: Vec<u8>| AddCheckpoint { checkpoint, ..good.clone() };
    // 404: before any key is looked at.
    assert_eq!(judge(&good, &[], None), Err(WitnessRefusal::UnknownLog { origin: ORIGIN.to_owned() }));
    // 403: a stranger's signature, a wrong one, and one for other words.
    let stranger = NoteSigner::from_seed(ORIGIN, &[9; 32]).unwrap();
    assert_eq!(answer(&with(checkpoint(8).sign(&stranger).to_bytes()), Some(7)), Err(403));
    let mut forged = checkpoint(8).sign(&stranger);
    let mut line = log_signer().sign("other words\n");
    forged.note_mut().add(line.clone()).unwrap();
    assert_eq!(answer(&with(forged.to_bytes()), Some(7)), Err(403));
    line = NoteSignature::new(ORIGIN.to_owned(), log_signer().verifier().id(), vec![0; 64]).unwrap();
    let mut note = drystone_log::Note::new(checkpoint(8).encode()).unwrap();
    note.add(line).unwrap();
    assert_eq!(answer(&with(note.to_bytes()), Some(7)), Err(403));
    // 400: the proof starts behind the checkpoint, or there is none.
    assert_eq!(answer(&AddCheckpoint { old_size: 9, ..good.clone() }, Some(7)), Err(400));
    assert_eq!(answer(&AddCheckpoint { old_size: 9, ..good.clone() }, Some(9)), Err(400));
    assert_eq!(answer(&with(b"no note".to_vec()), Some(7)), Err(400));
    let text = format!("{ORIGIN}\nx\n");
    let mut odd = drystone_log::Note::new(text.clone()).unwrap();
    odd.add(log_signer().sign(&text)).unwrap();
    assert_eq!(answer(&with(odd.to_bytes()), Some(7)), Err(400));
    // 409: with the size to start from.
    assert_eq!(judge(&good, &keys(), Some(&checkpoint(6))), Err(WitnessRefusal::OtherSize { recorded: 6 }));
    assert_eq!(judge(&good, &keys(), None), Err(WitnessRefusal::OtherSize { recorded: 0 }));
    assert_eq!(answer(&request(0, 8), Some(7)), Err(409));
    assert_eq!(answer(&request(7, 7), Some(8)), Err(409));
    // 422: a proof that fails, another root at the same size, an empty tree with a root, a proof from nothing.
    let mut broken = good.clone();
    broken.proof[0] = leaf_hash(b"other");
    assert_eq!(answer(&broken, Some(7)), Err(422));
    let fork = Checkpoint::new(ORIGIN, 7, leaf_hash(b"fork")).unwrap().sign(&log_signer()).to_bytes();
    assert_eq!(answer(&AddCheckpoint { checkpoint: fork, ..request(7, 7) }, Some(7)), Err(422));
    let extra = AddCheckpoint { proof: vec![empty_root()], ..request(0, 8) };
    assert_eq!(answer(&extra, None), Err(422));
    let text = format!("{ORIGIN}\n0\n{}\n", leaf_hash(b"").to_base64());
    let mut empty = drystone_log::Note::new(text.clone()).unwrap();
    empty.add(log_signer().sign(&text)).unwrap();
    assert_eq!(answer(&AddCheckpoint { checkpoint: empty.to_bytes(), ..request(0, 0) }, None), Err(422));
}

#[test]
fn bodies_are_read_strictly() {
    let hash = leaf_hash(b"").to_base64();
    for (body, line) in [
        (String::new(), 1),
        ("old 1\n".to_owned(), 1),
        ("old 01\n\nx".to_owned(), 1),
        ("old  1\n\nx".to_owned(), 1),
        ("size 1\n\nx".to_owned(), 1),
        (format!("old 1\n{hash} \n\nx"), 2),
        (format!("old 1\n{hash}\nAAAA\n\nx"), 3),
        (format!("old 1\n{}\nx", format!("{hash}\n").repeat(64)), 65),
    ] {
        assert_eq!(AddCheckpoint::decode(body.as_bytes()), Err(MalformedRequest { line }), "{body}");
    }
    let most = format!("old 1\n{}\nx", format!("{hash}\n").repeat(63));
    assert_eq!(AddCheckpoint::decode(most.as_bytes()).unwrap().proof.len(), 63);
    assert_eq!(AddCheckpoint::decode(b"old 1\n\n\xff"), Err(MalformedRequest { line: 1 }));
    for bad in ["", "\n", "\u{2014} a AAAAAAE=", "\u{2014} a AAAAAAE=\n\n", "x\n"] {
        assert_eq!(parse_cosignatures(bad.as_bytes()), None, "{bad:?}");
    }
    assert_eq!(
        (parse_size(encode_size(17).as_bytes()), parse_size(b"17"), parse_size(b"017\n")),
        (Some(17), None, None)
    );
}

#[test]
fn an_answer_has_as_many_cosignatures_as_a_note_may_have() {
    let line = format!("{}\n", log_signer().sign("a\n"));
    let parsed = |count: usize| parse_cosignatures(line.repeat(count).as_bytes()).map(|lines| lines.len());
    assert_eq!(parsed(1), Some(1));
    assert_eq!(parsed(SIGNATURES_MAX), Some(SIGNATURES_MAX));
    assert_eq!(parsed(SIGNATURES_MAX + 1), None);
}

#[test]
fn of_an_answer_only_good_cosignatures_are_kept() {
    let text = checkpoint(8).encode();
    let (one, two) = (
        Cosigner::from_seed("w1.example", &[101; 32]).unwrap(),
        Cosigner::from_seed("w2.example", &[102; 32]).unwrap(),
    );
    let lines =
        vec![two.sign(&text, 5), one.sign("other\n", 6), one.sign(&text, 7), log_signer().sign(&text)];
    let keys = [one.verifier().clone(), log_signer().verifier().clone()];
    assert_eq!(good_cosignatures(&text, lines, &keys), [(one.sign(&text, 7), 7)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the order of requests, a witness never cosigns two trees of which one does not extend the other.
    #[test]
    fn a_witness_never_cosigns_a_fork(steps in proptest::collection::vec((0u64..40, 0u64..40, any::<bool>()), 1..24)) {
        let fork_leaf = |size: u64| Checkpoint::new(ORIGIN, size, leaf_hash(&size.to_be_bytes())).unwrap();
        let mut recorded: Option<Checkpoint> = None;
        let mut cosigned: Vec<Checkpoint> = Vec::new();
        for (old, new, fork) in steps {
            let mut request = request(old, new);
            if fork && new > 0 {
                request.checkpoint = fork_leaf(new).sign(&log_signer()).to_bytes();
            }
            if let Ok(signed) = judge(&request, &keys(), recorded.as_ref()) {
                prop_assert_eq!(old, recorded.as_ref().map_or(0, Checkpoint::size));
                recorded = Some(signed.checkpoint().clone());
                cosigned.push(signed.checkpoint().clone());
            }
        }
        // A witness that began with a fork stays on it.
        let forked: Vec<bool> = cosigned.iter().filter(|c| c.size() > 0).map(|c| *c != checkpoint(c.size())).collect();
        prop_assert!(forked.windows(2).all(|pair| pair[0] == pair[1]));
        prop_assert!(cosigned.windows(2).all(|pair| pair[0].size() <= pair[1].size()));
    }

    #[test]
    fn bodies_read_back(old in any::<u64>(), hashes in proptest::collection::vec(any::<[u8; 32]>(), 0..63), checkpoint in "[a-z\n]{0,40}") {
        let request = AddCheckpoint {
            old_size: old,
            proof: hashes.into_iter().map(Hash::new).collect(),
            checkpoint: checkpoint.into_bytes(),
        };
        prop_assert_eq!(AddCheckpoint::decode(&request.encode()), Ok(request));
    }
}

/// What is cosigned opens as what the log signed.
#[test]
fn the_cosigned_note_is_the_logs() {
    let request = request(7, 8);
    let signed: SignedCheckpoint = judge(&request, &keys(), Some(&checkpoint(7))).unwrap();
    assert_eq!(signed.to_bytes(), request.checkpoint);
}
