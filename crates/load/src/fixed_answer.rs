//! The HTTP limit: the same server libraries as the product's, answering 1.4 KiB from memory to whatever is asked.
//! Absent on purpose: routing, parsing of bodies, logging: all that the product adds is what its share of this limit tells.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{HeaderMap, Response};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::certificate;
use crate::limits::FIXED_ANSWER_BYTES;

/// Why the server did not start.
#[derive(Debug, Error)]
pub enum FixedAnswerError {
    /// The port, or no runtime.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The certificate or key file.
    #[error("cannot read the certificate: {0}")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// The certificate and key do not fit.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Serves plain HTTP on `plain` and HTTPS on `tls` (both on 127.0.0.1) until the process is ended.
pub fn serve(plain: u16, tls: u16, certificates: &Path) -> Result<(), FixedAnswerError> {
    let acceptor = acceptor(certificates)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let plain = TcpListener::bind(loopback(plain)).await?;
        let tls = TcpListener::bind(loopback(tls)).await?;
        tokio::spawn(accept_tls(tls, acceptor));
        loop {
            let (stream, _) = plain.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(answer(stream));
        }
    })
}

async fn accept_tls(listener: TcpListener, acceptor: TlsAcceptor) {
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // A client that cannot do TLS shows in its own failures.
            if stream.set_nodelay(true).is_ok()
                && let Ok(stream) = acceptor.accept(stream).await
            {
                answer(stream).await;
            }
        });
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) {
    let body = Bytes::from_static(&[b'x'; FIXED_ANSWER_BYTES]);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-store"));
    let service = service_fn(move |_request| {
        let mut response = Response::new(Full::new(body.clone()));
        response.headers_mut().clone_from(&headers);
        async move { Ok::<_, Infallible>(response) }
    });
    // The end of a connection, in whatever way, is the client's matter.
    let _ended = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

fn acceptor(certificates: &Path) -> Result<TlsAcceptor, FixedAnswerError> {
    let chain = vec![CertificateDer::from_pem_file(certificates.join(certificate::CERTIFICATE))?];
    let key = PrivateKeyDer::from_pem_file(certificates.join(certificate::KEY))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
