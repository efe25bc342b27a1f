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
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = folder.path().join("alertmanager.yml");
        std::fs::write(&config, "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
            .expect("its configuration");
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
