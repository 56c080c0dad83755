//! Addresses below `/api/v1/packages/`: which package, which version, which verb.
//!
//! A scoped name may be written `owner%2Fname` or `owner/name`. Versions have dots and names have none, so `a/1.0.0`
//! is a release and `a/b` a package; a verb after a name wins over a package of that name, which then needs `%2F`.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::Method,
    response::{IntoResponse, Response},
};
use drystone_schemas::{Code, PackageName, Version};

use super::{change, github, no_such_route, only_allowed, read, trusted};
use crate::{Refusal, Service};

/// Verbs that follow a package.
const PACKAGE_VERBS: [&str; 7] =
    ["owners", "transfer", "publishers", "deprecate", "undeprecate", "keys", "policy"];

/// What an address names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) name: PackageName,
    pub(super) version: Option<Version>,
    /// What follows.
    pub(super) verb: Vec<String>,
}

impl Target {
    /// Reads the part of an address after `/api/v1/packages/`, still percent-encoded.
    pub(super) fn parse(path: &str) -> Result<Self, Refusal> {
        let mut segments = path.split('/').map(decode).collect::<Result<Vec<_>, _>>()?.into_iter().peekable();
        let mut name = segments.next().unwrap_or_default();
        let joins =
            |next: &String| !name.contains('/') && !next.contains('.') && !PACKAGE_VERBS.contains(&&**next);
        if let Some(short) = segments.next_if(joins) {
            name = format!("{name}/{short}");
        }
        let name = PackageName::new(name).map_err(|e| Refusal::code(Code::InvalidName, e.to_string()))?;
        let version = segments.next_if(|next| next.contains('.'));
        let mut verb: Vec<String> = segments.collect();
        // GitHub's order: the version comes last.
        let last = match (&version, &*verb) {
            (None, [first, _]) if first == "download" => verb.pop(),
            _ => None,
        };
        let version = version.or(last);
        let version = version.map(|text| Version::new(&text)).transpose();
        let version = version.map_err(|e| Refusal::code(Code::InvalidVersion, e.to_string()))?;
        Ok(Self { name, version, verb })
    }
}

/// Undoes percent-encoding (RFC 3986 section 2.1).
fn decode(segment: &str) -> Result<String, Refusal> {
    let invalid = || Refusal::code(Code::MalformedRequest, "the address is not percent-encoded UTF-8");
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = tail.split_at_checked(2).ok_or_else(invalid)?;
        let mut byte = [0];
        hex::decode_to_slice(digits, &mut byte).map_err(|_| invalid())?;
        bytes.extend_from_slice(&byte);
        rest = tail;
    }
    String::from_utf8(bytes).map_err(|_| invalid())
}

/// Finds the handler for an address and a method.
pub(super) async fn dispatch(State(service): State<Arc<Service>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        match github::stored(&service, &path).await {
            Ok(None) if path.ends_with("/index.json") => return no_such_route(&path).into_response(),
            Ok(None) => {}
            Ok(Some(response)) => return response,
            Err(refusal) => return refusal.into_response(),
        }
    }
    let target = match Target::parse(path.strip_prefix("/api/v1/packages/").unwrap_or_default()) {
        Ok(target) => target,
        Err(refusal) => return refusal.into_response(),
    };
    let verb: Vec<&str> = target.verb.iter().map(String::as_str).collect();
    let method = request.method().clone();
    let result = match (&method, target.version.is_some(), &*verb) {
        (&Method::GET | &Method::HEAD, false, []) => read::package(&service, &target).await,
        (&Method::GET | &Method::HEAD, true, []) => read::version(&service, &target).await,
        (&Method::GET | &Method::HEAD, true, ["download"]) => read::download(&service, &target).await,
        (&Method::GET | &Method::HEAD, false, ["owners"]) => read::owners(&service, &target).await,
        (&Method::POST | &Method::PUT, true, ["yank"]) | (&Method::DELETE, true, ["yank"] | []) => {
            change::yank(&service, &target, request).await
        }
        (&Method::POST | &Method::PUT, true, ["unyank"]) => change::unyank(&service, &target, request).await,
        (&Method::POST, true, ["delete"]) => change::delete(&service, &target, request).await,
        (&Method::POST, false, ["deprecate"]) => change::deprecate(&service, &target, request).await,
        (&Method::POST, false, ["undeprecate"]) => change::undeprecate(&service, &target, request).await,
        (&Method::PUT, false, ["owners"]) => change::add_owners(&service, &target, request).await,
        (&Method::DELETE, false, ["owners"]) => change::remove_owners(&service, &target, request).await,
        (&Method::PUT, false, ["transfer"]) => change::offer_transfer(&service, &target, request).await,
        (&Method::DELETE, false, ["transfer"]) => change::withdraw_transfer(&service, &target, request).await,
        (&Method::POST, false, ["transfer", "accept"]) => {
            change::accept_transfer(&service, &target, request).await
        }
        (&Method::PUT, false, ["keys"]) => change::add_key(&service, &target, request).await,
        (&Method::DELETE, false, ["keys"]) => change::remove_key(&service, &target, request).await,
        (&Method::PUT, false, ["policy"]) => change::set_rule(&service, &target, request).await,
        (&Method::GET | &Method::HEAD, false, ["publishers"]) => trusted::list(&service, &target).await,
        (&Method::POST, false, ["publishers"]) => trusted::add(&service, &target, request).await,
        (&Method::DELETE, false, ["publishers", id]) => trusted::remove(&service, &target, id, request).await,
        (_, released, verb) => match allowed(released, verb) {
            Some(allow) => Ok(only_allowed(&method, allow)),
            None => Err(no_such_route(&path)),
        },
    };
    result.unwrap_or_else(IntoResponse::into_response)
}

/// The methods of an address, by whether it names a release and by its verb; none if there is no such address.
fn allowed(released: bool, verb: &[&str]) -> Option<&'static str> {
    Some(match (released, verb) {
        (false, []) | (true, ["download"]) => "GET, HEAD",
        (true, []) => "GET, HEAD, DELETE",
        (true, ["yank"]) => "POST, PUT, DELETE",
        (true, ["unyank"]) => "POST, PUT",
        (true, ["delete"]) | (false, ["deprecate" | "undeprecate"]) => "POST",
        (false, ["owners"]) => "GET, HEAD, PUT, DELETE",
        (false, ["keys" | "transfer"]) => "PUT, DELETE",
        (false, ["transfer", "accept"]) => "POST",
        (false, ["policy"]) => "PUT",
        (false, ["publishers"]) => "GET, HEAD, POST",
        (false, ["publishers", _]) => "DELETE",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str) -> (String, Option<String>, Vec<String>) {
        let target = Target::parse(path).unwrap();
        (target.name.to_string(), target.version.map(|v| v.to_string()), target.verb)
    }

    #[test]
    fn names_versions_and_verbs() {
        let none: Vec<String> = vec![];
        assert_eq!(parse("serde"), ("serde".into(), None, none.clone()));
        assert_eq!(parse("serde/1.0.0"), ("serde".into(), Some("1.0.0".into()), none.clone()));
        assert_eq!(parse("acme/http"), ("acme/http".into(), None, none.clone()));
        assert_eq!(
            parse("acme%2Fhttp/1.0.0%2Bb/yank"),
            ("acme/http".into(), Some("1.0.0+b".into()), vec!["yank".into()])
        );
        assert_eq!(
            parse("acme/http/download/1.0.0"),
            ("acme/http".into(), Some("1.0.0".into()), vec!["download".into()])
        );
        assert_eq!(parse("serde/owners"), ("serde".into(), None, vec!["owners".into()]));
        assert_eq!(parse("acme%2Fowners"), ("acme/owners".into(), None, none));
        assert_eq!(
            parse("acme/owners/owners"),
            ("acme".into(), None, vec!["owners".into(), "owners".into()])
        );
    }

    #[test]
    fn what_is_not_an_address() {
        for bad in ["", "%", "%zz", "%ff", "..%2f", "a/1.0", "-a"] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }
}
