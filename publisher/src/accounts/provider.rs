//! Signing in a machine at the provider where people sign in anyway: the authorization code flow of OpenID Connect.
//!
//! Whoever has typed in a machine's code leaves for the provider and comes back with a code of the provider's, which is
//! exchanged for an ID token. Who comes for the first time makes an account, or joins the one that they have. Then they say yes or
//! no.
//!
//! Owns: `sign-ins/<sha256>`, and which account a person of the provider's has. Does not own: what an ID token must claim
//! (`claims`), the machine (`device`). Sources: OpenID Connect Core 1.0 section 3.1; RFC 7636; RFC 9207.
//! Invariants: who comes back has left in the same browser, so nobody is made to come back as somebody else; coming back answers
//! nothing: that takes a secret that only the page has which is shown then, so no other site makes a browser say yes; what the
//! provider sends counts once; a person has the account that both sides name.

mod claims;
mod settings;

use std::net::IpAddr;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use drystone_schemas::{
    Code, DeviceAnswer, Login, LoginRequest, NewTokenRequest, Problem, Registration, SecretText,
    Sha256Digest, layout,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use self::claims::{Expected, Person};
pub use self::settings::SignInProvider;
use super::{
    AccountRecord, Email,
    device::normal,
    mail,
    record::{AuditKind, PersonClaim},
    sign_up::{NewAccount, check_login},
};
use crate::{
    Refusal, Service,
    jwt::Unverified,
    limits::{ATTEMPTS, REGISTRATIONS},
    swap::{self, Change},
    trusted::{Endpoints, shown},
    vault,
};

/// Seconds for which somebody may be away, and look at the page afterwards: as long as a machine waits.
const SIGN_IN_S: u64 = 600;
/// Bytes of a secret of ours: too many to guess.
const SECRET_BYTES: usize = 32;

/// `sign-ins/<sha256>`: somebody who has left for the provider, under the digest of what was sent along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SignInRecord {
    /// Version of this format; 1.
    v: u32,
    /// The machine's code, as a keyed hash.
    typed: String,
    /// When it ends, in seconds since 1970.
    expires: u64,
    step: Step,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Step {
    /// They have left.
    Away,
    /// They have come back, and what they brought is looked at.
    Back,
    /// The provider says who they are, and they see a page with this secret.
    Known {
        page: Sha256Digest,
        /// The person, as a keyed hash.
        person: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        email: Option<Email>,
    },
}

/// What a provider sends back, in the address of the page.
#[derive(Debug, Default)]
pub(crate) struct Returned {
    pub(crate) state: String,
    pub(crate) code: Option<SecretText>,
    pub(crate) error: Option<String>,
    pub(crate) issuer: Option<String>,
    /// What the browser kept that comes back.
    pub(crate) kept: Option<SecretText>,
}

/// Somebody who leaves.
pub(crate) struct Leaving {
    /// Where to.
    pub(crate) url: Url,
    /// What their browser keeps, for as many seconds.
    pub(crate) keeps: SecretText,
    pub(crate) keeps_s: u64,
}

/// Somebody who came back, before they said anything.
pub(crate) struct Arrived {
    /// What the page sends with their answer.
    pub(crate) page: SecretText,
    /// The code that their machine shows.
    pub(crate) typed: String,
    /// What the machine asks for.
    pub(crate) asked: NewTokenRequest,
    /// Their account.
    pub(crate) login: Option<Login>,
    /// A login that they could have, if they may make an account.
    pub(crate) new_login: Option<String>,
}

/// What they say then.
pub(crate) struct ProviderAnswer {
    pub(crate) page: SecretText,
    pub(crate) answer: DeviceAnswer,
    /// The account to make, if they have none.
    pub(crate) new_login: Option<String>,
    /// The account that they have without the provider knowing of it; and a code of the second factor, whichever account they have.
    pub(crate) by: LoginRequest,
}

fn invalid() -> Refusal {
    Refusal::code(Code::SignInInvalid, Code::SignInInvalid.title())
}

/// The names of the provider's flow, all of which follow from one secret.
struct Secrets {
    nonce: String,
    verifier: String,
}

impl Secrets {
    /// The code challenge (RFC 7636 section 4.2, `S256`).
    fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256Digest::of(self.verifier.as_bytes()).as_bytes())
    }
}

impl Service {
    /// The provider where people sign in, if there is one.
    pub(crate) fn provider(&self) -> Option<&SignInProvider> {
        self.options.sign_in.as_ref()
    }

    fn new_secret(&self) -> String {
        let mut bytes = [0; SECRET_BYTES];
        self.core.entropy.fill(&mut bytes);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    async fn secrets(&self, state: &str) -> Result<Secrets, Refusal> {
        let keys = self.core.keys().await?;
        Ok(Secrets {
            nonce: keys.hash("sign-in-nonce", state),
            verifier: keys.hash("sign-in-verifier", state),
        })
    }

    /// Where the provider sends people back to.
    fn way_back(&self) -> String {
        format!("{}/device/signed-in", self.settings().api_url())
    }

    async fn endpoints(&self, provider: &SignInProvider) -> Result<Endpoints, Refusal> {
        let read = Endpoints::read(&*self.options.issuers, &provider.issuer).await;
        read.map_err(|detail| unreachable(provider, &detail))
    }

    /// Where somebody who has typed in a machine's code goes to sign in.
    pub(crate) async fn leave_for_provider(
        &self,
        typed: &str,
        from: Option<IpAddr>,
    ) -> Result<Leaving, Refusal> {
        let core = &*self.core;
        let provider = self.provider().ok_or_else(invalid)?;
        core.take_for_address(ATTEMPTS, from).await?;
        core.waiting_device(typed).await?;
        let endpoints = self.endpoints(provider).await?;
        let secret = self.new_secret();
        let record = SignInRecord {
            v: 1,
            typed: core.keys().await?.hash("device-code", &normal(typed)),
            expires: core.clock.now_unix_s() + SIGN_IN_S,
            step: Step::Away,
        };
        vault::create(&*core.store.vault, place(&secret), &record).await?;
        let secrets = self.secrets(&secret).await?;
        let mut url = endpoints.authorization;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &provider.client_id)
            .append_pair("redirect_uri", &self.way_back())
            .append_pair("scope", "openid profile email")
            .append_pair("state", &format!("{secret}.{}", normal(typed)))
            .append_pair("nonce", &secrets.nonce)
            .append_pair("code_challenge", &secrets.challenge())
            .append_pair("code_challenge_method", "S256");
        Ok(Leaving { url, keeps: SecretText::new(secret), keeps_s: SIGN_IN_S })
    }

    /// Takes what somebody brings back from the provider. Says nothing to the machine.
    pub(crate) async fn arrive_from_provider(
        &self,
        returned: &Returned,
        from: Option<IpAddr>,
    ) -> Result<Arrived, Refusal> {
        let core = &*self.core;
        let provider = self.provider().ok_or_else(invalid)?;
        core.take_for_address(ATTEMPTS, from).await?;
        let (secret, typed) = returned.state.split_once('.').ok_or_else(invalid)?;
        // Another browser has left with it: whoever comes back would be taken for whom that one signed in as.
        if returned.kept.as_ref().is_none_or(|kept| kept.expose() != secret) {
            return Err(invalid());
        }
        let (keys, now_s) = (core.keys().await?, core.clock.now_unix_s());
        let hash = keys.hash("device-code", &normal(typed));
        let left = |record: &SignInRecord| {
            record.step == Step::Away && record.expires > now_s && record.typed == hash
        };
        let record = swap::update(core, place(secret), |there: Option<SignInRecord>| {
            let there = there.filter(left).ok_or_else(invalid)?;
            Ok(Change::Write(SignInRecord { step: Step::Back, ..there.clone() }, there))
        })
        .await?;
        // Another provider's answer may have been sent here in this one's name (RFC 9207 section 2.4).
        if returned.issuer.as_ref().is_some_and(|issuer| *issuer != provider.issuer) {
            return Err(invalid());
        }
        if let Some(error) = &returned.error {
            let detail = format!("{} says `{}`", provider.name, shown(error));
            return Err(Refusal::code(Code::AuthorizationDenied, detail));
        }
        let code = returned.code.as_ref().ok_or_else(invalid)?;
        let (_, device) = core.waiting_device(typed).await?;
        let person = self.person_of(provider, code, &self.secrets(secret).await?).await?;
        let subject = keys.hash("person", &format!("{}\0{}", provider.issuer, person.subject));
        let account = self.account_of_person(&subject).await?;
        let page = self.new_secret();
        let step =
            Step::Known { page: Sha256Digest::of(page.as_bytes()), person: subject, email: person.email };
        swap::update(core, place(secret), |_: Option<SignInRecord>| {
            Ok(Change::Write(SignInRecord { step: step.clone(), ..record.clone() }, ()))
        })
        .await?;
        let may_register = account.is_none() && self.may_register(provider).await;
        Ok(Arrived {
            page: SecretText::new(format!("{secret}.{page}")),
            typed: typed.to_owned(),
            asked: device.asked,
            login: account.map(|account| account.login),
            new_login: may_register.then(|| person.preferred_login.unwrap_or_default()),
        })
    }

    /// Exchanges a provider's code for an ID token, and reads who it is about.
    async fn person_of(
        &self,
        provider: &SignInProvider,
        code: &SecretText,
        secrets: &Secrets,
    ) -> Result<Person, Refusal> {
        #[derive(Deserialize)]
        struct Tokens {
            id_token: SecretText,
        }
        let (core, link) = (&*self.core, &*self.options.issuers);
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("redirect_uri", &self.way_back()),
            ("client_id", &provider.client_id),
            ("code_verifier", &secrets.verifier),
        ];
        let client = provider.client_secret.as_ref().map(|secret| (&*provider.client_id, secret));
        let tokens = link.post(self.endpoints(provider).await?.token.as_str(), &form, client).await;
        let tokens = tokens.map_err(|detail| unreachable(provider, &detail))?;
        let tokens: Tokens =
            serde_json::from_slice(&tokens).map_err(|_| unreachable(provider, "it sent no ID token"))?;
        let refused = |detail: String| Refusal::new(Problem::new(Code::SignInInvalid, detail));
        let parsed = Unverified::parse(tokens.id_token.expose()).map_err(|e| refused(e.to_string()))?;
        let kid = parsed.kid().ok_or_else(|| refused("the ID token does not name its key".into()))?;
        let key = core.issuer_key(link, &provider.issuer, kid).await?;
        let claims: Map<String, Value> = parsed.verify(&key).map_err(|e| refused(e.to_string()))?;
        let expected = Expected {
            issuer: &provider.issuer,
            client_id: &provider.client_id,
            nonce: &secrets.nonce,
            now_s: core.clock.now_unix_s(),
        };
        Person::read(&claims, &expected)
            .map_err(|claim| refused(format!("the claim `{claim}` of the ID token is not what it should be")))
    }

    async fn may_register(&self, provider: &SignInProvider) -> bool {
        provider.makes_accounts || self.recent_settings().await.registration == Registration::Open
    }

    /// The account of a person: the one that names them, and that they name.
    async fn account_of_person(&self, person: &str) -> Result<Option<AccountRecord>, Refusal> {
        let claim: Option<PersonClaim> = swap::look(&self.core, layout::person(person)).await?;
        let Some(PersonClaim { account, .. }) = claim else { return Ok(None) };
        let account = vault::read_account(&*self.core.store.vault, &account).await?;
        Ok(account.filter(|account| account.closed.is_none() && account.person.as_deref() == Some(person)))
    }

    /// What somebody says whom the provider knows.
    pub(crate) async fn answer_device_by_provider(
        &self,
        said: &ProviderAnswer,
        from: Option<IpAddr>,
    ) -> Result<NewTokenRequest, Refusal> {
        let core = &*self.core;
        let provider = self.provider().ok_or_else(invalid)?;
        core.take_for_address(ATTEMPTS, from).await?;
        let (secret, page) = said.page.expose().split_once('.').ok_or_else(invalid)?;
        let (page, now_s) = (Sha256Digest::of(page.as_bytes()), core.clock.now_unix_s());
        let hash = core.keys().await?.hash("device-code", &normal(&said.answer.user_code));
        let record = swap::look::<SignInRecord>(core, place(secret)).await?;
        let record = record.filter(|record| record.expires > now_s && record.typed == hash);
        let (person, email) = match record.map(|record| record.step) {
            Some(Step::Known { page: shown, person, email }) if shown == page => (person, email),
            _ => return Err(invalid()),
        };
        if !said.answer.approve {
            return core.deny_device(&said.answer.user_code).await;
        }
        let account = match self.account_of_person(&person).await? {
            Some(account) => {
                self.show_second_factor(&account, said.by.code.as_ref()).await?;
                core.note(&account.id, AuditKind::SignedIn, None).await?;
                account
            }
            None => match said.new_login.as_deref().map(str::trim).filter(|login| !login.is_empty()) {
                Some(login) => self.register_person(provider, login, email, &person, from).await?,
                None => {
                    let account = self.authenticate(&said.by, from).await?;
                    self.join_person(&account, &person).await?;
                    account
                }
            },
        };
        self.answer_device_as(&account, &said.answer).await
    }

    /// Makes an account without a password for a person.
    async fn register_person(
        &self,
        provider: &SignInProvider,
        login: &str,
        email: Option<Email>,
        person: &str,
        from: Option<IpAddr>,
    ) -> Result<AccountRecord, Refusal> {
        let core = &*self.core;
        if !self.may_register(provider).await {
            return Err(Refusal::code(Code::AccountsClosed, Code::AccountsClosed.title()));
        }
        core.take_for_address(REGISTRATIONS, from).await?;
        let login = check_login(login).map_err(Refusal::new)?;
        // The address of somebody else's account stays theirs.
        let known = match &email {
            Some(email) => self.account_of(&email.canonical()).await?,
            None => None,
        };
        let email = email.filter(|_| known.is_none());
        let wanted = NewAccount { login, email: email.clone(), password: None };
        let account = self.make_account(&wanted, false).await?;
        core.note(&account.id, AuditKind::Registered, None).await?;
        self.join_person(&account, person).await?;
        if let Some(email) = email {
            let mail = self.verification_mail(&account, &email).await?;
            if let Err(refusal) = mail::send(self.options.mailer.as_ref(), &mail).await {
                // The account is made, and another mail can be asked for.
                tracing::warn!("a mail to a new account was not sent: {refusal}");
            }
        }
        Ok(account)
    }

    /// Lets a person of the provider's have an account. First their claim, then the account that repeats it: one that is not
    /// repeated counts for nothing.
    async fn join_person(&self, account: &AccountRecord, person: &str) -> Result<(), Refusal> {
        let core = &*self.core;
        swap::update(core, layout::person(person), |_: Option<PersonClaim>| {
            Ok(Change::Write(PersonClaim { v: 1, account: account.id.clone() }, ()))
        })
        .await?;
        let person = Some(person.to_owned());
        core.change_account(&account.id, |there| AccountRecord { person: person.clone(), ..there }).await?;
        core.note(&account.id, AuditKind::ProviderJoined, None).await?;
        self.tell(
            &account.id,
            "Whoever you are at the provider of this registry signs in to your account from now on.",
        )
        .await;
        Ok(())
    }
}

/// Where what is known of a sign-in lies.
fn place(secret: &str) -> String {
    layout::sign_in(&Sha256Digest::of(secret.as_bytes()))
}

fn unreachable(provider: &SignInProvider, detail: &str) -> Refusal {
    tracing::warn!(issuer = provider.issuer, "people cannot sign in at their provider: {detail}");
    Refusal::code(Code::IssuerUnreachable, format!("`{}` does not answer as it should", provider.name))
}
