//! Where people sign in: the provider that the environment names.

use std::fmt;

use drystone_schemas::SecretText;
use url::{Host, Url};

/// A provider of OpenID Connect at which people sign in, and what the registry is there.
#[derive(Clone)]
pub struct SignInProvider {
    /// How people call it.
    pub name: String,
    /// Its issuer identifier, letter for letter.
    pub issuer: String,
    /// The registry's client identifier there.
    pub client_id: String,
    /// The registry's client secret there; public clients have none.
    pub client_secret: Option<SecretText>,
    /// Whether who is known there gets an account, also where registration is closed to everybody else.
    pub makes_accounts: bool,
}

impl fmt::Debug for SignInProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignInProvider({})", self.issuer)
    }
}

impl SignInProvider {
    /// What `DRYSTONE_OIDC_ISSUER` and the variables that belong to it ask for; none without it. `read` opens the files that they
    /// name.
    ///
    /// # Errors
    ///
    /// What is wrong with a variable.
    pub fn of_environment(
        get: impl Fn(&str) -> Option<String>,
        read: impl Fn(&str) -> std::io::Result<Vec<u8>>,
    ) -> Result<Option<Self>, String> {
        let get = |name: &str| get(&format!("DRYSTONE_OIDC_{name}"));
        let Some(issuer) = get("ISSUER") else { return Ok(None) };
        let bad_issuer = "`DRYSTONE_OIDC_ISSUER` is no `https` address without query and fragment";
        let url = Url::parse(&issuer).map_err(|_| bad_issuer)?;
        if !is_secure(&url) || url.query().is_some() || url.fragment().is_some() {
            return Err(bad_issuer.into());
        }
        let client_id =
            get("CLIENT_ID").ok_or("set `DRYSTONE_OIDC_CLIENT_ID` to the registry's name at its issuer")?;
        let client_secret = match (get("CLIENT_SECRET"), get("CLIENT_SECRET_FILE")) {
            (Some(secret), _) => Some(SecretText::new(secret)),
            (None, Some(path)) => {
                let bytes = read(&path).map_err(|e| format!("`DRYSTONE_OIDC_CLIENT_SECRET_FILE`: {e}"))?;
                let text = String::from_utf8(bytes).map_err(|_| "the client secret is not UTF-8")?;
                Some(SecretText::new(text.trim_end_matches(['\r', '\n'])))
            }
            (None, None) => None,
        };
        let makes_accounts = match get("ACCOUNTS").as_deref() {
            Some("make") => true,
            Some("as-registration") | None => false,
            Some(_) => return Err("`DRYSTONE_OIDC_ACCOUNTS` is `make` or `as-registration`".into()),
        };
        let name = get("NAME").or_else(|| url.host_str().map(str::to_owned)).unwrap_or_default();
        Ok(Some(Self { name, issuer, client_id, client_secret, makes_accounts }))
    }
}

/// Whether what is sent there is read by nobody else: `https`, or this machine.
fn is_secure(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_here)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<SignInProvider>, String> {
        let get = |name: &str| {
            let found = pairs.iter().find(|(there, _)| name == format!("DRYSTONE_OIDC_{there}"));
            found.map(|(_, value)| (*value).to_owned())
        };
        let file = |name: &str| match name {
            "secret" => Ok(b"planted secret\n".to_vec()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        };
        SignInProvider::of_environment(get, file)
    }

    #[test]
    fn a_provider_comes_from_the_environment() {
        assert!(read(&[]).unwrap().is_none());
        let (issuer, client) = (("ISSUER", "https://id.example.org/"), ("CLIENT_ID", "registry"));
        let least = read(&[issuer, client]).unwrap().unwrap();
        assert_eq!((&*least.name, &*least.issuer), ("id.example.org", "https://id.example.org/"));
        assert!(least.client_secret.is_none() && !least.makes_accounts);
        let all =
            [issuer, client, ("NAME", "Example"), ("CLIENT_SECRET_FILE", "secret"), ("ACCOUNTS", "make")];
        let most = read(&all).unwrap().unwrap();
        assert_eq!((&*most.name, most.makes_accounts), ("Example", true));
        assert_eq!(most.client_secret.as_ref().unwrap().expose(), "planted secret");
        assert!(!format!("{most:?}").contains("planted"));
        assert!(read(&[("ISSUER", "http://127.0.0.1:8000/realms/a"), client]).unwrap().is_some());
        for bad in [
            &[issuer][..],
            &[("ISSUER", "id.example.org"), client],
            &[("ISSUER", "http://id.example.org"), client],
            &[("ISSUER", "https://id.example.org?tenant=1"), client],
            &[issuer, client, ("CLIENT_SECRET_FILE", "nowhere")],
            &[issuer, client, ("ACCOUNTS", "maybe")],
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
