//! Signed notes, checkpoints and proof files.

use drystone_log::{Checkpoint, Cosigner, Note, NoteSigner, SignedCheckpoint, TlogProof, VerifierKey};

const ORIGIN: &str = "fuzz.test/log";

fn signer() -> NoteSigner {
    NoteSigner::from_seed(ORIGIN, &[7; 32]).expect("the origin is a key name")
}

/// A note has one form; whatever it holds can be verified; and nothing is verified that was not signed.
pub fn notes(data: &[u8]) {
    let signer = signer();
    let witness = Cosigner::from_seed("fuzz.test/witness", &[8; 32]).expect("it is a key name");
    let keys = [signer.verifier().clone(), witness.verifier().clone()];
    if let Ok(note) = Note::parse(data) {
        assert_eq!(note.to_bytes(), data);
        let verified = note.verify(&keys);
        assert!(verified.is_err() || !note.signatures().is_empty());
    }
    drop(SignedCheckpoint::open(data, &keys[0], ORIGIN));
    if let Ok(proof) = TlogProof::decode(data) {
        assert_eq!(proof.encode(), data);
        drop(proof.verify(proof.extra.as_deref().unwrap_or_default(), &keys[0], ORIGIN));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(checkpoint) = Checkpoint::decode(text) {
            assert_eq!(Checkpoint::decode(&checkpoint.encode()), Ok(checkpoint.clone()));
            // Extension lines are read over, so that only the beginning is the same.
            assert!(text.starts_with(&checkpoint.encode()));
        }
        if let Ok(key) = VerifierKey::parse(text) {
            assert_eq!(key.to_string(), text);
        }
    }
    forge(data, &signer, &keys);
}

/// Signs a text and then puts bytes into the note: it does not verify, or still says what was signed.
fn forge(data: &[u8], signer: &NoteSigner, keys: &[VerifierKey]) {
    let [at, replaced, patch @ ..] = data else { return };
    let text = format!("{ORIGIN}\n1\n{}\n", drystone_log::leaf_hash(b"entry").to_base64());
    let mut note = Note::new(text.clone()).expect("it is a text");
    note.add(signer.sign(&text)).expect("there is room");
    let mut bytes = note.to_bytes();
    let start = usize::from(*at).min(bytes.len());
    let end = (start + usize::from(*replaced)).min(bytes.len());
    bytes.splice(start..end, patch.iter().copied());
    if let Ok(forged) = Note::parse(&bytes)
        && forged.verify(keys).is_ok()
    {
        assert_eq!(forged.text(), text, "a signature counts for another text");
    }
}
