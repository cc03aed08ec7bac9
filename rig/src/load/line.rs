//! What HTTP goes over: a socket, or TLS on one.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{RecvFlags, recv};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::wire::{Idle, Loss};

/// Whom a client believes over TLS: who shows one of these certificates, and nobody else.
#[derive(Clone, Debug)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// In what a file holds as PEM.
    ///
    /// # Errors
    /// When it holds no certificate.
    pub fn only(file: &Path) -> anyhow::Result<Trust> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(file).with_context(|| format!("{}", file.display()))? {
            roots.add(certificate?)?;
        }
        anyhow::ensure!(!roots.is_empty(), "there is no certificate in {}", file.display());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(Trust(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
    }

    /// The same, of one that wants to speak HTTP/2.
    pub(super) fn of_http2(&self) -> Trust {
        let mut config = ClientConfig::clone(&self.0);
        config.alpn_protocols = vec![b"h2".to_vec()];
        Trust(Arc::new(config))
    }
}

/// A connection, as bytes.
#[derive(Debug)]
pub enum Line {
    /// As they are.
    Plain(TcpStream),
    /// Over TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Line {
    /// Connects to the server of that name.
    ///
    /// # Errors
    /// [`Loss::Connect`], also when TLS can't be agreed upon.
    pub async fn connect(
        address: SocketAddr,
        host: &str,
        trust: Option<&Trust>,
        within: Duration,
    ) -> Result<Line, Loss> {
        let connecting = async {
            let stream = TcpStream::connect(address).await?;
            let _ = stream.set_nodelay(true);
            let Some(Trust(config)) = trust else {
                return Ok(Line::Plain(stream));
            };
            let name = host.split(':').next().unwrap_or(host).to_owned();
            let name = ServerName::try_from(name).map_err(io::Error::other)?;
            let stream = TlsConnector::from(config.clone()).connect(name, stream).await?;
            Ok::<_, io::Error>(Line::Tls(Box::new(stream)))
        };
        tokio::time::timeout(within, connecting).await.map_err(|_| Loss::Connect)?.map_err(|_| Loss::Connect)
    }

    /// What the server did to the idle connection meanwhile: asked of the kernel, right before the next request.
    pub fn idle(&mut self) -> Idle {
        let Line::Tls(stream) = self else {
            return match recv(self.socket().as_fd(), &mut [0u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
                Err(Errno::AGAIN) => Idle::Open,
                Ok((_, 0)) | Err(_) => Idle::Closed,
                Ok(_) => Idle::Speaks,
            };
        };
        let (socket, session) = stream.get_mut();
        loop {
            // A server that says nothing to the client may well talk to its TLS: tickets, and goodbye.
            match session.read_tls(&mut Now(socket)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Idle::Open,
                Ok(0) | Err(_) => return Idle::Closed,
                Ok(_) => {}
            }
            match session.process_new_packets() {
                Ok(state) if state.plaintext_bytes_to_read() > 0 => return Idle::Speaks,
                Ok(state) if !state.peer_has_closed() => {}
                _ => return Idle::Closed,
            }
        }
    }

    /// Ends the connection at once and for both.
    pub fn reset(self) {
        let _ = set_socket_linger(self.socket(), Some(Duration::ZERO));
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Line::Plain(stream) => stream,
            Line::Tls(stream) => stream.get_ref().0,
        }
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut dyn Both> {
        match self.get_mut() {
            Line::Plain(stream) => Pin::new(stream),
            Line::Tls(stream) => Pin::new(stream.as_mut()),
        }
    }
}

trait Both: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Both for T {}

/// What has come by now, whatever the runtime knows of it.
struct Now<'a>(&'a TcpStream);

impl Read for Now<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.0.as_fd(), buffer, RecvFlags::DONTWAIT)?.1)
    }
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}
