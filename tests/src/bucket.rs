//! A bucket of the S3 server whose public areas anybody may read, as the operator of a registry sets one up.

use std::process::Command;

use crate::process::{s3_environment, unique};

/// The bucket, made by whichever test comes first.
const BUCKET: &str = "drystone-public";
/// Anybody may read what lies in a public area, and may learn that something is not there; nothing else.
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Principal":"*","Action":["s3:GetObject"],"Resource":["arn:aws:s3:::drystone-public/*/public/*"]},
    {"Effect":"Allow","Principal":"*","Action":["s3:ListBucket"],"Resource":["arn:aws:s3:::drystone-public"]}]}"#;

/// A place for one registry in the bucket.
#[derive(Debug, Clone)]
pub struct PublicBucket {
    /// The `AWS_*` variables that reach it.
    pub environment: Vec<(String, String)>,
    /// The store, for `DRYSTONE_STORE`.
    pub store: String,
    /// URL of its public area, which needs no signature; with a slash at its end.
    pub public: String,
}

impl PublicBucket {
    /// A place that no other test uses; none if there is no S3 server.
    pub fn make() -> Option<Self> {
        let environment = s3_environment()?;
        let of = |wanted: &str| {
            let found = environment.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.clone()).expect("the environment of an S3 server is whole")
        };
        let endpoint = of("AWS_ENDPOINT_URL_S3");
        let user = format!("{}:{}", of("AWS_ACCESS_KEY_ID"), of("AWS_SECRET_ACCESS_KEY"));
        // 409: another test made it.
        signed_put(&user, &format!("{endpoint}/{BUCKET}"), "", &["200", "409"]);
        signed_put(&user, &format!("{endpoint}/{BUCKET}?policy="), POLICY, &["200", "204"]);
        let prefix = unique("registry");
        Some(Self {
            environment,
            store: format!("s3://{BUCKET}/{prefix}"),
            public: format!("{endpoint}/{BUCKET}/{prefix}/public/"),
        })
    }

    /// The variables, as a command takes them.
    pub fn pairs(&self) -> Vec<(&str, &str)> {
        self.environment.iter().map(|(name, value)| (&**name, &**value)).collect()
    }
}

fn signed_put(user: &str, url: &str, body: &str, statuses: &[&str]) {
    let output = Command::new("curl")
        .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--aws-sigv4", "aws:amz:us-east-1:s3"])
        .args(["--user", user, "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "-X", "PUT"])
        .args(["--data-binary", body, url])
        .output()
        .expect("curl is installed");
    let status = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(statuses.contains(&&*status), "PUT {url}: {status}");
}
