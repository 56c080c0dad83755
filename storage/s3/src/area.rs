//! One bucket, or a prefix of it, as an area.

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_s3::{operation::put_object::builders::PutObjectFluentBuilder, presigning::PresigningConfig};
use bytes::Bytes;
use drystone_storage::{
    Key, Meta, NewObject, ObjectReader, Objects, Outcome, PAGE_KEYS_MAX, Page, Pointers, PresignedPut,
    Replace, Stat, Store, StoreError, Tag, Versioned,
};
use futures_util::{StreamExt, stream};

use crate::{
    S3Settings,
    answer::{Failed, How, classify},
    body::{self, BodyDigest},
    connect::{self, Clients},
    quoting::{self, Learned, Quoting},
    read::{length, tag},
};

/// How often an object is put again whose first put was lost without a trace.
const PUTS_MAX: u32 = 3;
/// Requests of a round that are under way at once: well below what a function may have open.
const ROUND_CONCURRENCY: usize = 64;

/// An area in a bucket. Clones share connections and what was learned about the store.
#[derive(Clone)]
pub struct S3Area {
    shared: Arc<Shared>,
    /// Empty, or ends with `/`.
    prefix: String,
}

struct Shared {
    clients: Clients,
    bucket: String,
    quoting: Learned,
}

impl S3Area {
    /// Opens an area with the SDK's default chain of credentials, region and endpoint.
    ///
    /// Asks the store nothing: whether it can be reached and keeps its contract is for [`drystone_storage::probe`].
    pub async fn connect(settings: S3Settings) -> Self {
        let clients = connect::load(&settings).await;
        Self::new(settings, clients)
    }

    /// Opens an area with a configuration of the SDK that the caller has made, its endpoint included.
    pub fn with_config(settings: S3Settings, config: &SdkConfig) -> Self {
        let clients = connect::clients(&settings, config, config.endpoint_url().is_some());
        Self::new(settings, clients)
    }

    /// Opens a store in one bucket: the public area below `<prefix>/public`, the vault below `<prefix>/vault`.
    pub async fn connect_store(settings: S3Settings) -> Store {
        let whole = Self::connect(settings).await;
        Store { public: Arc::new(whole.below("public")), vault: Arc::new(whole.below("vault")) }
    }

    fn new(settings: S3Settings, clients: Clients) -> Self {
        let prefix = if settings.prefix.is_empty() { String::new() } else { format!("{}/", settings.prefix) };
        let shared = Shared { clients, bucket: settings.bucket, quoting: Learned::default() };
        Self { shared: Arc::new(shared), prefix }
    }

    /// The area below a further prefix.
    fn below(&self, name: &str) -> Self {
        Self { shared: self.shared.clone(), prefix: format!("{}{name}/", self.prefix) }
    }

    pub(crate) fn clients(&self) -> &Clients {
        &self.shared.clients
    }

    pub(crate) fn bucket(&self) -> &str {
        &self.shared.bucket
    }

    /// The key in the bucket.
    pub(crate) fn full(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Puts an object if its key is free.
    async fn create(&self, object: &NewObject, digest: &BodyDigest) -> Result<(), Failed> {
        let unread = |e: std::io::Error| Failed { how: How::Refused, detail: e.to_string() };
        let body = body::to_send(&object.body).await.map_err(unread)?;
        // May be repeated by the SDK: a 412 for an earlier attempt of ours leads to a comparison, which finds it.
        let request = described(self.clients().repeating.put_object(), object.meta)
            .bucket(self.bucket())
            .key(self.full(&object.key))
            .if_none_match("*")
            .checksum_sha256(digest.base64())
            .body(body);
        request.send().await.map(drop).map_err(|error| classify(&error))
    }

    /// Compares with what is there, by checksum if the store keeps one, else by reading it; `None` if there is nothing.
    async fn compare(&self, object: &NewObject, digest: &BodyDigest) -> Result<Option<Outcome>, StoreError> {
        let Some(head) = self.head("put_new", &object.key).await? else { return Ok(None) };
        if length(head.content_length) != object.body.len() {
            return Ok(Some(Outcome::AlreadyThereDifferent));
        }
        // A checksum with a `-` is one over checksums of parts.
        let kept = head.checksum_sha256.filter(|checksum| !checksum.contains('-'));
        let same = match kept {
            Some(kept) => kept == digest.base64(),
            None => match self.reader(&object.key, None).await? {
                Some(reader) => BodyDigest::of_stream(reader.stream).await? == *digest,
                None => return Ok(None),
            },
        };
        Ok(Some(if same { Outcome::AlreadyThereSame } else { Outcome::AlreadyThereDifferent }))
    }

    /// Sends one conditional put, once.
    async fn swap(
        &self,
        key: &Key,
        condition: &Condition,
        bytes: &Bytes,
        meta: Meta,
    ) -> Result<Replace, Failed> {
        let request = described(self.clients().once.put_object(), meta)
            .bucket(self.bucket())
            .key(self.full(key))
            .checksum_sha256(BodyDigest::of_bytes(bytes).base64())
            .body(bytes.clone().into());
        let request = match condition {
            Condition::Absent => request.if_none_match("*"),
            Condition::Is(etag) => request.if_match(etag),
        };
        let output = request.send().await.map_err(|error| classify(&error))?;
        Ok(match quoting::tag(output.e_tag.as_deref()) {
            Some(tag) => Replace::Replaced(tag),
            None => Replace::Unknown("the store answered without an ETag".to_owned()),
        })
    }

    /// Replaces what `seen` names, in the form of `If-Match` that this store takes.
    async fn swap_seen(&self, key: &Key, seen: &Tag, bytes: &Bytes, meta: Meta) -> Result<Replace, Failed> {
        let learned = &self.shared.quoting;
        let open = learned.is_open();
        let form = learned.guess();
        let swapped = self.swap(key, &Condition::Is(form.write(seen)), bytes, meta).await;
        match &swapped {
            Ok(_) => learned.works(form),
            Err(failed) if open && failed.how == How::Precondition && self.is_current(key, seen).await? => {
                // Refused although it is what is there: either the form is wrong, or another writer has just put
                // the seen bytes back. The same condition in the other form is right in both cases.
                let swapped = self.swap(key, &Condition::Is(Quoting::Bare.write(seen)), bytes, meta).await;
                if swapped.is_ok() {
                    learned.works(Quoting::Bare);
                }
                return swapped;
            }
            Err(_) => {}
        }
        swapped
    }

    /// Whether `seen` is the tag of what is there. A failure to find out makes the whole swap unknown.
    async fn is_current(&self, key: &Key, seen: &Tag) -> Result<bool, Failed> {
        let unknown = |e: StoreError| Failed { how: How::Unknown, detail: e.to_string() };
        let head = self.head("replace", key).await.map_err(unknown)?;
        Ok(head.and_then(|head| quoting::tag(head.e_tag.as_deref())).as_ref() == Some(seen))
    }
}

/// The condition of a put.
enum Condition {
    /// `If-None-Match: *`.
    Absent,
    /// `If-Match`, in one form or the other.
    Is(String),
}

fn described(request: PutObjectFluentBuilder, meta: Meta) -> PutObjectFluentBuilder {
    request.content_type(meta.content_type).cache_control(meta.cache_control)
}

#[async_trait]
impl Objects for S3Area {
    async fn put_new(&self, object: &NewObject) -> Result<Outcome, StoreError> {
        const OP: &str = "put_new";
        let refused =
            |e: std::io::Error| Failed { how: How::Refused, detail: e.to_string() }.of_write(OP, &object.key);
        let digest = BodyDigest::of(&object.body).await.map_err(refused)?;
        let mut lost = String::new();
        for _ in 0..PUTS_MAX {
            match self.create(object, &digest).await {
                Ok(()) => return Ok(Outcome::Created),
                Err(failed) if matches!(failed.how, How::Refused | How::Full) => {
                    return Err(failed.of_write(OP, &object.key));
                }
                Err(failed) => lost = failed.detail,
            }
            match self.compare(object, &digest).await {
                Ok(Some(outcome)) => return Ok(outcome),
                // Lost, or still under way; in both cases the condition makes repeating it safe.
                Ok(None) => {}
                Err(StoreError::Broken(fact)) => return Err(StoreError::Broken(fact)),
                Err(error) => {
                    lost = format!("{lost}; then {error}");
                    break;
                }
            }
        }
        Err(StoreError::Unknown { op: OP, key: object.key.to_string(), detail: lost })
    }

    async fn put_round(&self, objects: &[NewObject]) -> Vec<Result<Outcome, StoreError>> {
        let mut each = Vec::with_capacity(objects.len());
        for object in objects {
            each.push(self.put_new(object));
        }
        stream::iter(each).buffered(ROUND_CONCURRENCY).collect().await
    }

    async fn get(&self, key: &Key, len_max: u64) -> Result<Option<Bytes>, StoreError> {
        Ok(self.whole("get", key, len_max).await?.map(|whole| whole.bytes))
    }

    async fn open(&self, key: &Key, range: Option<Range<u64>>) -> Result<Option<ObjectReader>, StoreError> {
        self.reader(key, range).await
    }

    async fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        let Some(head) = self.head("stat", key).await? else { return Ok(None) };
        let written_unix_s = head.last_modified.and_then(|date| date.secs().try_into().ok());
        let tag = tag(key, head.e_tag.as_deref())?;
        Ok(Some(Stat { len: length(head.content_length), tag, written_unix_s }))
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        let request = self.clients().repeating.list_objects_v2().bucket(self.bucket());
        let request = request
            .prefix(format!("{}{prefix}", self.prefix))
            .set_continuation_token(after.map(str::to_owned))
            .max_keys(PAGE_KEYS_MAX as i32);
        let output = request.send().await.map_err(|error| classify(&error).of_read("list", prefix))?;
        let more = output.is_truncated.unwrap_or(false);
        let next = output.next_continuation_token.filter(|_| more);
        if more && next.is_none() {
            return Err(StoreError::Broken("cuts a listing short without saying how to go on".to_owned()));
        }
        let names = output.contents.unwrap_or_default().into_iter().filter_map(|object| object.key);
        // What is no key of ours was put there by others.
        let keys = names.filter_map(|name| Key::new(name.strip_prefix(&self.prefix)?).ok()).collect();
        Ok(Page { keys, next })
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let request = self.clients().repeating.delete_object().bucket(self.bucket()).key(self.full(key));
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => match classify(&error) {
                Failed { how: How::Missing, .. } => Ok(()),
                failed => Err(failed.of_write("delete", key)),
            },
        }
    }

    async fn presign_put(
        &self,
        key: &Key,
        sha256_hex: &str,
        len: u64,
        valid_s: u32,
    ) -> Result<Option<PresignedPut>, StoreError> {
        let refused =
            |detail: String| StoreError::Refused { op: "presign_put", key: key.to_string(), detail };
        let digest =
            BodyDigest::from_hex(sha256_hex).ok_or_else(|| refused("not a SHA-256 in hex".to_owned()))?;
        let len = len.try_into().map_err(|_| refused("a length that no object has".to_owned()))?;
        let valid = PresigningConfig::expires_in(Duration::from_secs(valid_s.into()));
        let request = described(self.clients().once.put_object(), Meta::PRIVATE)
            .bucket(self.bucket())
            .key(self.full(key))
            .if_none_match("*")
            .checksum_sha256(digest.base64())
            .content_length(len);
        let signed = request.presigned(valid.map_err(|e| refused(e.to_string()))?).await;
        let signed = signed.map_err(|error| classify(&error).of_write("presign_put", key))?;
        let headers = signed.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(Some(PresignedPut { url: signed.uri().to_owned(), headers }))
    }
}

#[async_trait]
impl Pointers for S3Area {
    async fn read(&self, key: &Key, len_max: u64) -> Result<Option<Versioned>, StoreError> {
        let whole = self.whole("read", key, len_max).await?;
        Ok(whole.map(|whole| Versioned {
            bytes: whole.bytes,
            tag: whole.tag,
            store_time_unix: whole.store_time_unix,
        }))
    }

    async fn replace(
        &self,
        key: &Key,
        seen: Option<&Tag>,
        bytes: Bytes,
        meta: Meta,
    ) -> Result<Replace, StoreError> {
        let swapped = match seen {
            None => self.swap(key, &Condition::Absent, &bytes, meta).await,
            Some(seen) => self.swap_seen(key, seen, &bytes, meta).await,
        };
        match swapped {
            Ok(answer) => Ok(answer),
            Err(Failed { how: How::Precondition, .. }) => Ok(Replace::Conflict),
            // AWS answers a tag on a missing key so; others with 412.
            Err(Failed { how: How::Missing, .. }) if seen.is_some() => Ok(Replace::Conflict),
            Err(Failed { how: How::Unknown | How::Missing | How::Range, detail }) => {
                Ok(Replace::Unknown(detail))
            }
            Err(failed @ Failed { how: How::Full | How::Refused, .. }) => {
                Err(failed.of_write("replace", key))
            }
        }
    }

    async fn replace_round(
        &self,
        swaps: Vec<(Key, Option<Tag>, Bytes, Meta)>,
    ) -> Vec<Result<Replace, StoreError>> {
        let each = swaps.into_iter().map(|(key, seen, bytes, meta)| async move {
            self.replace(&key, seen.as_ref(), bytes, meta).await
        });
        stream::iter(each).buffered(ROUND_CONCURRENCY).collect().await
    }
}
