//! Signing in a machine without a password on it: the device authorization grant (RFC 8628).
//!
//! The machine asks for two codes: it keeps one and shows the other, which somebody types into the registry's page, or into a
//! machine where they are signed in, and so says yes or no. Then the machine exchanges the code that it kept for a token, once.
//!
//! Owns: both codes, what is asked for, how often it is asked. Does not own: tokens, which are made as by their account itself.
//! Invariants: no code is kept in clear, and the token is nowhere before it is handed out; whoever asks with a code learns
//! nothing of any account; a yes counts only while the account's password is the one that it was.

use std::net::IpAddr;

use drystone_schemas::{
    AccountId, Code, DeviceAnswer, DeviceCodes, LoginRequest, NewTokenRequest, NewTokenResponse, Problem,
    SecretText, Sha256Digest, layout,
};
use drystone_storage::Entropy;
use serde::{Deserialize, Serialize};

use super::{
    AccountRecord,
    tokens::{Wanted, shown},
};
use crate::{
    Refusal, Service, Token,
    limits::{ATTEMPTS, DEVICE_CODES, DEVICES, subject_of},
    service::Core,
    swap::{self, Change},
    token::TokenKind,
    vault,
};

/// Seconds for which the codes are good.
const CODES_S: u64 = 600;
/// Seconds between two questions of a machine at first, and by how much more each time that it asks too soon (RFC 8628
/// section 3.5).
const INTERVAL_S: u64 = 5;
/// Letters of the code that people type: 20 of them, without vowels and look-alikes (RFC 8628 section 6.1), eight at a time:
/// 34 bits, which nobody guesses in ten minutes at the rate that the limits allow.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const TYPED_CHARS: usize = 8;

/// `device/<sha256>`: what a machine asks for, under the digest of the code that it keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DeviceRecord {
    /// Version of this format; 1.
    v: u32,
    pub(super) asked: NewTokenRequest,
    /// When the codes end, in seconds since 1970.
    expires: u64,
    /// Seconds that lie between two questions.
    interval_s: u64,
    /// When it was asked last, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    polled_ms: Option<u64>,
    state: DeviceState,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum DeviceState {
    Waiting,
    Approved {
        account: AccountId,
        /// How often the account's password had been set.
        credentials: u64,
    },
    Denied,
    /// The token was handed out, or its making broke off.
    Used,
}

/// `device-codes/<hash>`: which machine shows a code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct TypedCode {
    /// Version of this format; 1.
    v: u32,
    device: Sha256Digest,
    /// When it ends, in seconds since 1970.
    expires: u64,
}

/// What a question of a machine comes to.
enum Polled {
    Pending,
    TooSoon { interval_s: u64 },
    Denied,
    Approved { account: AccountId, credentials: u64, asked: NewTokenRequest },
}

fn invalid() -> Refusal {
    Refusal::code(Code::DeviceCodeInvalid, Code::DeviceCodeInvalid.title())
}

/// What is kept of a typed code: without case, blanks and hyphens.
pub(super) fn normal(typed: &str) -> String {
    typed.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect()
}

fn new_typed(entropy: &dyn Entropy) -> String {
    let mut typed = String::with_capacity(TYPED_CHARS + 1);
    let mut random = [0; 32];
    while typed.len() < TYPED_CHARS {
        entropy.fill(&mut random);
        // 240 is the largest multiple of 20 in a byte: larger bytes would make some letters likelier.
        let fair = random.iter().filter(|byte| **byte < 240);
        let letters = fair.map(|byte| char::from(LETTERS[usize::from(byte % 20)]));
        typed.extend(letters.take(TYPED_CHARS - typed.len()));
    }
    typed.insert(TYPED_CHARS / 2, '-');
    typed
}

impl Service {
    /// Gives a machine its two codes.
    pub(crate) async fn begin_device(
        &self,
        asked: &NewTokenRequest,
        from: Option<IpAddr>,
    ) -> Result<DeviceCodes, Refusal> {
        let core = &*self.core;
        core.take_for_address(DEVICES, from).await?;
        // Whether the account may have it is asked when it is known.
        Wanted::read(asked, true)?;
        let device = Token::generate_kind(TokenKind::Device, &*core.entropy);
        let typed = new_typed(&*core.entropy);
        let expires = core.clock.now_unix_s() + CODES_S;
        let record = DeviceRecord {
            v: 1,
            asked: asked.clone(),
            expires,
            interval_s: INTERVAL_S,
            polled_ms: None,
            state: DeviceState::Waiting,
        };
        let typed_code = TypedCode { v: 1, device: device.digest(), expires };
        swap::update(core, layout::device(&device.digest()), |_: Option<DeviceRecord>| {
            Ok(Change::Write(record.clone(), ()))
        })
        .await?;
        let key = layout::device_code(&core.keys().await?.hash("device-code", &normal(&typed)));
        vault::create(&*core.store.vault, key, &typed_code).await?;
        let page = format!("{}/device", self.settings().api_url());
        Ok(DeviceCodes {
            device_code: SecretText::new(device.reveal()),
            verification_uri_complete: format!("{page}?user_code={typed}"),
            verification_uri: page,
            user_code: typed,
            expires_in: CODES_S,
            interval: INTERVAL_S,
        })
    }

    /// What the machine asks for that shows this code.
    pub(crate) async fn device_asks(
        &self,
        typed: &str,
        from: Option<IpAddr>,
    ) -> Result<NewTokenRequest, Refusal> {
        self.core.take_for_address(ATTEMPTS, from).await?;
        Ok(self.core.waiting_device(typed).await?.1.asked)
    }

    /// The answer of somebody who is signed in.
    pub(crate) async fn answer_device(
        &self,
        by: &Token,
        answer: &DeviceAnswer,
    ) -> Result<NewTokenRequest, Refusal> {
        let (session, _) = self.session_of(by).await?;
        let account = vault::read_account(&*self.core.store.vault, &session.account).await?;
        let account = account.filter(|account| account.closed.is_none());
        let account = account.ok_or_else(|| Refusal::code(Code::SessionEnded, "the account is gone"))?;
        self.answer_device_as(&account, answer).await
    }

    /// The answer of somebody who shows with it who they are.
    pub(crate) async fn answer_device_by_password(
        &self,
        by: &LoginRequest,
        answer: &DeviceAnswer,
        from: Option<IpAddr>,
    ) -> Result<NewTokenRequest, Refusal> {
        let account = self.authenticate(by, from).await?;
        self.answer_device_as(&account, answer).await
    }

    /// The answer of somebody of whom it is known who they are.
    pub(super) async fn answer_device_as(
        &self,
        account: &AccountRecord,
        answer: &DeviceAnswer,
    ) -> Result<NewTokenRequest, Refusal> {
        let core = &*self.core;
        core.take_shared(DEVICE_CODES, &subject_of(&account.id)).await?;
        let (device, record) = core.waiting_device(&answer.user_code).await?;
        if !answer.approve {
            return core.settle_device(&device, &DeviceState::Denied).await;
        }
        Wanted::read(&record.asked, account.admin)?;
        let (account, credentials) = (account.id.clone(), account.credentials);
        core.settle_device(&device, &DeviceState::Approved { account, credentials }).await
    }

    /// The token, once somebody has said yes; until then why there is none.
    pub(crate) async fn poll_device(
        &self,
        code: &SecretText,
        from: Option<IpAddr>,
    ) -> Result<NewTokenResponse, Refusal> {
        let core = &*self.core;
        let device = Token::parse_kind(TokenKind::Device, code.expose().trim()).map_err(|_| invalid())?;
        let key = layout::device(&device.digest());
        if swap::look::<DeviceRecord>(core, key.clone()).await?.is_none() {
            core.take_for_address(ATTEMPTS, from).await?;
            return Err(invalid());
        }
        let now_ms = core.clock.now_unix_ms();
        let polled = swap::update(core, key, |there: Option<DeviceRecord>| {
            there.filter(|there| there.expires > now_ms / 1_000).ok_or_else(invalid)?.poll(now_ms)
        });
        let (account, credentials, asked) = match polled.await? {
            Polled::Approved { account, credentials, asked } => (account, credentials, asked),
            Polled::Pending => {
                let detail = "nobody has answered yet: ask again";
                return Err(Refusal::code(Code::AuthorizationPending, detail));
            }
            Polled::TooSoon { interval_s } => {
                let detail = format!("ask once in {interval_s} seconds");
                let problem = Problem::new(Code::SlowDown, detail).fact("interval_s", interval_s);
                return Err(Refusal::new(problem));
            }
            Polled::Denied => return Err(Refusal::code(Code::AuthorizationDenied, "somebody has said no")),
        };
        let account = vault::read_account(&*core.store.vault, &account).await?;
        let still = |account: &AccountRecord| account.closed.is_none() && account.credentials == credentials;
        let account = account.filter(still).ok_or_else(invalid)?;
        let (token, record) = self.token_for(&account, &asked).await?;
        if self.still_valid(&account).await.is_err() {
            core.drop_token(&record, &token.digest()).await?;
            return Err(invalid());
        }
        Ok(shown(&token, &record))
    }
}

impl DeviceRecord {
    fn is_waiting(&self, now_s: u64) -> bool {
        self.state == DeviceState::Waiting && self.expires > now_s
    }

    /// What a question comes to, and what is kept of it.
    fn poll(self, now_ms: u64) -> Result<Change<Self, Polled>, Refusal> {
        match self.state {
            DeviceState::Used => Err(invalid()),
            DeviceState::Denied => Ok(Change::Leave(Polled::Denied)),
            DeviceState::Approved { ref account, credentials } => {
                let (account, asked) = (account.clone(), self.asked.clone());
                let used = Self { state: DeviceState::Used, ..self };
                Ok(Change::Write(used, Polled::Approved { account, credentials, asked }))
            }
            DeviceState::Waiting => {
                let next_ms = self.polled_ms.map_or(0, |at| at.saturating_add(self.interval_s * 1_000));
                let too_soon = now_ms < next_ms;
                let interval_s = self.interval_s + if too_soon { INTERVAL_S } else { 0 };
                let polled = Self { interval_s, polled_ms: Some(now_ms), ..self };
                let answer = if too_soon { Polled::TooSoon { interval_s } } else { Polled::Pending };
                Ok(Change::Write(polled, answer))
            }
        }
    }
}

impl Core {
    /// Says no to a machine.
    pub(super) async fn deny_device(&self, typed: &str) -> Result<NewTokenRequest, Refusal> {
        let (device, _) = self.waiting_device(typed).await?;
        self.settle_device(&device, &DeviceState::Denied).await
    }

    /// Keeps the answer to a machine that waits.
    async fn settle_device(
        &self,
        device: &Sha256Digest,
        state: &DeviceState,
    ) -> Result<NewTokenRequest, Refusal> {
        let now_s = self.clock.now_unix_s();
        swap::update(self, layout::device(device), |there: Option<DeviceRecord>| {
            let there = there.filter(|there| there.is_waiting(now_s)).ok_or_else(invalid)?;
            Ok(Change::Write(DeviceRecord { state: state.clone(), ..there.clone() }, there.asked))
        })
        .await
    }

    /// The machine that shows this code, if it waits.
    pub(super) async fn waiting_device(&self, typed: &str) -> Result<(Sha256Digest, DeviceRecord), Refusal> {
        let key = layout::device_code(&self.keys().await?.hash("device-code", &normal(typed)));
        let code: TypedCode = vault::read(&*self.store.vault, key).await?.ok_or_else(invalid)?;
        let record = swap::look::<DeviceRecord>(self, layout::device(&code.device)).await?;
        let now_s = self.clock.now_unix_s();
        let record = record.filter(|record| record.is_waiting(now_s)).ok_or_else(invalid)?;
        Ok((code.device, record))
    }
}

/// What a request for a token says, for people.
pub(crate) fn in_words(asked: &NewTokenRequest) -> Vec<(&'static str, String)> {
    let listed = |list: &[String], none: &str| match list {
        [] => none.to_owned(),
        list => list.join(", "),
    };
    let mut words = vec![
        ("Token", asked.name.clone()),
        ("May", listed(&asked.scopes, "whatever a publisher needs")),
        ("Packages", listed(&asked.packages, "all")),
    ];
    words.extend(asked.days.map(|days| ("Days", days.to_string())));
    words
}
