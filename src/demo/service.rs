//! A small HTTP service on a real socket: it works, fails and crashes as it is told, and counts exactly.
//!
//! `/` does the work, `/metrics` is its page in the Prometheus text format, `/health` says `ok`. A
//! service has lives, as a process has: each begins with empty counters and its own start time. Its
//! port stays the same over its lives.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fault::{Behaviour, Dice, Fault};
use super::tally::Tally;

/// Connections beyond this wait in the socket's queue.
const MOST_CONNECTIONS: usize = 2_048;
/// How long a graceful stop waits for requests in flight.
const GRACE: Duration = Duration::from_secs(5);

/// How a service begins.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// Where it listens; port 0 takes a free one.
    pub addr: SocketAddr,
    /// The label `version` of its series.
    pub version: String,
    /// What is wrong with it. With [`Fault::Crash`] it has a port, and refuses connections.
    pub fault: Fault,
    /// Seed of its service times and failures.
    pub seed: u64,
    /// How it works when nothing is wrong with it.
    pub behaviour: Behaviour,
}

impl ServiceOptions {
    /// A healthy service on a free port of the loopback.
    pub fn new(version: impl Into<String>, seed: u64) -> ServiceOptions {
        ServiceOptions {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            version: version.into(),
            fault: Fault::None,
            seed,
            behaviour: Behaviour::default(),
        }
    }
}

/// A running (or crashed) service. All its tasks end when it is dropped.
pub struct Service {
    addr: SocketAddr,
    shared: Arc<Shared>,
    socket: tokio::sync::Mutex<Socket>,
}

/// What a life of a service has counted, and the last page that it gave to anybody.
#[derive(Clone, Debug, PartialEq)]
pub struct Life {
    /// The counters.
    pub tally: Tally,
    /// The last metrics page that was asked for over HTTP.
    pub last_page: Option<String>,
}

struct Shared {
    state: Mutex<State>,
}

/// What the connections of one life know. A request that is cut off by a crash can not be counted in
/// the next life.
#[derive(Clone)]
struct Running {
    shared: Arc<Shared>,
    /// Its index; there is always one, since lives are only ever added.
    life: usize,
    stop: CancellationToken,
}

struct State {
    dice: Dice,
    fault: Fault,
    arrivals: u64,
    last_arrival: Option<Instant>,
    lives: Vec<Life>,
}

/// The port in its two states. While the service is down a socket that is bound and does not listen
/// keeps the port: connections to it are refused, and nobody else gets it.
enum Socket {
    Down { reserved: Option<TcpSocket> },
    Up { stop: CancellationToken, task: JoinHandle<()> },
}

impl Service {
    /// Starts a service.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn start(options: ServiceOptions) -> io::Result<Service> {
        let reserved = bind(options.addr)?;
        let addr = reserved.local_addr()?;
        let state = State {
            dice: Dice::new(options.behaviour, options.seed),
            fault: options.fault,
            arrivals: 0,
            last_arrival: None,
            lives: vec![Life::new(options.version)],
        };
        let service = Service {
            addr,
            shared: Arc::new(Shared { state: Mutex::new(state) }),
            socket: tokio::sync::Mutex::new(Socket::Down { reserved: Some(reserved) }),
        };
        if options.fault != Fault::Crash {
            service.listen(&mut *service.socket.lock().await)?;
        }
        Ok(service)
    }

    /// Where it listens (or did, before it crashed).
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL of one of its pages, such as `/metrics`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Changes what is wrong with it; [`Fault::Crash`] is [`Service::crash`].
    pub async fn set_fault(&self, fault: Fault) {
        self.shared.lock().fault = fault;
        if fault == Fault::Crash {
            self.crash().await;
        }
    }

    /// Stops at once: requests in flight are cut off, connections are refused when this returns.
    pub async fn crash(&self) {
        let mut socket = self.socket.lock().await;
        if let Socket::Up { task, .. } = &mut *socket {
            task.abort();
            // The connections are in the task's JoinSet and end with it.
            let _ = task.await;
            *socket = Socket::Down { reserved: bind(self.addr).ok() };
        }
    }

    /// Stops as a good process does: takes no new connections, answers the requests in flight (for 5 s
    /// at most), and closes.
    pub async fn stop(&self) {
        let mut socket = self.socket.lock().await;
        if let Socket::Up { stop, task } = &mut *socket {
            stop.cancel();
            if tokio::time::timeout(GRACE, &mut *task).await.is_err() {
                task.abort();
                let _ = task.await;
            }
            *socket = Socket::Down { reserved: bind(self.addr).ok() };
        }
    }

    /// Begins a new life of the same version on the same port, after a crash if it still runs. A crash
    /// that was set as its fault is gone.
    ///
    /// # Errors
    /// If the port cannot be bound again.
    pub async fn restart(&self) -> io::Result<()> {
        let (version, fault) = {
            let state = self.shared.lock();
            let fault = if state.fault == Fault::Crash { Fault::None } else { state.fault };
            (state.lives.last().map_or_else(String::new, |life| life.tally.version.clone()), fault)
        };
        self.crash().await;
        self.begin(version, fault).await
    }

    /// Begins a new life with another version, after a graceful stop: what deploying a release does.
    ///
    /// # Errors
    /// If the port cannot be bound again.
    pub async fn deploy(&self, version: impl Into<String>, fault: Fault) -> io::Result<()> {
        self.stop().await;
        self.begin(version.into(), fault).await
    }

    /// True while it takes connections.
    pub async fn is_running(&self) -> bool {
        matches!(*self.socket.lock().await, Socket::Up { .. })
    }

    /// Answered requests to `/` over all lives. The page of the running life shows its own.
    pub fn requests(&self) -> u64 {
        self.shared.lock().lives.iter().map(|life| life.tally.requests()).sum()
    }

    /// Answered with a server error, over all lives.
    pub fn errors(&self) -> u64 {
        self.shared.lock().lives.iter().map(|life| life.tally.errors()).sum()
    }

    /// Requests to `/` that arrived over all lives, answered or not.
    pub fn arrivals(&self) -> u64 {
        self.shared.lock().arrivals
    }

    /// When the last request to `/` arrived.
    pub fn last_request(&self) -> Option<Instant> {
        self.shared.lock().last_arrival
    }

    /// All its lives in order, the running one last.
    pub fn lives(&self) -> Vec<Life> {
        self.shared.lock().lives.clone()
    }

    async fn begin(&self, version: String, fault: Fault) -> io::Result<()> {
        let mut socket = self.socket.lock().await;
        {
            let mut state = self.shared.lock();
            state.fault = fault;
            let mut life = Life::new(version);
            if let Some(last) = state.lives.last() {
                // Two lives never have the same start time, however fast one follows the other.
                life.tally.started = life.tally.started.max(last.tally.started + 0.001);
            }
            state.lives.push(life);
        }
        if fault == Fault::Crash { Ok(()) } else { self.listen(&mut socket) }
    }

    fn listen(&self, socket: &mut Socket) -> io::Result<()> {
        let Socket::Down { reserved } = socket else { return Ok(()) };
        let reserved = match reserved.take() {
            Some(reserved) => reserved,
            None => bind(self.addr)?,
        };
        let listener = reserved.listen(1024)?;
        let stop = CancellationToken::new();
        let life = self.shared.lock().lives.len() - 1;
        let running = Running { shared: Arc::clone(&self.shared), life, stop: stop.clone() };
        let task = tokio::spawn(accept(listener, running));
        *socket = Socket::Up { stop, task };
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Socket::Up { task, .. } = self.socket.get_mut() {
            task.abort();
        }
    }
}

impl Life {
    fn new(version: String) -> Life {
        Life { tally: Tally::new(version, wall_seconds()), last_page: None }
    }
}

impl Shared {
    /// No code that holds the lock can panic half-way through a change.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The service stands for somebody else's program, which reads its own clock: the only use is the gauge
/// `process_start_time_seconds`.
#[allow(clippy::disallowed_methods, reason = "a stand-in for another program, outside Serin's own time")]
fn wall_seconds() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as f64 / 1e3
}

fn bind(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // The old life's connections may still be in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

async fn accept(listener: TcpListener, running: Running) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = running.stop.cancelled() => break,
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, running.clone()));
                }
                // Out of file descriptors, or the peer was gone already: others may do better.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(stream: TcpStream, running: Running) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(request, &running));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(300))
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // How a connection ends is the client's affair; what was answered is counted.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = running.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

async fn answer(request: Request<Incoming>, running: &Running) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(match request.uri().path() {
        "/" => work(running).await,
        "/health" => text(StatusCode::OK, "ok\n"),
        "/metrics" => metrics(running),
        _ => text(StatusCode::NOT_FOUND, "there is /, /health and /metrics\n"),
    })
}

async fn work(running: &Running) -> Response<Full<Bytes>> {
    let begun = Instant::now();
    let draw = {
        let mut state = running.shared.lock();
        state.arrivals += 1;
        state.last_arrival = Some(begun);
        let fault = state.fault;
        state.dice.draw(fault)
    };
    tokio::time::sleep(draw.service_time).await;
    let (status, body) =
        if draw.fails { (StatusCode::INTERNAL_SERVER_ERROR, "failed\n") } else { (StatusCode::OK, "done\n") };
    if let Some(life) = running.shared.lock().lives.get_mut(running.life) {
        life.tally.count(status.as_u16(), begun.elapsed());
    }
    text(status, body)
}

fn metrics(running: &Running) -> Response<Full<Bytes>> {
    let mut page = String::new();
    if let Some(life) = running.shared.lock().lives.get_mut(running.life) {
        page = life.tally.page();
        life.last_page = Some(page.clone());
    }
    let mut response = Response::new(Full::from(page));
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, format);
    response
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
