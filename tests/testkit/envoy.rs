//! A real Envoy that reads its weights from Serin.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process::{Process, free_port};
use super::wait;

/// What the bootstrap says.
#[derive(Clone, Debug)]
pub struct EnvoyOptions {
    pub node_id: String,
    /// The runtime layer's name.
    pub layer: String,
    /// Serin's RTDS address.
    pub rtds: SocketAddr,
    /// Delta instead of state of the world.
    pub delta: bool,
    /// `None`: any free one.
    pub admin_port: Option<u16>,
    pub routes: Vec<EnvoyRoute>,
}

/// One route of the listener.
#[derive(Clone, Debug)]
pub struct EnvoyRoute {
    /// Requests whose path begins so.
    pub path: String,
    /// `runtime_key_prefix`: the target's `route`.
    pub runtime_prefix: String,
    /// Cluster names with the ports of 127.0.0.1 behind them (0: a cluster without a host) and their weights
    /// without Serin.
    pub clusters: Vec<(String, u16, u32)>,
}

impl EnvoyOptions {
    /// One route for all paths; without Serin everything goes to the first cluster.
    pub fn new(
        node_id: &str,
        rtds: SocketAddr,
        runtime_prefix: &str,
        clusters: &[(&str, u16)],
    ) -> EnvoyOptions {
        EnvoyOptions {
            node_id: node_id.to_owned(),
            layer: "serin".to_owned(),
            rtds,
            delta: false,
            admin_port: None,
            routes: vec![EnvoyRoute::new("/", runtime_prefix, clusters)],
        }
    }
}

impl EnvoyRoute {
    /// Without Serin everything goes to the first cluster.
    pub fn new(path: &str, runtime_prefix: &str, clusters: &[(&str, u16)]) -> EnvoyRoute {
        let clusters = clusters.iter().enumerate();
        EnvoyRoute {
            path: path.to_owned(),
            runtime_prefix: runtime_prefix.to_owned(),
            clusters: clusters
                .map(|(i, (name, port))| ((*name).to_owned(), *port, u32::from(i == 0)))
                .collect(),
        }
    }
}

/// The program: `SERIN_ENVOY`, or where `make parts` puts it.
pub fn program() -> PathBuf {
    std::env::var_os("SERIN_ENVOY")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".parts/envoy/bin/envoy"), PathBuf::from)
}

/// A running Envoy. It can be killed and started again on the same ports.
pub struct Envoy {
    pub port: u16,
    pub admin_port: u16,
    config: PathBuf,
    log: PathBuf,
    process: Option<Process>,
    client: reqwest::Client,
}

impl Envoy {
    /// Writes the bootstrap into `folder` and starts; returns when the listener answers.
    pub async fn start(folder: &Path, options: &EnvoyOptions) -> Envoy {
        let (port, admin_port) = (free_port(), options.admin_port.unwrap_or_else(free_port));
        let config = folder.join(format!("envoy-{}.yaml", options.node_id));
        std::fs::write(&config, bootstrap(options, port, admin_port)).expect("the bootstrap is written");
        let mut envoy = Envoy {
            port,
            admin_port,
            config,
            log: folder.join(format!("envoy-{}.log", options.node_id)),
            process: None,
            client: reqwest::Client::new(),
        };
        envoy.start_again().await;
        envoy
    }

    /// Starts the killed process again.
    pub async fn start_again(&mut self) {
        let mut command = Command::new(program());
        command.arg("-c").arg(&self.config).args([
            "--use-dynamic-base-id",
            "--concurrency",
            "2",
            "--log-level",
            "warning",
            "--drain-time-s",
            "1",
            "--parent-shutdown-time-s",
            "2",
        ]);
        self.process = Some(Process::start(&mut command, &self.log));
        let log = self.log.clone();
        let begun = std::cell::RefCell::new(self.process.as_mut().expect("just started"));
        wait::until("Envoy is ready", Duration::from_secs(60), || {
            if !begun.borrow_mut().is_running() {
                panic!("Envoy has ended: {}", std::fs::read_to_string(&log).unwrap_or_default());
            }
            let asked = self.client.get(format!("http://127.0.0.1:{}/ready", self.admin_port)).send();
            async move { asked.await.ok().filter(|answer| answer.status().is_success()).map(|_| ()) }
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

    /// A page of the admin interface, such as `/stats/prometheus`.
    pub async fn admin(&self, path: &str) -> String {
        let answer = self.client.get(format!("http://127.0.0.1:{}{path}", self.admin_port)).send().await;
        answer.expect("the admin interface answers").text().await.expect("text")
    }

    /// A counter or gauge of the admin interface by its dotted name; 0 if it is not there.
    pub async fn stat(&self, name: &str) -> u64 {
        let text = self.admin(&format!("/stats?filter=^{name}$")).await;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.map_or(0, |value| value.parse().expect("a number"))
    }

    /// The final value of a runtime key as the process sees it; `None` if it is not set.
    pub async fn runtime(&self, key: &str) -> Option<u64> {
        let page: serde_json::Value = serde_json::from_str(&self.admin("/runtime").await).expect("JSON");
        page["entries"][key]["final_value"].as_str()?.parse().ok()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of Envoy:\n{}", std::fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

fn bootstrap(options: &EnvoyOptions, port: u16, admin_port: u16) -> String {
    let EnvoyOptions { node_id, layer, .. } = options;
    let api = if options.delta { "DELTA_GRPC" } else { "GRPC" };
    let (mut routes, mut clusters) = (String::new(), cluster("serin_rtds", options.rtds.port(), true));
    let mut known: Vec<&str> = Vec::new();
    for route in &options.routes {
        let _ = write!(
            routes,
            "
                - match: {{ prefix: {:?} }}
                  route:
                    weighted_clusters:
                      runtime_key_prefix: {:?}
                      clusters:",
            route.path, route.runtime_prefix
        );
        for (name, port, weight) in &route.clusters {
            let _ = write!(
                routes,
                "
                      - {{ name: {name:?}, weight: {weight} }}"
            );
            if !known.contains(&name.as_str()) {
                known.push(name);
                clusters += &cluster(name, *port, false);
            }
        }
    }
    format!(
        r#"
node: {{ id: {node_id:?}, cluster: serin-test }}
admin:
  address: {{ socket_address: {{ address: 127.0.0.1, port_value: {admin_port} }} }}
layered_runtime:
  layers:
  - name: {layer:?}
    rtds_layer:
      name: {layer:?}
      rtds_config:
        resource_api_version: V3
        initial_fetch_timeout: 1s
        api_config_source:
          api_type: {api}
          transport_api_version: V3
          grpc_services:
          - envoy_grpc:
              cluster_name: serin_rtds
              retry_policy: {{ retry_back_off: {{ base_interval: 0.2s, max_interval: 1s }} }}
static_resources:
  listeners:
  - name: front
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:{routes}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:{clusters}
"#
    )
}

fn cluster(name: &str, port: u16, http2: bool) -> String {
    let protocol = if http2 {
        r#"
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config:
          http2_protocol_options: { connection_keepalive: { interval: 5s, timeout: 5s } }"#
    } else {
        ""
    };
    let endpoints = match port {
        0 => String::new(),
        port => format!(
            r"
      endpoints:
      - lb_endpoints:
        - endpoint:
            address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}"
        ),
    };
    format!(
        r"
  - name: {name:?}
    type: STATIC
    connect_timeout: 1s{protocol}
    load_assignment:
      cluster_name: {name:?}{endpoints}"
    )
}

/// A TCP relay in front of Serin, so that one proxy can be cut off while both sides live on.
pub struct Relay {
    pub address: SocketAddr,
    state: tokio::sync::watch::Sender<Link>,
}

/// What the relay does with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Passes them on.
    Whole,
    /// Closes connections.
    Closed,
    /// Keeps connections open and passes nothing on, as a lost network does.
    Silent,
}

impl Relay {
    /// Relays to `to`.
    pub async fn start(to: SocketAddr) -> Relay {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let state = tokio::sync::watch::Sender::new(Link::Whole);
        let mut link = state.subscribe();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((stream, _)) = accepted else { return };
                        tokio::spawn(relay(stream, to, link.clone()));
                    }
                    changed = link.changed() => if changed.is_err() { return },
                }
            }
        });
        Relay { address, state }
    }

    /// From now on.
    pub fn set(&self, link: Link) {
        self.state.send_replace(link);
    }
}

async fn relay(stream: tokio::net::TcpStream, to: SocketAddr, link: tokio::sync::watch::Receiver<Link>) {
    let mut at_start = link.clone();
    let decided = at_start.wait_for(|link| *link != Link::Silent).await;
    if !decided.is_ok_and(|link| *link == Link::Whole) {
        return;
    }
    let Ok(onward) = tokio::net::TcpStream::connect(to).await else { return };
    let _ = (stream.set_nodelay(true), onward.set_nodelay(true));
    let ((from, into), (back, out)) = (stream.into_split(), onward.into_split());
    // Either direction's end ends both.
    tokio::select! {
        () = copy(from, out, link.clone()) => {}
        () = copy(back, into, link) => {}
    }
}

async fn copy(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut link: tokio::sync::watch::Receiver<Link>,
) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let state = *link.borrow_and_update();
        tokio::select! {
            read = from.read(&mut buffer), if state == Link::Whole => match read {
                Ok(length) if length > 0 => if to.write_all(&buffer[..length]).await.is_err() { return },
                _ => return,
            },
            changed = link.changed() => if changed.is_err() { return },
            () = std::future::ready(()), if state == Link::Closed => return,
        }
    }
}
