//! Notes, keys and checkpoints, with published vectors.

use drystone_log::checkpoint::{CheckpointLine, SignedCheckpoint};
use drystone_log::note::{
    Algorithm, KeyError, NOTE_BYTES_MAX, NoteSignature, SIGNATURES_MAX, cosignature_message,
};
use drystone_log::{
    Checkpoint, CheckpointError, Cosigner, Note, NoteError, NoteSigner, VerifierKey, empty_root, leaf_hash,
};

const ORIGIN: &str = "registry.example/log";

fn log_signer() -> NoteSigner {
    NoteSigner::from_seed(ORIGIN, &[1; 32]).unwrap()
}

fn witness(number: u8) -> Cosigner {
    Cosigner::from_seed(&format!("witness{number}.example/w"), &[100 + number; 32]).unwrap()
}

fn signed(text: &str, lines: &[NoteSignature]) -> Note {
    let mut note = Note::new(text.to_owned()).unwrap();
    lines.iter().for_each(|line| note.add(line.clone()).unwrap());
    note
}

#[test]
fn the_vector_of_the_signed_note_specification_verifies() {
    let key =
        VerifierKey::parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k").unwrap();
    let note = Note::parse(
        "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
            .as_bytes(),
    )
    .unwrap();
    assert_eq!(note.text(), "This is an example message.\n");
    let keys = [key];
    let verified = note.verify(&keys).unwrap();
    assert_eq!(verified.len(), 1);
    assert_eq!((verified[0].key, verified[0].time), (&keys[0], None));
}

#[test]
fn the_vector_of_the_go_library_is_made_and_verified() {
    let secret = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    let signer = NoteSigner::parse(secret).unwrap();
    assert_eq!(
        signer.verifier().to_string(),
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    );
    assert_eq!(signer.secret_text().expose(), secret);
    let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    let note = signed(text, &[signer.sign(text)]);
    assert_eq!(
        note.to_string(),
        format!(
            "{text}\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
        )
    );
    assert_eq!(Note::parse(&note.to_bytes()).as_ref(), Ok(&note));
    assert!(note.verify(std::slice::from_ref(signer.verifier())).is_ok());
}

#[test]
fn secrets_do_not_print() {
    let (signer, cosigner) = (log_signer(), witness(1));
    let printed = format!("{signer:?} {cosigner:?} {:?} {:?}", signer.secret_text(), cosigner.secret_text());
    for secret in [signer.secret_text(), cosigner.secret_text()] {
        let key = secret.expose().rsplit('+').next().unwrap();
        assert!(!printed.contains(key), "{printed}");
    }
    assert!(!printed.contains(&hex::encode([1; 32])));
    assert!(printed.contains("SecretKeyText(***)"));
}

#[test]
fn secret_keys_are_read_strictly() {
    let cosigner = witness(1);
    assert_eq!(Cosigner::parse(cosigner.secret_text().expose()).unwrap().verifier(), cosigner.verifier());
    let name = ORIGIN.to_owned();
    let secret = log_signer().secret_text().expose().to_owned();
    let wrong_kind = KeyError::WrongAlgorithm { name: name.clone(), given: 0x01 };
    assert_eq!(Cosigner::parse(&secret).unwrap_err(), wrong_kind);
    let id = log_signer().verifier().id();
    let other_id = secret.replace(&id.to_string(), "00000000");
    assert_eq!(
        NoteSigner::parse(&other_id).unwrap_err(),
        KeyError::WrongId { name: name.clone(), expected: id }
    );
    let short = format!("PRIVATE+KEY+{ORIGIN}+{id}+AQEB");
    assert_eq!(NoteSigner::parse(&short).unwrap_err(), KeyError::BadBytes { name });
    for bad in [
        "",
        "PRIVATE+KEY+",
        "PRIVATE+KEY+a",
        "PRIVATE+KEY+a+00000000",
        "PRIVATE+KEY+a+00000000+",
        &secret[1..],
    ] {
        assert_eq!(NoteSigner::parse(bad).unwrap_err(), KeyError::Malformed, "{bad}");
    }
}

#[test]
fn public_keys_are_read_strictly() {
    let key = witness(1).verifier().clone();
    let text = key.to_string();
    assert_eq!(VerifierKey::parse(&text).as_ref(), Ok(&key));
    assert_eq!(key.algorithm(), Algorithm::CosignatureV1);
    for position in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[position] ^= 1;
        let changed = String::from_utf8(bytes).unwrap();
        // A change of the algorithm byte may give a key of an unknown kind, which verifies nothing.
        let harmless = VerifierKey::parse(&changed).map_or(true, |other| !other.is_supported());
        assert!(harmless, "{changed}");
    }
    let malformed =
        ["", "a", "a+b", "a+00000000", "a+0+AQ==", "a+0000000g+AQ==", "a+00000000+", "a+00000000+A"];
    for bad in malformed.iter().copied().chain([&text.to_uppercase()[..]]) {
        assert_eq!(VerifierKey::parse(bad), Err(KeyError::Malformed), "{bad}");
    }
    for name in ["", "a b", "a\u{2003}b", "a\nb"] {
        assert!(matches!(NoteSigner::from_seed(name, &[1; 32]), Err(KeyError::Name(_))), "{name:?}");
    }
    assert!(NoteSigner::from_seed("a+b", &[1; 32]).is_err());
    // The neutral element and other points of small order verify forgeries, and are no keys.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    for weak in [neutral, [0; 32]] {
        let refused = VerifierKey::new("a", Algorithm::Ed25519, &weak);
        assert_eq!(refused, Err(KeyError::BadBytes { name: "a".to_owned() }));
    }
    assert!(VerifierKey::new("a", Algorithm::Ed25519, &[1; 31]).is_err());
}

#[test]
fn unknown_algorithms_are_kept_and_never_verify() {
    let key = VerifierKey::new("a", Algorithm::from_byte(0x06), &[9; 1312]).unwrap();
    assert_eq!(VerifierKey::parse(&key.to_string()).as_ref(), Ok(&key));
    assert!(!key.is_supported());
    // Its id may be made in another way than that of the algorithms that are known.
    let foreign = format!("a+0badcafe+{}", key.to_string().rsplit_once('+').unwrap().1);
    assert_eq!(VerifierKey::parse(&foreign).unwrap().id().to_string(), "0badcafe");
    let line = NoteSignature::new("a".to_owned(), key.id(), vec![0; 72]).unwrap();
    let note = signed("text\n", std::slice::from_ref(&line));
    assert_eq!(note.verify(std::slice::from_ref(&key)), Err(NoteError::NotSignedByKnownKey));
    // It does not spoil what another key signed.
    let signer = log_signer();
    let note = signed("text\n", &[line, signer.sign("text\n")]);
    let keys = [key, signer.verifier().clone()];
    assert_eq!(note.verify(&keys).unwrap().len(), 1);
}

#[test]
fn unknown_keys_are_ignored_and_wrong_signatures_of_known_ones_are_not() {
    let (one, two) = (log_signer(), NoteSigner::from_seed("other.example", &[2; 32]).unwrap());
    let keys = [one.verifier().clone(), two.verifier().clone()];
    let both = signed("text\n", &[two.sign("text\n"), one.sign("text\n")]);
    let verified = both.verify(&keys).unwrap();
    assert_eq!(verified.iter().map(|good| good.key).collect::<Vec<_>>(), [&keys[1], &keys[0]]);
    assert_eq!(both.verify(&keys[..1]).unwrap().len(), 1);
    assert_eq!(both.verify(&[]), Err(NoteError::NotSignedByKnownKey));

    let half = signed("text\n", &[one.sign("text\n"), two.sign("another text\n")]);
    let wrong = NoteError::WrongSignature { name: "other.example".to_owned(), key_id: two.verifier().id() };
    assert_eq!(half.verify(&keys), Err(wrong));
    assert_eq!(half.verify(&keys[..1]).unwrap().len(), 1);

    // Same name with another id, same id with another name: other keys.
    let same_name = NoteSignature::new(ORIGIN.to_owned(), two.verifier().id(), vec![0; 64]).unwrap();
    let same_id = NoteSignature::new("x.example".to_owned(), one.verifier().id(), vec![0; 64]).unwrap();
    let note = signed("text\n", &[same_name, same_id, one.sign("text\n")]);
    assert_eq!(note.verify(&keys).unwrap().len(), 1);

    let twice = [keys[0].clone(), keys[0].clone()];
    assert!(matches!(both.verify(&twice), Err(NoteError::AmbiguousKey { .. })));
}

#[test]
fn a_signature_of_the_wrong_length_is_wrong() {
    let signer = log_signer();
    let good = signer.sign("text\n");
    for length in [1, 32, 63] {
        let line = NoteSignature::new(ORIGIN.to_owned(), good.key_id(), good.signature()[..length].to_vec())
            .unwrap();
        let refused = signed("text\n", &[line]).verify(std::slice::from_ref(signer.verifier()));
        assert!(matches!(refused, Err(NoteError::WrongSignature { .. })));
    }
    let longer = [good.signature(), &[0]].concat();
    let line = NoteSignature::new(ORIGIN.to_owned(), good.key_id(), longer).unwrap();
    assert!(signed("text\n", &[line]).verify(std::slice::from_ref(signer.verifier())).is_err());
}

#[test]
fn any_flipped_byte_of_a_note_is_refused() {
    let signer = log_signer();
    let key = std::slice::from_ref(signer.verifier());
    let text = "one\n\ntwo \u{e9}\n";
    let bytes = signed(text, &[signer.sign(text)]).to_bytes();
    assert_eq!(Note::parse(&bytes).unwrap().verify(key).unwrap().len(), 1);
    for position in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[position] ^= 1 << bit;
            let accepted = Note::parse(&changed).is_ok_and(|note| note.verify(key).is_ok());
            assert!(!accepted, "bit {bit} of byte {position}");
        }
    }
    for length in 0..bytes.len() {
        assert!(Note::parse(&bytes[..length]).is_err(), "{length}");
    }
}

#[test]
fn notes_are_parsed_strictly() {
    let line = log_signer().sign("a\n");
    let good = format!("a\n\n{line}\n");
    assert!(Note::parse(good.as_bytes()).is_ok());
    let cases = [
        (String::new(), NoteError::NoSignatures),
        ("a\n".to_owned(), NoteError::NoSignatures),
        ("a\n\n".to_owned(), NoteError::NoSignatures),
        (format!("a\n\n{line}"), NoteError::NoSignatures),
        (format!("a\n{line}\n"), NoteError::NoSignatures),
        (format!("a\n\n{line}\n\n"), NoteError::NoSignatures),
        (format!("a\tb\n\n{line}\n"), NoteError::BadText),
        (format!("a\r\n\r\n\n{line}\n"), NoteError::BadText),
        (format!("a\n\n{line}\nx\n"), NoteError::BadSignatureLine { line: 2 }),
        (format!("a\n\n {line}\n"), NoteError::BadSignatureLine { line: 1 }),
        (format!("a\n\n{line} \n"), NoteError::BadSignatureLine { line: 1 }),
        (format!("a\n\n{line}\r\n"), NoteError::BadSignatureLine { line: 1 }),
        ("a\n\n\u{2014} name AAAAAA==\n".to_owned(), NoteError::BadSignatureLine { line: 1 }),
        ("a\n\n\u{2014} name  AAAAAAE=\n".to_owned(), NoteError::BadSignatureLine { line: 1 }),
        ("a\n\n\u{2014}  AAAAAAE=\n".to_owned(), NoteError::BadSignatureLine { line: 1 }),
        ("a\n\n\u{2014} na+me AAAAAAE=\n".to_owned(), NoteError::BadSignatureLine { line: 1 }),
        ("a\n\n\u{2014} na\u{a0}me AAAAAAE=\n".to_owned(), NoteError::BadSignatureLine { line: 1 }),
        ("a\n\n- name AAAAAAE=\n".to_owned(), NoteError::BadSignatureLine { line: 1 }),
    ];
    for (note, refused) in cases {
        assert_eq!(Note::parse(note.as_bytes()), Err(refused), "{note:?}");
    }
    // A text of one empty line is a text.
    assert_eq!(
        Note::parse(format!("\n\n{line}\n").as_bytes()).map(|note| note.text().to_owned()),
        Ok("\n".to_owned())
    );
    assert_eq!(Note::parse(b"\xff\n\n"), Err(NoteError::BadText));
    for text in ["", "a", "a\n\nb", "a\0\n"] {
        assert_eq!(Note::new(text.to_owned()), Err(NoteError::BadText), "{text:?}");
    }
}

#[test]
fn the_signatures_of_one_key_are_those_of_its_name_and_id() {
    let (log, witness) = (log_signer(), witness(1));
    let namesake = NoteSigner::from_seed(ORIGIN, &[2; 32]).unwrap();
    let lines = [witness.sign("a\n", 5), log.sign("a\n"), namesake.sign("a\n")];
    let only = |key: &VerifierKey| signed("a\n", &lines).signed_only_by(key);
    assert_eq!(only(log.verifier()), signed("a\n", &lines[1..2]));
    assert_eq!(only(witness.verifier()), signed("a\n", &lines[..1]));
    assert_eq!(
        only(&NoteSigner::from_seed("other.example", &[1; 32]).unwrap().verifier().clone()).signatures(),
        []
    );
}

#[test]
fn notes_have_limits() {
    let line = log_signer().sign("a\n");
    let with = |count: usize| format!("a\n\n{}", format!("{line}\n").repeat(count));
    assert_eq!(
        Note::parse(with(SIGNATURES_MAX).as_bytes()).map(|note| note.signatures().len()),
        Ok(SIGNATURES_MAX)
    );
    assert_eq!(Note::parse(with(SIGNATURES_MAX + 1).as_bytes()), Err(NoteError::TooManySignatures));
    let mut note = Note::parse(with(SIGNATURES_MAX).as_bytes()).unwrap();
    assert_eq!(note.add(line.clone()), Err(NoteError::TooManySignatures));
    let fits = "a".repeat(NOTE_BYTES_MAX - with(1).len() + 1) + &with(1)[1..];
    assert!(Note::parse(fits.as_bytes()).is_ok());
    let long = format!("a{fits}");
    assert_eq!(Note::parse(long.as_bytes()), Err(NoteError::TooLong { bytes: NOTE_BYTES_MAX + 1 }));
}

#[test]
fn cosignatures_carry_their_time() {
    let cosigner = witness(1);
    let keys = [cosigner.verifier().clone()];
    let text = Checkpoint::new(ORIGIN, 7, leaf_hash(b"")).unwrap().encode();
    assert_eq!(cosignature_message(&text, 1_679_315_147), format!("cosignature/v1\ntime 1679315147\n{text}"));
    let line = cosigner.sign(&text, 1_679_315_147);
    assert_eq!(line.signature().len(), 72);
    let note = signed(&text, &[line.clone(), cosigner.sign(&text, 5), cosigner.sign(&text, 1_700_000_000)]);
    let verified = note.verify(&keys).unwrap();
    assert_eq!(verified.len(), 1);
    assert_eq!(verified[0].time, Some(1_700_000_000));

    // The time is signed.
    let mut bytes = line.signature().to_vec();
    bytes[7] ^= 1;
    let moved = NoteSignature::new(line.name().to_owned(), line.key_id(), bytes).unwrap();
    assert!(matches!(signed(&text, &[moved]).verify(&keys), Err(NoteError::WrongSignature { .. })));
    // A time that does not fit 63 bits is refused, signed or not.
    let late = cosigner.sign(&text, 1 << 63);
    assert!(matches!(signed(&text, &[late]).verify(&keys), Err(NoteError::WrongSignature { .. })));
    assert!(signed(&text, &[cosigner.sign(&text, (1 << 63) - 1)]).verify(&keys).is_ok());
    // The same secret as a plain note key makes other signatures, under another id.
    let plain = NoteSigner::from_seed(keys[0].name(), &[101; 32]).unwrap();
    assert_ne!(plain.verifier().id(), keys[0].id());
    let disguised =
        NoteSignature::new(keys[0].name().to_owned(), keys[0].id(), plain.sign(&text).signature().to_vec())
            .unwrap();
    assert!(signed(&text, &[disguised]).verify(&keys).is_err());
}

#[test]
fn a_checkpoint_is_three_lines() {
    let checkpoint = Checkpoint::new("example.com/behind-the-sofa", 20_852_163, leaf_hash(b"")).unwrap();
    let text = checkpoint.encode();
    assert_eq!(text, "example.com/behind-the-sofa\n20852163\nbjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=\n");
    assert_eq!(Checkpoint::decode(&text), Ok(checkpoint.clone()));
    // Extension lines of other logs are tolerated.
    assert_eq!(Checkpoint::decode(&format!("{text}more\nand more\n")), Ok(checkpoint));
    assert!(Checkpoint::decode(&Checkpoint::new("a", 0, empty_root()).unwrap().encode()).is_ok());
}

#[test]
fn checkpoints_are_decoded_strictly() {
    let root = leaf_hash(b"").to_base64();
    let malformed = |line| CheckpointError::Malformed { line };
    use CheckpointLine::{Extension, Origin, Root, Size};
    for (text, refused) in [
        (String::new(), malformed(Extension)),
        ("\n".to_owned(), malformed(Origin)),
        (format!("o\n1\n{root}"), malformed(Extension)),
        (format!("\n1\n{root}\n"), malformed(Origin)),
        ("o\n".to_owned(), malformed(Size)),
        (format!("o\n01\n{root}\n"), malformed(Size)),
        (format!("o\n00\n{root}\n"), malformed(Size)),
        (format!("o\n+1\n{root}\n"), malformed(Size)),
        (format!("o\n-1\n{root}\n"), malformed(Size)),
        (format!("o\n 1\n{root}\n"), malformed(Size)),
        (format!("o\n\n{root}\n"), malformed(Size)),
        (format!("o\n9223372036854775808\n{root}\n"), malformed(Size)),
        (format!("o\n99999999999999999999\n{root}\n"), malformed(Size)),
        ("o\n1\n".to_owned(), malformed(Root)),
        (format!("o\n1\n{}\n", &root[1..]), malformed(Root)),
        (format!("o\n1\n{root} \n"), malformed(Root)),
        (format!("o\n1\n{root}\n\n"), malformed(Extension)),
        (format!("o\n1\n{root}\n\nx\n"), malformed(Extension)),
        (format!("o\n0\n{root}\n"), CheckpointError::EmptyWithRoot),
        (format!("o\r\n1\n{root}\n"), CheckpointError::BadOrigin { origin: "o\r".to_owned() }),
    ] {
        assert_eq!(Checkpoint::decode(&text), Err(refused), "{text:?}");
    }
    assert!(Checkpoint::new("", 1, leaf_hash(b"")).is_err());
    assert!(Checkpoint::new("a\nb", 1, leaf_hash(b"")).is_err());
    assert!(Checkpoint::new("a", 1 << 63, leaf_hash(b"")).is_err());
}

#[test]
fn a_checkpoint_opens_only_for_its_log() {
    let signer = log_signer();
    let checkpoint = Checkpoint::new(ORIGIN, 7, leaf_hash(b"")).unwrap();
    let bytes = checkpoint.sign(&signer).to_bytes();
    assert_eq!(Checkpoint::open(&bytes, signer.verifier(), ORIGIN), Ok(checkpoint));
    assert_eq!(
        Checkpoint::open(&bytes, signer.verifier(), "other.example"),
        Err(CheckpointError::WrongOrigin { expected: "other.example".to_owned(), found: ORIGIN.to_owned() })
    );
    let other = NoteSigner::from_seed(ORIGIN, &[2; 32]).unwrap();
    let unsigned = Err(CheckpointError::Note(NoteError::NotSignedByKnownKey));
    assert_eq!(Checkpoint::open(&bytes, other.verifier(), ORIGIN), unsigned);
    for position in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[position] ^= 1 << (position % 8);
        assert!(Checkpoint::open(&changed, signer.verifier(), ORIGIN).is_err(), "byte {position}");
    }
}

#[test]
fn a_cosigned_checkpoint_gives_its_cosigners() {
    let signer = log_signer();
    let mut signed = Checkpoint::new(ORIGIN, 7, leaf_hash(b"")).unwrap().sign(&signer);
    let witnesses: Vec<Cosigner> = (1..=16).map(witness).collect();
    for (time, witness) in (1_000..).zip(&witnesses) {
        let line = witness.sign(signed.note().text(), time);
        signed.note_mut().add(line).unwrap();
    }
    let opened = SignedCheckpoint::open(&signed.to_bytes(), signer.verifier(), ORIGIN).unwrap();
    assert_eq!(opened, signed);
    let keys: Vec<VerifierKey> = witnesses.iter().map(|witness| witness.verifier().clone()).collect();
    let times: Vec<_> = opened.verify(&keys).unwrap().iter().map(|good| good.time).collect();
    assert_eq!(times, (1_000..1_016).map(Some).collect::<Vec<_>>());

    // Whoever needs both signatures notices any change of any byte.
    let one = signed_by_both(&signer, &witnesses[0]);
    let both = [signer.verifier().clone(), keys[0].clone()];
    let accepted =
        |bytes: &[u8]| Note::parse(bytes).is_ok_and(|note| note.verify(&both).is_ok_and(|v| v.len() == 2));
    assert!(accepted(&one));
    for position in 0..one.len() {
        let mut changed = one.clone();
        changed[position] ^= 1 << (position % 8);
        assert!(!accepted(&changed), "byte {position}");
    }
}

fn signed_by_both(signer: &NoteSigner, witness: &Cosigner) -> Vec<u8> {
    let mut signed = Checkpoint::new(ORIGIN, 9, leaf_hash(b"")).unwrap().sign(signer);
    let line = witness.sign(signed.note().text(), 1_700_000_000);
    signed.note_mut().add(line).unwrap();
    signed.to_bytes()
}
