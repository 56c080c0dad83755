//! Settings, and the two clients that are made of them: one that repeats what is safe to repeat, one that never does.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::{
    Client,
    config::{
        Builder, RequestChecksumCalculation, ResponseChecksumValidation, retry::RetryConfig,
        timeout::TimeoutConfig,
    },
};
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};

/// Where the objects are, and how long to wait for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Settings {
    /// The bucket.
    pub bucket: String,
    /// What all keys begin with, without `/` at its ends; may be empty.
    pub prefix: String,
    /// Address of a store that is not AWS. Default: `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`, else AWS itself.
    pub endpoint: Option<String>,
    /// Default: `AWS_REGION`, the profile, the machine; `us-east-1` where none says anything.
    pub region: Option<String>,
    /// Whether the bucket is part of the path and not of the host name. Default: if there is an endpoint.
    pub path_style: Option<bool>,
    /// Time to make a connection. Default: 3 s.
    pub connect_timeout: Duration,
    /// Time from sending a request to the head of its answer. Default: 30 s.
    pub attempt_timeout: Duration,
    /// How often a call is tried that may safely be repeated. Default: 3.
    pub attempts_max: u32,
}

/// The text is not `s3://bucket` or `s3://bucket/prefix`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not `s3://bucket/prefix`")]
pub struct InvalidUrl(String);

impl S3Settings {
    /// Settings with defaults for all that the environment usually says.
    pub fn new(bucket: impl Into<String>, prefix: &str) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: prefix.trim_matches('/').to_owned(),
            endpoint: None,
            region: None,
            path_style: None,
            connect_timeout: Duration::from_secs(3),
            attempt_timeout: Duration::from_secs(30),
            attempts_max: 3,
        }
    }

    /// Reads `s3://bucket` or `s3://bucket/prefix`.
    pub fn from_url(url: &str) -> Result<Self, InvalidUrl> {
        let rest = url.strip_prefix("s3://").unwrap_or_default();
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        let bucket_ok = !bucket.is_empty()
            && bucket.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b));
        let prefix_ok = prefix.is_empty() || drystone_storage::Key::new(prefix).is_ok();
        if bucket_ok && prefix_ok { Ok(Self::new(bucket, prefix)) } else { Err(InvalidUrl(url.to_owned())) }
    }
}

/// The two ways to ask a store.
pub(crate) struct Clients {
    /// Repeats after time-outs, lost connections, 5xx and throttling, with growing and jittered pauses.
    pub(crate) repeating: Client,
    /// Sends each request once.
    pub(crate) once: Client,
}

/// Loads credentials, region and endpoint as the standard variables and files say.
#[expect(
    clippy::disallowed_methods,
    reason = "the SDK reads its standard variables, and this is one of them"
)]
pub(crate) async fn load(settings: &S3Settings) -> Clients {
    let https = aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(https);
    if let Some(region) = &settings.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &settings.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    let mut config = loader.load().await;
    if config.region().is_none() {
        config = config.into_builder().region(Region::from_static("us-east-1")).build();
    }
    // The SDK takes this variable into account and does not tell that it did.
    let custom = config.endpoint_url().is_some() || std::env::var_os("AWS_ENDPOINT_URL_S3").is_some();
    clients(settings, &config, custom)
}

/// Makes clients of a configuration that is loaded.
pub(crate) fn clients(settings: &S3Settings, config: &SdkConfig, custom_endpoint: bool) -> Clients {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(settings.connect_timeout)
        .operation_attempt_timeout(settings.attempt_timeout)
        .build();
    let base = Builder::from(config)
        .force_path_style(settings.path_style.unwrap_or(custom_endpoint))
        .timeout_config(timeouts)
        // SHA-256 is sent by this crate; the SDK's own CRC trailers are refused by stores other than AWS.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    let client = |retry: RetryConfig| Client::from_conf(base.clone().retry_config(retry).build());
    Clients {
        repeating: client(RetryConfig::standard().with_max_attempts(settings.attempts_max.max(1))),
        once: client(RetryConfig::disabled()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_bucket_and_a_prefix() {
        for (url, expected) in [
            ("s3://bucket", Some(("bucket", ""))),
            ("s3://bucket/", Some(("bucket", ""))),
            ("s3://my-bucket.x/a/b", Some(("my-bucket.x", "a/b"))),
            ("s3://bucket/a/", Some(("bucket", "a"))),
            ("s3://", None),
            ("s3:///a", None),
            ("s3://Bucket", None),
            ("s3://bucket//a", None),
            ("s3://bucket/a/../b", None),
            ("https://bucket/a", None),
        ] {
            let found = S3Settings::from_url(url);
            let found =
                found.as_ref().map(|settings| (settings.bucket.as_str(), settings.prefix.as_str())).ok();
            assert_eq!(found, expected, "{url}");
        }
    }
}
