//! The two storage roles, their outcomes and their errors.

use std::{ops::Range, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{future::join_all, stream::BoxStream};
use sha2::{Digest, Sha256};

use crate::Key;

/// Most keys in one [`Page`], as in S3's ListObjectsV2.
pub const PAGE_KEYS_MAX: usize = 1_000;

/// HTTP metadata of an object, stored beside it where the backend can.
///
/// On a filesystem the metadata follows from the key, so that any web server can serve the directory as it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// `Content-Type`.
    pub content_type: &'static str,
    /// `Cache-Control`.
    pub cache_control: &'static str,
}

impl Meta {
    /// Metadata of a private file that no edge serves.
    pub const PRIVATE: Self = Self { content_type: "application/json", cache_control: "no-store" };
}

/// The bytes of a new object: small ones in memory, tarballs from a file that the caller keeps until the put returns.
#[derive(Debug, Clone)]
pub enum Body {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A file on local disk, and its length in bytes; read as a stream, never whole.
    File {
        /// Where the bytes are.
        path: PathBuf,
        /// How many there are.
        len: u64,
    },
}

impl Body {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { len, .. } => *len,
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One object to create.
#[derive(Debug, Clone)]
pub struct NewObject {
    /// Its key.
    pub key: Key,
    /// Its bytes.
    pub body: Body,
    /// Its HTTP metadata.
    pub meta: Meta,
}

/// What [`Objects::put_new`] found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The object was created by this call.
    Created,
    /// An object with these very bytes was there: as good as created.
    AlreadyThereSame,
    /// An object with *other* bytes is there. For content-addressed keys this is fatal: stop, sign nothing, alarm.
    AlreadyThereDifferent,
}

/// Size of an object, and an opaque tag that changes when its bytes change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Length in bytes.
    pub len: u64,
    /// The backend's tag (an ETag without quotes, a content hash, or a file's identity). Never used to order states;
    /// to be compared with tags of `stat` and `open` only, because on disk [`Pointers`] use other ones.
    pub tag: Tag,
    /// When the object was written, in seconds since 1970, where the store tells. A hint that garbage collection spares
    /// what is young by; never used to order states.
    pub written_unix_s: Option<u64>,
}

/// One page of a listing.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Keys, in an order that the backend chooses; some list by tree, others by bytes. Never rely on it.
    pub keys: Vec<Key>,
    /// Where the next page starts, or `None` after the last one. Opaque.
    pub next: Option<String>,
}

/// The tag of one state of a pointer, for compare-and-swap. Opaque; equal bytes may have equal tags.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tag(pub String);

/// The bytes of a pointer, with the tag to replace them by.
#[derive(Debug, Clone)]
pub struct Versioned {
    /// The whole file.
    pub bytes: Bytes,
    /// The tag of these bytes.
    pub tag: Tag,
    /// The store's own clock when it answered, in seconds since 1970, where the backend tells (S3's `Date`).
    pub store_time_unix: Option<u64>,
}

/// What became of a [`Pointers::replace`]. All three are values: the caller decides, none may be swallowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replace {
    /// The new bytes are there, durably, under this tag.
    Replaced(Tag),
    /// Nothing was written: the file was not what the caller had seen.
    Conflict,
    /// The write may or may not have happened, now or later (time-out, reset, 5xx, 409): read again before deciding.
    Unknown(String),
}

/// A presigned upload that a client may make without our function in between.
#[derive(Clone)]
pub struct PresignedPut {
    /// Where to `PUT`. A secret while it is valid: not for logs.
    pub url: String,
    /// Headers that were signed and must be sent as they are.
    pub headers: Vec<(String, String)>,
}

impl std::fmt::Debug for PresignedPut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PresignedPut { url: <hidden> }")
    }
}

/// Why a storage call failed. Each variant is a decision that the caller can take.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A write may or may not have happened; repeating a `put_new` is safe.
    #[error("outcome of `{op}` on `{key}` is unknown: {detail}")]
    Unknown {
        /// Which call.
        op: &'static str,
        /// On which key.
        key: String,
        /// What the backend said.
        detail: String,
    },
    /// The store cannot be reached or answers 5xx; for reads, trying again may help.
    #[error("storage is unavailable for `{op}` on `{key}`: {detail}")]
    Unavailable {
        /// Which call.
        op: &'static str,
        /// On which key.
        key: String,
        /// What the backend said.
        detail: String,
    },
    /// No space left, or a quota is reached.
    #[error("storage is full for `{op}` on `{key}`")]
    Full {
        /// Which call.
        op: &'static str,
        /// On which key.
        key: String,
    },
    /// Access denied, read-only, no such bucket: trying again will not help.
    #[error("storage refuses `{op}` on `{key}`: {detail}")]
    Refused {
        /// Which call.
        op: &'static str,
        /// On which key.
        key: String,
        /// What the backend said.
        detail: String,
    },
    /// The object is longer than the reader accepts.
    #[error("`{key}` has more than {len_max} bytes")]
    TooLong {
        /// Which object.
        key: String,
        /// The reader's limit, in bytes.
        len_max: u64,
    },
    /// What the store keeps for itself is not what it wrote: an operator has to look.
    #[error("storage is damaged for `{op}` on `{key}`: {detail}")]
    Damaged {
        /// Which call.
        op: &'static str,
        /// On which key.
        key: String,
        /// What is wrong.
        detail: String,
    },
    /// The backend broke its contract; see [`crate::probe`].
    #[error("storage breaks its contract: {0}")]
    Broken(String),
}

/// A stream of an object's bytes, with the object's whole length.
pub struct ObjectReader {
    /// Length of the whole object, in bytes, also when only a range was asked for.
    pub len: u64,
    /// The backend's tag of the object.
    pub tag: Tag,
    /// The bytes asked for.
    pub stream: BoxStream<'static, Result<Bytes, StoreError>>,
}

/// Immutable objects, created once, named by what they are.
///
/// Contract: when `put_new` returns `Created` or `AlreadyThereSame`, all bytes are durable and every later read,
/// by any process, sees all of them; a reader never sees part of an object. `put_new` may be repeated freely.
/// Backends retry reads themselves within their time budget, and never retry a conditional write blindly.
#[async_trait]
pub trait Objects: Send + Sync + 'static {
    /// Creates an object if its key is free. If it is taken, tells whether the bytes there are the same.
    async fn put_new(&self, object: &NewObject) -> Result<Outcome, StoreError>;

    /// Creates many objects as one sequential round; outcomes in the order of `objects`.
    /// Backends may share durability barriers between them. All are tried, even when one fails.
    async fn put_round(&self, objects: &[NewObject]) -> Vec<Result<Outcome, StoreError>> {
        join_all(objects.iter().map(|object| self.put_new(object))).await
    }

    /// Reads a whole object of at most `len_max` bytes; `None` if there is none.
    async fn get(&self, key: &Key, len_max: u64) -> Result<Option<Bytes>, StoreError>;

    /// Opens an object as a stream, whole or a byte range (end exclusive, cut at the object's end).
    async fn open(&self, key: &Key, range: Option<Range<u64>>) -> Result<Option<ObjectReader>, StoreError>;

    /// Tells an object's size and tag; `None` if there is none.
    async fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError>;

    /// What [`Objects::stat`] tells, from backends that tell it without a wait; `None` from all others.
    fn stat_at_once(&self, _key: &Key) -> Option<Result<Option<Stat>, StoreError>> {
        None
    }

    /// Lists keys that start with `prefix` (empty: all), at most 1,000 a page; `after` is the last page's `next`.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError>;

    /// Deletes an object; deleting a missing one succeeds. Only garbage collection, takedown and recovery call it.
    async fn delete(&self, key: &Key) -> Result<(), StoreError>;

    /// Deletes many objects as one sequential round; outcomes in the order of `keys`.
    /// Backends may share durability barriers between them. All are tried, even when one fails.
    async fn delete_round(&self, keys: &[Key]) -> Vec<Result<(), StoreError>> {
        join_all(keys.iter().map(|key| self.delete(key))).await
    }

    /// The same area, with writes that are answered as soon as they are in order; `None` from backends without that.
    ///
    /// Such a write is checked like any other. It is durable, and others see it, no later than any write that comes after it
    /// is answered or [`Objects::settle`] returns; until then it may be undone, with all that come after it. What was
    /// written so is not read back before. A store's two areas have one order.
    fn ordered(&self) -> Option<Arc<dyn Area>> {
        None
    }

    /// Makes every write durable and visible that was answered because it was in order.
    ///
    /// Errors: it is not known what became of them.
    async fn settle(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Makes sure that files of these lengths, in bytes, will find room when they are written in a moment.
    ///
    /// Errors: there is no room for them. Backends that need no room of this machine's know of none.
    async fn reserve(&self, _lens: &[u64]) -> Result<(), StoreError> {
        Ok(())
    }

    /// Lets a client upload `key` itself: exactly `len` bytes with this SHA-256 (hex), only if the key is free.
    /// `None` if the backend has no such thing; then uploads go through the function.
    async fn presign_put(
        &self,
        key: &Key,
        sha256_hex: &str,
        len: u64,
        valid_s: u32,
    ) -> Result<Option<PresignedPut>, StoreError>;
}

/// Small mutable files, replaced only by compare-and-swap.
///
/// Contract: `replace` is atomic across processes, and durable when it answers `Replaced`. Nobody retries inside:
/// time-outs, resets, 5xx and S3's 409 come back as [`Replace::Unknown`], and the caller re-reads before it decides.
/// Reads go to the store itself, never through an edge.
#[async_trait]
pub trait Pointers: Send + Sync + 'static {
    /// Reads a pointer of at most `len_max` bytes; `None` if it is absent.
    async fn read(&self, key: &Key, len_max: u64) -> Result<Option<Versioned>, StoreError>;

    /// Replaces the bytes if they still are what `seen` names (`None`: if the key is absent).
    ///
    /// An `Err` is definite: nothing was written, nor will it be. Whatever is not sure is [`Replace::Unknown`].
    async fn replace(
        &self,
        key: &Key,
        seen: Option<&Tag>,
        bytes: Bytes,
        meta: Meta,
    ) -> Result<Replace, StoreError>;

    /// Replaces many pointers as one sequential round; outcomes in the order of `swaps`, each swap on its own.
    /// Backends may share durability barriers between them. All are tried, even when one fails.
    async fn replace_round(
        &self,
        swaps: Vec<(Key, Option<Tag>, Bytes, Meta)>,
    ) -> Vec<Result<Replace, StoreError>> {
        let each = swaps.into_iter().map(|(key, seen, bytes, meta)| async move {
            self.replace(&key, seen.as_ref(), bytes, meta).await
        });
        join_all(each).await
    }
}

/// The tag of bytes on backends that hash content: the SHA-256 in hex.
pub(crate) fn content_tag(bytes: &[u8]) -> Tag {
    Tag(hex::encode(Sha256::digest(bytes)))
}

/// Cuts a range at an object's end; no range is the whole object.
pub fn cut(range: Option<Range<u64>>, len: u64) -> Range<u64> {
    let range = range.unwrap_or(0..len);
    let end = range.end.min(len);
    range.start.min(end)..end
}

/// Both roles over one root. Immutable and mutable keys never overlap.
pub trait Area: Objects + Pointers {}

impl<T: Objects + Pointers> Area for T {}
