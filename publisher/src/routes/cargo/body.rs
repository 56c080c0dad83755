//! The frame of Cargo's publish body: length, metadata, length, archive; lengths as 32 bits, little-endian.
//!
//! Invariant: a declared length is only believed as far as bytes arrive; nothing is reserved for it.

use axum::body::{Body, BodyDataStream};
use bytes::{Buf, Bytes};
use drystone_schemas::{Code, Problem};
use futures_util::{Stream, StreamExt, stream};

use crate::Refusal;

/// Length of the two lengths, in bytes.
pub(super) const LENGTHS_BYTES: u64 = 8;

/// A body that is read part by part.
pub(super) struct Frames {
    chunks: BodyDataStream,
    /// What has arrived and was not asked for yet.
    rest: Bytes,
}

impl Frames {
    pub(super) fn new(body: Body) -> Self {
        Self { chunks: body.into_data_stream(), rest: Bytes::new() }
    }

    /// Waits until a byte is there; `false` at the end of the body.
    async fn arrives(&mut self) -> Result<bool, Refusal> {
        while self.rest.is_empty() {
            match self.chunks.next().await {
                None => return Ok(false),
                Some(Ok(chunk)) => self.rest = chunk,
                Some(Err(e)) => {
                    return Err(Refusal::code(Code::MalformedRequest, format!("the body broke off: {e}")));
                }
            }
        }
        Ok(true)
    }

    /// The next part, whole; `what` names it if the body ends inside.
    pub(super) async fn part(&mut self, len: u64, what: &str) -> Result<Vec<u8>, Refusal> {
        let mut out = Vec::new();
        while (out.len() as u64) < len {
            if !self.arrives().await? {
                return Err(ends_early(what, out.len() as u64, len));
            }
            let left = len - out.len() as u64;
            out.extend_from_slice(&self.split(left));
        }
        Ok(out)
    }

    /// The length of a part.
    pub(super) async fn length(&mut self, what: &str) -> Result<u64, Refusal> {
        let bytes = self.part(4, &format!("length of the {what}")).await?;
        Ok((&*bytes).get_u32_le().into())
    }

    /// The last part, as it arrives; ends in a refusal unless the body ends with it.
    pub(super) fn last_part(
        &mut self,
        len: u64,
        what: &'static str,
    ) -> impl Stream<Item = Result<Bytes, Refusal>> {
        stream::try_unfold((self, len), move |(frames, left)| async move {
            match (left, frames.arrives().await?) {
                (0, false) => Ok(None),
                (0, true) => Err(mismatch(format!("the body goes on after the {what} of {len} bytes"), len)),
                (_, false) => Err(ends_early(what, len - left, len)),
                (_, true) => {
                    let chunk = frames.split(left);
                    let left = left - chunk.len() as u64;
                    Ok(Some((chunk, (frames, left))))
                }
            }
        })
    }

    fn split(&mut self, len_max: u64) -> Bytes {
        let len = usize::try_from(len_max).unwrap_or(usize::MAX).min(self.rest.len());
        self.rest.split_to(len)
    }

    /// Takes in up to this many bytes more and forgets them: a connection that is closed with bytes on their way may
    /// lose the answer.
    pub(super) async fn drain(&mut self, len_max: u64) {
        let mut len = 0;
        while len <= len_max
            && let Some(Ok(chunk)) = self.chunks.next().await
        {
            len += chunk.len() as u64;
        }
    }
}

fn mismatch(detail: String, declared: u64) -> Refusal {
    Refusal::new(Problem::new(Code::LengthMismatch, detail).fact("declared", declared))
}

fn ends_early(what: &str, arrived: u64, declared: u64) -> Refusal {
    mismatch(format!("the body ends inside the {what}, after {arrived} of {declared} bytes"), declared)
}

/// Compares the length of a body with what its parts are declared to have.
pub(super) fn check_whole(whole: Option<u64>, parts: u64) -> Result<(), Refusal> {
    match whole {
        Some(whole) if whole != parts => {
            let detail = format!("the body has {whole} bytes, its parts are declared to have {parts}");
            Err(mismatch(detail, parts))
        }
        _ => Ok(()),
    }
}
