//! Policies: what is read, and which cosignatures make a quorum.

use drystone_log::note::{Algorithm, KeyError};
use drystone_log::policy::{POLICY_BYTES_MAX, POLICY_LINES_MAX, PolicyProblem};
use drystone_log::{
    Checkpoint, CheckpointError, Cosigner, NoteError, NoteSigner, Policy, Quorum, VerifierKey, leaf_hash,
};
use proptest::prelude::*;

const ORIGIN: &str = "registry.example/log";

fn log_signer() -> NoteSigner {
    NoteSigner::from_seed(ORIGIN, &[1; 32]).unwrap()
}

fn witness(number: u8) -> Cosigner {
    Cosigner::from_seed(&format!("witness{number}.example/w"), &[100 + number; 32]).unwrap()
}

/// The lines of witnesses `W0`, `W1`, ...
fn witness_lines(count: u8) -> String {
    (0..count).map(|number| format!("witness W{number} {}\n", witness(number).verifier())).collect()
}

fn policy(lines: &str) -> Policy {
    Policy::parse(lines.as_bytes()).unwrap()
}

/// The names of the witnesses that have signed, as bits.
fn met(policy: &Policy, signed: u32) -> bool {
    policy.is_met(|witness| signed & 1 << witness.name[1..].parse::<u32>().unwrap() != 0)
}

#[test]
fn the_example_of_the_specification_is_evaluated() {
    let lines = format!(
        "log {}\n\n{}group X-witnesses 2 W0 W1 W2\n\ngroup Y-witnesses any W3 W4 W5\n\n\
         group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n",
        log_signer().verifier(),
        witness_lines(6)
    );
    let policy = policy(&lines);
    assert_eq!((policy.logs().len(), policy.witnesses().len()), (1, 6));
    for signed in 0u32..64 {
        let (x, y) = ((signed & 7).count_ones(), (signed >> 3).count_ones());
        assert_eq!(met(&policy, signed), x >= 2 && y >= 1, "{signed:06b}");
    }
}

#[test]
fn white_space_comments_and_urls_are_read_as_the_specification_says() {
    let (log, key) = (log_signer().verifier().to_string(), witness(1).verifier().to_string());
    let lines = format!(
        "  # a comment \u{e9}\n\n \t\n\tlog  {log}\t https://registry.example/log \nwitness \u{212a} {key} https://w.example\n quorum\t\u{212a}  \n#"
    );
    assert!(Policy::parse(lines.as_bytes()).is_err(), "the last line does not end");
    let read = policy(&format!("{lines}\n"));
    assert_eq!(read.logs()[0].url.as_deref(), Some("https://registry.example/log"));
    assert_eq!(read.witnesses()[0].url.as_deref(), Some("https://w.example"));
    assert!(read.asks_for_cosignatures());
    // A comment may have bytes that are no text.
    let strange = [b"#\xff\n", format!("{lines}\n").as_bytes()].concat();
    assert_eq!(Policy::parse(&strange), Ok(read));
    assert!(!policy("quorum none\n").asks_for_cosignatures());
}

#[test]
fn wrong_lines_are_named() {
    use PolicyProblem as P;
    let (w0, log) = (witness_lines(1), format!("log {}\n", log_signer().verifier()));
    let all = witness_lines(3);
    let w0_key = witness(0).verifier().to_string();
    let renamed = Cosigner::from_seed("other.example", &[100; 32]).unwrap().verifier().to_string();
    let name = |name: &str| name.to_owned();
    for (lines, line, problem) in [
        (String::new(), 1, P::NotOneQuorum),
        (name("quorum none"), 1, P::BadFile),
        (w0.clone(), 2, P::NotOneQuorum),
        (name("quorum none\nquorum none\n"), 2, P::NotOneQuorum),
        (name("quorum W0\n"), 1, P::Undefined(name("W0"))),
        (format!("quorum W0\n{w0}"), 1, P::Undefined(name("W0"))),
        (name("quorum none \u{7f}\n"), 1, P::BadCharacter),
        (name("quorum none\r\n"), 1, P::BadCharacter),
        (name("quorum none none\n"), 1, P::Malformed),
        (name("Quorum none\n"), 1, P::Malformed),
        (name("witness none\n"), 1, P::Malformed),
        (format!("witness none {w0_key}\n"), 1, P::BadName(name("none"))),
        (format!("{w0}witness W0 {}\n", witness(1).verifier()), 2, P::BadName(name("W0"))),
        (format!("{w0}witness W1 {w0_key}\n"), 2, P::DuplicateKey),
        (format!("{w0}witness W1 {renamed}\n"), 2, P::DuplicateKey),
        (format!("{log}{log}"), 2, P::DuplicateKey),
        (format!("log {w0_key}\n"), 1, P::WrongAlgorithm(0x04)),
        (format!("witness L {}\n", log_signer().verifier()), 1, P::WrongAlgorithm(0x01)),
        (name("log a+b\n"), 1, P::Key(KeyError::Malformed)),
        (format!("{w0}group G all\n"), 2, P::Malformed),
        (format!("{all}group G 0 W0\n"), 4, P::BadThreshold(name("0"))),
        (format!("{all}group G 3 W0 W1\n"), 4, P::BadThreshold(name("3"))),
        (format!("{all}group G 01 W0 W1\n"), 4, P::BadThreshold(name("01"))),
        (format!("{all}group G most W0 W1\n"), 4, P::BadThreshold(name("most"))),
        (format!("{all}group G all W0 W0\n"), 4, P::UsedTwice(name("W0"))),
        (format!("{all}group G all W0\ngroup H all W0 W1\n"), 5, P::UsedTwice(name("W0"))),
        (format!("{all}group G all W0\ngroup H all G\ngroup I all G\n"), 6, P::UsedTwice(name("G"))),
        (format!("{all}group G all G\n"), 4, P::Undefined(name("G"))),
        (format!("{all}group G all none\n"), 4, P::Undefined(name("none"))),
        (format!("{all}group W1 all W0\n"), 4, P::BadName(name("W1"))),
    ] {
        let refused = Policy::parse(lines.as_bytes()).unwrap_err();
        assert_eq!((refused.line, refused.problem), (line, problem), "{lines}");
    }
    assert_eq!(Policy::parse(b"\xff\n").unwrap_err().problem, P::BadCharacter);
    assert_eq!(Policy::parse(&vec![b'\n'; 65_537]).unwrap_err().problem, P::BadFile);
}

#[test]
fn as_many_lines_are_read_as_the_specification_recommends_and_no_more_than_the_limit() {
    let lines = |count: usize| {
        let each = |number: usize| {
            let key = Cosigner::from_seed(&format!("w{number}.example"), &[number as u8; 32]).unwrap();
            let log = NoteSigner::from_seed(&format!("l{number}.example"), &[number as u8; 32]).unwrap();
            format!(
                "log {}\nwitness W{number} {}\ngroup G{number} all W{number}\n",
                log.verifier(),
                key.verifier()
            )
        };
        (0..count).map(each).collect::<String>() + "quorum none\n"
    };
    assert_eq!(policy(&lines(POLICY_LINES_MAX)).logs().len(), POLICY_LINES_MAX);
    let refused = Policy::parse(lines(POLICY_LINES_MAX + 1).as_bytes()).unwrap_err();
    assert_eq!(refused.problem, PolicyProblem::TooMany);
    const { assert!(POLICY_LINES_MAX >= 32) };
    let fits = format!("#{}\nquorum none\n", "x".repeat(POLICY_BYTES_MAX - 14));
    assert_eq!(fits.len(), POLICY_BYTES_MAX);
    assert!(Policy::parse(fits.as_bytes()).is_ok());
    let refused = Policy::parse(format!("#{fits}").as_bytes()).unwrap_err();
    assert_eq!(refused.problem, PolicyProblem::BadFile);
}

#[test]
fn keys_of_the_future_are_kept_and_do_not_count() {
    let key = VerifierKey::new("pq.example/w", Algorithm::from_byte(0x06), &[9; 1312]).unwrap();
    let lines = format!("witness PQ {key}\n{}group G any PQ W0\nquorum G\n", witness_lines(1));
    let policy = policy(&lines);
    let mut signed = Checkpoint::new(ORIGIN, 7, leaf_hash(b"")).unwrap().sign(&log_signer());
    let line =
        drystone_log::note::NoteSignature::new(key.name().to_owned(), key.id(), vec![0; 2428]).unwrap();
    signed.note_mut().add(line).unwrap();
    assert_eq!(policy.quorum(signed.note(), u64::MAX), Ok(Quorum::Missing));
    let text = signed.note().text().to_owned();
    signed.note_mut().add(witness(0).sign(&text, 17)).unwrap();
    assert_eq!(policy.quorum(signed.note(), u64::MAX), Ok(Quorum::At(17)));
}

#[test]
fn a_checkpoint_is_opened_with_the_keys_of_its_origin_only() {
    let other = NoteSigner::from_seed(ORIGIN, &[2; 32]).unwrap();
    let stranger = NoteSigner::from_seed("stranger.example/log", &[3; 32]).unwrap();
    let lines =
        [&log_signer(), &other, &stranger].map(|signer| format!("log {}\n", signer.verifier())).concat();
    let policy = policy(&(lines + "quorum none\n"));
    let checkpoint = Checkpoint::new(ORIGIN, 7, leaf_hash(b"")).unwrap();
    for signer in [log_signer(), other] {
        assert!(policy.open(&checkpoint.sign(&signer).to_bytes(), ORIGIN).is_ok());
    }
    let by_stranger = checkpoint.sign(&stranger).to_bytes();
    for origin in [ORIGIN, "nobody.example/log"] {
        let refused = policy.open(&by_stranger, origin);
        assert_eq!(refused, Err(CheckpointError::Note(NoteError::NotSignedByKnownKey)));
    }
    assert!(matches!(
        policy.open(&by_stranger, "stranger.example/log"),
        Err(CheckpointError::WrongOrigin { .. })
    ));
}

#[test]
fn a_wrong_cosignature_spoils_the_note_and_none_says_nothing_of_time() {
    let lines = format!("{}quorum W0\n", witness_lines(1));
    let mut signed = Checkpoint::new(ORIGIN, 7, leaf_hash(b"")).unwrap().sign(&log_signer());
    signed.note_mut().add(witness(0).sign("another text\n", 17)).unwrap();
    assert!(matches!(policy(&lines).quorum(signed.note(), u64::MAX), Err(NoteError::WrongSignature { .. })));
    assert_eq!(policy("quorum none\n").quorum(signed.note(), u64::MAX), Ok(Quorum::NotAsked));
}

/// The moment of the quorum by its definition: the latest at or after which enough have signed.
fn latest_by_definition(threshold: usize, times: &[Option<u64>], not_after: u64) -> Option<u64> {
    (0..=not_after).rev().find(|since| {
        let late = |time: &&Option<u64>| time.is_some_and(|time| time >= *since && time <= not_after);
        times.iter().filter(late).count() >= threshold
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_time_of_a_quorum_is_the_latest_that_enough_attest(
        times in proptest::collection::vec(proptest::option::of(1u64..30), 1..6),
        threshold in 1usize..6,
        not_after in 1u64..30,
    ) {
        let threshold = threshold.min(times.len());
        let names: String = (0..times.len()).map(|number| format!(" W{number}")).collect();
        let lines = format!("{}group G {threshold}{names}\nquorum G\n", witness_lines(times.len() as u8));
        let mut signed = Checkpoint::new(ORIGIN, 7, leaf_hash(b"")).unwrap().sign(&log_signer());
        let text = signed.note().text().to_owned();
        for (number, time) in (0u8..).zip(&times) {
            if let Some(time) = time {
                signed.note_mut().add(witness(number).sign(&text, *time)).unwrap();
            }
        }
        let expected = latest_by_definition(threshold, &times, not_after).map_or(Quorum::Missing, Quorum::At);
        prop_assert_eq!(policy(&lines).quorum(signed.note(), not_after), Ok(expected));
    }

    #[test]
    fn nothing_that_is_no_policy_panics(lines in "([a-z]{3,7}[ \t]{1,2}[a-z0-9+/=]{0,9}\n){0,5}") {
        drop(Policy::parse(lines.as_bytes()));
    }
}
