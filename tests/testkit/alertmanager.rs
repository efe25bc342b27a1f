//! A real Alertmanager.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::process::{Process, free_port};
use super::wait::until;

/// A running Alertmanager; ends with the test.
pub struct Alertmanager {
    _process: Process,
    port: u16,
    _folder: TempDir,
}

impl Alertmanager {
    /// Starts it with a receiver that tells nobody, and waits until it answers.
    pub async fn start() -> Alertmanager {
        Alertmanager::run("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n").await
    }

    /// Starts it with one receiver: the webhook at this address, at once and for each alert.
    pub async fn start_telling(webhook: &str) -> Alertmanager {
        let route = "route: {receiver: serin, group_by: ['...'], group_wait: 0s}\n";
        Alertmanager::run(&format!(
            "{route}receivers: [{{name: serin, webhook_configs: [{{url: '{webhook}'}}]}}]\n"
        ))
        .await
    }

    /// Alerts that fire from now on, as a Prometheus would send them.
    pub async fn fire(&self, alerts: &Value) {
        let url = format!("{}/api/v2/alerts", self.url());
        let answer = reqwest::Client::new().post(url).json(alerts).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
    }

    async fn run(text: &str) -> Alertmanager {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = folder.path().join("alertmanager.yml");
        std::fs::write(&config, text).expect("its configuration");
        let port = free_port();
        let mut command = Command::new("prometheus-alertmanager");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address=");
        let process = Process::start(&mut command, &folder.path().join("log"));
        let alertmanager = Alertmanager { _process: process, port, _folder: folder };
        let url = format!("{}/-/ready", alertmanager.url());
        until("Alertmanager is ready", Duration::from_secs(60), async || {
            reqwest::get(&url).await.ok()?.status().is_success().then_some(())
        })
        .await;
        alertmanager
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The alerts that fire now.
    pub async fn firing(&self) -> Option<Vec<Value>> {
        let url = format!("{}/api/v2/alerts?active=true", self.url());
        reqwest::get(url).await.ok()?.json().await.ok()
    }
}
