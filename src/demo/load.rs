//! A bounded generator of HTTP traffic: open-loop at a chosen rate, over connections that are kept.
//!
//! Open-loop: requests are due at their times whether or not earlier ones have been answered, as with
//! real users, so a slow backend gets no fewer of them. When more than the bound are in flight or overdue,
//! the others that are due are not sent, and counted as shed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

/// How often is looked what is due.
const TICK: Duration = Duration::from_millis(2);

/// Chooses the backend of a request by a uniform random number: an index into
/// [`LoadOptions::backends`]; a larger one means the last.
pub type Pick = Arc<dyn Fn(u64) -> usize + Send + Sync>;

/// What traffic is made.
#[derive(Clone)]
pub struct LoadOptions {
    /// Where it goes.
    pub backends: Vec<SocketAddr>,
    /// Which backend gets a request; without it, the first.
    pub pick: Option<Pick>,
    /// The path that is asked for.
    pub path: String,
    /// Requests per second.
    pub rate: f64,
    /// No more than so many are ever sent.
    pub max_requests: u64,
    /// It stops sending after this time.
    pub max_duration: Duration,
    /// No more than so many at once.
    pub max_in_flight: usize,
    /// When the generator itself was held up, it sends at most so many of those that are overdue at once.
    pub max_burst: u64,
    /// A request that is not answered in this time has failed.
    pub timeout: Duration,
    /// Seed of the numbers that [`Pick`] gets.
    pub seed: u64,
}

impl LoadOptions {
    /// Traffic for one backend's `/`, at most a million requests and ten minutes.
    pub fn new(backend: SocketAddr, rate: f64) -> LoadOptions {
        LoadOptions {
            backends: vec![backend],
            pick: None,
            path: "/".into(),
            rate,
            max_requests: 1_000_000,
            max_duration: Duration::from_secs(600),
            max_in_flight: 1_000,
            max_burst: u64::MAX,
            timeout: Duration::from_secs(10),
            seed: 1,
        }
    }
}

/// What has become of the traffic so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadCounts {
    /// Requests that were given to a backend, or could not be because it did not answer.
    pub sent: u64,
    /// The same by backend.
    pub sent_to: Vec<u64>,
    /// Answers by status.
    pub answered: BTreeMap<u16, u64>,
    /// Refused, cut off, or not answered in time.
    pub failed: u64,
    /// Due, but not sent because too many were in flight or overdue.
    pub shed: u64,
}

impl LoadCounts {
    /// All answers.
    pub fn answers(&self) -> u64 {
        self.answered.values().sum()
    }
}

/// Running traffic. It ends by itself at its bounds, and when this is dropped.
pub struct Load {
    counts: Arc<Mutex<LoadCounts>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Load {
    /// Starts traffic.
    pub fn start(options: LoadOptions) -> Load {
        let sent_to = vec![0; options.backends.len()];
        let counts = Arc::new(Mutex::new(LoadCounts { sent_to, ..LoadCounts::default() }));
        let (stop, stopped) = watch::channel(false);
        let sender = Arc::new(Sender {
            backends: options.backends.iter().map(|addr| Backend::new(*addr)).collect(),
            path: options.path.clone(),
            timeout: options.timeout,
            counts: Arc::clone(&counts),
        });
        let task = tokio::spawn(generate(options, sender, stopped));
        Load { counts, stop, task }
    }

    /// What has become of it so far.
    pub fn counts(&self) -> LoadCounts {
        lock(&self.counts).clone()
    }

    /// True when nothing is sent or awaited any more.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits until it has ended by itself and every request is answered or has failed.
    pub async fn finish(mut self) -> LoadCounts {
        // An error means that the runtime is shutting down; the counts stand as they are.
        let _ = (&mut self.task).await;
        self.counts()
    }

    /// Sends no more, waits for the requests in flight, and says what became of all.
    pub async fn stop(self) -> LoadCounts {
        let _ = self.stop.send(true);
        self.finish().await
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn generate(options: LoadOptions, sender: Arc<Sender>, mut stopped: watch::Receiver<bool>) {
    let mut random = StdRng::seed_from_u64(options.seed);
    let mut in_flight = JoinSet::new();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let begun = Instant::now();
    let mut issued: u64 = 0;
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            _ = ticks.tick() => {}
        }
        while in_flight.try_join_next().is_some() {}
        let elapsed = begun.elapsed();
        if elapsed >= options.max_duration || issued >= options.max_requests || options.backends.is_empty() {
            break;
        }
        let due = ((options.rate * elapsed.as_secs_f64()) as u64).min(options.max_requests);
        let overdue = (due - issued).saturating_sub(options.max_burst);
        if overdue > 0 {
            issued += overdue;
            lock(&sender.counts).shed += overdue;
        }
        while issued < due {
            issued += 1;
            if in_flight.len() >= options.max_in_flight {
                lock(&sender.counts).shed += 1;
                continue;
            }
            let pick = options.pick.as_ref().map_or(0, |pick| pick(random.random()));
            let backend = pick.min(options.backends.len() - 1);
            in_flight.spawn(Arc::clone(&sender).send(backend));
        }
    }
    while in_flight.join_next().await.is_some() {}
}

/// What the requests share.
struct Sender {
    backends: Vec<Backend>,
    path: String,
    timeout: Duration,
    counts: Arc<Mutex<LoadCounts>>,
}

/// One backend with its idle connections, the last used on top.
struct Backend {
    addr: SocketAddr,
    host: String,
    idle: Mutex<Vec<Connection>>,
}

type Connection = SendRequest<Empty<Bytes>>;

impl Backend {
    fn new(addr: SocketAddr) -> Backend {
        Backend { addr, host: addr.to_string(), idle: Mutex::default() }
    }

    fn idle(&self) -> Option<Connection> {
        let mut idle = lock(&self.idle);
        while let Some(connection) = idle.pop() {
            if !connection.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    async fn connect(&self) -> Option<Connection> {
        let stream = TcpStream::connect(self.addr).await.ok()?;
        let _ = stream.set_nodelay(true);
        let (connection, driver) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        // Ends when the connection is dropped or closed by the backend.
        tokio::spawn(driver);
        Some(connection)
    }
}

impl Sender {
    async fn send(self: Arc<Self>, backend: usize) {
        {
            let mut counts = lock(&self.counts);
            counts.sent += 1;
            counts.sent_to[backend] += 1;
        }
        let answer = tokio::time::timeout(self.timeout, self.exchange(&self.backends[backend])).await;
        let mut counts = lock(&self.counts);
        match answer.ok().flatten() {
            Some(status) => *counts.answered.entry(status).or_default() += 1,
            None => counts.failed += 1,
        }
    }

    /// One request and its whole answer; `None` if it failed.
    async fn exchange(&self, backend: &Backend) -> Option<u16> {
        let mut request = Request::get(&self.path).header(HOST, &backend.host).body(Empty::new()).ok()?;
        // A kept connection may have been closed a moment ago. What was not sent on it is sent again;
        // after that a failure is a failure.
        while let Some(mut connection) = backend.idle() {
            match connection.try_send_request(request).await {
                Ok(response) => return receive(backend, connection, response).await,
                Err(mut error) => request = error.take_message()?,
            }
        }
        let mut connection = backend.connect().await?;
        let response = connection.send_request(request).await.ok()?;
        receive(backend, connection, response).await
    }
}

async fn receive(
    backend: &Backend,
    mut connection: Connection,
    response: hyper::Response<hyper::body::Incoming>,
) -> Option<u16> {
    let status = response.status().as_u16();
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame.ok()?;
    }
    if connection.ready().await.is_ok() {
        lock(&backend.idle).push(connection);
    }
    Some(status)
}

/// No code that holds one of these locks can panic half-way through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
