use drystone_schemas::{AccountId, IndexFile};

use super::*;

const IDS: [&str; 4] = [
    "01K742R2DRAAAAAAAAAAAAAAAA",
    "01K742R2DRBBBBBBBBBBBBBBBB",
    "01K742R2DRCCCCCCCCCCCCCCCC",
    "01K742R2DRDDDDDDDDDDDDDDDD",
];

fn digest(byte: u8) -> Sha256Digest {
    Sha256Digest::from_bytes([byte; 32])
}

fn name() -> PackageName {
    PackageName::new("acme/http").unwrap()
}

fn vers(text: &str) -> Version {
    Version::new(text).unwrap()
}

fn event(seq: usize, body: EventBody) -> Event {
    Event {
        v: 1,
        seq: seq as u64,
        id: EventId::new(IDS[seq]).unwrap(),
        time: 7,
        actor: AccountId::new("acct:01K742R2DRAAAAAAAAAAAAAAAA").unwrap(),
        state: digest(0),
        files: Vec::new(),
        body,
    }
}

fn publish(text: &str, byte: u8) -> EventBody {
    EventBody::Publish {
        pkg: name(),
        vers: vers(text),
        tarball: digest(byte),
        record: digest(byte + 1),
        sigs: Default::default(),
    }
}

fn line(text: &str, byte: u8, published: u64, yanked: bool) -> IndexLine {
    let json = serde_json::json!({
        "name": "acme/http", "vers": text, "deps": [], "cksum": digest(byte).hex(), "features": {},
        "yanked": yanked, "v": 2, "pubtime": "2025-10-09T09:09:59Z", "seq": published, "published": published,
        "size": 1, "format": "generic", "record": digest(byte + 1),
    });
    serde_json::from_value(json).unwrap()
}

/// A publish, its yank, and a publish in doubt, all of them there.
fn world() -> (Vec<Asked>, Shown) {
    let config = EventBody::Config { config: digest(0) };
    let events = vec![
        event(0, config),
        event(1, publish("1.0.0", 1)),
        event(2, EventBody::Yank { pkg: name(), vers: vers("1.0.0"), reason: None }),
        event(3, publish("1.1.0", 3)),
    ];
    let asked = |seq: usize, text: &str, change, fate| Asked {
        writer: 0,
        id: EventId::new(IDS[seq]).unwrap(),
        name: name(),
        vers: vers(text),
        change,
        fate,
    };
    let all = vec![
        asked(1, "1.0.0", Change::Publish(digest(1)), Fate::Acknowledged(1)),
        asked(2, "1.0.0", Change::Yanked(true), Fate::Acknowledged(2)),
        asked(3, "1.1.0", Change::Publish(digest(3)), Fate::InDoubt),
    ];
    let file = IndexFile { lines: vec![line("1.0.0", 1, 1, true), line("1.1.0", 3, 3, false)] };
    let objects = [1, 2, 3, 4].map(digest).into();
    (all, Shown { events, index: [(name(), file)].into(), objects })
}

/// What the verdict counts after somebody has broken the world: lost, doubled, half, violations.
fn counts(break_it: impl FnOnce(&mut Vec<Asked>, &mut Shown)) -> (u64, u64, u64, usize) {
    let (mut asked, mut shown) = world();
    break_it(&mut asked, &mut shown);
    let verdict = audit(&asked, &shown);
    (verdict.lost, verdict.doubled, verdict.half, verdict.violations.len())
}

fn lines(shown: &mut Shown) -> &mut Vec<IndexLine> {
    &mut shown.index.get_mut(&name()).unwrap().lines
}

#[test]
fn what_is_there_is_found() {
    let (asked, shown) = world();
    let expected = Verdict {
        acknowledged_publishes: 1,
        acknowledged_toggles: 1,
        in_doubt: 1,
        in_doubt_in_log: 1,
        ..Verdict::default()
    };
    assert_eq!(audit(&asked, &shown), expected);
    // In doubt may also mean that nothing of it is there.
    let gone = |_: &mut Vec<Asked>, shown: &mut Shown| {
        shown.events.pop();
        lines(shown).pop();
    };
    assert_eq!(counts(gone), (0, 0, 0, 0));
}

#[test]
fn what_was_acknowledged_and_is_not_there_is_lost() {
    let cut = |_: &mut Vec<Asked>, shown: &mut Shown| {
        shown.events.truncate(2);
        lines(shown).truncate(1);
        lines(shown)[0].yanked = false;
    };
    assert_eq!(counts(cut), (1, 0, 0, 1));
    assert_eq!(counts(|asked, _| asked[0].fate = Fate::Acknowledged(3)).0, 1);
}

#[test]
fn what_is_there_twice_is_doubled() {
    assert_eq!(counts(|_, shown| shown.events[3].id = shown.events[1].id.clone()), (0, 1, 0, 2));
    assert_eq!(counts(|_, shown| shown.events[3].body = publish("1.0.0", 3)).1, 1);
}

#[test]
fn what_is_there_in_part_is_half() {
    assert_eq!(counts(|_, shown| drop(lines(shown).pop())), (0, 0, 1, 1));
    assert_eq!(counts(|_, shown| drop(shown.events.pop())), (0, 0, 1, 1));
    assert_eq!(counts(|_, shown| shown.objects.retain(|there| *there != digest(1))), (0, 0, 1, 1));
    assert_eq!(counts(|_, shown| shown.objects.retain(|there| *there != digest(4))), (0, 0, 1, 1));
    assert_eq!(counts(|_, shown| lines(shown)[0].cksum = digest(9).hex()), (0, 0, 1, 1));
    assert_eq!(counts(|_, shown| lines(shown)[0].yanked = false), (0, 0, 1, 1));
}

#[test]
fn the_order_of_a_log_and_of_its_answers_is_looked_at() {
    assert_eq!(counts(|_, shown| shown.events[1].time = 8).3, 1);
    assert_eq!(counts(|_, shown| shown.events[2].seq = 7).3, 1);
    assert_eq!(counts(|asked, _| asked.swap(0, 1)).3, 1);
    assert_eq!(counts(|asked, _| drop(asked.pop())).3, 1);
}
