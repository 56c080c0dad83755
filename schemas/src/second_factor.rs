//! Bodies of the API for what an account shows beside its password.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::SecretText;

/// Whether an account has a second factor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecondFactorResponse {
    /// Whether signing in takes a code beside the password.
    pub enabled: bool,
    /// Since when, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// How many recovery codes were not used yet.
    pub recovery_codes_left: u32,
}

/// Begins to enrol a second factor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewSecondFactorRequest {
    /// The password, once more.
    pub password: SecretText,
}

/// What an authenticator app is to be told; it counts once a code of it was given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewSecondFactorResponse {
    /// The secret in base 32 (RFC 4648), for typing: SHA-1, six digits, 30 seconds (RFC 6238).
    pub secret: SecretText,
    /// The same as an `otpauth` address, for a QR code.
    pub uri: SecretText,
}

/// Shows that the app makes the right codes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfirmSecondFactorRequest {
    /// A code of the app.
    pub code: SecretText,
}

/// Codes that stand in for the app, each once; they are shown this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecoveryCodesResponse {
    /// The codes.
    pub recovery_codes: Vec<SecretText>,
}

/// Password and code, once more, for what a session alone may not do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecondFactorRequest {
    /// The password.
    pub password: SecretText,
    /// A code of the app that was not used yet, or a recovery code.
    pub code: SecretText,
}
