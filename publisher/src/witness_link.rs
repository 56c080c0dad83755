//! The way to a witness over HTTP.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use drystone_log::{commit::WitnessLink, note::NOTE_BYTES_MAX};

/// Longest time for one request; the committer waits for less.
const REQUEST_S_MAX: u64 = 5;

struct HttpWitness {
    client: Result<reqwest::Client, String>,
    url: String,
}

/// The way to the witness with this submission prefix. Connections are kept open between requests.
pub fn witness_link(prefix: &str) -> Box<dyn WitnessLink> {
    // The process may have chosen a provider already; either serves.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = reqwest::Client::builder().timeout(Duration::from_secs(REQUEST_S_MAX)).build();
    let url = format!("{}/add-checkpoint", prefix.trim_end_matches('/'));
    Box::new(HttpWitness { client: client.map_err(|e| e.to_string()), url })
}

#[async_trait]
impl WitnessLink for HttpWitness {
    async fn add_checkpoint(&self, body: Bytes) -> Result<(u16, Bytes), String> {
        let client = self.client.as_ref().map_err(Clone::clone)?;
        let text = |e: reqwest::Error| e.without_url().to_string();
        let mut answer = client.post(&self.url).body(body).send().await.map_err(text)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(text)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > NOTE_BYTES_MAX {
                return Err("its answer is too long".into());
            }
        }
        Ok((answer.status().as_u16(), bytes.into()))
    }
}
