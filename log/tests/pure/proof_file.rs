//! Offline proofs of inclusion.

use drystone_log::proof_file::PROOF_BYTES_MAX;
use drystone_log::{
    Checkpoint, CheckpointError, NoteError, NoteSigner, ProofError, ProofFileError, TlogProof, leaf_hash,
    prove_inclusion,
};

use crate::support::{entry, memory_tree};

const ORIGIN: &str = "registry.example/log";

fn signer() -> NoteSigner {
    NoteSigner::from_seed(ORIGIN, &[1; 32]).unwrap()
}

fn proof(index: u64, size: u64) -> TlogProof {
    let tree = memory_tree(size);
    let checkpoint = Checkpoint::new(ORIGIN, size, tree.root_at(size).unwrap()).unwrap();
    TlogProof {
        extra: Some(entry(index)),
        index,
        hashes: prove_inclusion(index, size, &tree).unwrap(),
        checkpoint: checkpoint.sign(&signer()).to_bytes(),
    }
}

#[test]
fn a_proof_verifies_for_its_entry_only() {
    let signer = signer();
    for (index, size) in [(0, 1), (0, 2), (6, 7), (3, 300), (299, 300)] {
        let proof = TlogProof::decode(&proof(index, size).encode()).unwrap();
        let opened = proof.verify(&entry(index), signer.verifier(), ORIGIN).unwrap();
        assert_eq!(opened.checkpoint().size(), size);
        assert_eq!(
            proof.verify(&entry(index + 1), signer.verifier(), ORIGIN),
            Err(ProofFileError::Inclusion(ProofError::RootMismatch { size }))
        );
        assert!(matches!(
            proof.verify(&entry(index), signer.verifier(), "other.example"),
            Err(ProofFileError::Checkpoint(CheckpointError::WrongOrigin { .. }))
        ));
        let other = NoteSigner::from_seed(ORIGIN, &[2; 32]).unwrap();
        assert_eq!(
            proof.verify(&entry(index), other.verifier(), ORIGIN),
            Err(ProofFileError::Checkpoint(CheckpointError::Note(NoteError::NotSignedByKnownKey)))
        );
        let moved = TlogProof { index: index + 1, ..proof };
        assert!(moved.verify(&entry(index), signer.verifier(), ORIGIN).is_err());
    }
}

#[test]
fn the_text_is_that_of_the_specification() {
    let mut proof = proof(1, 2);
    let sibling = leaf_hash(&entry(0)).to_base64();
    let checkpoint = String::from_utf8(proof.checkpoint.clone()).unwrap();
    assert_eq!(
        String::from_utf8(proof.encode()).unwrap(),
        format!("c2sp.org/tlog-proof@v1\nextra ZW50cnkgMQo=\nindex 1\n{sibling}\n\n{checkpoint}")
    );
    proof.extra = None;
    assert_eq!(
        String::from_utf8(proof.encode()).unwrap(),
        format!("c2sp.org/tlog-proof@v1\nindex 1\n{sibling}\n\n{checkpoint}")
    );
    assert_eq!(TlogProof::decode(&proof.encode()), Ok(proof));
}

#[test]
fn any_flipped_byte_is_refused() {
    let signer = signer();
    let proof = TlogProof { extra: None, ..proof(3, 11) };
    let bytes = proof.encode();
    for position in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[position] ^= 1 << bit;
            let accepted = TlogProof::decode(&changed)
                .is_ok_and(|proof| proof.verify(&entry(3), signer.verifier(), ORIGIN).is_ok());
            assert!(!accepted, "bit {bit} of byte {position}");
        }
    }
    // The extra data is not bound by the format: who takes it for the entry finds a change.
    let bytes = TlogProof { extra: Some(entry(3)), ..proof }.encode();
    for position in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[position] ^= 1 << (position % 8);
        let accepted = TlogProof::decode(&changed).is_ok_and(|proof| {
            let entry = proof.extra.clone().unwrap_or_default();
            proof.verify(&entry, signer.verifier(), ORIGIN).is_ok()
        });
        assert!(!accepted, "byte {position}");
    }
}

#[test]
fn proof_files_are_decoded_strictly() {
    let hash = leaf_hash(b"").to_base64();
    let malformed = |line| Err(ProofFileError::Malformed { line });
    for (text, line) in [
        (String::new(), 1),
        ("c2sp.org/tlog-proof@v1\nindex 0\n".to_owned(), 1),
        ("c2sp.org/tlog-proof@v2\nindex 0\n\nx".to_owned(), 1),
        (" c2sp.org/tlog-proof@v1\nindex 0\n\nx".to_owned(), 1),
        ("c2sp.org/tlog-proof@v1\n\nindex 0\n\nx".to_owned(), 2),
        ("c2sp.org/tlog-proof@v1\nindex\n\nx".to_owned(), 2),
        ("c2sp.org/tlog-proof@v1\nindex 00\n\nx".to_owned(), 2),
        ("c2sp.org/tlog-proof@v1\nindex +1\n\nx".to_owned(), 2),
        ("c2sp.org/tlog-proof@v1\nindex 0 \n\nx".to_owned(), 2),
        ("c2sp.org/tlog-proof@v1\nextra AA\nindex 0\n\nx".to_owned(), 2),
        ("c2sp.org/tlog-proof@v1\nextra AA==\n\nx".to_owned(), 3),
        ("c2sp.org/tlog-proof@v1\nextra AA==\nextra AA==\nindex 0\n\nx".to_owned(), 3),
        ("c2sp.org/tlog-proof@v1\nindex 0\nextra AA==\n\nx".to_owned(), 3),
        ("c2sp.org/tlog-proof@v1\nindex 0\nAA==\n\nx".to_owned(), 3),
        (format!("c2sp.org/tlog-proof@v1\nindex 0\n{hash}\n {hash}\n\nx"), 4),
        (format!("c2sp.org/tlog-proof@v1\nindex 0\n{}\nx", format!("{hash}\n").repeat(64)), 66),
    ] {
        assert_eq!(TlogProof::decode(text.as_bytes()), malformed(line), "{text:?}");
    }
    assert!(TlogProof::decode(b"c2sp.org/tlog-proof@v1\nextra \nindex 0\n\nx").is_ok());
    assert!(TlogProof::decode(b"\xff\n\n").is_err());
    let start = b"c2sp.org/tlog-proof@v1\nindex 0\n\n";
    let fits = [&start[..], &vec![b'a'; PROOF_BYTES_MAX - start.len()]].concat();
    assert!(TlogProof::decode(&fits).is_ok());
    let long = [&fits[..], b"a"].concat();
    assert_eq!(TlogProof::decode(&long), Err(ProofFileError::TooLong { bytes: long.len() }));
}

#[test]
fn the_largest_entry_and_proof_fit() {
    let proof = TlogProof {
        extra: Some(vec![7; 65_535]),
        index: u64::MAX,
        hashes: vec![leaf_hash(b""); 63],
        checkpoint: vec![b'x'; 64 * 1024],
    };
    assert_eq!(TlogProof::decode(&proof.encode()), Ok(proof));
}
