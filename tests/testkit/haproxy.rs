//! A real HAProxy with a runtime socket.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::process::{Process, free_port};
use super::wait;

/// One backend and the frontend's path to it.
#[derive(Clone, Debug)]
pub struct HaproxyBackend {
    /// Requests whose path begins so.
    pub path: String,
    pub name: String,
    /// Servers with the ports of 127.0.0.1 behind them and their weights at the start.
    pub servers: Vec<(String, u16, u16)>,
    /// Further lines, such as `cookie SERVER insert` or `balance static-rr`.
    pub lines: Vec<String>,
    /// Further words of a server's line, by its name: `check port 9000 inter 100ms`.
    pub words: Vec<(String, String)>,
}

impl HaproxyBackend {
    /// At the start everything goes to the first server. Each server has its name as its cookie.
    pub fn new(path: &str, name: &str, servers: &[(&str, u16)]) -> HaproxyBackend {
        let servers = servers.iter().enumerate();
        HaproxyBackend {
            path: path.to_owned(),
            name: name.to_owned(),
            servers: servers
                .map(|(i, (name, port))| ((*name).to_owned(), *port, u16::from(i == 0)))
                .collect(),
            lines: vec!["balance roundrobin".to_owned()],
            words: Vec::new(),
        }
    }
}

/// A running HAProxy. It can be killed and started again on the same ports.
pub struct Haproxy {
    pub port: u16,
    /// `/metrics` of its own exporter.
    pub metrics_port: u16,
    /// The runtime socket with level admin.
    pub socket: PathBuf,
    /// The same over TCP.
    pub socket_port: u16,
    /// A runtime socket with level user.
    pub user_socket: PathBuf,
    config: PathBuf,
    log: PathBuf,
    process: Option<Process>,
}

impl Haproxy {
    /// Writes the configuration into `folder` and starts; returns when the socket and the frontend
    /// answer. The folder's path must be short, for Unix sockets' paths are.
    pub async fn start(folder: &Path, backends: &[HaproxyBackend]) -> Haproxy {
        let mut haproxy = Haproxy {
            port: free_port(),
            metrics_port: free_port(),
            socket: folder.join("admin.sock"),
            socket_port: free_port(),
            user_socket: folder.join("user.sock"),
            config: folder.join("haproxy.cfg"),
            log: folder.join("haproxy.log"),
            process: None,
        };
        std::fs::write(&haproxy.config, haproxy.configuration(backends))
            .expect("the configuration is written");
        haproxy.start_again().await;
        haproxy
    }

    /// Starts the killed process again; weights are those of the start.
    pub async fn start_again(&mut self) {
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&self.config);
        self.process = Some(Process::start(&mut command, &self.log));
        let log = self.log.clone();
        let (port, socket) = (self.metrics_port, self.socket.clone());
        let begun = std::cell::RefCell::new(self.process.as_mut().expect("just started"));
        wait::until("HAProxy is ready", Duration::from_secs(60), || {
            if !begun.borrow_mut().is_running() {
                panic!("HAProxy has ended: {}", std::fs::read_to_string(&log).unwrap_or_default());
            }
            let socket = socket.clone();
            async move {
                // The Unix sockets get their names after the ports are bound.
                tokio::net::UnixStream::connect(socket).await.ok()?;
                tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()
            }
        })
        .await;
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// The address for requests.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Where its exporter answers.
    pub fn metrics_url(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.metrics_port)
    }

    /// Asks the runtime socket, as a person would.
    pub async fn ask(&self, command: &str) -> String {
        let mut stream = tokio::net::UnixStream::connect(&self.socket).await.expect("the socket answers");
        stream.write_all(format!("{command}\n").as_bytes()).await.expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        answer
    }

    fn configuration(&self, backends: &[HaproxyBackend]) -> String {
        let mut text = format!(
            "global\n  stats socket {} level admin\n  stats socket ipv4@127.0.0.1:{} level admin\n  \
             stats socket {} level user\n\
             defaults\n  mode http\n  timeout connect 2s\n  timeout client 30s\n  timeout server 30s\n\
             frontend metrics\n  bind 127.0.0.1:{}\n  http-request use-service prometheus-exporter\n\
             frontend front\n  bind 127.0.0.1:{}\n",
            self.socket.display(),
            self.socket_port,
            self.user_socket.display(),
            self.metrics_port,
            self.port
        );
        for backend in backends {
            let _ = writeln!(text, "  use_backend {} if {{ path_beg {} }}", backend.name, backend.path);
        }
        for backend in backends {
            let _ = writeln!(text, "backend {}", backend.name);
            for line in &backend.lines {
                let _ = writeln!(text, "  {line}");
            }
            for (name, port, weight) in &backend.servers {
                let words = backend.words.iter().find(|(of, _)| of == name).map_or("", |(_, words)| words);
                let _ =
                    writeln!(text, "  server {name} 127.0.0.1:{port} weight {weight} cookie {name} {words}");
            }
        }
        text
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of HAProxy:\n{}", std::fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}
