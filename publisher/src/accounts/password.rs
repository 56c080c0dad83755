//! Passwords: which ones are taken, and how they are kept.
//!
//! Argon2id with 12 MiB, three passes and one lane: the OWASP password storage cheat sheet's equivalent of 19 MiB and two
//! passes, so that two sign-ins at once fit into the 128 MiB of a small function. Kept as a PHC string.
//! Invariant: whoever has no password takes as long to refuse as whoever has one.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use drystone_schemas::{Code, Problem, SecretText};
use drystone_storage::Entropy;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use crate::Refusal;

/// Memory in KiB, passes and lanes.
type Cost = (u32, u32, u32);

/// What a password costs that is set now.
const COST: Cost = (12 << 10, 3, 1);
/// Most memory that a stored hash may ask for, in KiB, and most passes.
const COST_MAX: (u32, u32) = (64 << 10, 10);
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// Shortest and longest password, in characters.
const CHARS: std::ops::RangeInclusive<usize> = 12..=128;
/// Fewest different characters of a password.
const DISTINCT_MIN: usize = 5;
/// How many passwords are hashed at once: two take 24 MiB.
const AT_ONCE: usize = 2;

/// Passwords of twelve characters and more that are tried first, in lower case.
const COMMON: [&str; 24] = [
    "1q2w3e4r5t6y",
    "1qaz2wsx3edc",
    "administrator",
    "changeme1234",
    "football1234",
    "iloveyou1234",
    "letmein12345",
    "monkey123456",
    "mypassword123",
    "password1234",
    "password12345",
    "password123456",
    "passwordpassword",
    "princess1234",
    "qazwsxedcrfv",
    "qwerty123456",
    "qwertyqwerty",
    "qwertyuiop12",
    "qwertyuiop123",
    "qwertyuiopas",
    "qwertyuiop[]",
    "sunshine1234",
    "trustno1trustno1",
    "welcome12345",
];

/// Checks a password that somebody chooses.
pub(super) fn check(password: &SecretText, login: &str, email: &str) -> Result<(), Problem> {
    let text = password.expose();
    let weak = |detail: &str| Err(Problem::new(Code::WeakPassword, detail));
    let chars = text.chars().count();
    if !CHARS.contains(&chars) {
        return weak(&format!(
            "the password has {chars} characters, not {} to {}",
            CHARS.start(),
            CHARS.end()
        ));
    }
    let lower = text.to_lowercase();
    if COMMON.contains(&&*lower) {
        return weak("the password is one that is tried first");
    }
    let mut distinct: Vec<char> = lower.chars().collect();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() < DISTINCT_MIN {
        return weak(&format!("the password has fewer than {DISTINCT_MIN} different characters"));
    }
    let steps: Vec<i64> = lower
        .chars()
        .zip(lower.chars().skip(1))
        .map(|(a, b)| i64::from(b as u32) - i64::from(a as u32))
        .collect();
    if steps.iter().filter(|step| **step == 1).count() + 3 > steps.len() {
        return weak("the password is a sequence");
    }
    let name = email.split('@').next().unwrap_or_default().to_lowercase();
    let holds = |part: &str| part.len() >= 4 && lower.contains(part) && chars < part.chars().count() + 8;
    if holds(login) || holds(&name) {
        return weak("the password is made of the login or the e-mail address");
    }
    Ok(())
}

/// Hashes passwords, a few at once.
pub(crate) struct Hasher(Semaphore);

impl Default for Hasher {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }
}

impl Hasher {
    /// Hashes a password, to be kept.
    pub(super) async fn hash(&self, password: &SecretText, entropy: &dyn Entropy) -> Result<String, Refusal> {
        let mut salt = [0; SALT_BYTES];
        entropy.fill(&mut salt);
        let hash = self.compute(password, salt.to_vec(), COST).await?;
        let (m, t, p) = COST;
        let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
        Ok(format!("$argon2id$v=19$m={m},t={t},p={p}${salt}${hash}"))
    }

    /// Whether this is the password that was hashed. Nothing kept: no, after as long a time.
    pub(super) async fn verify(&self, password: &SecretText, kept: Option<&str>) -> Result<bool, Refusal> {
        let Some(kept) = kept else {
            self.compute(password, vec![0; SALT_BYTES], COST).await?;
            return Ok(false);
        };
        let (cost, salt, hash) =
            parse(kept).ok_or_else(|| Refusal::internal("a password's hash does not parse"))?;
        let computed = self.compute(password, salt, cost).await?;
        Ok(computed.ct_eq(&hash).into())
    }

    async fn compute(
        &self,
        password: &SecretText,
        salt: Vec<u8>,
        (m, t, p): Cost,
    ) -> Result<Vec<u8>, Refusal> {
        let _turn = self.0.acquire().await.map_err(Refusal::internal)?;
        let password = password.clone();
        let hashed = tokio::task::spawn_blocking(move || {
            let params = Params::new(m, t, p, Some(HASH_BYTES)).map_err(|e| e.to_string())?;
            let mut out = vec![0; HASH_BYTES];
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password_into(password.expose().as_bytes(), &salt, &mut out)
                .map_err(|e| e.to_string())?;
            Ok::<_, String>(out)
        });
        hashed.await.map_err(Refusal::internal)?.map_err(Refusal::internal)
    }
}

/// Reads a PHC string of Argon2id: cost, salt and hash.
fn parse(text: &str) -> Option<(Cost, Vec<u8>, Vec<u8>)> {
    let mut fields = text.strip_prefix("$argon2id$v=19$")?.split('$');
    let mut costs = fields.next()?.split(',');
    let mut cost = |name: &str| costs.next()?.strip_prefix(name)?.parse::<u32>().ok();
    let (m, t, p) = (cost("m=")?, cost("t=")?, cost("p=")?);
    let salt = STANDARD_NO_PAD.decode(fields.next()?).ok()?;
    let hash = STANDARD_NO_PAD.decode(fields.next()?).ok()?;
    let fits = m <= COST_MAX.0 && t <= COST_MAX.1 && hash.len() == HASH_BYTES && fields.next().is_none();
    fits.then_some(((m, t, p), salt, hash))
}

#[cfg(test)]
mod tests {
    use drystone_storage::SystemEntropy;

    use super::*;

    #[test]
    fn passwords_that_are_taken_and_not() {
        let taken = |text: &str| check(&SecretText::new(text), "annabel", "anna.bell@example.org").is_ok();
        for good in
            ["four words of mine", "Tr0ub4dor&3xyz", "żółta łódź podwodna", "annabel likes long walks"]
        {
            assert!(taken(good), "{good}");
        }
        let long = "xyz".repeat(50);
        for bad in [
            "",
            "short",
            "aaaaaaaaaaaaaa",
            "abababababab",
            "password1234",
            "PassWord12345",
            "123456789012",
            "abcdefghijklm",
            "annabel12345",
            "anna.bell2024",
            &long,
        ] {
            assert!(!taken(bad), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_hash_knows_its_password_alone() {
        let (hasher, entropy) = (Hasher::default(), SystemEntropy::new());
        let password = SecretText::new("four words of mine");
        let kept = hasher.hash(&password, &entropy).await.unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=12288,t=3,p=1$"));
        assert!(hasher.verify(&password, Some(&kept)).await.unwrap());
        assert!(!hasher.verify(&SecretText::new("four words of mind"), Some(&kept)).await.unwrap());
        assert!(!hasher.verify(&password, None).await.unwrap());
        assert!(hasher.verify(&password, Some("$argon2id$v=19$m=99999999,t=3,p=1$AAAA$AAAA")).await.is_err());
    }

    /// RFC 9106 has no vector for these costs; this one is from the reference implementation's command line,
    /// `echo -n password | argon2 somesalt -id -t 2 -k 65536 -p 1 -l 32`, test.c of that project.
    #[tokio::test]
    async fn the_hash_is_argon2id() {
        let hash = Hasher::default()
            .compute(&SecretText::new("password"), b"somesalt".to_vec(), (65_536, 2, 1))
            .await
            .unwrap();
        assert_eq!(hex::encode(hash), "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7");
    }
}
