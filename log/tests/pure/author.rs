//! Signatures of authors: what they are over, whose they are, and whether they are enough.

use std::collections::BTreeSet;

use drystone_log::{
    AuthorError, AuthorSecret, AuthorStatement,
    author::{NotASecret, satisfies},
};
use drystone_schemas::{
    AuthorKey, AuthorKeys, AuthorSignature, AuthorSignatures, PackageName, RegisteredKey, Sha256Digest,
    SigningRule, Version,
};

fn secret(number: u8) -> AuthorSecret {
    AuthorSecret::from_seed(&[number; 32])
}

/// The parts of a statement: origin, name, version, and what the archive holds.
type Parts = (&'static str, &'static str, &'static str, &'static [u8]);

const GOOD: Parts = ("registry.example/log/1", "Acme/Http_x", "1.2.3-rc.1", b"archive");

/// Does something with a statement of these parts.
fn with<T>((origin, name, vers, archive): Parts, then: impl FnOnce(&AuthorStatement<'_>) -> T) -> T {
    let (name, vers) = (PackageName::new(name).unwrap(), Version::new(vers).unwrap());
    then(&AuthorStatement { origin, name: &name, vers: &vers, tarball: Sha256Digest::of(archive) })
}

fn sign(author: &AuthorSecret, parts: Parts) -> AuthorSignature {
    with(parts, |statement| author.sign(statement))
}

#[test]
fn a_signature_is_over_all_parts_of_the_statement() {
    let ann = secret(1);
    let signature = sign(&ann, GOOD);
    let good = |parts| with(parts, |statement| statement.is_signed(&ann.public(), &signature));
    let (origin, name, vers, archive) = GOOD;
    assert!(good(GOOD));
    assert!(good((origin, "acme/http-x", vers, archive)), "a name is signed as it is compared");
    assert!(!good(("registry.example/log/2", name, vers, archive)));
    assert!(!good((origin, "acme/http", vers, archive)));
    assert!(!good((origin, name, "1.2.3", archive)));
    assert!(!good((origin, name, vers, b"another")));
    with(GOOD, |statement| {
        assert!(!statement.is_signed(&secret(2).public(), &signature), "another key");
        for at in 0..64 {
            let mut bytes = signature.bytes();
            bytes[at] ^= 1 << (at % 8);
            assert!(!statement.is_signed(&ann.public(), &AuthorSignature::of_bytes(&bytes)), "byte {at}");
        }
    });
}

/// Ed25519 signatures are fixed by key and text, so that this is a vector for other implementations.
#[test]
fn the_text_is_the_one_that_is_documented() {
    let text = format!(
        "drystone.author/v1\nregistry.example/log/1\nacme/http-x\n1.2.3-rc.1\n{}\n",
        Sha256Digest::of(b"archive")
    );
    assert!(text.contains("\nsha256:"), "{text}");
    let key = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
    let signature = ed25519_dalek::Signer::sign(&key, text.as_bytes()).to_bytes();
    assert_eq!(sign(&secret(1), GOOD), AuthorSignature::of_bytes(&signature));
}

#[test]
fn a_key_of_small_order_signs_nothing() {
    // With the neutral element as key and as nonce, and 0 as answer, a lax check accepts any text.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut forged = [0; 64];
    forged[0] = 1;
    let (key, signature) = (AuthorKey::ed25519(&neutral), AuthorSignature::of_bytes(&forged));
    assert!(!with(GOOD, |statement| statement.is_signed(&key, &signature)));
    let nowhere = AuthorKey::ed25519(&[2; 32]);
    assert!(!with(GOOD, |statement| statement.is_signed(&nowhere, &signature)), "no point of the curve");
}

#[test]
fn only_registered_keys_have_signed_and_one_bad_signature_spoils_all() {
    let (ann, ben) = (secret(1), secret(2));
    let registered =
        |author: &AuthorSecret, removed| RegisteredKey { key: author.public(), added: 5, removed };
    let keys = AuthorKeys { keys: vec![registered(&ann, Some(9)), registered(&ben, None)], rules: vec![] };
    let both = AuthorSignatures::from([(ann.public(), sign(&ann, GOOD)), (ben.public(), sign(&ben, GOOD))]);
    let signers = |signatures: &AuthorSignatures, keys: Option<&AuthorKeys>, seq| {
        with(GOOD, |statement| statement.signers(signatures, keys, seq))
    };
    let unknown = |author: &AuthorSecret| Err(AuthorError::UnknownKey { key: author.public() });
    let all = BTreeSet::from([ann.public(), ben.public()]);
    for seq in [6, 9] {
        assert_eq!(signers(&both, Some(&keys), seq), Ok(all.clone()), "{seq}");
    }
    assert_eq!(
        signers(&both, Some(&keys), 5),
        unknown(both_first(&ann, &ben)),
        "not before its registration"
    );
    assert_eq!(signers(&both, Some(&keys), 10), unknown(&ann), "not after its revocation");
    assert_eq!(signers(&both, None, 6), unknown(both_first(&ann, &ben)));
    assert_eq!(signers(&AuthorSignatures::new(), None, 6), Ok(BTreeSet::new()));
    let mut spoilt = both;
    spoilt.insert(ben.public(), sign(&ann, GOOD));
    assert_eq!(signers(&spoilt, Some(&keys), 6), Err(AuthorError::BadSignature { key: ben.public() }));
}

/// The one whose key is looked at first.
fn both_first<'a>(one: &'a AuthorSecret, other: &'a AuthorSecret) -> &'a AuthorSecret {
    if one.public() < other.public() { one } else { other }
}

#[test]
fn a_rule_counts_the_keys_that_it_names() {
    let [one, two, three] = [1, 2, 3].map(|number| secret(number).public());
    let rule = |threshold| SigningRule {
        seq: 7,
        time: 0,
        threshold,
        keys: [one.clone(), two.clone()].into(),
        lock_hours: 24,
        exception: None,
    };
    let check = |threshold, signers: &[&AuthorKey]| {
        satisfies(&rule(threshold), &signers.iter().map(|key| (*key).clone()).collect())
    };
    let too_few = |signed, threshold| Err(AuthorError::TooFew { signed, threshold, rule: 7 });
    assert_eq!(check(0, &[]), Ok(()));
    assert_eq!(check(1, &[]), too_few(0, 1));
    assert_eq!(check(1, &[&three]), too_few(0, 1), "a key that the rule does not name");
    assert_eq!(check(1, &[&two, &three]), Ok(()));
    assert_eq!(check(2, &[&two, &three]), too_few(1, 2));
    assert_eq!(check(2, &[&one, &two]), Ok(()));
}

#[test]
fn a_secret_is_written_and_read_and_does_not_print() {
    let ann = secret(1);
    let text = ann.expose();
    assert_eq!(text, format!("drystone-author-secret:ed25519:{}", "01".repeat(32)));
    for good in [text.clone(), format!(" {text}\n")] {
        assert_eq!(AuthorSecret::parse(&good).unwrap().public(), ann.public());
    }
    for bad in
        ["", "ed25519:", &text[1..], &text[..text.len() - 1], &format!("{text}0"), &text.replace("01", "0g")]
    {
        assert_eq!(AuthorSecret::parse(bad).map(|secret| secret.public()), Err(NotASecret), "{bad}");
    }
    let shown = format!("{ann:?}");
    assert!(shown.contains(ann.public().as_str()) && !shown.contains(&"01".repeat(32)), "{shown}");
}
