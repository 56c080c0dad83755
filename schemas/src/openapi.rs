//! The publisher's API as an OpenAPI document: every address, who may ask, what comes back.
//!
//! Owns: the table of operations, and the document made from it (OpenAPI 3.1.0). Does not own: schemas, which are those of the wire
//! types. Addresses for existing clients of other registries are described where they are told from, in their own documents.

use schemars::{Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{
    AuthorKeyRequest, ErrorBody, ExchangeRequest, ExchangeResponse, OwnersRequest, OwnersResponse,
    PackageResponse, PublishMetadata, PublishResponse, PublisherRequest, PublishersResponse, ReasonRequest,
    ResolveResponse, RuleRequest, TransferRequest, TrustedPublisher, UploadRequest, UploadResponse,
    VersionResponse, WriteResponse, api::AliasRequest, second_factor as f, sign_in as s,
};

/// Makes the schema of a type.
type Type = fn(&mut SchemaGenerator) -> Schema;

/// Who may ask.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Anybody, with or without a token.
    Anybody,
    /// Whoever has a token that fits.
    Token,
}

/// One operation.
struct Operation {
    method: &'static str,
    path: &'static str,
    about: &'static str,
    who: Who,
    body: Option<(Type, Presence)>,
    answers: &'static [u16],
    answer: Option<Type>,
    /// Statuses of refusals beside those that every operation of its kind may have.
    refusals: &'static [u16],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Needed,
    Optional,
}

/// Refusals that any address may answer with: a request that cannot be read, too many of them, a storage that is away.
const ANYWHERE: [u16; 5] = [400, 404, 408, 429, 503];
/// Those of an address that looks at a token.
const WITH_TOKEN: [u16; 2] = [401, 403];
/// Those of an address that takes a body.
const WITH_BODY: [u16; 2] = [413, 422];

macro_rules! schema {
    ($type:ty) => {
        |generator: &mut SchemaGenerator| generator.subschema_for::<$type>()
    };
}

fn operation(method: &'static str, path: &'static str, about: &'static str) -> Operation {
    let (who, body, answer) = (Who::Anybody, None, None);
    Operation { method, path, about, who, body, answers: &[200], answer, refusals: &[] }
}

impl Operation {
    const fn takes(mut self, body: Type) -> Self {
        self.body = Some((body, Presence::Needed));
        self
    }

    const fn may_take(mut self, body: Type) -> Self {
        self.body = Some((body, Presence::Optional));
        self
    }

    const fn gives(mut self, answers: &'static [u16], answer: Type) -> Self {
        (self.answers, self.answer) = (answers, Some(answer));
        self
    }

    const fn answers(mut self, answers: &'static [u16]) -> Self {
        self.answers = answers;
        self
    }

    const fn by_token(mut self) -> Self {
        self.who = Who::Token;
        self
    }

    const fn refuses(mut self, refusals: &'static [u16]) -> Self {
        self.refusals = refusals;
        self
    }
}

/// Every operation, by path.
fn operations() -> Vec<Operation> {
    let written = schema!(WriteResponse);
    let change = |method, path, about| {
        operation(method, path, about).by_token().gives(&[200], written).refuses(&[409, 410, 422])
    };
    vec![
        operation("get", "/healthz", "Whether the process lives"),
        operation("get", "/readyz", "Whether a commit could be made now"),
        operation("get", "/api/v1/registry/config", "What the registry is"),
        operation("get", "/api/v1/registry/access", "Whether the sender may read")
            .answers(&[204])
            .refuses(&[401]),
        operation("get", "/api/v1/me", "Whom the token acts for").by_token(),
        operation("get", "/api/v1/resolve/{alias}", "What a short name means")
            .gives(&[200], schema!(ResolveResponse))
            .refuses(&[422]),
        operation("get", "/api/v1/search", "Packages by words").refuses(&[422]),
        operation("get", "/api/v1/packages/{name}", "A package")
            .gives(&[200], schema!(PackageResponse))
            .refuses(&[422]),
        operation("get", "/api/v1/packages/{name}/{version}", "A release")
            .gives(&[200], schema!(VersionResponse))
            .refuses(&[410, 422]),
        operation("get", "/api/v1/packages/{name}/{version}/download", "The archive of a release")
            .answers(&[302])
            .refuses(&[410, 422]),
        change("post", "/api/v1/packages/{name}/{version}/yank", "Keep a release from being chosen")
            .may_take(schema!(ReasonRequest))
            .refuses(&[409, 410, 413, 422]),
        change("post", "/api/v1/packages/{name}/{version}/unyank", "Take a yank back"),
        change("post", "/api/v1/packages/{name}/deprecate", "Say that a package should not be used")
            .may_take(schema!(ReasonRequest))
            .refuses(&[409, 410, 413, 422]),
        change("post", "/api/v1/packages/{name}/undeprecate", "Take a deprecation back"),
        operation("get", "/api/v1/packages/{name}/owners", "Who may act for a package")
            .gives(&[200], schema!(OwnersResponse))
            .refuses(&[422]),
        change("put", "/api/v1/packages/{name}/owners", "Let accounts act for a package")
            .takes(schema!(OwnersRequest)),
        change("delete", "/api/v1/packages/{name}/owners", "Let them no longer")
            .takes(schema!(OwnersRequest)),
        change("put", "/api/v1/packages/{name}/transfer", "Offer a package to an account or organisation")
            .takes(schema!(TransferRequest)),
        change("delete", "/api/v1/packages/{name}/transfer", "Take the offer back, or decline it"),
        change("post", "/api/v1/packages/{name}/transfer/accept", "Take the package over"),
        operation("get", "/api/v1/packages/{name}/publishers", "Which CI identities a package trusts")
            .gives(&[200], schema!(PublishersResponse))
            .refuses(&[422]),
        change("post", "/api/v1/packages/{name}/publishers", "Trust a CI identity")
            .takes(schema!(PublisherRequest)),
        change("delete", "/api/v1/packages/{name}/publishers/{id}", "Trust it no longer"),
        change("put", "/api/v1/packages/{name}/keys", "Make a key known as one of the authors'")
            .takes(schema!(AuthorKeyRequest)),
        change("delete", "/api/v1/packages/{name}/keys", "Let it count no more")
            .takes(schema!(AuthorKeyRequest)),
        change("put", "/api/v1/packages/{name}/policy", "Say which keys must sign releases")
            .takes(schema!(RuleRequest)),
        operation("post", "/api/v1/uploads", "Where to put a large archive")
            .by_token()
            .takes(schema!(UploadRequest))
            .gives(&[201], schema!(UploadResponse)),
        operation("post", "/api/v1/packages", "Publish an archive that was put there")
            .by_token()
            .takes(schema!(PublishMetadata))
            .gives(&[200, 201], schema!(PublishResponse))
            .refuses(&[409, 410]),
        change("put", "/api/v1/aliases/{alias}", "Let a short name mean a package")
            .takes(schema!(AliasRequest)),
        change("delete", "/api/v1/aliases/{alias}", "Let it mean nothing"),
        operation(
            "get",
            "/api/v1/pending-publishers/{package}",
            "CI identities of one's own that wait for a package",
        )
        .by_token()
        .gives(&[200], schema!(PublishersResponse))
        .refuses(&[422]),
        operation("post", "/api/v1/pending-publishers/{package}", "Let one wait")
            .by_token()
            .takes(schema!(PublisherRequest))
            .gives(&[201], schema!(TrustedPublisher))
            .refuses(&[409]),
        operation("delete", "/api/v1/pending-publishers/{package}/{id}", "Let it wait no longer")
            .by_token()
            .gives(&[200], written)
            .refuses(&[422]),
        operation("post", "/api/v1/trusted_publishing/tokens", "Exchange an issuer's token")
            .takes(schema!(ExchangeRequest))
            .gives(&[200], schema!(ExchangeResponse))
            .refuses(&[401, 403]),
        operation("delete", "/api/v1/trusted_publishing/tokens", "Give such a token back")
            .by_token()
            .answers(&[204]),
        operation("post", "/api/v1/auth/register", "Make an account")
            .takes(schema!(s::RegisterRequest))
            .gives(&[201], schema!(s::SessionResponse))
            .refuses(&[403, 409]),
        operation("post", "/api/v1/auth/login", "Sign in")
            .takes(schema!(s::LoginRequest))
            .gives(&[200], schema!(s::SessionResponse))
            .refuses(&[401]),
        operation("post", "/api/v1/auth/refresh", "Go on with a session")
            .takes(schema!(s::RefreshRequest))
            .gives(&[200], schema!(s::SessionResponse))
            .refuses(&[401]),
        operation("post", "/api/v1/auth/logout", "End the session or the token of the request")
            .by_token()
            .may_take(schema!(s::LogoutRequest))
            .gives(&[200], written)
            .refuses(&[413, 422]),
        operation("post", "/api/v1/auth/verify", "Verify an address")
            .takes(schema!(s::VerifyRequest))
            .gives(&[200], written),
        operation("post", "/api/v1/auth/verify/send", "Have another mail sent")
            .by_token()
            .gives(&[202], written),
        operation("post", "/api/v1/auth/password/change", "Change the password")
            .by_token()
            .takes(schema!(s::PasswordChangeRequest))
            .gives(&[200], written),
        operation("post", "/api/v1/auth/password/reset", "Ask for a mail to set the password")
            .takes(schema!(s::PasswordResetRequest))
            .gives(&[202], written),
        operation("post", "/api/v1/auth/password/set", "Set the password with what came by mail")
            .takes(schema!(s::PasswordSetRequest))
            .gives(&[200], written),
        operation("post", "/api/v1/auth/device", "Codes for a machine that is to be signed in")
            .takes(schema!(s::NewTokenRequest))
            .gives(&[200], schema!(s::DeviceCodes)),
        operation("post", "/api/v1/auth/device/token", "The machine's token, once somebody has said yes")
            .takes(schema!(s::DeviceTokenRequest))
            .gives(&[200], schema!(s::NewTokenResponse))
            .refuses(&[403]),
        operation("post", "/api/v1/auth/device/answer", "Say yes or no to the machine that shows a code")
            .by_token()
            .takes(schema!(s::DeviceAnswer))
            .gives(&[200], written),
        operation("get", "/api/v1/auth/keys", "The keys that sessions are signed with"),
        operation("get", "/api/v1/users/me", "The account of the token")
            .by_token()
            .gives(&[200], schema!(s::User)),
        operation("delete", "/api/v1/users/me", "Delete the account")
            .by_token()
            .takes(schema!(s::DeleteAccountRequest))
            .gives(&[200], written)
            .refuses(&[409]),
        operation("get", "/api/v1/users/me/tokens", "Its tokens")
            .by_token()
            .gives(&[200], schema!(s::TokensResponse)),
        operation("post", "/api/v1/users/me/tokens", "Make a token")
            .by_token()
            .takes(schema!(s::NewTokenRequest))
            .gives(&[201], schema!(s::NewTokenResponse)),
        operation("delete", "/api/v1/users/me/tokens/{id}", "Revoke a token")
            .by_token()
            .gives(&[200], written),
        operation("post", "/api/v1/users/me/tokens/{id}/rotate", "Replace a token by one like it")
            .by_token()
            .gives(&[201], schema!(s::NewTokenResponse))
            .refuses(&[422]),
        operation("get", "/api/v1/users/me/events", "What happened to the account")
            .by_token()
            .gives(&[200], schema!(s::SecurityEventsResponse)),
        operation("get", "/api/v1/users/me/second-factor", "Whether signing in takes a code")
            .by_token()
            .gives(&[200], schema!(f::SecondFactorResponse)),
        operation("post", "/api/v1/users/me/second-factor", "Begin to enrol an authenticator app")
            .by_token()
            .takes(schema!(f::NewSecondFactorRequest))
            .gives(&[201], schema!(f::NewSecondFactorResponse))
            .refuses(&[409]),
        operation("delete", "/api/v1/users/me/second-factor", "Sign in without a code from now on")
            .by_token()
            .takes(schema!(f::SecondFactorRequest))
            .gives(&[200], written)
            .refuses(&[409]),
        operation("post", "/api/v1/users/me/second-factor/confirm", "Show a code of the app")
            .by_token()
            .takes(schema!(f::ConfirmSecondFactorRequest))
            .gives(&[200], schema!(f::RecoveryCodesResponse))
            .refuses(&[409]),
        operation("post", "/api/v1/users/me/second-factor/recovery-codes", "Make other recovery codes")
            .by_token()
            .takes(schema!(f::SecondFactorRequest))
            .gives(&[200], schema!(f::RecoveryCodesResponse))
            .refuses(&[409]),
        operation("get", "/api/v1/users/{login}", "What everybody may know of an account")
            .gives(&[200], schema!(s::PublicUser))
            .refuses(&[422]),
        operation("post", "/api/v1/orgs", "Make an organisation")
            .by_token()
            .takes(schema!(s::NewOrgRequest))
            .gives(&[201], schema!(s::OrgResponse))
            .refuses(&[409]),
        operation("get", "/api/v1/orgs/{org}", "An organisation")
            .gives(&[200], schema!(s::OrgResponse))
            .refuses(&[401, 422]),
        operation("post", "/api/v1/orgs/{org}/join", "Take an invitation")
            .by_token()
            .gives(&[200], written)
            .refuses(&[422]),
        operation("put", "/api/v1/orgs/{org}/members/{login}", "Invite somebody, or change a role")
            .by_token()
            .takes(schema!(s::MemberRequest))
            .gives(&[200], written)
            .refuses(&[409]),
        operation("delete", "/api/v1/orgs/{org}/members/{login}", "Remove a member, or leave")
            .by_token()
            .gives(&[200], written)
            .refuses(&[409, 422]),
        operation("put", "/api/v1/orgs/{org}/teams/{team}", "Make a team")
            .by_token()
            .gives(&[200], written)
            .refuses(&[422]),
        operation("delete", "/api/v1/orgs/{org}/teams/{team}", "Dissolve a team")
            .by_token()
            .gives(&[200], written)
            .refuses(&[422]),
        operation("put", "/api/v1/orgs/{org}/teams/{team}/members/{login}", "Put a member into a team")
            .by_token()
            .gives(&[200], written)
            .refuses(&[422]),
        operation("delete", "/api/v1/orgs/{org}/teams/{team}/members/{login}", "Take one out, or leave")
            .by_token()
            .gives(&[200], written)
            .refuses(&[422]),
        operation("post", "/api/v1/secret-scanning/reports", "Report tokens that others can read")
            .takes(schema!(Vec<s::LeakedToken>))
            .gives(&[200], schema!(Vec<s::LeakVerdict>)),
    ]
}

/// The names in braces.
fn parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// What a parameter may look like.
fn example(parameter: &str) -> &'static str {
    match parameter {
        "name" | "package" => "greeting",
        "version" => "1.0.0",
        "alias" => "hello",
        "login" => "operator",
        "org" => "acme",
        "team" => "core",
        _ => "acct:01K742R2DRAAAAAAAAAAAAAAAB",
    }
}

fn describe(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let mut params: Vec<Value> = parameters(operation.path)
        .map(|name| {
            let schema = json!({"type": "string"});
            json!({"name": name, "in": "path", "required": true, "schema": schema, "example": example(name)})
        })
        .collect();
    if operation.path == "/api/v1/search" {
        params.push(json!({"name": "q", "in": "query", "required": true, "schema": {"type": "string"}}));
    }
    let mut responses = Map::new();
    for status in operation.answers {
        let mut response = json!({"description": "Done"});
        if let Some(answer) = operation.answer {
            response["content"] = json!({"application/json": {"schema": answer(generator)}});
        } else if !matches!(status, 204 | 302) {
            response["content"] = json!({"application/json": {"schema": {"type": "object"}}});
        }
        responses.insert(status.to_string(), response);
    }
    let mut refusals = ANYWHERE.to_vec();
    refusals.extend(operation.refusals);
    if operation.who == Who::Token {
        refusals.extend(WITH_TOKEN);
    }
    if operation.body.is_some() {
        refusals.extend(WITH_BODY);
    }
    refusals.sort_unstable();
    for status in refusals {
        let schema = generator.subschema_for::<ErrorBody>();
        let refusal = json!({"description": "Refused", "content": {"application/json": {"schema": schema}}});
        responses.insert(status.to_string(), refusal);
    }
    let mut described = json!({"summary": operation.about, "parameters": params, "responses": responses});
    if let Some((body, presence)) = operation.body {
        let content = json!({"application/json": {"schema": body(generator)}});
        described["requestBody"] = json!({"required": presence == Presence::Needed, "content": content});
    }
    if operation.who == Who::Token {
        described["security"] = json!([{"token": []}]);
    }
    described
}

/// The document; checked in as `schemas/json/openapi.json`, and served at `/api/v1/openapi.json`.
pub fn openapi() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations() {
        let described = describe(&operation, &mut generator);
        paths.entry(operation.path).or_insert_with(|| json!({}))[operation.method] = described;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Drystone publisher",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What static files cannot do. Everything that is read often is a file and needs no API.",
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere_and_every_operation_is_there_once() {
        let document = openapi();
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
        let count: usize =
            document["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len()).sum();
        assert_eq!(count, operations().len());
    }
}
