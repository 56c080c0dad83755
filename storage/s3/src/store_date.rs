//! The store's own clock, from the `Date` header of its answers; the SDK's outputs leave it out.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeDeserializationInterceptorContextRef,
    },
    error::BoxError,
    primitives::{DateTime, DateTimeFormat},
};

/// Notes the `Date` of the last answer of one call. Clones share what they note.
#[derive(Debug, Clone, Default)]
pub(crate) struct StoreDate(Arc<AtomicU64>);

impl StoreDate {
    /// Seconds since 1970, if the store told.
    pub(crate) fn unix_s(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|time| *time != 0)
    }
}

impl Intercept for StoreDate {
    fn name(&self) -> &'static str {
        "StoreDate"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        // A store that sends no date, or a strange one, is a store that does not tell.
        let time = date.and_then(|text| DateTime::from_str(text, DateTimeFormat::HttpDate).ok());
        self.0.store(time.and_then(|time| time.secs().try_into().ok()).unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }
}
