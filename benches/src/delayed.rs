//! A static web server with HTTP/2 over TLS that lets every answer wait: the registry's files over a long line.
//!
//! Owns the wait, which is the same for every request, and the certificate, which is made anew. It does as little as it
//! can, so that clients are what is measured; both are served by it alike.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use axum::{
    Router,
    body::Bytes,
    extract,
    http::{StatusCode, Uri},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::{TlsAcceptor, rustls, server::TlsStream};

/// A server that runs until the program ends.
pub(crate) struct Delayed {
    /// The certificate that clients must believe, as a file.
    pub(crate) certificate: PathBuf,
    state: Arc<State>,
    _runtime: tokio::runtime::Runtime,
}

struct State {
    files: HashMap<String, Bytes>,
    delay_ms: AtomicU64,
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Delayed {
    /// Serves what lies in a directory now, out of memory, at an address.
    pub(crate) fn start(address: SocketAddr, root: &Path, folder: &Path) -> anyhow::Result<Self> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        let certificate = folder.join("certificate.pem");
        fs_err::write(&certificate, made.cert.pem())?;
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        // The first one wins; it does not matter who sets it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut tls = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let mut files = HashMap::new();
        load(root, root, &mut files)?;
        let state = Arc::new(State {
            files,
            delay_ms: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(address)).context("the address is free")?;
        let app = Router::new().fallback(answer).with_state(state.clone());
        runtime.spawn(async move { axum::serve(Encrypted::new(listener, address, acceptor), app).await });
        Ok(Self { certificate, state, _runtime: runtime })
    }

    /// Lets every answer wait from now on.
    pub(crate) fn set_delay(&self, delay: Duration) {
        self.state.delay_ms.store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Requests and bytes of bodies since the last look.
    pub(crate) fn take_counts(&self) -> (u64, u64) {
        (self.state.requests.swap(0, Ordering::Relaxed), self.state.bytes.swap(0, Ordering::Relaxed))
    }
}

/// Every file below a directory, by its path.
fn load(root: &Path, dir: &Path, files: &mut HashMap<String, Bytes>) -> anyhow::Result<()> {
    for entry in fs_err::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            load(root, &path, files)?;
        } else {
            let name = path.strip_prefix(root)?.to_str().context("keys are UTF-8")?.to_owned();
            files.insert(name, fs_err::read(&path)?.into());
        }
    }
    Ok(())
}

/// Connections whose handshake is done.
struct Encrypted {
    address: SocketAddr,
    ready: mpsc::Receiver<TlsStream<TcpStream>>,
}

impl Encrypted {
    /// Shakes hands with everybody who comes, each on their own.
    fn new(listener: TcpListener, address: SocketAddr, acceptor: TlsAcceptor) -> Self {
        let (send, ready) = mpsc::channel(64);
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (acceptor, send) = (acceptor.clone(), send.clone());
                tokio::spawn(async move {
                    // Nagle would add waits of its own. A client that goes away is none of our business.
                    if stream.set_nodelay(true).is_ok()
                        && let Ok(stream) = acceptor.accept(stream).await
                    {
                        drop(send.send(stream).await);
                    }
                });
            }
        });
        Self { address, ready }
    }
}

impl axum::serve::Listener for Encrypted {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(stream) => (stream, self.address),
            // The runtime ends.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(self.address)
    }
}

#[expect(clippy::disallowed_methods, reason = "the wait is what this server is for")]
async fn answer(extract::State(state): extract::State<Arc<State>>, uri: Uri) -> (StatusCode, Bytes) {
    let delay = state.delay_ms.load(Ordering::Relaxed);
    if delay > 0 {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    state.requests.fetch_add(1, Ordering::Relaxed);
    let path = uri.path().trim_start_matches('/');
    let (status, bytes) = match state.files.get(path) {
        Some(bytes) => (StatusCode::OK, bytes.clone()),
        None => (StatusCode::NOT_FOUND, Bytes::new()),
    };
    state.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    (status, bytes)
}
