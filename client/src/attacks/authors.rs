//! Attacks by whoever may publish, up to the registry itself, on packages whose authors sign: the log is in order in all of
//! them, and the registry has taken the release.

use std::time::Duration;

use drystone_log::{AuthorSecret, AuthorStatement};
use drystone_schemas::{
    AuthorKeys, AuthorSignatures, IndexLine, LOCK_HOURS_DEFAULT, RegisteredKey, Sha256Digest, SigningRule,
    Version,
};

use super::{
    Belief, Client, disproved,
    fake::{Fake, ORIGIN, World, archive},
    name, versions_of,
};
use crate::{ClientError, VerificationError, defences::Defence, plan};

const DAY_S: u64 = 24 * 3_600;

fn ann() -> AuthorSecret {
    AuthorSecret::from_seed(&[1; 32])
}

/// Ann's signature over a release of `a`.
fn signed_by(author: &AuthorSecret, version: &str) -> AuthorSignatures {
    let (name, vers) = (name("a"), Version::new(version).unwrap());
    let tarball = Sha256Digest::of(&archive("a", version));
    let statement = AuthorStatement { origin: ORIGIN, name: &name, vers: &vers, tarball };
    AuthorSignatures::from([(author.public(), author.sign(&statement))])
}

fn rule(seq: u64, time: u64, threshold: u32) -> SigningRule {
    let keys = if threshold == 0 { Default::default() } else { [ann().public()].into() };
    SigningRule { seq, time, threshold, keys, lock_hours: LOCK_HOURS_DEFAULT, exception: None }
}

/// A registry with an unsigned release, then a rule that Ann must sign, and a signed release.
async fn ruled() -> Fake {
    let mut fake = Fake::start().await;
    fake.world.publish("a", "1.0.0", &[]);
    fake.world.author_keys("a", |authors, seq| {
        authors.keys.push(RegisteredKey { key: ann().public(), added: seq, removed: None });
    });
    let time = fake.world.time_s;
    fake.world.author_keys("a", |authors, seq| authors.rules.push(rule(seq, time, 1)));
    fake.world.publish_signed("a", "1.1.0", signed_by(&ann(), "1.1.0"));
    fake
}

/// Lifts the rule, with or without an exception.
fn lift(world: &mut World, exception: Option<Sha256Digest>) {
    let time = world.time_s;
    world.author_keys("a", |authors, seq| {
        authors.rules.push(SigningRule { exception, ..rule(seq, time, 0) });
    });
}

/// Lets time pass for the registry and for clients.
fn pass(fake: &mut Fake, seconds: u64) {
    fake.world.time_s += seconds;
    fake.clock.pass(Duration::from_secs(seconds));
}

async fn newest(client: &Client) -> Belief {
    Ok(versions_of(&client.lock(&["a"]).await?))
}

fn is_about_authors(error: &VerificationError, says: &str) {
    assert!(matches!(error, VerificationError::Authors { .. }), "{error}");
    assert!(error.to_string().contains(says), "{error}");
}

#[tokio::test]
async fn what_the_authors_signed_is_believed_and_what_was_before_the_rule_too() {
    let fake = ruled().await;
    let client = Client::new(&fake, None);
    assert_eq!(newest(&client).await.unwrap(), "1.1.0");
    let snapshot = client.look().await.unwrap();
    let index = snapshot.index(&name("a")).await.unwrap().unwrap().file;
    let before = snapshot.check_authors(&index.lines[0]).await.unwrap();
    assert_eq!((before.signers.len(), before.rule), (0, None));
    let signed = snapshot.check_authors(&index.lines[1]).await.unwrap();
    assert_eq!((signed.signers.len(), signed.rule.unwrap().threshold), (1, 1));
    // Keys and rules are shown as they are; that a package has none is proved.
    let keys = snapshot.author_keys(&name("a")).await.unwrap().unwrap();
    assert_eq!((keys.keys.len(), keys.rules.len(), &keys.keys[0].key), (1, 1, &ann().public()));
    assert_eq!(snapshot.author_keys(&name("nothing")).await.unwrap(), None);
    // What was proved once is not asked for again, also after a yank.
    let mut fake = fake;
    fake.world.edit("a", |line| {
        line.yanked = line.vers.to_string() == "1.0.0";
        line.yank_reason = Some(Sha256Digest::of(b"a better one is there"));
    });
    fake.world.heartbeat();
    client.again().look().await.unwrap();
    fake.world.take_seen();
    let again = client.again();
    assert_eq!(newest(&again).await.unwrap(), "1.1.0");
    let asked = fake.world.take_seen();
    assert!(asked.iter().all(|seen| !seen.line.contains("log/tile")), "no entry is read a second time");
}

#[tokio::test]
async fn unsigned_release_by_a_stolen_token_or_by_the_registry() {
    let attack = async |down| {
        let mut fake = ruled().await;
        fake.world.publish("a", "6.6.6", &[]);
        newest(&Client::new(&fake, down)).await
    };
    let error = disproved(Defence::AuthorRule, attack, "6.6.6").await;
    is_about_authors(&error, "0 of its authors' keys have signed");
}

#[tokio::test]
async fn unsigned_release_in_a_lock_file_from_elsewhere() {
    let attack = async |down| {
        let mut fake = ruled().await;
        fake.world.publish("a", "6.6.6", &[]);
        let lock = Client::new(&fake, Some(Defence::AuthorRule)).lock(&["a"]).await?;
        let client = Client::new(&fake, down);
        let packages: Vec<_> = lock.packages.values().collect();
        plan::check_lock(&client.look().await?, &lock, &packages).await?;
        Ok(versions_of(&lock))
    };
    disproved(Defence::AuthorRule, attack, "6.6.6").await;
}

#[tokio::test]
async fn signature_of_another_release_and_of_another_key() {
    let mallory = || AuthorSecret::from_seed(&[6; 32]);
    let under_anns_name = || {
        let (_, signature) = signed_by(&mallory(), "6.6.6").pop_first().unwrap();
        AuthorSignatures::from([(ann().public(), signature)])
    };
    let forgeries: [(&str, AuthorSignatures); 2] =
        [("not over this release", signed_by(&ann(), "1.1.0")), ("not over this release", under_anns_name())];
    for (says, forged) in forgeries {
        let attack = async |down| {
            let mut fake = ruled().await;
            fake.world.publish_signed("a", "6.6.6", forged.clone());
            newest(&Client::new(&fake, down)).await
        };
        is_about_authors(&disproved(Defence::AuthorSignature, attack, "6.6.6").await, says);
    }
}

#[tokio::test]
async fn signature_of_a_key_that_was_stolen_and_revoked() {
    let attack = async |down| {
        let mut fake = ruled().await;
        fake.world.author_keys("a", |authors, seq| authors.keys[0].removed = Some(seq));
        fake.world.publish_signed("a", "6.6.6", signed_by(&ann(), "6.6.6"));
        newest(&Client::new(&fake, down)).await
    };
    let error = disproved(Defence::AuthorSignature, attack, "6.6.6").await;
    is_about_authors(&error, "was not registered for this package then");
}

#[tokio::test]
async fn rule_that_is_lifted_just_before_an_unsigned_release() {
    let attack = async |down| {
        let mut fake = ruled().await;
        lift(&mut fake.world, None);
        pass(&mut fake, DAY_S - 1);
        fake.world.publish("a", "6.6.6", &[]);
        newest(&Client::new(&fake, down)).await
    };
    let error = disproved(Defence::TimeLock, attack, "6.6.6").await;
    is_about_authors(&error, "was not in force before 2025-10-10T08:53:20Z");

    // Whoever waits has given everybody a day to notice.
    let mut fake = ruled().await;
    lift(&mut fake.world, None);
    pass(&mut fake, DAY_S);
    fake.world.publish("a", "2.0.0", &[]);
    assert_eq!(newest(&Client::new(&fake, None)).await.unwrap(), "2.0.0");
}

#[tokio::test]
async fn exception_of_the_operator_does_not_shorten_the_time_to_notice() {
    let excepted = async || {
        let mut fake = ruled().await;
        lift(&mut fake.world, Some(Sha256Digest::of(b"the key burned")));
        fake.world.publish("a", "6.6.6", &[]);
        fake
    };
    let attack = async |down| newest(&Client::new(&excepted().await, down)).await;
    let error = disproved(Defence::TimeLock, attack, "6.6.6").await;
    is_about_authors(&error, "counts here from 2025-10-10T08:53:20Z on");

    let mut fake = excepted().await;
    pass(&mut fake, DAY_S);
    assert_eq!(newest(&Client::new(&fake, None)).await.unwrap(), "6.6.6");
}

#[tokio::test]
async fn time_lock_that_is_skipped_by_an_event_of_the_future() {
    let attack = async |down| {
        let mut fake = ruled().await;
        lift(&mut fake.world, None);
        // The registry says what time it is; the client has a clock of its own.
        fake.world.time_s += DAY_S;
        fake.world.publish("a", "6.6.6", &[]);
        newest(&Client::new(&fake, down)).await
    };
    let error = disproved(Defence::EventTime, attack, "6.6.6").await;
    is_about_authors(&error, "which is yet to come");
}

#[tokio::test]
async fn rules_that_are_forgotten() {
    let forgettings: [fn(&mut AuthorKeys); 2] =
        [|authors| authors.rules.clear(), |authors| authors.rules[0].threshold = 0];
    for forget in forgettings {
        let attack = async |down| {
            let mut fake = ruled().await;
            let client = Client::new(&fake, down);
            assert_eq!(newest(&client).await?, "1.1.0");
            fake.world.author_keys("a", |authors, _| forget(authors));
            fake.world.publish("a", "6.6.6", &[]);
            newest(&client.again()).await
        };
        is_about_authors(&disproved(Defence::SeenAuthors, attack, "6.6.6").await, "no continuation");
    }
}

#[tokio::test]
async fn rules_that_were_seen_last_are_those_that_go_on() {
    let bob = || AuthorSecret::from_seed(&[2; 32]).public();
    let mut fake = ruled().await;
    let client = Client::new(&fake, None);
    assert_eq!(newest(&client).await.unwrap(), "1.1.0");
    // Another key is registered, seen, and forgotten: what was seen first would go on so.
    fake.world.author_keys("a", |authors, seq| {
        authors.keys.push(RegisteredKey { key: bob(), added: seq, removed: None });
    });
    assert_eq!(newest(&client.again()).await.unwrap(), "1.1.0");
    fake.world.author_keys("a", |authors, _| drop(authors.keys.pop()));
    let error = newest(&client.again()).await.unwrap_err();
    assert!(error.to_string().contains("no continuation"), "{error}");
}

#[tokio::test]
async fn release_that_the_index_dates_before_the_rule() {
    let attack = async |down| {
        let mut fake = ruled().await;
        fake.world.publish("a", "6.6.6", &[]);
        let backdate = |line: &mut IndexLine| {
            if line.vers.to_string() == "6.6.6" {
                // Where the log has the first release.
                line.published = 1;
            }
        };
        fake.world.edit("a", backdate);
        newest(&Client::new(&fake, down)).await
    };
    let error = disproved(Defence::ReleaseEvent, attack, "6.6.6").await;
    assert!(error.to_string().contains("event 1 does not publish"), "{error}");
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let mut fake = ruled().await;
    fake.world.publish("a", "6.6.6", &[]);
    let error: ClientError = newest(&Client::new(&fake, None)).await.unwrap_err();
    let problem = &error.problems()[0];
    assert_eq!(problem.code.exit_code(), 5);
    assert!(problem.hint.contains("ask its authors"), "{}", problem.hint);
}
