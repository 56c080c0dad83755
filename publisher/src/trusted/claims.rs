//! What an issuer's token must claim. Pure.
//!
//! Owns: times, audience, and whether claims are those of a publisher. Does not own: signatures, or whether the token was used.
//! Sources: OpenID Connect Core 1.0 section 3.1.3.7; GitHub's and GitLab's references of their ID tokens.

use std::collections::BTreeMap;

use drystone_schemas::{CiIdentity, PackageName, Sha256Digest, Version};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::shown;

/// How far clocks may be apart, in seconds.
pub(super) const LEEWAY_S: u64 = 60;
/// Longest time for which a token may be good, in seconds.
const LIFETIME_S_MAX: u64 = 15 * 60;
/// Longest `jti`, in bytes.
const JTI_BYTES_MAX: usize = 512;
/// Events in which somebody else than the repository's owners decides what the job works on.
const REFUSED_EVENTS: [&str; 3] = ["pull_request_target", "workflow_run", "issue_comment"];

/// Why a token cannot be taken, whoever it is about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidIdentity {
    /// A claim is not there, or not of its form.
    #[error("the claim `{0}` is missing, or not what it should be")]
    Claim(&'static str),
    /// The audience is not this registry.
    #[error("the token is for the audience `{0}`")]
    Audience(String),
    /// It is over.
    #[error("the token has expired")]
    Expired,
    /// It begins later.
    #[error("the token is not valid yet")]
    Early,
    /// It is good for longer than such tokens may be.
    #[error("the token is good for longer than 15 minutes")]
    TooLong,
}

/// What a token may be exchanged for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Binding {
    /// The package, where the audience names it.
    pub(super) package: Option<PackageName>,
    /// The version and archive, where the audience names them.
    pub(super) upload: Option<(Version, Sha256Digest)>,
}

/// A token's claims, after its signature was verified.
#[derive(Debug)]
pub(super) struct Claims {
    /// Names the token among those of its issuer.
    pub(super) jti: String,
    /// When it ends, in seconds since 1970.
    pub(super) expires: u64,
    pub(super) binding: Binding,
    all: Map<String, Value>,
}

/// A claim that may be one text or a list of one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    List(Vec<String>),
}

impl Claims {
    /// Checks times and audience; `audience` is this registry's URL.
    ///
    /// The audience may go on with `#<package>` or `#sha256:<hex>#<package>@<version>`: then the token is for that upload.
    pub(super) fn check(
        all: Map<String, Value>,
        audience: &str,
        now_s: u64,
    ) -> Result<Self, InvalidIdentity> {
        let number = |name: &'static str| all.get(name).and_then(seconds).ok_or(InvalidIdentity::Claim(name));
        let (issued, expires) = (number("iat")?, number("exp")?);
        let begins = if all.contains_key("nbf") { number("nbf")? } else { issued };
        if expires.saturating_add(LEEWAY_S) <= now_s {
            return Err(InvalidIdentity::Expired);
        }
        if issued > now_s + LEEWAY_S || begins > now_s + LEEWAY_S {
            return Err(InvalidIdentity::Early);
        }
        if expires.saturating_sub(issued) > LIFETIME_S_MAX {
            return Err(InvalidIdentity::TooLong);
        }
        let jti = text(&all, "jti").filter(|jti| (1..=JTI_BYTES_MAX).contains(&jti.len()));
        let jti = jti.ok_or(InvalidIdentity::Claim("jti"))?.to_owned();
        let aud = all.get("aud").and_then(|aud| Audience::deserialize(aud).ok());
        let aud = match aud.ok_or(InvalidIdentity::Claim("aud"))? {
            Audience::One(aud) => aud,
            Audience::List(list) => match &*list {
                [aud] => aud.clone(),
                _ => return Err(InvalidIdentity::Audience(list.join(", "))),
            },
        };
        let binding = read_audience(&aud, audience).ok_or_else(|| InvalidIdentity::Audience(shown(&aud)))?;
        Ok(Self { jti, expires, binding, all })
    }

    /// Why these are not the claims of a publisher: the first claim that differs. `None` if they are.
    pub(super) fn differ_from(&self, identity: &CiIdentity) -> Option<&'static str> {
        let is = |name: &str, value: &str| text(&self.all, name) == Some(value);
        let is_in_any_case = |name: &str, value: &str| {
            text(&self.all, name).is_some_and(|there| there.eq_ignore_ascii_case(value))
        };
        let is_environment = |environment: &Option<String>| {
            environment.as_ref().is_none_or(|name| is_in_any_case("environment", name))
        };
        let checks: Vec<(bool, &'static str)> = match identity {
            CiIdentity::Github {
                repository,
                owner_id,
                repository_id,
                workflow,
                environment,
                hosted_only,
            } => {
                let place = if self.all.contains_key("job_workflow_ref") {
                    "job_workflow_ref"
                } else {
                    "workflow_ref"
                };
                let file = text(&self.all, place).and_then(|place| github_workflow(place, repository));
                let refused =
                    text(&self.all, "event_name").is_none_or(|event| REFUSED_EVENTS.contains(&event));
                vec![
                    (is_in_any_case("repository", repository), "repository"),
                    (is("repository_owner_id", owner_id), "repository_owner_id"),
                    (is("repository_id", repository_id), "repository_id"),
                    (file == Some(&**workflow), "job_workflow_ref"),
                    (is_environment(environment), "environment"),
                    (!refused, "event_name"),
                    (!hosted_only || is("runner_environment", "github-hosted"), "runner_environment"),
                ]
            }
            CiIdentity::Gitlab { project, namespace_id, project_id, file, environment } => {
                let there = text(&self.all, "ci_config_ref_uri").and_then(|uri| gitlab_file(uri, project));
                vec![
                    (is_in_any_case("project_path", project), "project_path"),
                    (is("namespace_id", namespace_id), "namespace_id"),
                    (is("project_id", project_id), "project_id"),
                    (there == Some(&**file), "ci_config_ref_uri"),
                    (is_environment(environment), "environment"),
                ]
            }
            CiIdentity::Oidc { claims } => {
                let same =
                    |claims: &BTreeMap<String, String>| claims.iter().all(|(name, value)| is(name, value));
                vec![(same(claims), "sub")]
            }
        };
        checks.into_iter().find(|(holds, _)| !holds).map(|(_, claim)| claim)
    }
}

fn text<'a>(all: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    all.get(name).and_then(Value::as_str)
}

/// A time: whole seconds, which some issuers write as a number with a fraction.
fn seconds(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_f64().filter(|s| (0.0..9e15).contains(s)).map(|s| s as u64))
}

fn read_audience(aud: &str, audience: &str) -> Option<Binding> {
    let rest = aud.strip_prefix(audience)?;
    if rest.is_empty() {
        return Some(Binding::default());
    }
    let rest = rest.strip_prefix('#')?;
    let Some(rest) = rest.strip_prefix("sha256:") else {
        return Some(Binding { package: Some(PackageName::new(rest).ok()?), upload: None });
    };
    let (digest, release) = rest.split_once('#')?;
    let (package, version) = release.split_once('@')?;
    let upload = (Version::new(version).ok()?, Sha256Digest::from_hex(digest).ok()?);
    Some(Binding { package: Some(PackageName::new(package).ok()?), upload: Some(upload) })
}

/// The file of `owner/repo/.github/workflows/<file>@<ref>`, if owner and repository are these. What follows the first `@` is the
/// ref, and may look like anything.
fn github_workflow<'a>(place: &'a str, repository: &str) -> Option<&'a str> {
    let (head, rest) = place.split_at_checked(repository.len())?;
    let (file, git_ref) = rest.strip_prefix("/.github/workflows/")?.split_once('@')?;
    (head.eq_ignore_ascii_case(repository) && !file.is_empty() && !file.contains('/') && !git_ref.is_empty())
        .then_some(file)
}

/// The file of `<host>/<project>//<file>@<ref>`, if the project is this one.
fn gitlab_file<'a>(uri: &'a str, project: &str) -> Option<&'a str> {
    let (_host, rest) = uri.split_once('/')?;
    let (head, rest) = rest.split_at_checked(project.len())?;
    let (file, git_ref) = rest.strip_prefix("//")?.split_once('@')?;
    (head.eq_ignore_ascii_case(project) && !file.is_empty() && !git_ref.is_empty()).then_some(file)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const REGISTRY: &str = "https://registry.test";
    const NOW_S: u64 = 1_760_000_000;

    fn github() -> Value {
        json!({
            "iss": "https://issuer.test", "aud": REGISTRY, "iat": NOW_S - 5, "nbf": NOW_S - 5, "exp": NOW_S + 300,
            "jti": "one", "repository": "Acme/HTTP", "repository_owner_id": "4711", "repository_id": "815",
            "job_workflow_ref": "acme/http/.github/workflows/release.yml@refs/tags/v1.0.0", "environment": "Release",
            "event_name": "push", "runner_environment": "github-hosted", "unknown": {"a": [1]}
        })
    }

    fn gitlab() -> Value {
        json!({
            "iss": "https://issuer.test", "aud": [REGISTRY], "iat": NOW_S, "exp": NOW_S + 300, "jti": "two",
            "project_path": "acme/libs/http", "namespace_id": "7", "project_id": "8",
            "ci_config_ref_uri": "gitlab.test/acme/libs/http//ci/release.yml@refs/heads/main"
        })
    }

    fn with(claims: Value, name: &str, value: Value) -> Value {
        let mut claims = claims;
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value;
        }
        claims
    }

    fn check(claims: Value) -> Result<Claims, InvalidIdentity> {
        let Value::Object(all) = claims else { unreachable!() };
        Claims::check(all, REGISTRY, NOW_S)
    }

    fn publisher(environment: Option<&str>, hosted_only: bool) -> CiIdentity {
        CiIdentity::Github {
            repository: "acme/http".into(),
            owner_id: "4711".into(),
            repository_id: "815".into(),
            workflow: "release.yml".into(),
            environment: environment.map(Into::into),
            hosted_only,
        }
    }

    #[test]
    fn times_and_audience() {
        use InvalidIdentity as No;
        assert!(check(github()).is_ok());
        let audience = |text: &str| No::Audience(text.into());
        for (name, value, expected) in [
            ("exp", json!(NOW_S - LEEWAY_S), No::Expired),
            ("exp", json!("soon"), No::Claim("exp")),
            ("exp", Value::Null, No::Claim("exp")),
            ("exp", json!(NOW_S + 3_600), No::TooLong),
            ("iat", json!(NOW_S + LEEWAY_S + 1), No::Early),
            ("iat", Value::Null, No::Claim("iat")),
            ("nbf", json!(NOW_S + LEEWAY_S + 1), No::Early),
            ("nbf", json!(-1), No::Claim("nbf")),
            ("jti", Value::Null, No::Claim("jti")),
            ("jti", json!(""), No::Claim("jti")),
            ("jti", json!("x".repeat(JTI_BYTES_MAX + 1)), No::Claim("jti")),
            ("aud", Value::Null, No::Claim("aud")),
            ("aud", json!("https://registry.test.evil"), audience("https://registry.test.evil")),
            ("aud", json!("https://other.test"), audience("https://other.test")),
            (
                "aud",
                json!([REGISTRY, "https://other.test"]),
                audience("https://registry.test, https://other.test"),
            ),
            ("aud", json!([]), audience("")),
        ] {
            assert_eq!(check(with(github(), name, value.clone())).unwrap_err(), expected, "{name} {value}");
        }
        assert!(check(with(github(), "exp", json!(NOW_S - LEEWAY_S + 1))).is_ok());
        assert!(check(with(github(), "iat", json!(NOW_S + LEEWAY_S))).is_ok());
    }

    #[test]
    fn an_audience_may_name_the_upload() {
        let digest = Sha256Digest::of(b"archive");
        let bound =
            |rest: &str| check(with(github(), "aud", json!(format!("{REGISTRY}#{rest}")))).map(|c| c.binding);
        let package = PackageName::new("acme/http").ok();
        assert_eq!(bound("acme/http").unwrap(), Binding { package: package.clone(), upload: None });
        let upload = Some((Version::new("1.0.0").unwrap(), digest));
        assert_eq!(bound(&format!("{digest}#acme/http@1.0.0")).unwrap(), Binding { package, upload });
        for bad in ["", "sha256:00#a@1.0.0", &format!("{digest}#a"), &format!("{digest}"), "a b"] {
            assert!(matches!(bound(bad), Err(InvalidIdentity::Audience(_))), "{bad}");
        }
    }

    #[test]
    fn every_claim_of_a_workflow_counts() {
        let any = publisher(None, false);
        let strict = publisher(Some("release"), true);
        for publisher in [&any, &strict] {
            assert_eq!(check(github()).unwrap().differ_from(publisher), None);
        }
        let reference = |place: &str| json!(format!("{place}@refs/heads/main"));
        for (name, value, differs) in [
            ("repository", json!("acme/http2"), "repository"),
            ("repository_owner_id", json!("4712"), "repository_owner_id"),
            ("repository_owner_id", json!(4711), "repository_owner_id"),
            ("repository_id", Value::Null, "repository_id"),
            ("job_workflow_ref", reference("acme/http/.github/workflows/other.yml"), "job_workflow_ref"),
            ("job_workflow_ref", reference("evil/http/.github/workflows/release.yml"), "job_workflow_ref"),
            ("job_workflow_ref", reference("acme/http/.github/workflows/a/release.yml"), "job_workflow_ref"),
            ("job_workflow_ref", reference("acme/http/x/.github/workflows/release.yml"), "job_workflow_ref"),
            ("job_workflow_ref", json!("acme/http/.github/workflows/release.yml"), "job_workflow_ref"),
            (
                "job_workflow_ref",
                json!(
                    "acme/http/.github/workflows/other.yml@x/.github/workflows/release.yml@refs/heads/main"
                ),
                "job_workflow_ref",
            ),
            ("environment", json!("test"), "environment"),
            ("environment", Value::Null, "environment"),
            ("event_name", json!("pull_request_target"), "event_name"),
            ("event_name", json!("workflow_run"), "event_name"),
            ("event_name", json!("issue_comment"), "event_name"),
            ("event_name", Value::Null, "event_name"),
            ("runner_environment", json!("self-hosted"), "runner_environment"),
        ] {
            let claims = check(with(github(), name, value.clone())).unwrap();
            assert_eq!(claims.differ_from(&strict), Some(differs), "{name} {value}");
            let lenient = matches!(name, "environment" | "runner_environment");
            assert_eq!(claims.differ_from(&any).is_none(), lenient, "{name} {value}");
        }
        // A ref may look like anything, and without a called workflow the job's own counts.
        let odd = "acme/http/.github/workflows/release.yml@refs/heads/a@b/.github/workflows/x.yml";
        assert_eq!(check(with(github(), "job_workflow_ref", json!(odd))).unwrap().differ_from(&any), None);
        let own = with(with(github(), "job_workflow_ref", Value::Null), "workflow_ref", json!(odd));
        assert_eq!(check(own).unwrap().differ_from(&any), None);
    }

    #[test]
    fn every_claim_of_a_pipeline_counts() {
        let identity = CiIdentity::Gitlab {
            project: "acme/libs/http".into(),
            namespace_id: "7".into(),
            project_id: "8".into(),
            file: "ci/release.yml".into(),
            environment: None,
        };
        assert_eq!(check(gitlab()).unwrap().differ_from(&identity), None);
        for (name, value) in [
            ("project_path", json!("acme/libs/http2")),
            ("namespace_id", json!("8")),
            ("project_id", json!("7")),
            ("ci_config_ref_uri", json!("gitlab.test/acme/libs/http//ci/other.yml@refs/heads/main")),
            ("ci_config_ref_uri", json!("gitlab.test/evil/libs/http//ci/release.yml@refs/heads/main")),
            ("ci_config_ref_uri", json!("gitlab.test/acme/libs/http//ci/release.yml")),
        ] {
            let differs = check(with(gitlab(), name, value.clone())).unwrap().differ_from(&identity);
            assert_eq!(differs, Some(name), "{value}");
        }
    }

    #[test]
    fn every_claim_that_was_named_counts() {
        let claims =
            [("sub", "job:7"), ("ref", "main")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let identity = CiIdentity::Oidc { claims: claims.into() };
        let token = with(with(gitlab(), "sub", json!("job:7")), "ref", json!("main"));
        assert_eq!(check(token.clone()).unwrap().differ_from(&identity), None);
        for name in ["sub", "ref"] {
            assert_eq!(
                check(with(token.clone(), name, json!("x"))).unwrap().differ_from(&identity),
                Some("sub")
            );
            assert_eq!(
                check(with(token.clone(), name, Value::Null)).unwrap().differ_from(&identity),
                Some("sub")
            );
        }
    }
}
