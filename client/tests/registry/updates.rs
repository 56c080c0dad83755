//! What is asked of a registry when it has been looked at before: the log says what changed, and only that is fetched.

use drystone_client::{ClientError, Network, Registry, Snapshot, VerificationError};
use drystone_schemas::PackageName;

use crate::fake::Fake;

/// Opens the registry and reads the index of these packages; the number of releases of each, and what was asked.
async fn look(fake: &Fake, names: &[&str]) -> Result<(Vec<usize>, Vec<String>), ClientError> {
    look_by(fake, fake.registry(), names).await
}

async fn look_by(
    fake: &Fake,
    registry: Registry,
    names: &[&str],
) -> Result<(Vec<usize>, Vec<String>), ClientError> {
    fake.world.take_seen();
    let snapshot = Snapshot::open(&registry, &fake.trust()).await?;
    let names: Vec<PackageName> = names.iter().map(|&name| PackageName::new(name).unwrap()).collect();
    snapshot.load(&names.iter().map(PackageName::canonical).collect::<Vec<_>>()).await?;
    let mut releases = Vec::new();
    for name in &names {
        releases.push(snapshot.index(name).await?.map_or(0, |index| index.file.lines.len()));
    }
    let asked = fake.world.take_seen().into_iter().map(|seen| seen.line).collect();
    Ok((releases, asked))
}

#[tokio::test]
async fn a_warm_update_asks_for_the_log_and_for_what_changed() {
    let mut fake = Fake::start().await;
    let names = ["a", "b", "c", "d", "e", "f", "not-there"];
    for name in &names[..6] {
        fake.world.publish(name, "1.0.0", &[]);
    }
    let (releases, cold) = look(&fake, &names).await.unwrap();
    assert_eq!(releases, [1, 1, 1, 1, 1, 1, 0]);
    assert!(cold.len() > 15, "{cold:?}");

    let known = ["GET /config.json", "GET /log/trust/1", "GET /log/latest.tlog-proof"];
    assert_eq!(
        look(&fake, &names).await.unwrap(),
        (vec![1, 1, 1, 1, 1, 1, 0], known.map(str::to_owned).to_vec())
    );

    // One event is told by its own proof; it is about none of these.
    fake.world.publish("else", "1.0.0", &[]);
    assert_eq!(look(&fake, &names).await.unwrap().1, known);

    // Several are read together, and what they name is fetched, a package that is new included.
    fake.world.publish("b", "1.1.0", &[]);
    fake.world.heartbeat();
    fake.world.publish("not-there", "1.0.0", &[]);
    let (releases, asked) = look(&fake, &names).await.unwrap();
    assert_eq!(releases, [1, 2, 1, 1, 1, 1, 1]);
    let bundle = format!("GET /log/tile/entries/000.p/{}", fake.world.size());
    let changed = ["GET /index/1/b".to_owned(), "GET /index/no/t-/not-there".to_owned()];
    assert_eq!(asked, [&known.map(str::to_owned)[..], &[bundle], &changed].concat());

    // Without a network it is known as well, though nothing of the new state map was ever fetched.
    let offline = look_by(&fake, fake.registry_with(Network::Offline, None), &names).await.unwrap();
    assert_eq!(offline, (vec![1, 2, 1, 1, 1, 1, 1], vec![]));

    // A feed that is damaged is begun anew.
    let feed = fake.home().cache();
    let feed = fs_err::read_dir(feed).unwrap().next().unwrap().unwrap().path().join("feed.json.cached");
    fs_err::write(&feed, "{}").unwrap();
    assert_eq!(look(&fake, &names).await.unwrap().0, [1, 2, 1, 1, 1, 1, 1]);
}

#[tokio::test]
async fn events_that_are_not_in_the_log_move_nothing() {
    let mut fake = Fake::start().await;
    fake.world.publish("a", "1.0.0", &[]);
    look(&fake, &["a"]).await.unwrap();
    // The bundle says something else than the tree; tiles and state map lead on, and the truth is found.
    fake.world.publish("a", "1.1.0", &[]);
    fake.world.heartbeat();
    let bundle = format!("log/tile/entries/000.p/{}", fake.world.size());
    let mut forged = fake.world.file(&bundle);
    let at = forged.len() - 100;
    forged[at] ^= 1;
    fake.world.put(&bundle, forged);
    assert_eq!(look(&fake, &["a"]).await.unwrap().0, [2]);

    // A log that does not continue the one seen is told as such, feed or not.
    fake.replace_world(7);
    fake.world.publish("a", "6.6.6", &[]);
    for _ in 0..5 {
        fake.world.heartbeat();
    }
    let error = look(&fake, &["a"]).await.unwrap_err();
    assert!(matches!(error, ClientError::Verification(VerificationError::Fork { .. })), "{error}");
}
