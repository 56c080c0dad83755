//! The exchange: an issuer's token for one of ours.

use std::net::IpAddr;

use drystone_schemas::{
    AccountId, Code, ExchangeRequest, ExchangeResponse, PackageDocument, PackageName, Problem, SecretText,
    Sha256Digest, TrustedPublisher, layout, rfc3339,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    claims::{Claims, InvalidIdentity, LEEWAY_S},
    shown,
};
use crate::{
    PackagePattern, Refusal, Scope, Service, Token, TokenRecord,
    jwt::Unverified,
    limits::ATTEMPTS,
    token::TokenKind,
    vault::{self, Upload},
};

/// How long a token for a CI identity is good, in seconds.
const TOKEN_S: u64 = 15 * 60;
/// How long it is known that an issuer's token was exchanged, after it cannot be any more, in seconds.
const USED_MARGIN_S: u64 = 24 * 3_600;

/// `jti/<sha256>`: an issuer's token that was exchanged.
#[derive(Serialize, Deserialize)]
struct UsedIdentity {
    /// Version of this format; 1.
    v: u32,
    /// When nobody needs to know any more, in seconds since 1970.
    until: u64,
}

/// For whom a token is made.
pub(super) struct Grant {
    /// The actor of what is published.
    pub(super) account: AccountId,
    /// What it may do.
    pub(super) scopes: Vec<Scope>,
    /// Whether it acts for an account, because its package is not there yet.
    pub(super) waits: bool,
}

impl Grant {
    /// What a publisher that the package names may do.
    pub(super) fn of_publisher(id: AccountId) -> Self {
        Self { account: id, scopes: vec![Scope::PublishUpdate], waits: false }
    }
}

/// The refusal of an identity, with the first claim that differs.
fn refused(name: &PackageName, claim: Option<&'static str>) -> Refusal {
    let problem = Problem::new(Code::IdentityRefused, format!("`{name}` does not trust this CI identity"));
    Refusal::new(claim.into_iter().fold(problem, |problem, claim| problem.fact("claim", claim)))
}

/// Who an issuer says that somebody is.
pub(super) struct Identity {
    issuer: String,
    claims: Claims,
}

impl Identity {
    /// Whether it is a publisher, and else in what it differs: `None` where the issuer is another one.
    pub(super) fn differs_from(&self, publisher: &TrustedPublisher) -> Result<(), Option<&'static str>> {
        if publisher.issuer != self.issuer {
            return Err(None);
        }
        self.claims.differ_from(&publisher.identity).map_or(Ok(()), |claim| Err(Some(claim)))
    }
}

impl Service {
    /// Makes a token for a CI identity that a package trusts.
    pub(crate) async fn exchange(
        &self,
        asked: &ExchangeRequest,
        from: Option<IpAddr>,
    ) -> Result<ExchangeResponse, Refusal> {
        let core = &*self.core;
        core.take_for_address(ATTEMPTS, from).await?;
        let identity = self.identify(asked.jwt.expose()).await?;
        let binding = &identity.claims.binding;
        let package = asked.package.as_deref().map(PackageName::new).transpose();
        let package = package.map_err(|e| Refusal::code(Code::InvalidName, e.to_string()))?;
        let name = match (&binding.package, package) {
            (Some(bound), Some(asked)) if bound.canonical() != asked.canonical() => {
                let detail = format!("the token is for `{bound}`, not for `{asked}`");
                return Err(Refusal::code(Code::IdentityRefused, detail));
            }
            (Some(name), _) => name.clone(),
            (None, Some(name)) => name,
            (None, None) => {
                let problem =
                    Problem::new(Code::MalformedRequest, "the request does not say for which package");
                return Err(Refusal::new(
                    problem.with_hint("name the package in `package`, or in the token's audience"),
                ));
            }
        };
        let document = self.document_of(&name).await?;
        let grant = self.grant(&name, document.as_ref(), &identity).await?;
        self.use_up(&identity).await?;

        let token = Token::generate_kind(TokenKind::TrustedPublishing, &*core.entropy);
        let created = core.clock.now_unix_s();
        let pattern = PackagePattern::new(name.as_str()).map_err(Refusal::internal)?;
        let upload = binding.upload.clone();
        let record = TokenRecord {
            name: format!("CI of {}", identity.issuer),
            packages: vec![pattern],
            expires: Some(created + TOKEN_S),
            kind: TokenKind::TrustedPublishing,
            upload: upload.map(|(vers, tarball)| Upload { vers, tarball }),
            ..TokenRecord::new(grant.account, core.new_id(), grant.scopes, created)
        };
        core.keep_token(&token, &record).await?;
        // Whoever deleted the account for which it waited has not seen this token.
        if grant.waits && !self.is_open(&record.account).await? {
            core.drop_token(&record, &token.digest()).await?;
            return Err(refused(&name, None));
        }
        Ok(ExchangeResponse {
            token: SecretText::new(token.reveal()),
            expires_at: rfc3339(created + TOKEN_S),
        })
    }

    /// Gives a token back that an exchange made.
    pub(crate) async fn give_back(&self, token: &Token) -> Result<(), Refusal> {
        let record = self.admit(token).await?;
        if record.kind != TokenKind::TrustedPublishing {
            return Err(Refusal::code(Code::TokenScope, "the token was not made for a CI identity"));
        }
        self.core.drop_token(&record, &token.digest()).await?;
        Ok(self.core.committer.fence().await?)
    }

    /// Who a token of a configured issuer says that somebody is, after every check that needs no package.
    async fn identify(&self, jwt: &str) -> Result<Identity, Refusal> {
        #[derive(Deserialize)]
        struct Issued {
            iss: String,
        }
        let invalid = |detail: String| Refusal::code(Code::IdentityInvalid, detail);
        let parsed = Unverified::parse(jwt).map_err(|e| invalid(e.to_string()))?;
        // Unverified, and good for nothing but to choose whose keys are asked.
        let Issued { iss } = parsed.unverified_claims().map_err(|e| invalid(e.to_string()))?;
        let settings = self.recent_settings().await;
        if !settings.issuers.iter().any(|issuer| issuer.url == iss) {
            let shown = shown(&iss);
            return Err(Refusal::new(Problem::new(
                Code::IssuerUnknown,
                format!("`{shown}` is not trusted here"),
            )));
        }
        let kid = parsed.kid().ok_or_else(|| invalid("the token does not name its key".into()))?;
        let key = self.core.issuer_key(&*self.options.issuers, &iss, kid).await?;
        let claims: Map<String, Value> = parsed.verify(&key).map_err(|e| invalid(e.to_string()))?;
        let claims =
            Claims::check(claims, &settings.public_url, self.core.clock.now_unix_s()).map_err(|e| {
                let problem = Problem::new(Code::IdentityInvalid, e.to_string());
                Refusal::new(match e {
                    InvalidIdentity::Audience(_) => problem.fact("audience", &settings.public_url),
                    _ => problem,
                })
            })?;
        Ok(Identity { issuer: iss, claims })
    }

    /// What an identity may do for a package: as one of its publishers, or as the one that waits for it.
    async fn grant(
        &self,
        name: &PackageName,
        document: Option<&PackageDocument>,
        identity: &Identity,
    ) -> Result<Grant, Refusal> {
        let publishers = document.map(|document| &*document.publishers).unwrap_or_default();
        let mut differs = None;
        for publisher in publishers {
            match identity.differs_from(publisher) {
                Ok(()) => {
                    return Ok(Grant::of_publisher(publisher.id.clone()));
                }
                Err(claim) => differs = differs.or(claim),
            }
        }
        if let Some(grant) = self.pending_grant(name, document, identity).await? {
            return Ok(grant);
        }
        Err(refused(name, differs))
    }

    /// Makes sure that nobody exchanges the issuer's token again.
    async fn use_up(&self, identity: &Identity) -> Result<(), Refusal> {
        let Identity { issuer, claims } = identity;
        let digest = Sha256Digest::of(format!("{issuer}\0{}", claims.jti).as_bytes());
        let used = UsedIdentity { v: 1, until: claims.expires + LEEWAY_S + USED_MARGIN_S };
        if vault::create(&*self.core.store.vault, layout::identity_used(&digest), &used).await? {
            return Ok(());
        }
        let problem = Problem::new(Code::IdentityUsed, Code::IdentityUsed.title());
        Err(Refusal::new(problem.fact("issuer", issuer)))
    }
}
