//! Cases about immutable objects.

use std::collections::BTreeSet;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{Finding, Suite, holds, same, text};
use crate::{Body, Key, Meta, NewObject, Outcome, StoreError};

pub(super) async fn create_twice(suite: &Suite) -> Finding {
    let object = suite.object("create/twice", "one")?;
    let put = async |object: &NewObject| suite.area.put_new(object).await.map_err(text);
    same("first", &put(&object).await?, &Outcome::Created)?;
    same("again", &put(&object).await?, &Outcome::AlreadyThereSame)?;
    let other = suite.object("create/twice", "two")?;
    same("other bytes", &put(&other).await?, &Outcome::AlreadyThereDifferent)?;
    let longer = suite.object("create/twice", "one and more")?;
    same("other length", &put(&longer).await?, &Outcome::AlreadyThereDifferent)?;
    let stored = suite.area.get(&object.key, 100).await.map_err(text)?;
    same("stored", &stored, &Some(Bytes::from_static(b"one")))
}

pub(super) async fn create_round(suite: &Suite) -> Finding {
    let mut objects = vec![suite.object("round/there", "old")?];
    suite.area.put_round(&objects).await.pop().ok_or("no answer")?.map_err(text)?;
    objects.push(suite.object("round/there", "new")?);
    for number in 0..20 {
        objects.push(suite.object(&format!("round/{}/{number}", number % 3), format!("object {number}"))?);
    }
    let outcomes = suite.area.put_round(&objects).await;
    let outcomes = outcomes.into_iter().collect::<Result<Vec<_>, _>>().map_err(text)?;
    let mut expected = vec![Outcome::AlreadyThereSame, Outcome::AlreadyThereDifferent];
    expected.resize(objects.len(), Outcome::Created);
    same("outcomes", &outcomes, &expected)?;
    let last = suite.area.get(&suite.key("round/1/19")?, 100).await.map_err(text)?;
    same("stored", &last, &Some(Bytes::from_static(b"object 19")))?;
    same("an empty round", &suite.area.put_round(&[]).await.len(), &0)
}

pub(super) async fn missing(suite: &Suite) -> Finding {
    // The second has a directory that exists, where there are directories; the last is the name of one.
    suite.area.put_new(&suite.object("missing/there", "x")?).await.map_err(text)?;
    for name in ["nowhere/at/all", "missing/not", "missing/there/below", "missing"] {
        let key = suite.key(name)?;
        same("get", &suite.area.get(&key, 100).await.map_err(text)?, &None)?;
        same("open", &suite.open(&key, None).await?, &None)?;
        same("open a range", &suite.open(&key, Some(0..1)).await?, &None)?;
        same("stat", &suite.area.stat(&key).await.map_err(text)?, &None)?;
        holds(suite.area.read(&key, 100).await.map_err(text)?.is_none(), "a missing pointer is read")?;
    }
    same("listing nowhere", &suite.list(&format!("{}/nowhere/", suite.prefix)).await?, &Vec::new())
}

pub(super) async fn ranges(suite: &Suite) -> Finding {
    let object = suite.object("range", "0123456789")?;
    suite.area.put_new(&object).await.map_err(text)?;
    let table = [
        (None, "0123456789"),
        (Some(0..10), "0123456789"),
        (Some(0..1), "0"),
        (Some(3..7), "3456"),
        (Some(8..100), "89"),
        (Some(4..4), ""),
        (Some(10..20), ""),
        (Some(50..60), ""),
    ];
    for (range, expected) in table {
        let read = suite.open(&object.key, range.clone()).await?;
        same(&format!("range {range:?}"), &read, &Some((10, Bytes::from_static(expected.as_bytes()))))?;
    }
    let stat = suite.area.stat(&object.key).await.map_err(text)?.ok_or("no stat")?;
    same("length", &stat.len, &10)?;
    let opened = suite.area.open(&object.key, Some(2..4)).await.map_err(text)?.ok_or("not opened")?;
    same("tags of open and stat", &opened.tag, &stat.tag)
}

pub(super) async fn too_long(suite: &Suite) -> Finding {
    let object = suite.object("long", "0123456789")?;
    suite.area.put_new(&object).await.map_err(text)?;
    holds(suite.area.get(&object.key, 10).await.map_err(text)?.is_some(), "the limit itself is refused")?;
    let got = suite.area.get(&object.key, 9).await;
    holds(matches!(got, Err(StoreError::TooLong { len_max: 9, .. })), "`get` ignores its limit")?;
    let read = suite.area.read(&object.key, 9).await;
    holds(matches!(read, Err(StoreError::TooLong { len_max: 9, .. })), "`read` ignores its limit")
}

pub(super) async fn empty(suite: &Suite) -> Finding {
    let object = suite.object("empty", "")?;
    same("first", &suite.area.put_new(&object).await.map_err(text)?, &Outcome::Created)?;
    same("again", &suite.area.put_new(&object).await.map_err(text)?, &Outcome::AlreadyThereSame)?;
    same("opened", &suite.open(&object.key, None).await?, &Some((0, Bytes::new())))
}

/// Bytes of the big object: several chunks of any backend.
const BIG_BYTES: u64 = 20 * 1024 * 1024;

pub(super) async fn big(suite: &Suite) -> Finding {
    // Not periodic in any chunk size, so that swapped or repeated chunks show.
    let mut bytes: Vec<u8> = (0..BIG_BYTES).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect();
    let digest = Sha256::digest(&bytes);
    let object = file_object(suite, "big", &bytes)?;
    same("first", &suite.area.put_new(&object).await.map_err(text)?, &Outcome::Created)?;
    same("again", &suite.area.put_new(&object).await.map_err(text)?, &Outcome::AlreadyThereSame)?;

    let (len, read) = suite.open(&object.key, None).await?.ok_or("not there")?;
    same("length", &len, &BIG_BYTES)?;
    holds(Sha256::digest(&read) == digest, "the bytes read are not those written")?;
    let tail = suite.open(&object.key, Some(BIG_BYTES - 3..BIG_BYTES)).await?;
    same("tail", &tail, &Some((BIG_BYTES, Bytes::copy_from_slice(&bytes[bytes.len() - 3..]))))?;

    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    let other = file_object(suite, "big", &bytes)?;
    let outcome = suite.area.put_new(&other).await.map_err(text)?;
    same("other last byte", &outcome, &Outcome::AlreadyThereDifferent)
}

pub(super) async fn wrong_length(suite: &Suite) -> Finding {
    let mut object = file_object(suite, "wrong-length", b"12345")?;
    let Body::File { path, .. } = object.body else { return Err("not a file".to_owned()) };
    object.body = Body::File { path, len: 6 };
    holds(suite.area.put_new(&object).await.is_err(), "a short body file was taken")?;
    same("stored", &suite.area.stat(&object.key).await.map_err(text)?, &None)
}

/// Writes a body file and makes an object of it.
fn file_object(suite: &Suite, name: &str, bytes: &[u8]) -> Result<NewObject, String> {
    let path = suite.scratch.join(name);
    fs_err::write(&path, bytes).map_err(text)?;
    Ok(NewObject {
        key: suite.key(name)?,
        body: Body::File { path, len: bytes.len() as u64 },
        meta: Meta::PRIVATE,
    })
}

pub(super) async fn list_is_complete(suite: &Suite) -> Finding {
    // Names whose order differs between a walk of the tree and a sort by bytes.
    let awkward =
        ["a-b", "a/b", "a.b/c", "a+b", "a~b", "a_b", "a/b-c", "ab", "A/b", "@own/er/x", "a/a/a/a", ".dot"];
    let many = (0..1_030).map(|number| format!("many/{:02x}/n{number}", number % 7));
    let names: Vec<String> = awkward.iter().map(|name| (*name).to_owned()).chain(many).collect();
    let mut expected: BTreeSet<Key> = BTreeSet::new();
    let mut objects = Vec::new();
    for name in &names {
        let object = suite.object(&format!("list/{name}"), name.clone())?;
        expected.insert(object.key.clone());
        objects.push(object);
    }
    for chunk in objects.chunks(64) {
        for outcome in suite.area.put_round(chunk).await {
            same("outcome", &outcome.map_err(text)?, &Outcome::Created)?;
        }
    }

    // Prefixes that end within a segment, at its end, and that match a file and a directory.
    for prefix in
        ["list/", "list/a", "list/a/", "list/many/0", "list/many/03/n1", "list/.", "list/@", "list/a-b"]
    {
        let prefix = format!("{}/{prefix}", suite.prefix);
        let listed = suite.list(&prefix).await?;
        let found: BTreeSet<Key> = listed.iter().cloned().collect();
        same(&format!("keys of `{prefix}` listed twice"), &(listed.len() - found.len()), &0)?;
        let wanted: BTreeSet<Key> =
            expected.iter().filter(|key| key.as_str().starts_with(&prefix)).cloned().collect();
        let missing: Vec<&Key> = wanted.difference(&found).collect();
        let extra: Vec<&Key> = found.difference(&wanted).collect();
        same(&format!("keys of `{prefix}` missing and extra"), &(missing, extra), &(Vec::new(), Vec::new()))?;
    }

    // A token stays good while the keys around it change: what was there all along is listed.
    let prefix = format!("{}/list/", suite.prefix);
    let first = suite.area.list(&prefix, None).await.map_err(text)?;
    let gone = first.keys.last().ok_or("an empty page")?.clone();
    suite.area.delete(&gone).await.map_err(text)?;
    let mut found: BTreeSet<Key> = first.keys.into_iter().collect();
    let mut after = first.next;
    while let Some(token) = after {
        let page = suite.area.list(&prefix, Some(&token)).await.map_err(text)?;
        // Asked twice, so that no backend can rely on each token being used once.
        let again = suite.area.list(&prefix, Some(&token)).await.map_err(text)?;
        same("a page asked twice", &again.keys, &page.keys)?;
        found.extend(page.keys);
        after = page.next;
    }
    same("keys while one is deleted", &(found == expected), &true)
}

pub(super) async fn delete(suite: &Suite) -> Finding {
    let object = suite.object("delete", "x")?;
    suite.area.put_new(&object).await.map_err(text)?;
    suite.area.delete(&object.key).await.map_err(text)?;
    same("deleted", &suite.area.get(&object.key, 9).await.map_err(text)?, &None)?;
    suite.area.delete(&object.key).await.map_err(text)?;
    suite.area.delete(&suite.key("delete/nowhere/at/all")?).await.map_err(text)?;
    same("created again", &suite.area.put_new(&object).await.map_err(text)?, &Outcome::Created)
}
