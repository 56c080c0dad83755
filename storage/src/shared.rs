//! An `Arc` of a backend is a backend, so that wrappers can be put around an area that is already shared.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Area, Key, Meta, NewObject, ObjectReader, Objects, Outcome, Page, Pointers, PresignedPut, Replace, Stat,
    StoreError, Tag, Versioned,
};

#[async_trait]
impl<T: Objects + ?Sized> Objects for Arc<T> {
    async fn put_new(&self, object: &NewObject) -> Result<Outcome, StoreError> {
        (**self).put_new(object).await
    }

    async fn put_round(&self, objects: &[NewObject]) -> Vec<Result<Outcome, StoreError>> {
        (**self).put_round(objects).await
    }

    async fn get(&self, key: &Key, len_max: u64) -> Result<Option<Bytes>, StoreError> {
        (**self).get(key, len_max).await
    }

    async fn open(&self, key: &Key, range: Option<Range<u64>>) -> Result<Option<ObjectReader>, StoreError> {
        (**self).open(key, range).await
    }

    async fn stat(&self, key: &Key) -> Result<Option<Stat>, StoreError> {
        (**self).stat(key).await
    }

    fn stat_at_once(&self, key: &Key) -> Option<Result<Option<Stat>, StoreError>> {
        (**self).stat_at_once(key)
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        (**self).list(prefix, after).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        (**self).delete(key).await
    }

    async fn delete_round(&self, keys: &[Key]) -> Vec<Result<(), StoreError>> {
        (**self).delete_round(keys).await
    }

    fn ordered(&self) -> Option<Arc<dyn Area>> {
        (**self).ordered()
    }

    async fn settle(&self) -> Result<(), StoreError> {
        (**self).settle().await
    }

    async fn reserve(&self, lens: &[u64]) -> Result<(), StoreError> {
        (**self).reserve(lens).await
    }

    async fn presign_put(
        &self,
        key: &Key,
        sha256_hex: &str,
        len: u64,
        valid_s: u32,
    ) -> Result<Option<PresignedPut>, StoreError> {
        (**self).presign_put(key, sha256_hex, len, valid_s).await
    }
}

#[async_trait]
impl<T: Pointers + ?Sized> Pointers for Arc<T> {
    async fn read(&self, key: &Key, len_max: u64) -> Result<Option<Versioned>, StoreError> {
        (**self).read(key, len_max).await
    }

    async fn replace(
        &self,
        key: &Key,
        seen: Option<&Tag>,
        bytes: Bytes,
        meta: Meta,
    ) -> Result<Replace, StoreError> {
        (**self).replace(key, seen, bytes, meta).await
    }

    async fn replace_round(
        &self,
        swaps: Vec<(Key, Option<Tag>, Bytes, Meta)>,
    ) -> Vec<Result<Replace, StoreError>> {
        (**self).replace_round(swaps).await
    }
}
