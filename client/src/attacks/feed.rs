//! The feed against a registry: which events are asked for, and when it begins anew.

use std::collections::BTreeSet;

use drystone_log::{Checkpoint, tile::TILE_WIDTH};
use drystone_schemas::{FileClass, layout};

use super::{
    Client,
    fake::{Fake, ORIGIN},
    name,
};
use crate::{ClientError, feed::Feed};

/// What a client remembers that has looked at the log at this size.
async fn at(size: u64) -> (Fake, Client) {
    let mut fake = Fake::start().await;
    fake.world.heartbeats(size - 1);
    let client = Client::new(&fake, None);
    client.look().await.unwrap();
    (fake, client)
}

fn checkpoint(fake: &Fake) -> Checkpoint {
    Checkpoint::new(ORIGIN, fake.world.size(), fake.world.root_at(fake.world.size())).unwrap()
}

fn recall(client: &Client) -> Feed {
    Feed::recall(&client.registry, ORIGIN).unwrap()
}

/// Catches up with what the log is now; the size that it leads to, if it does.
async fn catch_up(fake: &Fake, client: &Client) -> Result<Option<u64>, ClientError> {
    let caught = recall(client).catch_up(&client.registry, &checkpoint(fake), b"unused").await?;
    Ok(caught.map(|feed| feed.unwrap().size()))
}

#[tokio::test]
async fn a_feed_counts_for_its_own_log() {
    let (_, client) = at(3).await;
    assert_eq!(recall(&client).size(), 3);
    assert_eq!(Feed::recall(&client.registry, "another.example/log"), None);
}

#[tokio::test]
async fn every_event_in_between_is_read_whichever_bundles_it_lies_in() {
    let width = u64::from(TILE_WIDTH);
    // From within a bundle to within it, to its end, and over it; from the end of one; over a whole one.
    for (from, to) in [(2, 9), (2, width), (2, width + 44), (width, width + 3), (width - 1, 2 * width + 1)] {
        let (mut fake, client) = at(from).await;
        fake.world.heartbeats(to - from);
        fake.world.take_seen();
        assert_eq!(catch_up(&fake, &client).await.unwrap(), Some(to), "{from} to {to}");
        let asked: BTreeSet<String> = fake.world.take_seen().into_iter().map(|seen| seen.line).collect();
        let bundles = (from / width..=(to - 1) / width).map(|index| match (to - index * width).min(width) {
            256 => format!("GET /log/tile/entries/{index:03}"),
            count => format!("GET /log/tile/entries/{index:03}.p/{count}"),
        });
        assert_eq!(asked, bundles.collect(), "{from} to {to}");
    }
}

#[tokio::test]
async fn a_feed_begins_anew_where_that_is_cheaper_or_events_are_not_served() {
    let most = 16 * u64::from(TILE_WIDTH);
    let (mut fake, client) = at(2).await;
    assert_eq!(catch_up(&fake, &client).await.unwrap(), Some(2), "nothing has happened");
    fake.world.heartbeats(most);
    assert_eq!(catch_up(&fake, &client).await.unwrap(), Some(2 + most));
    fake.world.heartbeat();
    assert_eq!(catch_up(&fake, &client).await.unwrap(), None);

    let (mut fake, client) = at(2).await;
    fake.world.heartbeats(5);
    fake.world.forget("log/tile/entries/000.p/7");
    assert_eq!(catch_up(&fake, &client).await.unwrap(), None);
}

#[tokio::test]
async fn a_file_that_is_longer_than_it_may_be_is_not_asked_for() {
    let mut fake = Fake::start().await;
    fake.world.publish("a", "1.0.0", &[]);
    let client = Client::new(&fake, None);
    let snapshot = client.look().await.unwrap();
    let by_name = layout::index_file(&name("a"));
    let len = fake.world.file(&by_name).len() as u64;
    for (bytes_max, fits) in [(len, true), (len - 1, false), (len / 2, false), (len + 1, true)] {
        let read = snapshot.file("a", FileClass::Index, &by_name, "the index", bytes_max).await;
        let too_big = matches!(read, Err(ClientError::TooBig { .. }));
        assert_eq!((read.is_ok(), too_big), (fits, !fits), "{bytes_max}");
    }
}
