//! Events, and what a commit writes into the vault.

use bytes::Bytes;
use drystone_log::commit::{Head, Staging};
use drystone_schemas::{Event, EventHead};

/// An event has one line; its head reads the same position and state.
pub fn events(data: &[u8]) {
    let head = EventHead::from_line(data);
    let Ok(event) = Event::from_line(data) else { return };
    assert_eq!(event.to_line().expect("what was read can be written"), data);
    let head = head.expect("every event has a head");
    assert_eq!((head.seq, head.state), (event.seq, event.state));
    assert!(data.ends_with(b"\n") && data.len() <= 4096);
}

/// Head and staging objects read back to themselves, and every byte of the operations is named.
pub fn head_and_staging(data: &[u8]) {
    if let Ok(head) = Head::parse(data) {
        assert_eq!(Head::parse(&head.to_bytes()).expect("what was written parses"), head);
        assert_eq!(head.frontier.root(), head.root);
    }
    if let Ok(staging) = Staging::parse(&Bytes::copy_from_slice(data)) {
        let bytes = Bytes::from(staging.to_bytes());
        assert_eq!(Staging::parse(&bytes).expect("what was written parses"), staging);
        let named: usize = staging.ops.iter().map(|op| op.bytes.len()).sum();
        assert!(named + staging.last_entry.len() < data.len());
    }
}
