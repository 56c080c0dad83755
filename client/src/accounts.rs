//! Calls about the account behind a token: signing in, tokens for this machine, signing out; and organisations.

use std::time::Duration;

use drystone_schemas::{
    Code, ConfirmSecondFactorRequest, DeviceCodes, DeviceTokenRequest, LoginRequest, LogoutRequest,
    MemberRequest, NewOrgRequest, NewSecondFactorRequest, NewSecondFactorResponse, NewTokenRequest,
    NewTokenResponse, OrgResponse, RecoveryCodesResponse, Role, SecondFactorRequest, SecondFactorResponse,
    SecretText, SessionResponse, TokensResponse, WriteResponse,
};
use reqwest::Method;

use crate::{ClientError, Registry, api::Body};

impl Registry {
    /// Signs in with a password, and a code where the account has a second factor. The session's token is for minutes: see [`Registry::new_token`].
    pub async fn sign_in(
        &self,
        username: &str,
        password: &SecretText,
        code: Option<&SecretText>,
    ) -> Result<SessionResponse, ClientError> {
        let asked = LoginRequest {
            username: Some(username.into()),
            email: None,
            password: password.clone(),
            code: code.cloned(),
        };
        self.call_once(Method::POST, "auth/login", Body::json(&asked)?).await
    }

    /// Makes a token for tools; this registry's token must be a session's.
    pub async fn new_token(&self, asked: &NewTokenRequest) -> Result<NewTokenResponse, ClientError> {
        self.token()?;
        self.call_once(Method::POST, "users/me/tokens", Body::json(asked)?).await
    }

    /// Begins to sign this machine in: somebody types the code in that it shows (RFC 8628).
    pub async fn begin_device(&self, asked: &NewTokenRequest) -> Result<DeviceCodes, ClientError> {
        self.call_once(Method::POST, "auth/device", Body::json(asked)?).await
    }

    /// Asks until somebody has answered, as often as the registry wants to be asked; the machine's token.
    ///
    /// # Errors
    ///
    /// Somebody has said no, or nobody anything in time.
    pub async fn await_device(&self, codes: &DeviceCodes) -> Result<NewTokenResponse, ClientError> {
        let asked = DeviceTokenRequest { device_code: codes.device_code.clone() };
        let mut interval = Duration::from_secs(codes.interval);
        loop {
            self.http().effects().clock.sleep(interval).await;
            let error = match self.call_once(Method::POST, "auth/device/token", Body::json(&asked)?).await {
                Ok(made) => return Ok(made),
                Err(error) => error,
            };
            match error.problems().first().map(|problem| problem.code) {
                Some(Code::AuthorizationPending) => {}
                // RFC 8628 section 3.5.
                Some(Code::SlowDown) => interval += Duration::from_secs(5),
                _ => return Err(error),
            }
        }
    }

    /// The tokens of the account.
    pub async fn tokens(&self) -> Result<TokensResponse, ClientError> {
        self.token()?;
        self.call(Method::GET, "users/me/tokens", Body::None).await
    }

    /// Ends the session, or revokes the token, that this registry is asked with.
    pub async fn sign_out(&self) -> Result<WriteResponse, ClientError> {
        self.token()?;
        self.call_once(Method::POST, "auth/logout", Body::json(&LogoutRequest::default())?).await
    }

    /// Whether signing in takes a code.
    pub async fn second_factor(&self) -> Result<SecondFactorResponse, ClientError> {
        self.token()?;
        self.call(Method::GET, SECOND_FACTOR, Body::None).await
    }

    /// Begins to enrol an authenticator app; this registry's token must be a session's.
    pub async fn begin_second_factor(
        &self,
        asked: &NewSecondFactorRequest,
    ) -> Result<NewSecondFactorResponse, ClientError> {
        self.token()?;
        self.call_once(Method::POST, SECOND_FACTOR, Body::json(asked)?).await
    }

    /// Ends the enrolment with a code of the app.
    pub async fn confirm_second_factor(
        &self,
        asked: &ConfirmSecondFactorRequest,
    ) -> Result<RecoveryCodesResponse, ClientError> {
        self.token()?;
        self.call_once(Method::POST, &format!("{SECOND_FACTOR}/confirm"), Body::json(asked)?).await
    }

    /// Makes other recovery codes.
    pub async fn renew_recovery_codes(
        &self,
        asked: &SecondFactorRequest,
    ) -> Result<RecoveryCodesResponse, ClientError> {
        self.token()?;
        self.call_once(Method::POST, &format!("{SECOND_FACTOR}/recovery-codes"), Body::json(asked)?).await
    }

    /// Gives the second factor up.
    pub async fn end_second_factor(&self, asked: &SecondFactorRequest) -> Result<WriteResponse, ClientError> {
        self.token()?;
        self.call_once(Method::DELETE, SECOND_FACTOR, Body::json(asked)?).await
    }

    /// Makes an organisation.
    pub async fn make_org(&self, name: &str) -> Result<OrgResponse, ClientError> {
        self.token()?;
        self.call_once(Method::POST, "orgs", Body::json(&NewOrgRequest { name: name.into() })?).await
    }

    /// An organisation, with its members if the token is a member's.
    pub async fn org(&self, name: &str) -> Result<OrgResponse, ClientError> {
        self.call(Method::GET, &org_path(name), Body::None).await
    }

    /// Invites somebody to an organisation, or gives a member another role.
    pub async fn set_member(&self, org: &str, login: &str, role: Role) -> Result<WriteResponse, ClientError> {
        self.token()?;
        let path = format!("{}/members/{}", org_path(org), segment(login));
        self.call(Method::PUT, &path, Body::json(&MemberRequest { role })?).await
    }

    /// Makes a team of an organisation; this registry's token must be a session's.
    pub async fn make_team(&self, org: &str, team: &str) -> Result<WriteResponse, ClientError> {
        self.token()?;
        self.call(Method::PUT, &team_path(org, team), Body::None).await
    }

    /// Dissolves a team.
    pub async fn end_team(&self, org: &str, team: &str) -> Result<WriteResponse, ClientError> {
        self.token()?;
        self.call(Method::DELETE, &team_path(org, team), Body::None).await
    }

    /// Puts a member of the organisation into a team.
    pub async fn add_to_team(
        &self,
        org: &str,
        team: &str,
        login: &str,
    ) -> Result<WriteResponse, ClientError> {
        self.token()?;
        let path = format!("{}/members/{}", team_path(org, team), segment(login));
        self.call(Method::PUT, &path, Body::None).await
    }

    /// Takes somebody out of a team; or leaves it.
    pub async fn remove_from_team(
        &self,
        org: &str,
        team: &str,
        login: &str,
    ) -> Result<WriteResponse, ClientError> {
        self.token()?;
        let path = format!("{}/members/{}", team_path(org, team), segment(login));
        self.call(Method::DELETE, &path, Body::None).await
    }

    /// Takes an invitation.
    pub async fn join_org(&self, org: &str) -> Result<WriteResponse, ClientError> {
        self.token()?;
        self.call(Method::POST, &format!("{}/join", org_path(org)), Body::None).await
    }

    /// Removes a member or an invitation; or leaves.
    pub async fn remove_member(&self, org: &str, login: &str) -> Result<WriteResponse, ClientError> {
        self.token()?;
        self.call(Method::DELETE, &format!("{}/members/{}", org_path(org), segment(login)), Body::None).await
    }
}

/// Where an account's second factor is.
const SECOND_FACTOR: &str = "users/me/second-factor";

fn org_path(name: &str) -> String {
    format!("orgs/{}", segment(name))
}

/// One segment of an address, whatever somebody typed.
fn segment(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn team_path(org: &str, team: &str) -> String {
    format!("{}/teams/{}", org_path(org), segment(team))
}
