//! Connections: bounded in number and in the time that headers may take, and ended gracefully.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::stream::Line;

/// Connections at one time; further ones wait in the listener's queue.
const CONNECTIONS: usize = 2048;
/// Longest time for the headers of a request, idle connections included.
const HEADERS: Duration = Duration::from_secs(30);
/// Longest time that requests under way are waited for at the end.
const GRACE: Duration = Duration::from_secs(10);

/// Answers requests until `shutdown` resolves; then takes no new ones, and waits up to ten seconds for
/// those that are under way.
///
/// # Errors
/// If the listener has no address, that is, was never bound. Faults of single connections are logged.
pub async fn serve<F>(listener: TcpListener, router: Router, shutdown: F) -> io::Result<()>
where
    F: Future<Output = ()> + Send,
{
    tracing::info!(address = %listener.local_addr()?, "the API listens");
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let (ending, ended) = watch::channel(false);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = &mut shutdown => break,
        };
        let Ok(place) = place else { break };
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely: others will be closed, so wait a little.
                    tracing::warn!("a connection could not be accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = &mut shutdown => break,
        };
        let router = router.clone();
        let ended = ended.clone();
        tokio::spawn(async move {
            connection(stream, router, ended).await;
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

async fn connection(stream: TcpStream, router: Router, mut ended: watch::Receiver<bool>) {
    let cut = CancellationToken::new();
    let line = Line { ended: ended.clone(), cut: cut.clone() };
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(line.clone());
        router.call(request)
    });
    // Small answers shall not wait for more bytes.
    let _ = stream.set_nodelay(true);
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
