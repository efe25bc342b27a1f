//! A relay that notes when what passes it, for measuring between Serin and a router; and a listener that never answers.
// What is measured is the daemon as a program; its clock is not these tests'.
#![allow(clippy::disallowed_methods)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Who sends what is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Those that connect to the relay.
    Callers,
    /// What the relay connects to.
    Called,
}

/// A relay in front of an address; ends with the test.
pub struct Ear {
    pub address: SocketAddr,
    heard: Heard,
}

#[derive(Clone)]
struct Heard {
    side: Side,
    /// Only what contains one of these is noted.
    words: &'static [&'static str],
    notes: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Ear {
    /// Relays to `to`, and notes what `side` sends and contains one of `words`.
    pub async fn start(to: SocketAddr, side: Side, words: &'static [&'static str]) -> Ear {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let heard = Heard { side, words, notes: Arc::default() };
        let all = heard.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(relay(stream, to, all.clone()));
            }
        });
        Ear { address, heard }
    }

    /// Waits until something that contains `what` has passed since `begun`, and gives the time until then.
    pub async fn hears(&self, what: &str, begun: Instant, longest: Duration) -> Option<Duration> {
        while begun.elapsed() < longest {
            {
                let notes = self.heard.notes.lock().expect("not poisoned");
                let found = notes.iter().find(|(at, text)| *at >= begun && text.contains(what));
                if let Some((at, _)) = found {
                    return Some(at.duration_since(begun));
                }
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        None
    }

    /// What was noted is not looked at any more.
    pub fn forget(&self) {
        self.heard.notes.lock().expect("not poisoned").clear();
    }
}

async fn relay(stream: TcpStream, to: SocketAddr, heard: Heard) {
    let Ok(onward) = TcpStream::connect(to).await else { return };
    let _ = (stream.set_nodelay(true), onward.set_nodelay(true));
    let ((from, into), (back, out)) = (stream.into_split(), onward.into_split());
    let (callers, called) = match heard.side {
        Side::Callers => (Some(heard), None),
        Side::Called => (None, Some(heard)),
    };
    // One that asks once may close its half before the answer has come.
    tokio::join!(copy(from, out, callers), copy(back, into, called));
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, heard: Option<Heard>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length) = from.read(&mut buffer).await
        && length > 0
    {
        if let Some(heard) = &heard {
            let at = Instant::now();
            let text = String::from_utf8_lossy(&buffer[..length]);
            if heard.words.iter().any(|word| text.contains(word)) {
                heard.notes.lock().expect("not poisoned").push((at, text.into_owned()));
            }
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

/// Takes connections and never says a word; ends with the test.
pub struct Deaf {
    pub address: SocketAddr,
    taken: Arc<AtomicUsize>,
}

impl Deaf {
    pub async fn start() -> Deaf {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let taken = Arc::new(AtomicUsize::new(0));
        let count = taken.clone();
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                held.push(stream);
            }
        });
        Deaf { address, taken }
    }

    /// Connections that it has taken so far.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }
}
