//! Connections: bounded in number and in the time that a handshake and headers may take, with TLS or
//! without, and ended gracefully.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::stream::Line;
use super::tls::Tls;

/// Connections at one time; further ones wait in the listener's queue.
const CONNECTIONS: usize = 2048;
/// Longest time for the headers of a request, idle connections included.
const HEADERS: Duration = Duration::from_secs(30);
/// Longest time for the handshake of TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Longest time that requests under way are waited for at the end.
const GRACE: Duration = Duration::from_secs(10);

/// What the kernel keeps of answers that a caller does not take. Its own bound is some megabytes a connection.
const SEND_BUFFER: u32 = 128 * 1024;

/// Listens on an address. Connections keep little for callers that read nothing, so that those are found out soon.
///
/// # Errors
/// The machine's.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(1024)
}

/// Answers requests until `shutdown` resolves; then takes no new ones, and waits up to ten seconds for
/// those that are under way.
///
/// # Errors
/// If the listener has no address, that is, was never bound. Faults of single connections are logged.
pub async fn serve<F>(listener: TcpListener, router: Router, shutdown: F) -> io::Result<()>
where
    F: Future<Output = ()> + Send,
{
    serve_tls(listener, router, None, shutdown).await
}

/// The same, by TLS if there is a certificate; its files are looked at every few seconds.
///
/// # Errors
/// As [`serve`].
pub async fn serve_tls<F>(
    listener: TcpListener,
    router: Router,
    tls: Option<Tls>,
    shutdown: F,
) -> io::Result<()>
where
    F: Future<Output = ()> + Send,
{
    let address = listener.local_addr()?;
    tracing::info!(%address, tls = tls.is_some(), "the API listens");
    match tls.clone() {
        None => accept(listener, router, tls, shutdown).await,
        Some(watched) => tokio::select! {
            ended = accept(listener, router, tls, shutdown) => ended,
            () = watched.watch() => Ok(()),
        },
    }
}

async fn accept<F>(listener: TcpListener, router: Router, tls: Option<Tls>, shutdown: F) -> io::Result<()>
where
    F: Future<Output = ()> + Send,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let (ending, ended) = watch::channel(false);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = &mut shutdown => break,
        };
        let Ok(place) = place else { break };
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: others will be closed, so wait a little.
                    tracing::warn!("a connection could not be accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = &mut shutdown => break,
        };
        let (router, tls, ended) = (router.clone(), tls.clone(), ended.clone());
        tokio::spawn(async move {
            open(stream, peer, router, tls, ended).await;
            drop(place);
        });
    }
    drop(listener);
    let _ = ending.send(true);
    drop(ended);
    // Every connection holds a receiver: when all are gone, all are done.
    if tokio::time::timeout(GRACE, ending.closed()).await.is_err() {
        tracing::warn!("requests were still under way after {} s and were dropped", GRACE.as_secs());
    }
    Ok(())
}

async fn open(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    tls: Option<Tls>,
    mut ended: watch::Receiver<bool>,
) {
    // Small answers shall not wait for more bytes.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return connection(stream, peer, router, ended).await };
    let handshake = tokio::time::timeout(HANDSHAKE, tls.acceptor().accept(stream));
    let shaken = tokio::select! {
        shaken = handshake => shaken,
        _ = ended.changed() => return,
    };
    match shaken {
        Ok(Ok(stream)) => connection(stream, peer, router, ended).await,
        Ok(Err(error)) => tracing::debug!(%peer, "a handshake of TLS failed: {error}"),
        Err(_) => tracing::debug!(%peer, "a handshake of TLS took too long"),
    }
}

async fn connection<S>(stream: S, peer: SocketAddr, router: Router, mut ended: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Every request is told where it came from, and how its connection ends.
    let cut = CancellationToken::new();
    let line = Line { ended: ended.clone(), cut: cut.clone() };
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(line.clone());
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = cut.cancelled() => return,
        _ = ended.changed() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                result = connection => result,
                () = cut.cancelled() => return,
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!("a connection ended early: {error}");
    }
}
