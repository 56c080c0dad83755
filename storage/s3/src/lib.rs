//! The S3 backend: both storage roles over any store that honours `If-None-Match` and `If-Match` on `PUT`.
//!
//! Owns: requests, their conditions, and what their answers mean. Does not own: credentials (the SDK's default chain
//! finds them in the standard `AWS_*` variables, profiles or the machine's role) and whether the store keeps its word
//! (ask [`drystone_storage::probe`]).
//!
//! The credentials must allow `s3:GetObject`, `s3:PutObject`, `s3:DeleteObject` and `s3:ListBucket`; without the last,
//! S3 answers 403 instead of 404 for a missing object, and a new registry cannot begin.
//!
//! Invariant: a conditional `PUT` of a pointer is sent once. What came of it is success, conflict or unknown,
//! and only a 412 (or a 404, for a tag on a missing key) is a conflict.

mod answer;
mod area;
mod body;
mod connect;
mod quoting;
mod read;
mod store_date;

pub use area::S3Area;
pub use connect::{InvalidUrl, S3Settings};
