//! Cases about races, each between eight tasks.

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::{Finding, Suite, holds, same, text};
use crate::{Key, Meta, Outcome, Replace};

const RACERS: usize = 8;

pub(super) async fn create(suite: &Suite) -> Finding {
    for round in 0..3 {
        let name = format!("race/create/{round}");
        let racers = (0..RACERS).map(|racer| {
            let (suite, name) = (suite.clone(), name.clone());
            tokio::spawn(async move {
                // Larger than a page, so that a torn write would show.
                let object = suite.object(&name, racer.to_string().repeat(20_000))?;
                suite.area.put_new(&object).await.map_err(text)
            })
        });
        let outcomes = try_join_all(racers).await.map_err(text)?;
        let outcomes = outcomes.into_iter().collect::<Result<Vec<Outcome>, String>>()?;
        let winners: Vec<usize> =
            (0..RACERS).filter(|racer| outcomes[*racer] != Outcome::AlreadyThereDifferent).collect();
        same("winners", &winners.len(), &1)?;
        let stored =
            suite.area.get(&suite.key(&name)?, 100_000).await.map_err(text)?.ok_or("nothing stored")?;
        holds(stored == winners[0].to_string().repeat(20_000), "what is stored is not the winner's")?;
    }
    Ok(())
}

pub(super) async fn counter(suite: &Suite) -> Finding {
    let key = suite.key("race/counter")?;
    let racers = (0..RACERS).map(|racer| {
        let (suite, key) = (suite.clone(), key.clone());
        tokio::spawn(async move { count(&suite, &key, racer).await })
    });
    for counted in try_join_all(racers).await.map_err(text)? {
        counted?;
    }
    let expected = vec![suite.increments; RACERS];
    same("increments", &load(suite, &key).await?.0, &expected)
}

/// Increments the racer's own place `increments` times, whatever the others do.
async fn count(suite: &Suite, key: &Key, racer: usize) -> Finding {
    loop {
        let (mut places, tag) = load(suite, key).await?;
        if places[racer] == suite.increments {
            return Ok(());
        }
        let before = places[racer];
        places[racer] += 1;
        let text_of_places: Vec<String> = places.iter().map(u32::to_string).collect();
        let bytes = Bytes::from(text_of_places.join(" "));
        match suite.area.replace(key, tag.as_ref(), bytes, Meta::PRIVATE).await.map_err(text)? {
            Replace::Replaced(_) => {
                let (now, _) = load(suite, key).await?;
                holds(now[racer] > before, "an update that was answered with success is lost")?;
            }
            // Nobody else writes this place, so reading again tells.
            Replace::Conflict | Replace::Unknown(_) => {}
        }
    }
}

async fn load(suite: &Suite, key: &Key) -> Result<(Vec<u32>, Option<crate::Tag>), String> {
    let Some(read) = suite.area.read(key, 1_000).await.map_err(text)? else {
        return Ok((vec![0; RACERS], None));
    };
    let places = String::from_utf8(read.bytes.to_vec()).map_err(text)?;
    let places: Result<Vec<u32>, _> = places.split(' ').map(str::parse).collect();
    Ok((places.map_err(text)?, Some(read.tag)))
}
