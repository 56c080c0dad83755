//! Counting requests to the API, and telling how many are left.
//!
//! Owns: whom a request counts for, and the headers. Does not own: buckets. Whom a token belongs to is remembered for counting
//! alone; a right never follows from it.

use std::net::IpAddr;

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue, Method},
    response::Response,
};
use drystone_schemas::{Code, Problem};

use super::bearer;
use crate::{
    Refusal, Service, Token,
    limits::{self, ATTEMPTS, Exhausted, Standing, address_of, network, subject_of},
};

/// What is looked at of a request to the API, to count it.
pub(super) struct Counted {
    token: Option<Token>,
    address: Option<IpAddr>,
    reads: bool,
    searches: bool,
}

impl Counted {
    /// Looks at a request; none if it is not one that is counted.
    pub(super) fn of(request: &Request) -> Option<Self> {
        let path = request.uri().path();
        // A machine that waits to be signed in is counted by the code that it asks with.
        if !path.starts_with("/api/v1/")
            || matches!(path, "/api/v1/registry/access" | "/api/v1/auth/device/token")
        {
            return None;
        }
        Some(Self {
            token: bearer(request.headers()).ok(),
            address: address_of(request.extensions(), request.headers()),
            reads: matches!(*request.method(), Method::GET | Method::HEAD),
            searches: matches!(path, "/api/v1/search" | "/api/v1/crates"),
        })
    }
}

/// Has it noted that a token was used, if it turned out to be one.
pub(super) fn note_use(service: &Service, counted: Option<&Counted>) {
    if let Some(digest) = counted.and_then(|counted| counted.token.as_ref()).map(Token::digest)
        && service.core.known.get(&digest).is_some_and(|owner| owner.listed)
    {
        service.core.note_use_once(digest);
    }
}

/// Counts a request; none where nobody is counted for it.
pub(super) async fn count(
    service: &Service,
    counted: Option<&Counted>,
) -> Result<Option<Standing>, Exhausted> {
    let Some(Counted { token, address, reads, searches }) = counted else { return Ok(None) };
    let (core, settings) = (&*service.core, service.settings());
    let now_ms = core.clock.now_unix_ms();
    let take = |rate, subject| core.counted.take(rate, subject, now_ms);
    let owner = match token.as_ref().map(|token| (token, core.known.get(&token.digest()))) {
        Some((token, None)) => {
            // Nobody tries many.
            if let Some(address) = address {
                take(ATTEMPTS, network(*address))?;
            }
            if !reads {
                // Whoever changes something has the token looked up anyway.
                return Ok(None);
            }
            // A read may not look at it at all. One that is not good is counted like none.
            drop(service.admit(token).await);
            core.known.get(&token.digest())
        }
        Some((_, owner)) => owner,
        None => None,
    };
    let (rate, subject) = match (owner, address) {
        (Some(owner), _) if owner.exempt => return Ok(None),
        (Some(owner), _) => (limits::signed_in(&settings.limits), subject_of(&owner.account)),
        (None, Some(address)) => (limits::anonymous(&settings.limits), network(*address)),
        (None, None) => return Ok(None),
    };
    if *searches {
        take(limits::searches(&settings.limits), subject.clone())?;
    }
    take(rate, subject).map(Some)
}

/// Tells how a bucket stands: that of the refusal, or else the one that the request counts for.
pub(super) fn tell(
    now_s: u64,
    counted: Result<Option<Standing>, Exhausted>,
    refused: Option<&Problem>,
    response: &mut Response,
) {
    let headers: Vec<(HeaderName, HeaderValue)> = match (refused, counted) {
        (Some(problem), _) => limits::refused_headers(problem, now_s),
        (None, Ok(Some(standing))) => standing.headers(now_s),
        (None, Err(exhausted)) => exhausted.headers(now_s),
        (None, Ok(None)) => Vec::new(),
    };
    response.headers_mut().extend(headers);
}

/// The problem of a refusal for asking too often.
pub(super) fn rate_problem(refusal: &Refusal) -> Option<&Problem> {
    refusal.problems.first().filter(|problem| problem.code == Code::RateLimited)
}
