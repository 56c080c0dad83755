//! The chain of root keys: documents, and who may succeed whom.

use drystone_log::note::{NoteSignature, NoteSigner};
use drystone_log::trust::{ROOTS_MAX, TrustLine};
use drystone_log::{Checkpoint, Cosigner, NoteError, SignedTrust, TrustDocument, TrustError, leaf_hash};
use drystone_schemas::Sha256Digest;
use proptest::prelude::*;

const SUBJECT: &str = "registry.example";

fn root(number: u8) -> NoteSigner {
    NoteSigner::from_seed(&format!("{SUBJECT}/root/holder{number}"), &[number; 32]).unwrap()
}

fn document(version: u64, threshold: usize, roots: &[u8]) -> TrustDocument {
    TrustDocument {
        subject: SUBJECT.to_owned(),
        version,
        expires: 1_795_000_000,
        threshold,
        roots: roots.iter().map(|number| root(*number).verifier().clone()).collect(),
        policy: Sha256Digest::of(b"policy"),
        max_age_s: 86_400,
        final_logs: Vec::new(),
    }
}

/// A document with the signatures of these roots, whether they are its own or not.
fn signed(document: &TrustDocument, by: &[u8]) -> SignedTrust {
    let mut note = SignedTrust::new(document.clone()).unwrap().note().clone();
    let text = note.text().to_owned();
    by.iter().for_each(|number| note.add(root(*number).sign(&text)).unwrap());
    SignedTrust::parse_draft(&note.to_bytes()).unwrap()
}

#[test]
fn a_document_has_this_text() {
    let mut document = document(3, 2, &[1, 2, 3]);
    document.final_logs = vec![Checkpoint::new("registry.example/log/1", 70_000, leaf_hash(b"")).unwrap()];
    let text = document.encode().unwrap();
    assert_eq!(
        text,
        format!(
            "registry.example/trust\nversion 3\nexpires 1795000000\nthreshold 2\nroot {}\nroot {}\nroot {}\n\
         policy {}\nmax-age 86400\nlog-final registry.example/log/1 70000 bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=\n",
            root(1).verifier(),
            root(2).verifier(),
            root(3).verifier(),
            Sha256Digest::of(b"policy").hex(),
        )
    );
    assert_eq!(TrustDocument::decode(&text), Ok(document.clone()));
    assert_eq!(document.final_log("registry.example/log/1"), Some(&document.final_logs[0]));
    assert_eq!(document.final_log("registry.example/log/2"), None);
}

/// A vector for other implementations: every byte is fixed, because Ed25519 signatures are.
#[test]
fn a_signed_document_has_these_bytes() {
    let signed = signed(&document(1, 1, &[1]), &[1]);
    assert_eq!(String::from_utf8(signed.to_bytes()).unwrap(), include_str!("vectors/trust-1.txt"));
    assert_eq!(signed.begin(), Ok(&document(1, 1, &[1])));
}

#[test]
fn texts_have_one_spelling() {
    let mut full = document(3, 2, &[1, 2, 3]);
    full.final_logs = vec![Checkpoint::new("registry.example/log/1", 70_000, leaf_hash(b"")).unwrap()];
    let good = full.encode().unwrap();
    let malformed = |line| Err(TrustError::Malformed { line });
    use TrustLine as L;
    for (from, to, line) in [
        ("registry.example/trust\n", "registry.example/other\n", L::Subject),
        ("registry.example/trust\n", "/trust\n", L::Subject),
        ("registry.example/trust\n", "registry .example/trust\n", L::Subject),
        ("registry.example/trust\n", "registry\u{7f}.example/trust\n", L::Subject),
        ("registry.example/trust\n", "registry+.example/trust\n", L::Subject),
        ("version 3", "version 0", L::Version),
        ("version 3", "version 03", L::Version),
        ("version 3", "version 9223372036854775808", L::Version),
        ("version 3\n", "", L::Version),
        ("expires 1795000000", "expires -1", L::Expires),
        ("threshold 2", "threshold 0", L::Threshold),
        ("threshold 2", "threshold 4", L::Threshold),
        ("threshold 2", "threshold  2", L::Threshold),
        ("root registry.example/root/holder1", "root registry.example/holder1", L::Root),
        ("policy ", "policy 00", L::Policy),
        ("max-age 86400", "max-age 0", L::MaxAge),
        ("max-age 86400\n", "max-age 86400\n\n", L::End),
        ("log-final registry.example/log/1 70000", "log-final registry.example/log/1 x", L::LogFinal),
        ("log-final registry.example/log/1 ", "log-final two words ", L::LogFinal),
        ("bjQLnP", "bjQLnP=", L::LogFinal),
    ] {
        assert!(good.contains(from), "{from}");
        assert_eq!(TrustDocument::decode(&good.replacen(from, to, 1)), malformed(line), "{to}");
    }
    let last = good.lines().last().unwrap();
    assert_eq!(TrustDocument::decode(&format!("{good}{last}\n")), malformed(L::LogFinal));
    assert_eq!(TrustDocument::decode(&format!("{good}more\n")), malformed(L::End));
    assert_eq!(TrustDocument::decode(good.trim_end()), malformed(L::End));
    let second = good.lines().nth(4).unwrap();
    assert_eq!(
        TrustDocument::decode(&good.replacen(second, &format!("{second}\n{second}"), 1)),
        malformed(L::Root)
    );
    let upper = Sha256Digest::of(b"policy").hex();
    assert!(TrustDocument::decode(&good.replace(&upper, &upper.to_uppercase())).is_err());
}

#[test]
fn roots_are_ed25519_keys_with_names_and_bytes_of_their_own() {
    let refused = |document: TrustDocument| {
        assert_eq!(document.encode(), Err(TrustError::Malformed { line: TrustLine::Root }));
    };
    let cosigner = Cosigner::from_seed(&format!("{SUBJECT}/root/ann"), &[1; 32]).unwrap();
    refused(TrustDocument { roots: vec![cosigner.verifier().clone()], ..document(1, 1, &[]) });
    for name in ["registry.example/root/", "registry.example/root", "other.example/root/ann"] {
        let signer = NoteSigner::from_seed(name, &[1; 32]).unwrap();
        refused(TrustDocument { roots: vec![signer.verifier().clone()], ..document(1, 1, &[]) });
    }
    // One key under two names would sign twice.
    let twin = NoteSigner::from_seed(&format!("{SUBJECT}/root/twin"), &[1; 32]).unwrap();
    let roots = vec![root(1).verifier().clone(), twin.verifier().clone()];
    refused(TrustDocument { roots, ..document(1, 2, &[]) });
    let many: Vec<u8> = (1..=33).collect();
    refused(document(1, 1, &many));
    assert!(document(1, ROOTS_MAX, &many[..ROOTS_MAX]).encode().is_ok());
}

#[test]
fn a_beginning_needs_its_own_threshold() {
    let first = document(1, 2, &[1, 2, 3]);
    let few = |signed| Err(TrustError::TooFewOwn { version: 1, signed, threshold: 2 });
    assert_eq!(signed(&first, &[]).begin(), few(0));
    assert_eq!(signed(&first, &[1]).begin(), few(1));
    assert_eq!(signed(&first, &[1, 1]).begin(), few(1), "a root counts once");
    assert_eq!(signed(&first, &[1, 9]).begin(), few(1), "strangers do not count");
    assert_eq!(signed(&first, &[1, 3]).begin(), Ok(&first));
    let mut wrong = signed(&first, &[1, 2]);
    let line = NoteSignature::new(root(3).verifier().name().to_owned(), root(3).verifier().id(), vec![7; 64]);
    let mut note = wrong.note().clone();
    note.add(line.unwrap()).unwrap();
    wrong = SignedTrust::parse(&note.to_bytes()).unwrap();
    assert!(matches!(wrong.begin(), Err(TrustError::Note(NoteError::WrongSignature { .. }))));
}

#[test]
fn a_successor_needs_both_thresholds() {
    let (old, new) = (document(1, 2, &[1, 2, 3]), document(2, 2, &[3, 4, 5]));
    let succeed = |by: &[u8]| signed(&new, by).succeed(&old).cloned();
    let too_few_old = |signed| Err(TrustError::TooFewOld { version: 2, signed, threshold: 2 });
    let too_few_own = |signed| Err(TrustError::TooFewOwn { version: 2, signed, threshold: 2 });
    assert_eq!(succeed(&[1, 2, 4, 5]), Ok(new.clone()));
    assert_eq!(succeed(&[1, 3, 4]), Ok(new.clone()), "holder 3 is in both");
    assert_eq!(succeed(&[4, 5]), too_few_old(0));
    assert_eq!(succeed(&[3, 4, 5]), too_few_old(1));
    assert_eq!(succeed(&[1, 2]), too_few_own(0));
    assert_eq!(succeed(&[1, 2, 3]), too_few_own(1));
}

#[test]
fn a_chain_has_one_subject_and_no_gaps_and_does_not_go_back() {
    let old = document(7, 1, &[1]);
    for version in [1, 6, 7, 9] {
        let next = document(version, 1, &[1]);
        let refused = signed(&next, &[1]).succeed(&old).cloned();
        assert_eq!(refused, Err(TrustError::WrongVersion { expected: 8, found: version }));
    }
    let elsewhere = NoteSigner::from_seed("elsewhere.example/root/ann", &[1; 32]).unwrap();
    let stranger = TrustDocument {
        subject: "elsewhere.example".to_owned(),
        roots: vec![elsewhere.verifier().clone()],
        ..document(8, 1, &[1])
    };
    let refused = signed(&stranger, &[1]).succeed(&old).cloned();
    assert!(matches!(refused, Err(TrustError::WrongSubject { .. })));
}

#[test]
fn a_retired_log_stays_retired() {
    let end = |size| Checkpoint::new("registry.example/log/1", size, leaf_hash(b"")).unwrap();
    let old = TrustDocument { final_logs: vec![end(70_000)], ..document(1, 1, &[1]) };
    let revives = Err(TrustError::RevivesLog { origin: "registry.example/log/1".to_owned() });
    for logs in [vec![], vec![end(70_001)]] {
        let next = TrustDocument { final_logs: logs, ..document(2, 1, &[1]) };
        assert_eq!(signed(&next, &[1]).succeed(&old).cloned(), revives);
    }
    let next = TrustDocument { final_logs: vec![end(70_000)], ..document(2, 1, &[1]) };
    assert!(signed(&next, &[1]).succeed(&old).is_ok());
}

#[test]
fn a_document_expires() {
    let document = document(4, 1, &[1]);
    assert_eq!(document.check_time(1_794_999_999), Ok(()));
    let expired = Err(TrustError::Expired { version: 4, expired: 1_795_000_000 });
    assert_eq!(document.check_time(1_795_000_000), expired);
    // It can still be succeeded.
    let next = TrustDocument { version: 5, expires: 1_895_000_000, ..document.clone() };
    assert!(signed(&next, &[1]).succeed(&document).unwrap().check_time(1_795_000_000).is_ok());
}

#[test]
fn holders_sign_one_after_the_other_or_apart() {
    let (old, new) = (document(1, 1, &[1]), document(2, 1, &[2]));
    let draft = SignedTrust::parse_draft(&SignedTrust::new(new.clone()).unwrap().to_bytes()).unwrap();
    assert_eq!(draft.unverified(), &new);
    assert!(SignedTrust::parse(&draft.to_bytes()).is_err(), "a draft is no signed document");
    let mut one = draft.clone();
    assert_eq!(
        one.sign(&root(1), None),
        Err(TrustError::NotARoot { name: root(1).verifier().name().to_owned() })
    );
    one.sign(&root(1), Some(&old)).unwrap();
    one.sign(&root(1), Some(&old)).unwrap();
    assert_eq!(one.note().signatures().len(), 1, "the same signature is not added twice");
    let mut two = draft;
    two.sign(&root(2), None).unwrap();
    assert_eq!((one.own_signatures(), two.own_signatures()), (Ok(0), Ok(1)));
    assert_eq!(one.merge(&two), Ok(true));
    assert_eq!(one.succeed(&old), Ok(&new));
    assert_eq!(one.merge(&signed(&old, &[1])), Ok(false));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// The rule by its definition, over all sets of holders, thresholds and signers.
    #[test]
    fn acceptance_is_both_thresholds(
        old_roots in proptest::sample::subsequence((1u8..8).collect::<Vec<_>>(), 1..5),
        new_roots in proptest::sample::subsequence((1u8..8).collect::<Vec<_>>(), 1..5),
        signers in proptest::sample::subsequence((1u8..9).collect::<Vec<_>>(), 0..9),
        old_threshold in 1usize..5,
        new_threshold in 1usize..5,
    ) {
        let old = document(4, old_threshold.min(old_roots.len()), &old_roots);
        let new = document(5, new_threshold.min(new_roots.len()), &new_roots);
        let by = |roots: &[u8]| roots.iter().filter(|root| signers.contains(root)).count();
        let enough = by(&old_roots) >= old.threshold && by(&new_roots) >= new.threshold;
        let signed = signed(&new, &signers);
        prop_assert_eq!(signed.succeed(&old).is_ok(), enough);
        prop_assert_eq!(signed.begin().is_ok(), by(&new_roots) >= new.threshold);
    }

    /// No changed byte leaves an accepted document that says something else.
    #[test]
    fn a_changed_byte_never_changes_what_is_believed(position in 0usize..700, bit in 0u8..8) {
        let first = document(1, 2, &[1, 2, 3]);
        let mut bytes = signed(&first, &[1, 2]).to_bytes();
        let position = position % bytes.len();
        bytes[position] ^= 1 << bit;
        let read = SignedTrust::parse(&bytes);
        prop_assert!(!read.is_ok_and(|read| read.begin().is_ok()), "byte {}", position);
    }
}
