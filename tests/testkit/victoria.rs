//! A real VictoriaMetrics with given jobs.

use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::process::{Process, free_port};
use super::prometheus::{Database, Job, configuration};
use super::wait::until;

/// A running single-node VictoriaMetrics; ends with the test. Stopped and started again it has the same
/// port and data.
pub struct VictoriaMetrics {
    process: Option<Process>,
    port: u16,
    folder: TempDir,
}

impl VictoriaMetrics {
    /// Starts it with these jobs and waits until it answers.
    pub async fn start(jobs: &[Job]) -> VictoriaMetrics {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("scrape.yml"), configuration(jobs)).expect("its configuration");
        let mut victoria = VictoriaMetrics { process: None, port: free_port(), folder };
        victoria.resume().await;
        victoria
    }
}

impl Database for VictoriaMetrics {
    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// In order: it keeps the last seconds in memory, and would lose them if it were killed.
    async fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let asked = Command::new("kill").arg(process.child.id().to_string()).status().expect("kill runs");
        assert!(asked.success(), "VictoriaMetrics does not run any more");
        until("VictoriaMetrics has ended", Duration::from_secs(120), async || {
            (!process.is_running()).then_some(())
        })
        .await;
    }

    async fn resume(&mut self) {
        let folder = self.folder.path();
        let mut command = Command::new("victoria-metrics");
        command
            .arg(format!("-promscrape.config={}", folder.join("scrape.yml").display()))
            .arg(format!("-storageDataPath={}", folder.join("data").display()))
            .arg(format!("-httpListenAddr=127.0.0.1:{}", self.port));
        self.process = Some(Process::start(&mut command, &folder.join("log")));
        let url = format!("{}/health", self.url());
        let client = reqwest::Client::new();
        until("VictoriaMetrics is ready", Duration::from_secs(120), async || {
            let answer = client.get(&url).timeout(Duration::from_secs(5)).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }
}
