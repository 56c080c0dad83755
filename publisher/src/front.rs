//! The way in: what can be answered at once, and the router for everything else.
//!
//! Owns: which requests need no router. Does not own: what is answered.
//! Invariant: an answer that is given at once is the one that the router would have given.

use std::sync::Arc;

use axum::{
    Router,
    http::{Request, Response},
};
use bytes::Bytes;

use crate::{
    PublicFiles, Service,
    routes::{FILES, Trace, api_router},
};

/// What a listener answers with.
#[derive(Clone)]
pub struct Front {
    router: Router,
    at_hand: Option<(Arc<Service>, PublicFiles)>,
}

impl Front {
    /// The publisher's API, with the files of its store.
    pub fn new(service: Arc<Service>, files: PublicFiles) -> Self {
        Self { router: api_router(service.clone(), Some(&files)), at_hand: Some((service, files)) }
    }

    /// Everything that is not answered at once.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// The answer to a read of a file that is in memory and still the same, where anybody may read.
    ///
    /// Most reads of a registry are of a few files, and the router takes longer than such an answer.
    pub fn at_once<B>(&self, request: &Request<B>) -> Option<Response<Bytes>> {
        let (service, files) = self.at_hand.as_ref()?;
        if !service.lets_anybody_read()? {
            return None;
        }
        let mut response = files.at_once(request.method(), request.uri().path(), request.headers())?;
        Trace::begin(service).end(service, request.method(), FILES, &mut response);
        Some(response)
    }
}

impl From<Router> for Front {
    /// Only a router.
    fn from(router: Router) -> Self {
        Self { router, at_hand: None }
    }
}
