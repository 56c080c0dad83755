//! What an answer of the store, or the lack of one, means.

use std::error::Error;

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
};
use drystone_storage::{Key, StoreError};

/// A call that did not succeed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) how: How,
    /// What the store said, for the log.
    pub(crate) detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// The condition did not hold: nothing was done.
    Precondition,
    /// There is no such object.
    Missing,
    /// The range begins behind the object's end.
    Range,
    /// A quota or the disk is full.
    Full,
    /// The request is not allowed or not understood: nothing was done, and repeating it will not help.
    Refused,
    /// A time-out, a lost connection, a race (409) or a fault of the store: it may or may not have been done.
    Unknown,
}

/// Classifies an error of the SDK.
pub(crate) fn classify<E>(error: &SdkError<E, HttpResponse>) -> Failed
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(answered) => {
            let status = answered.raw().status().as_u16();
            let code = answered.err().code().unwrap_or_default();
            let message = answered.err().message().unwrap_or_default();
            Failed {
                how: by_status(status, code),
                detail: format!("{status} {code} {message}").trim_end().to_owned(),
            }
        }
        // The request could not even be built.
        SdkError::ConstructionFailure(_) => Failed { how: How::Refused, detail: describe(error) },
        _ => Failed { how: How::Unknown, detail: describe(error) },
    }
}

fn describe<E: Error + 'static>(error: &SdkError<E, HttpResponse>) -> String {
    DisplayErrorContext(error).to_string()
}

/// Sources: the error list of the S3 API reference; "Conditional requests" in the S3 user guide for 409 and 412.
fn by_status(status: u16, code: &str) -> How {
    match (status, code) {
        // Some stores answer a failed `If-None-Match` as if it had been a read.
        (412 | 304, _) => How::Precondition,
        (404, "NoSuchBucket") => How::Refused,
        (404, _) => How::Missing,
        (416, _) => How::Range,
        (507, _) | (_, "QuotaExceeded" | "QuotaExceededException" | "XMinioStorageFull") => How::Full,
        // The request was not read to its end in time.
        (_, "RequestTimeout") | (408 | 409 | 429, _) => How::Unknown,
        // Also redirects, which say that the bucket lies in another region.
        (300..=499 | 501, _) => How::Refused,
        _ => How::Unknown,
    }
}

impl Failed {
    /// The error of a call that reads.
    pub(crate) fn of_read(self, op: &'static str, key: &str) -> StoreError {
        let (key, detail) = (key.to_owned(), self.detail);
        match self.how {
            How::Refused => StoreError::Refused { op, key, detail },
            How::Full => StoreError::Full { op, key },
            How::Unknown | How::Missing | How::Precondition | How::Range => {
                StoreError::Unavailable { op, key, detail }
            }
        }
    }

    /// The error of a call that writes.
    pub(crate) fn of_write(self, op: &'static str, key: &Key) -> StoreError {
        let (key, detail) = (key.to_string(), self.detail);
        match self.how {
            How::Refused => StoreError::Refused { op, key, detail },
            How::Full => StoreError::Full { op, key },
            How::Unknown | How::Missing | How::Precondition | How::Range => {
                StoreError::Unknown { op, key, detail }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{How, by_status};

    #[test]
    fn each_answer_means_one_thing() {
        let table = [
            (412, "PreconditionFailed", How::Precondition),
            (304, "", How::Precondition),
            (404, "NoSuchKey", How::Missing),
            (404, "", How::Missing),
            (404, "NoSuchBucket", How::Refused),
            (409, "ConditionalRequestConflict", How::Unknown),
            (416, "InvalidRange", How::Range),
            (403, "AccessDenied", How::Refused),
            (403, "QuotaExceeded", How::Full),
            (507, "", How::Full),
            (400, "BadDigest", How::Refused),
            (400, "RequestTimeout", How::Unknown),
            (408, "", How::Unknown),
            (429, "TooManyRequests", How::Unknown),
            (500, "InternalError", How::Unknown),
            (501, "NotImplemented", How::Refused),
            (503, "SlowDown", How::Unknown),
            (301, "PermanentRedirect", How::Refused),
        ];
        for (status, code, expected) in table {
            assert_eq!(by_status(status, code), expected, "{status} {code}");
        }
    }
}
