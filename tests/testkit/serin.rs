//! Serin's own daemon as a process, and its API.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use super::process::Process;
use super::wait::until;

/// The program that this build made.
pub fn program() -> &'static str {
    env!("CARGO_BIN_EXE_serin")
}

/// A running daemon; killed when dropped.
pub struct Serin {
    pub process: Process,
    pub url: String,
    config: PathBuf,
    log: PathBuf,
    environment: Vec<(String, String)>,
    http: reqwest::Client,
}

impl Serin {
    /// Starts the daemon with the configuration `config`, which says that the API listens at `port` of
    /// 127.0.0.1. Does not wait for it to be ready.
    pub fn start(config: &Path, port: u16, log: &Path, environment: &[(&str, &str)]) -> Serin {
        let environment: Vec<(String, String)> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(20))
            .build()
            .expect("an HTTP client");
        Serin {
            process: spawn(config, log, &environment),
            url: format!("http://127.0.0.1:{port}"),
            config: config.to_owned(),
            log: log.to_owned(),
            environment,
            http,
        }
    }

    /// Starts it again with the same configuration; the old process must be gone.
    pub fn start_again(&mut self) {
        self.process.kill();
        self.process = spawn(&self.config, &self.log, &self.environment);
    }

    /// Its log so far, for the message of a test that fails.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until `/readyz` says yes.
    pub async fn ready(&mut self) {
        let url = format!("{}/readyz", self.url);
        let (http, process) = (&self.http, &mut self.process);
        let log = self.log.clone();
        until("the daemon is ready", Duration::from_secs(60), || {
            let running = process.is_running();
            let (http, url, log) = (http.clone(), url.clone(), log.clone());
            async move {
                if !running {
                    panic!("the daemon ended:\n{}", std::fs::read_to_string(log).unwrap_or_default());
                }
                http.get(url).send().await.ok().filter(|answer| answer.status() == 200).map(|_| ())
            }
        })
        .await;
    }

    /// `GET` of a path under `/api/v1`; status and body.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.http.get(format!("{}/api/v1{path}", self.url)).send().await;
        let answer = answer.unwrap_or_else(|e| panic!("GET {path}: {e}\n{}", self.log()));
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    /// `POST` to a path under `/api/v1`; status and body.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.http.post(format!("{}/api/v1{path}", self.url)).json(body).send().await;
        let answer = answer.unwrap_or_else(|e| panic!("POST {path}: {e}\n{}", self.log()));
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    /// The daemon's own metrics.
    pub async fn metrics(&self) -> String {
        let answer = self.http.get(format!("{}/metrics", self.url)).send().await.expect("metrics");
        answer.text().await.expect("text")
    }

    /// Starts a rollout and gives its id.
    pub async fn start_rollout(&self, target: &str, policy: &str, version: &str) -> String {
        let body = json!({ "target": target, "policy": policy, "version": version, "by": "test" });
        let (status, answer) = self.post("/rollouts", &body).await;
        assert_eq!(status, 201, "{answer}");
        answer["id"].as_str().expect("an id").to_owned()
    }

    /// The rollout now, or `None` while the daemon cannot be asked.
    pub async fn rollout(&self, id: &str) -> Option<Value> {
        let answer = self.http.get(format!("{}/api/v1/rollouts/{id}", self.url)).send().await.ok()?;
        if answer.status() == 200 { answer.json().await.ok() } else { None }
    }

    /// Waits until `what` is true of the rollout, over restarts of the daemon.
    pub async fn rollout_until(
        &self,
        id: &str,
        what: &str,
        deadline: Duration,
        condition: impl Fn(&Value) -> bool,
    ) -> Value {
        until(what, deadline, || async { self.rollout(id).await.filter(|rollout| condition(rollout)) }).await
    }

    /// Waits until the rollout is in the phase `state`; fails at once if it ends as something else.
    pub async fn rollout_state(&self, id: &str, state: &str, deadline: Duration) -> Value {
        let rollout = self
            .rollout_until(id, &format!("the rollout is {state}"), deadline, |rollout| {
                rollout["state"] == state || rollout["ended"] == true
            })
            .await;
        assert_eq!(rollout["state"], state, "{rollout:#}\n{}", self.log());
        rollout
    }

    /// All log lines of a rollout.
    pub async fn events(&self, id: &str) -> Vec<Value> {
        let (status, page) = self.get(&format!("/rollouts/{id}/events?limit=1000")).await;
        assert_eq!(status, 200, "{page}");
        page["items"].as_array().cloned().unwrap_or_default()
    }

    /// Runs a command of the command line against this daemon.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        Command::new(program())
            .args(["--server", &self.url])
            .args(arguments)
            .env_remove("SERIN_SERVER")
            .env("NO_COLOR", "1")
            .output()
            .expect("the command line")
    }
}

fn spawn(config: &Path, log: &Path, environment: &[(String, String)]) -> Process {
    let mut command = Command::new(program());
    command.arg("serve").arg("--config").arg(config).envs(environment.iter().cloned());
    Process::start(&mut command, log)
}
