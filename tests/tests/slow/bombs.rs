//! Archives that are much more than they seem.

use drystone_test_archives::cases;
use drystone_tests::{multipart_body, process::http_client};
use tokio::time::Instant;

use super::{DEADLINE, Registry};

/// Most memory that any of them may cost, in bytes: what the whole publish function may have (DESIGN, limits).
const BYTES_MAX: u64 = 128 << 20;

#[tokio::test]
async fn bombs_cost_little_time_and_memory() {
    let registry = Registry::start(&[]);
    let before = registry.peak();
    let client = http_client();
    let wanted =
        ["100001-empty-files", "10-mib-that-are-10-gib", "bomb", "bomb-of-directories", "padded-for-ever"];
    let bombs: Vec<_> = cases::all().into_iter().filter(|case| wanted.contains(&case.name)).collect();
    assert_eq!(bombs.len(), wanted.len());
    for case in bombs {
        let (content_type, body) = multipart_body(None, &case.bytes);
        let began = Instant::now();
        let answer = client
            .post(format!("{}/api/v1/packages", registry.server.local))
            .bearer_auth(&registry.token)
            .header("content-type", content_type)
            .body(body)
            .send()
            .await
            .unwrap();
        let status = answer.status();
        let answer: serde_json::Value = answer.json().await.unwrap();
        let elapsed = began.elapsed();
        assert_eq!(status, 422, "{}: {answer}", case.name);
        assert_eq!(answer["errors"][0]["code"], case.codes[0].slug(), "{}", case.name);
        assert!(elapsed < DEADLINE / 4, "{}: {elapsed:?}", case.name);
        let grown = registry.grown(before);
        assert!(grown < BYTES_MAX, "{}: {grown} bytes", case.name);
        println!(
            "{}: {} bytes, {elapsed:?}, peak {} MiB",
            case.name,
            case.bytes.len(),
            registry.peak() >> 20
        );
    }
    registry.assert_serves().await;
}
