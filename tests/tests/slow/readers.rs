//! Peers that ask for much and read little of it.

use std::time::Duration;

use drystone_tests::process::{User, http_client};
use futures_util::future::join_all;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::interval,
};

use super::{Registry, within};

/// Length of the file that is downloaded: more than the sockets' buffers hold.
const FILE_BYTES: usize = 24 << 20;
const READERS: usize = 60;

/// Bytes that no compressor makes shorter.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(count).collect()
}

/// Publishes a package with a long file; gives the path of its archive.
fn publish(registry: &Registry) -> String {
    let package = registry.folder.path().join("package");
    fs_err::create_dir_all(&package).unwrap();
    fs_err::write(package.join("drystone.toml"), "[package]\nname = \"long\"\nversion = \"1.0.0\"\n")
        .unwrap();
    fs_err::write(package.join("noise"), noise(FILE_BYTES)).unwrap();
    let author = User::new(&registry.server.url, Some(&registry.token));
    let told: Value = serde_json::from_str(&author.ok(&package, &["publish", "--json"])).unwrap();
    format!("/o/{}", told["tarball"].as_str().unwrap().strip_prefix("sha256:").unwrap())
}

/// A connection with a small buffer of its own, and a request for the file.
async fn ask(registry: &Registry, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 << 10).unwrap();
    let mut stream = within(socket.connect(registry.address())).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
    stream
}

/// Reads a few bytes now and then until the server gives up, and then the rest; gives the number of all.
async fn read_slowly(mut stream: TcpStream, piece: usize) -> usize {
    let mut buffer = vec![0; piece];
    let mut ticks = interval(Duration::from_millis(100));
    let mut total = 0;
    // For three seconds: the server's limit is one.
    for _ in 0..30 {
        ticks.tick().await;
        match within(stream.read(&mut buffer)).await {
            Ok(0) | Err(_) => return total,
            Ok(read) => total += read,
        }
    }
    let mut rest = Vec::new();
    drop(within(stream.read_to_end(&mut rest)).await);
    total + rest.len()
}

#[tokio::test]
async fn readers_that_hardly_read_are_left() {
    let registry = Registry::start(&[("DRYSTONE_STALLED_S_MAX", "1"), ("DRYSTONE_HEADER_S_MAX", "1")]);
    let path = publish(&registry);
    let before = registry.peak();
    let (from, file) = (&registry, &path);
    let slow =
        join_all((0..READERS).map(|i| async move {
            read_slowly(ask(from, file).await, if i % 2 == 0 { 1 } else { 16 }).await
        }));
    let url = format!("{}{path}", registry.server.local);
    let fast = async {
        let answer = http_client().get(url).send().await.unwrap();
        answer.bytes().await.unwrap().len()
    };
    let (slow, fast) = tokio::join!(within(slow), within(fast));
    assert!(fast > FILE_BYTES, "a reader that keeps the pace gets everything");
    assert!(slow.iter().all(|read| *read < FILE_BYTES), "{slow:?}");
    let grown = registry.grown(before);
    assert!(grown < READERS as u64 * (1 << 20), "{grown} bytes");
    registry.assert_serves().await;
}
