//! Peers that send slowly, without end, or not at all.

use std::time::Duration;

use drystone_tests::process::allow_open_files;
use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, interval},
};

use super::{Registry, read_to_end, within};

/// Connections of the test that holds many.
const MANY: usize = 3000;
/// Most memory for one idle connection, in bytes: two tasks' worth of buffers.
const IDLE_BYTES_MAX: u64 = 16 << 10;

/// Writes `head`, then a byte every 50 ms, until the other side has had enough; gives what it said, and after how long.
async fn trickle(registry: &Registry, head: &[u8], byte: u8) -> (String, Duration) {
    let mut stream = registry.connect().await;
    let began = Instant::now();
    stream.write_all(head).await.unwrap();
    let mut ticks = interval(Duration::from_millis(50));
    let (mut read, mut write) = stream.split();
    let mut answer = Vec::new();
    let writing = async {
        loop {
            ticks.tick().await;
            if write.write_all(&[byte]).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    within(async {
        tokio::select! {
            read = read.read_to_end(&mut answer) => drop(read),
            () = writing => {}
        }
    })
    .await;
    (String::from_utf8_lossy(&answer).into_owned(), began.elapsed())
}

#[tokio::test]
async fn a_byte_at_a_time_is_not_waited_for() {
    let registry = Registry::start(&[("DRYSTONE_HEADER_S_MAX", "1")]);
    let slow_line = trickle(&registry, b"G", b'E');
    let slow_headers = trickle(&registry, b"GET / HTTP/1.1\r\nx: ", b'a');
    let post = format!(
        "POST /api/v1/packages HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\
         content-type: multipart/form-data; boundary=b\r\ncontent-length: 1000\r\n\r\n",
        registry.token
    );
    let slow_body = trickle(&registry, post.as_bytes(), b'-');
    let put = format!(
        "PUT /api/v1/crates/new HTTP/1.1\r\nhost: a\r\nauthorization: {}\r\ncontent-length: 1000\r\n\r\n",
        registry.token
    );
    // The metadata have a length, and then come space by space.
    let put = [put.as_bytes(), &500_u32.to_le_bytes()].concat();
    let slow_crate = trickle(&registry, &put, b' ');
    let (line, headers, body, cargo) = tokio::join!(slow_line, slow_headers, slow_body, slow_crate);
    for (case, (answer, elapsed)) in [("line", &line), ("headers", &headers)] {
        assert_eq!(answer, "", "{case}: closed without an answer");
        assert!(*elapsed >= Duration::from_millis(900), "{case}: {elapsed:?}");
    }
    for (case, (answer, elapsed)) in [("body", &body), ("crate", &cargo)] {
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body-too-slow"), "{case}: {answer}");
        assert!(*elapsed >= Duration::from_millis(900), "{case}: {elapsed:?}");
    }
    registry.assert_serves().await;
}

#[tokio::test]
async fn a_connection_that_waits_for_its_next_request_is_closed() {
    let registry = Registry::start(&[("DRYSTONE_HEADER_S_MAX", "1")]);
    let mut kept = registry.connect().await;
    for _ in 0..2 {
        kept.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    }
    let answers = read_to_end(&mut kept).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    let mut silent = registry.connect().await;
    assert_eq!(read_to_end(&mut silent).await, "");
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    let registry = Registry::start(&[]);
    let before = registry.peak();
    for line in [format!("x: {}\r\n", "a".repeat(1000)), "a".repeat(1000), "x: y\r\n".to_owned()] {
        let mut stream = registry.connect().await;
        let (mut read, mut write) = stream.split();
        let mut answer = Vec::new();
        let sending = async {
            let mut sent = write.write_all(b"GET / HTTP/1.1\r\n").await;
            while sent.is_ok() {
                sent = write.write_all(line.as_bytes()).await;
            }
            std::future::pending::<()>().await;
        };
        within(async {
            tokio::select! {
                read = read.read_to_end(&mut answer) => drop(read),
                () = sending => {}
            }
        })
        .await;
        let answer = String::from_utf8_lossy(&answer);
        // A peer that goes on writing may find the connection reset before it reads.
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    // One that stops just beyond the limit reads why.
    let mut stream = registry.connect().await;
    let long = format!("GET / HTTP/1.1\r\nx: {}\r\n", "a".repeat(80 << 10));
    drop(stream.write_all(long.as_bytes()).await);
    let answer = read_to_end(&mut stream).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let mut stream = registry.connect().await;
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(200));
    stream.write_all(many.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert!(registry.grown(before) < 16 << 20, "{} bytes", registry.grown(before));
    registry.assert_serves().await;
}

#[tokio::test]
async fn thousands_of_idle_connections_cost_little_and_one_too_many_is_told() {
    allow_open_files(3 * MANY as u64);
    let cap = MANY.to_string();
    let registry = Registry::start(&[("DRYSTONE_CONNECTIONS_MAX", &*cap), ("DRYSTONE_HEADER_S_MAX", "600")]);
    let before = registry.peak();
    let mut held: Vec<TcpStream> = Vec::with_capacity(MANY);
    while held.len() < MANY {
        let more = (0..100.min(MANY - held.len())).map(|_| registry.connect());
        held.extend(join_all(more).await);
        // Half a request: the server has read it, and waits.
        held.last_mut().unwrap().write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n").await.unwrap();
    }
    // Connections are accepted in their order: when this one is refused, all others are held.
    let mut refused = registry.connect().await;
    refused.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let answer = read_to_end(&mut refused).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("retry-after: 1") && answer.contains("too-many-connections"), "{answer}");
    let grown = registry.grown(before);
    assert!(grown < MANY as u64 * IDLE_BYTES_MAX, "{grown} bytes");

    // Those that are there go on, and a place that becomes free is given away.
    let mut last = held.pop().unwrap();
    last.write_all(b"connection: close\r\n\r\n").await.unwrap();
    assert!(read_to_end(&mut last).await.starts_with("HTTP/1.1 200"));
    within(async {
        loop {
            let mut stream = registry.connect().await;
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
            if read_to_end(&mut stream).await.starts_with("HTTP/1.1 200") {
                break;
            }
        }
    })
    .await;
    drop(held);
}
