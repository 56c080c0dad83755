//! Reading: whole objects, streams, sizes. All of it may be repeated.

use std::ops::Range;

use aws_sdk_s3::{
    operation::{get_object::GetObjectOutput, head_object::HeadObjectOutput},
    primitives::ByteStream,
    types::ChecksumMode,
};
use bytes::Bytes;
use drystone_storage::{Key, ObjectReader, StoreError, Tag, cut};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};

use crate::{
    S3Area,
    answer::{Failed, How, classify},
    quoting,
    store_date::StoreDate,
};

/// How often a body is asked for again that broke off half-way.
const BODIES_MAX: u32 = 3;

/// A whole object, as it was answered.
pub(crate) struct Whole {
    pub(crate) bytes: Bytes,
    pub(crate) tag: Tag,
    pub(crate) store_time_unix: Option<u64>,
}

impl S3Area {
    /// Reads a whole object of at most `len_max` bytes.
    pub(crate) async fn whole(
        &self,
        op: &'static str,
        key: &Key,
        len_max: u64,
    ) -> Result<Option<Whole>, StoreError> {
        let mut broken_off = String::new();
        for _ in 0..BODIES_MAX {
            let date = StoreDate::default();
            let output = match self.get_object(key, None, &date).await {
                Ok(output) => output,
                Err(failed) if failed.how == How::Missing => return Ok(None),
                Err(failed) => return Err(failed.of_read(op, key.as_str())),
            };
            let too_long = || StoreError::TooLong { key: key.to_string(), len_max };
            if length(output.content_length) > len_max {
                return Err(too_long());
            }
            let tag = tag(key, output.e_tag.as_deref())?;
            match output.body.collect().await {
                Ok(body) => {
                    let bytes = body.into_bytes();
                    // A store that announced no length is not trusted with the limit.
                    if bytes.len() as u64 > len_max {
                        return Err(too_long());
                    }
                    return Ok(Some(Whole { bytes, tag, store_time_unix: date.unix_s() }));
                }
                Err(error) => broken_off = error.to_string(),
            }
        }
        Err(StoreError::Unavailable { op, key: key.to_string(), detail: broken_off })
    }

    /// Opens an object, or a part of it, as a stream.
    pub(crate) async fn reader(
        &self,
        key: &Key,
        range: Option<Range<u64>>,
    ) -> Result<Option<ObjectReader>, StoreError> {
        // HTTP cannot ask for nothing.
        if range.as_ref().is_some_and(Range::is_empty) {
            return self.empty_reader(key).await;
        }
        let header = range.as_ref().map(|range| format!("bytes={}-{}", range.start, range.end - 1));
        let output = match self.get_object(key, header, &StoreDate::default()).await {
            Ok(output) => output,
            Err(failed) if failed.how == How::Missing => return Ok(None),
            Err(failed) if failed.how == How::Range => return self.empty_reader(key).await,
            Err(failed) => return Err(failed.of_read("open", key.as_str())),
        };
        let tag = tag(key, output.e_tag.as_deref())?;
        let answered = length(output.content_length);
        let len = match range {
            None => answered,
            Some(range) => {
                let total =
                    output.content_range.as_deref().and_then(|text| text.rsplit_once('/')?.1.parse().ok());
                let len = total.ok_or_else(|| StoreError::Broken("ignores `Range`".to_owned()))?;
                let wanted = cut(Some(range), len);
                if answered != wanted.end - wanted.start {
                    return Err(StoreError::Broken("answers another range than was asked for".to_owned()));
                }
                len
            }
        };
        Ok(Some(ObjectReader { len, tag, stream: chunks(key, output.body) }))
    }

    async fn empty_reader(&self, key: &Key) -> Result<Option<ObjectReader>, StoreError> {
        let Some(head) = self.head("open", key).await? else { return Ok(None) };
        let tag = tag(key, head.e_tag.as_deref())?;
        Ok(Some(ObjectReader { len: length(head.content_length), tag, stream: stream::empty().boxed() }))
    }

    /// Asks for size, tag and checksum; `None` if there is no object.
    pub(crate) async fn head(
        &self,
        op: &'static str,
        key: &Key,
    ) -> Result<Option<HeadObjectOutput>, StoreError> {
        let request = self.clients().repeating.head_object().bucket(self.bucket()).key(self.full(key));
        match request.checksum_mode(ChecksumMode::Enabled).send().await {
            Ok(head) => Ok(Some(head)),
            Err(error) => match classify(&error) {
                Failed { how: How::Missing, .. } => Ok(None),
                failed => Err(failed.of_read(op, key.as_str())),
            },
        }
    }

    async fn get_object(
        &self,
        key: &Key,
        range: Option<String>,
        date: &StoreDate,
    ) -> Result<GetObjectOutput, Failed> {
        let request = self.clients().repeating.get_object().bucket(self.bucket()).key(self.full(key));
        let request = request.set_range(range).customize().interceptor(date.clone());
        request.send().await.map_err(|error| classify(&error))
    }
}

/// The tag of an answer; without one there is no compare-and-swap.
pub(crate) fn tag(key: &Key, etag: Option<&str>) -> Result<Tag, StoreError> {
    quoting::tag(etag).ok_or_else(|| StoreError::Broken(format!("answers without an ETag for `{key}`")))
}

pub(crate) fn length(content_length: Option<i64>) -> u64 {
    content_length.and_then(|len| len.try_into().ok()).unwrap_or(0)
}

fn chunks(key: &Key, body: ByteStream) -> BoxStream<'static, Result<Bytes, StoreError>> {
    let key = key.to_string();
    stream::unfold(Some(body), move |body| {
        let key = key.clone();
        async move {
            let mut body = body?;
            match body.next().await? {
                Ok(chunk) => Some((Ok(chunk), Some(body))),
                // The reader has consumed the beginning, so only it can begin again.
                Err(error) => {
                    Some((Err(StoreError::Unavailable { op: "open", key, detail: error.to_string() }), None))
                }
            }
        }
    })
    .boxed()
}
