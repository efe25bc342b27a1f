//! A real Prometheus with given jobs, and metrics pages for it to read.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use tempfile::TempDir;

use super::process::{Process, free_port};
use super::wait::until;

/// One job of the scrape configuration.
#[derive(Clone, Debug)]
pub struct Job {
    pub name: String,
    pub interval: Duration,
    /// `host:port` of each instance.
    pub targets: Vec<String>,
    /// `/metrics`, if not said otherwise.
    pub path: String,
    /// Labels that all series of the job get.
    pub labels: BTreeMap<String, String>,
}

impl Job {
    pub fn new(name: &str, interval: Duration, targets: &[String]) -> Job {
        Job {
            name: name.to_owned(),
            interval,
            targets: targets.to_vec(),
            path: "/metrics".to_owned(),
            labels: BTreeMap::new(),
        }
    }

    pub fn path(mut self, path: &str) -> Job {
        self.path = path.to_owned();
        self
    }

    pub fn label(mut self, label: &str, value: &str) -> Job {
        self.labels.insert(label.to_owned(), value.to_owned());
        self
    }
}

/// The configuration file that scrapes these jobs. JSON strings are YAML strings.
pub fn configuration(jobs: &[Job]) -> String {
    let quote = |text: &str| serde_json::to_string(text).expect("a string");
    let mut yaml = String::from("global:\n  scrape_interval: 1s\nscrape_configs:\n");
    for job in jobs {
        let interval = job.interval.as_millis();
        let targets: Vec<String> = job.targets.iter().map(|target| quote(target)).collect();
        let _ = write!(
            yaml,
            "- job_name: {}\n  scrape_interval: {interval}ms\n  scrape_timeout: {interval}ms\n  metrics_path: {}\n  \
             static_configs:\n  - targets: [{}]\n    labels: {{",
            quote(&job.name),
            quote(&job.path),
            targets.join(", ")
        );
        let labels: Vec<String> =
            job.labels.iter().map(|(label, value)| format!("{label}: {}", quote(value))).collect();
        let _ = writeln!(yaml, "{}}}", labels.join(", "));
    }
    yaml
}

/// What scrapes jobs, keeps their samples, and is asked for them.
pub trait Database {
    fn url(&self) -> String;
    /// Ends it. What it has scraped stays.
    async fn stop(&mut self);
    /// Starts it again, and waits until it answers.
    async fn resume(&mut self);
}

/// A running Prometheus; ends with the test. Stopped and started again it has the same port and data.
pub struct Prometheus {
    process: Option<Process>,
    port: u16,
    folder: TempDir,
    web_config: Option<String>,
}

impl Prometheus {
    /// Starts it with these jobs and waits until it answers.
    pub async fn start(jobs: &[Job]) -> Prometheus {
        let mut prometheus = Prometheus::new(jobs);
        prometheus.resume().await;
        prometheus
    }

    /// Starts it with these jobs and a file of rules, and waits until it answers.
    pub async fn start_with_rules(jobs: &[Job], rules: &str) -> Prometheus {
        let mut prometheus = Prometheus::new(jobs);
        let folder = prometheus.folder.path();
        std::fs::write(folder.join("rules.yml"), rules).expect("its rules");
        let configuration = configuration(jobs).replacen(
            "scrape_interval: 1s\n",
            "scrape_interval: 1s\n  evaluation_interval: 1s\nrule_files: [rules.yml]\n",
            1,
        );
        std::fs::write(folder.join("prometheus.yml"), configuration).expect("its configuration");
        prometheus.resume().await;
        prometheus
    }

    /// Starts it with a web configuration (TLS, users). It does not wait: only the test has the means
    /// to be let in.
    pub fn start_protected(jobs: &[Job], web_config: &str) -> Prometheus {
        let mut prometheus = Prometheus::new(jobs);
        prometheus.web_config = Some(web_config.to_owned());
        prometheus.launch();
        prometheus
    }

    fn new(jobs: &[Job]) -> Prometheus {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("prometheus.yml"), configuration(jobs)).expect("its configuration");
        Prometheus { process: None, port: free_port(), folder, web_config: None }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `kill -9`. Its data stays.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it again after [`Prometheus::stop`], and waits until it answers.
    pub async fn resume(&mut self) {
        self.launch();
        let url = format!("{}/-/ready", self.url());
        let client = reqwest::Client::new();
        until("Prometheus is ready", Duration::from_secs(120), async || {
            let answer = client.get(&url).timeout(Duration::from_secs(5)).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    fn launch(&mut self) {
        let folder = self.folder.path();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{}", self.port));
        if let Some(web_config) = &self.web_config {
            let path = folder.join("web.yml");
            std::fs::write(&path, web_config).expect("its web configuration");
            command.arg(format!("--web.config.file={}", path.display()));
        }
        self.process = Some(Process::start(&mut command, &folder.join("log")));
    }

    /// The folder with its configuration, data and log.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Database for Prometheus {
    fn url(&self) -> String {
        Prometheus::url(self)
    }

    async fn stop(&mut self) {
        Prometheus::stop(self);
    }

    async fn resume(&mut self) {
        Prometheus::resume(self).await;
    }
}

/// A server of metrics pages; ends with the test.
pub struct Pages {
    pub address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Pages {
    /// Serves what `render` gives for each path; `None` is answered with status 503.
    pub async fn serve(render: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Pages {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let render = Arc::new(render);
        let app = Router::new().fallback(move |request: Request| {
            let page = render(request.uri().path());
            async move { page.ok_or(StatusCode::SERVICE_UNAVAILABLE) }
        });
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Pages { address, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.task.abort();
    }
}
