//! Archives as only a test would write them, and bodies as only a bad client or network would send them.

use std::{
    convert::Infallible,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
};

use axum::body::Body;
use bytes::Bytes;
use drystone_test_archives::raw::Raw;
use flate2::{Compression, write::GzEncoder};
use futures_util::{StreamExt, stream};

/// Writes a gzip-compressed tar archive entry by entry, whatever the entries are called and say of themselves.
pub struct RawArchive(GzEncoder<Vec<u8>>);

impl Default for RawArchive {
    fn default() -> Self {
        Self(GzEncoder::new(Vec::new(), Compression::fast()))
    }
}

impl RawArchive {
    /// Adds a file whose header tells the truth.
    #[must_use]
    pub fn file(self, path: &str, data: &[u8]) -> Self {
        self.file_declared(path, data.len() as u64, data)
    }

    /// Adds a file whose header declares this length.
    #[must_use]
    pub fn file_declared(mut self, path: &str, declared: u64, data: &[u8]) -> Self {
        self.header(path, b'0', declared);
        self.write(data);
        self.write(&[0; 512][..data.len().next_multiple_of(512) - data.len()]);
        self
    }

    /// Adds a file of zeros, without ever holding it.
    #[must_use]
    pub fn zeros(mut self, path: &str, len: u64) -> Self {
        self.header(path, b'0', len);
        let block = vec![0; 1 << 20];
        for _ in 0..len.next_multiple_of(512) >> 20 {
            self.write(&block);
        }
        self.write(&block[..(len.next_multiple_of(512) & ((1 << 20) - 1)) as usize]);
        self
    }

    /// Adds an entry of another type than a file, such as `2`, a symbolic link.
    #[must_use]
    pub fn entry(mut self, path: &str, flag: u8) -> Self {
        self.header(path, flag, 0);
        self
    }

    /// The archive, ended as it must be.
    pub fn finish(mut self) -> Vec<u8> {
        self.write(&[0; 1024]);
        self.0.finish().expect("memory takes everything")
    }

    fn header(&mut self, path: &str, flag: u8, declared: u64) {
        let raw = Raw::new(path.as_bytes(), flag, b"").with(124, format!("{declared:011o}\0").as_bytes());
        self.write(&raw.bytes());
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("memory takes everything");
    }
}

/// How many bytes of a body were asked for.
#[derive(Debug, Clone, Default)]
pub struct Taken(Arc<AtomicU64>);

impl Taken {
    /// The number.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A body of `head` and then this byte for ever, as fast as a network would send it.
pub fn endless(head: &[u8], byte: u8, taken: &Taken) -> Body {
    let chunk = Bytes::from(vec![byte; 64 << 10]);
    let (mut next, mut wait, taken) = (Some(Bytes::copy_from_slice(head)), false, taken.clone());
    Body::from_stream(stream::poll_fn(move |context| {
        // What has not arrived yet makes the reader wait, as on a connection.
        wait = !wait;
        if wait {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let chunk = next.take().unwrap_or_else(|| chunk.clone());
        taken.0.fetch_add(chunk.len() as u64, Ordering::SeqCst);
        Poll::Ready(Some(Ok::<_, Infallible>(chunk)))
    }))
}

/// A body that stops after these bytes, for ever.
pub fn stalled(head: &[u8], taken: &Taken) -> Body {
    let (head, taken) = (Bytes::copy_from_slice(head), taken.clone());
    let first = stream::once(async move {
        taken.0.fetch_add(head.len() as u64, Ordering::SeqCst);
        Ok::<_, Infallible>(head)
    });
    Body::from_stream(first.chain(stream::pending()))
}

/// A body whose connection is cut after these bytes.
pub fn cut(head: &[u8]) -> Body {
    let head = Bytes::copy_from_slice(head);
    Body::from_stream(stream::iter([
        Ok(head),
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
    ]))
}
