//! The second factor of an account: enrolling it, asking for it, giving it up.
//!
//! Owns: `factors/<ulid>` in the vault. Does not own: what a code is. Invariants: a code that was taken is used up before whoever gave
//! it hears of it, at every instance; an app counts once it has shown a code; a session that began without a factor does not
//! outlive its enrolment.

use drystone_schemas::{
    AccountId, Code, Login, NewSecondFactorResponse, RecoveryCodesResponse, SecondFactorResponse, SecretText,
    layout, rfc3339,
};
use serde::{Deserialize, Serialize};

use super::{
    AccountRecord,
    record::AuditKind,
    totp::{Answer, App, Factor, RECOVERY_BYTES, RECOVERY_CODES, RecoveryCodes, SECRET_BYTES},
};
use crate::{
    Refusal, Service, Token,
    limits::{CODES, subject_of},
    service::Core,
    swap::{self, Change},
    token::TokenKind,
    vault,
};

/// `factors/<ulid>`: what an account shows beside its password. Nothing, if all fields are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct FactorRecord {
    /// Version of this format; 1.
    v: u32,
    /// An authenticator app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app: Option<App>,
    /// Since when it is asked for, in seconds since 1970; until then it is being enrolled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
    /// What stands in for it.
    #[serde(default)]
    recovery: RecoveryCodes,
}

impl FactorRecord {
    /// Which of the factors this answers, if one of them; it is used up.
    fn use_up(&mut self, answer: &Answer<'_>) -> Option<Shown> {
        if self.app.as_mut().is_some_and(|app| app.use_up(answer)) {
            return Some(Shown::App);
        }
        self.recovery.use_up(answer).then(|| Shown::Recovery { left: self.recovery.len() })
    }
}

/// What somebody showed.
#[derive(Clone, Copy)]
enum Shown {
    App,
    Recovery {
        left: usize,
    },
    /// Nothing, and there is nothing to show any more.
    Needless,
}

fn invalid() -> Refusal {
    Refusal::code(Code::SecondFactorInvalid, Code::SecondFactorInvalid.title())
}

fn state(detail: &str) -> Refusal {
    Refusal::code(Code::SecondFactorState, detail)
}

impl Service {
    /// Whether signing in to an account takes a code.
    pub(crate) async fn second_factor(&self, account: &AccountId) -> Result<SecondFactorResponse, Refusal> {
        let there = self.core.factors(account).await?;
        Ok(SecondFactorResponse {
            enabled: there.since.is_some(),
            since: there.since.map(rfc3339),
            recovery_codes_left: u32::try_from(there.recovery.len()).unwrap_or(u32::MAX),
        })
    }

    /// Tells an app its secret. It is not asked for before [`Service::confirm_second_factor`]; asked again, there is another secret.
    pub(crate) async fn begin_second_factor(
        &self,
        by: &Token,
        password: &SecretText,
    ) -> Result<NewSecondFactorResponse, Refusal> {
        let core = &*self.core;
        let (session, _) = self.session_of(by).await?;
        let account = self.reauthenticate(&session.account, password).await?;
        let mut secret = [0; SECRET_BYTES];
        core.entropy.fill(&mut secret);
        let app = App::new(&secret);
        core.change_factors(&account.id, |there| {
            if there.since.is_some() {
                return Err(state("the account has a second factor already"));
            }
            Ok((FactorRecord { v: 1, app: Some(app.clone()), ..FactorRecord::default() }, ()))
        })
        .await?;
        // Whoever deleted the account meanwhile has not seen this.
        if self.still_valid(&account).await.is_err() {
            core.change_factors(&account.id, |there| {
                let enrolled = there.since.is_some();
                Ok((if enrolled { there } else { FactorRecord { v: 1, ..FactorRecord::default() } }, ()))
            })
            .await?;
            return Err(super::session::login_failed());
        }
        let uri = app.uri(&self.settings().name, &account.login);
        Ok(NewSecondFactorResponse { secret: app.secret().clone(), uri })
    }

    /// Asks for codes of the app from now on, if this is one. Every other session ends.
    pub(crate) async fn confirm_second_factor(
        &self,
        by: &Token,
        code: &SecretText,
    ) -> Result<RecoveryCodesResponse, Refusal> {
        let core = &*self.core;
        let (record, session) = self.session_of(by).await?;
        let id = &record.account;
        core.take_shared(CODES, &subject_of(id)).await?;
        let (recovery, codes) = self.new_recovery_codes().await?;
        let (keys, now_s) = (core.keys().await?, core.clock.now_unix_s());
        let answer = Answer::new(code, &keys, now_s);
        core.change_factors(id, |mut there| {
            if there.app.is_none() || there.since.is_some() {
                return Err(state("no second factor is being enrolled"));
            }
            there.use_up(&answer).ok_or_else(invalid)?;
            Ok((FactorRecord { since: Some(now_s), recovery: recovery.clone(), ..there }, ()))
        })
        .await?;
        // What began without a code ends, also what is beginning now.
        let account = core
            .change_account(id, |there| AccountRecord { credentials: there.credentials + 1, ..there })
            .await?;
        core.keep_session(id, &session, account.credentials).await?;
        core.end_sessions(id, Some(&session)).await?;
        core.drop_tokens(id, |record| record.kind == TokenKind::Session).await?;
        core.committer.fence().await?;
        core.note(id, AuditKind::SecondFactorEnabled, None).await?;
        self.tell(id, "Signing in to your account takes a code of an authenticator app from now on.").await;
        Ok(RecoveryCodesResponse { recovery_codes: codes })
    }

    /// Makes other recovery codes.
    pub(crate) async fn renew_recovery_codes(
        &self,
        by: &Token,
        password: &SecretText,
        code: &SecretText,
    ) -> Result<RecoveryCodesResponse, Refusal> {
        let account = self.show_both(by, password, code).await?;
        let (recovery, codes) = self.new_recovery_codes().await?;
        self.core
            .change_factors(&account.id, |there| match there.since {
                None => Err(state("the account has no second factor")),
                Some(_) => Ok((FactorRecord { recovery: recovery.clone(), ..there }, ())),
            })
            .await?;
        self.core.note(&account.id, AuditKind::RecoveryCodesMade, None).await?;
        self.tell(&account.id, "Your account has other recovery codes; the old ones work no more.").await;
        Ok(RecoveryCodesResponse { recovery_codes: codes })
    }

    /// Gives the second factor up.
    pub(crate) async fn end_second_factor(
        &self,
        by: &Token,
        password: &SecretText,
        code: &SecretText,
    ) -> Result<(), Refusal> {
        let account = self.show_both(by, password, code).await?;
        self.drop_factors(&account.id).await
    }

    /// Lets an account sign in with its password alone, at the machine: for whoever has lost app and recovery codes.
    ///
    /// # Errors
    ///
    /// [`Code::AccountNotFound`] where nobody has the login; those of the storage.
    pub async fn drop_second_factor(&self, login: &Login) -> Result<(), Refusal> {
        let found = vault::find_account(&*self.core.store.vault, login.as_str()).await?;
        let missing = || Refusal::code(Code::AccountNotFound, format!("there is no account `{login}`"));
        self.drop_factors(&found.ok_or_else(missing)?.id).await
    }

    async fn drop_factors(&self, account: &AccountId) -> Result<(), Refusal> {
        let core = &*self.core;
        let none = FactorRecord { v: 1, ..FactorRecord::default() };
        let was = core.change_factors(account, |there| Ok((none.clone(), there.since.is_some()))).await?;
        if was {
            core.note(account, AuditKind::SecondFactorDisabled, None).await?;
            self.tell(account, "Signing in to your account takes the password alone from now on.").await;
        }
        Ok(())
    }

    /// The account of a session, if password and code are its own; refuses an account without a second factor.
    async fn show_both(
        &self,
        by: &Token,
        password: &SecretText,
        code: &SecretText,
    ) -> Result<AccountRecord, Refusal> {
        let (session, _) = self.session_of(by).await?;
        let account = self.reauthenticate(&session.account, password).await?;
        if self.core.factors(&account.id).await?.since.is_none() {
            return Err(state("the account has no second factor"));
        }
        self.show_second_factor(&account, Some(code)).await?;
        Ok(account)
    }

    /// Asks an account for its second factor, if it has one; after its password. A code that fits is used up.
    pub(super) async fn show_second_factor(
        &self,
        account: &AccountRecord,
        code: Option<&SecretText>,
    ) -> Result<(), Refusal> {
        let (core, id) = (&*self.core, &account.id);
        if core.factors(id).await?.since.is_none() {
            return Ok(());
        }
        let code =
            code.ok_or_else(|| Refusal::code(Code::SecondFactorNeeded, Code::SecondFactorNeeded.title()))?;
        core.take_shared(CODES, &subject_of(id)).await?;
        let (keys, now_s) = (core.keys().await?, core.clock.now_unix_s());
        let answer = Answer::new(code, &keys, now_s);
        let shown = swap::update(core, layout::factors(id), |there: Option<FactorRecord>| {
            let Some(mut there) = there.filter(|there| there.since.is_some()) else {
                return Ok(Change::Leave(Some(Shown::Needless)));
            };
            Ok(match there.use_up(&answer) {
                Some(shown) => Change::Write(there, Some(shown)),
                None => Change::Leave(None),
            })
        });
        match shown.await? {
            Some(Shown::App | Shown::Needless) => Ok(()),
            Some(Shown::Recovery { left }) => {
                core.note(id, AuditKind::RecoveryCodeUsed, None).await?;
                let what = format!("A recovery code of your account was used; {left} are left.");
                self.tell(id, &what).await;
                Ok(())
            }
            None => {
                core.note(id, AuditKind::SecondFactorFailed, None).await?;
                Err(invalid())
            }
        }
    }

    /// Password and code once more, for what a session alone may not do; the code where there is a second factor.
    pub(super) async fn reauthenticate_fully(
        &self,
        id: &AccountId,
        password: &SecretText,
        code: Option<&SecretText>,
    ) -> Result<AccountRecord, Refusal> {
        let account = self.reauthenticate(id, password).await?;
        self.show_second_factor(&account, code).await?;
        Ok(account)
    }

    async fn new_recovery_codes(&self) -> Result<(RecoveryCodes, Vec<SecretText>), Refusal> {
        let mut random = [[0; RECOVERY_BYTES]; RECOVERY_CODES];
        random.iter_mut().for_each(|bytes| self.core.entropy.fill(bytes));
        Ok(RecoveryCodes::new(&random, &*self.core.keys().await?))
    }
}

impl Core {
    async fn factors(&self, account: &AccountId) -> Result<FactorRecord, Refusal> {
        Ok(swap::look(self, layout::factors(account)).await?.unwrap_or_default())
    }

    async fn change_factors<R>(
        &self,
        account: &AccountId,
        mut change: impl FnMut(FactorRecord) -> Result<(FactorRecord, R), Refusal>,
    ) -> Result<R, Refusal> {
        swap::update(self, layout::factors(account), |there: Option<FactorRecord>| {
            change(there.unwrap_or_default()).map(|(record, answer)| Change::Write(record, answer))
        })
        .await
    }

    /// Deletes what an account that goes showed beside its password.
    pub(super) async fn forget_factors(&self, account: &AccountId) -> Result<(), Refusal> {
        let key = drystone_storage::Key::new(layout::factors(account)).map_err(Refusal::internal)?;
        Ok(self.store.vault.delete(&key).await?)
    }
}
