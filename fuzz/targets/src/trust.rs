//! Policies, the chain of root keys, and what witnesses are asked.

use drystone_log::witness::{AddCheckpoint, judge, parse_cosignatures, parse_size};
use drystone_log::{Cosigner, NoteSigner, Policy, SignedTrust, TrustDocument};

const ORIGIN: &str = "fuzz.test/log";

/// A trust document and a request have one form each; a quorum is monotone; and nothing is believed or cosigned that
/// nobody signed.
pub fn trust(data: &[u8]) {
    if let Ok(policy) = Policy::parse(data) {
        assert!(policy.is_met(|_| true), "all together are always enough");
        assert_eq!(policy.is_met(|_| false), !policy.asks_for_cosignatures());
        let all = policy.witnesses().len();
        // One more signature never breaks a quorum.
        let mut met = false;
        for signed in 0..=all.min(8) {
            let now = policy.is_met(|witness| policy.witnesses()[..signed].contains(witness));
            assert!(now || !met);
            met = now;
        }
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(document) = TrustDocument::decode(text)
    {
        assert_eq!(document.encode().expect("what was read can be written"), text);
    }
    if let Ok(signed) = SignedTrust::parse(data) {
        assert_eq!(signed.to_bytes(), data);
        assert!(!signed.note().signatures().is_empty());
        drop(signed.begin());
    }
    drop(SignedTrust::parse_draft(data));
    if let Ok(request) = AddCheckpoint::decode(data) {
        assert_eq!(request.encode(), data);
        let log = NoteSigner::from_seed(ORIGIN, &[7; 32]).expect("the origin is a key name");
        if let Ok(signed) = judge(&request, std::slice::from_ref(log.verifier()), None) {
            assert_eq!(signed.checkpoint().origin(), ORIGIN);
            let expected = log.sign(signed.note().text());
            assert!(signed.note().signatures().contains(&expected), "cosigned what the log did not sign");
        }
    }
    if let Some(lines) = parse_cosignatures(data) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        assert_eq!(text.as_bytes(), data);
    }
    if let Some(size) = parse_size(data) {
        assert_eq!(format!("{size}\n").as_bytes(), data);
    }
    succession(data);
}

/// Puts bytes into a good successor: it is refused, or still says what was signed.
fn succession(data: &[u8]) {
    let [at, replaced, patch @ ..] = data else { return };
    let root = NoteSigner::from_seed("fuzz.test/root/ann", &[9; 32]).expect("it is a key name");
    let witness = Cosigner::from_seed("fuzz.test/witness", &[8; 32]).expect("it is a key name");
    let policy = format!("witness w {}\nquorum w\n", witness.verifier());
    let first = TrustDocument {
        subject: "fuzz.test".to_owned(),
        version: 1,
        expires: 1_800_000_000,
        threshold: 1,
        roots: vec![root.verifier().clone()],
        policy: drystone_schemas::Sha256Digest::of(policy.as_bytes()),
        max_age_s: 3_600,
        final_logs: Vec::new(),
    };
    let next = TrustDocument { version: 2, ..first.clone() };
    let mut signed = SignedTrust::new(next.clone()).expect("it is a document");
    signed.sign(&root, None).expect("it is a root");
    let mut bytes = signed.to_bytes();
    let start = (usize::from(*at) * 2).min(bytes.len());
    let end = (start + usize::from(*replaced)).min(bytes.len());
    bytes.splice(start..end, patch.iter().copied());
    if let Ok(forged) = SignedTrust::parse(&bytes)
        && let Ok(believed) = forged.succeed(&first)
    {
        assert_eq!(*believed, next, "a signature counts for another document");
    }
}
