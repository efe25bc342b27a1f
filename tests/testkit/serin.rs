//! The daemon as a process of its own, and its API.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::process::{Process, free_port};
use super::wait;

/// As many open files as a service is given, where the machine lets it.
const FILES: &str = "ulimit -n 8192 2>/dev/null; exec \"$@\"";

/// A running `serin serve`; it can be killed and started again.
pub struct Daemon {
    pub port: u16,
    pub folder: PathBuf,
    config: PathBuf,
    process: Option<Process>,
    is_limited: bool,
    variables: Vec<(String, String)>,
    client: reqwest::Client,
}

impl Daemon {
    /// Writes the configuration (without `listen` and `store`, which are added) and starts.
    pub async fn start(folder: &Path, config: &str) -> Daemon {
        let mut daemon = Daemon::prepare(folder, config);
        daemon.start_again(&[]).await;
        daemon.ready().await;
        daemon
    }

    /// The same with environment variables, at every start.
    pub async fn start_with(folder: &Path, config: &str, variables: &[(String, String)]) -> Daemon {
        let mut daemon = Daemon::prepare(folder, config);
        daemon.variables = variables.to_vec();
        daemon.start_again(&[]).await;
        daemon.ready().await;
        daemon
    }

    /// Writes the configuration only.
    pub fn prepare(folder: &Path, config: &str) -> Daemon {
        let port = free_port();
        let path = folder.join("serin.yaml");
        let text = format!("listen: 127.0.0.1:{port}\nstore: {{path: serin.db}}\n{config}");
        std::fs::write(&path, text).expect("the configuration is written");
        Daemon {
            port,
            folder: folder.to_owned(),
            config: path,
            process: None,
            is_limited: false,
            variables: Vec::new(),
            client: reqwest::Client::builder().timeout(Duration::from_secs(20)).build().expect("a client"),
        }
    }

    /// From the next start on, the size of files that it writes may be limited (`prlimit --fsize`): beyond it, writing
    /// fails instead of ending the process.
    pub fn limit_files(&mut self, is_limited: bool) {
        self.is_limited = is_limited;
    }

    /// Starts the process with these variables; does not wait for it.
    pub async fn start_again(&mut self, variables: &[(&str, &str)]) {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            if self.is_limited { "trap '' XFSZ; exec \"$@\"" } else { FILES },
            "sh",
            env!("CARGO_BIN_EXE_serin"),
            "serve",
        ]);
        command.arg("--config").arg(&self.config).env("RUST_LOG", "info,serin=debug");
        command.env_remove("SERIN_FAILPOINT").envs(self.variables.clone()).envs(variables.iter().copied());
        let start = if self.is_limited { Process::start_piped } else { Process::start };
        self.process = Some(start(&mut command, &self.log_path()));
    }

    /// Waits until it is ready.
    pub async fn ready(&self) {
        let is_ready = wait::within(Duration::from_secs(60), || async {
            (self.status("/readyz").await? == 200).then_some(())
        });
        if is_ready.await.is_none() {
            panic!("Serin is not ready within 60 s: {}", self.log());
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").child.id()
    }

    /// False once the process has ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("serin.log")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// How much it has logged so far, in bytes.
    pub fn log_length(&self) -> u64 {
        std::fs::metadata(self.log_path()).map_or(0, |metadata| metadata.len())
    }

    /// What it has logged after so many bytes.
    pub fn log_after(&self, bytes: u64) -> String {
        use std::io::{Read, Seek, SeekFrom};
        let mut text = Vec::new();
        if let Ok(mut file) = std::fs::File::open(self.log_path()) {
            let _ = file.seek(SeekFrom::Start(bytes)).and_then(|_| file.read_to_end(&mut text));
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Where it listens.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The status of a page; `None` if nobody answers.
    pub async fn status(&self, path: &str) -> Option<u16> {
        Some(self.client.get(self.url(path)).send().await.ok()?.status().as_u16())
    }

    /// A page; `None` if nobody answers or the answer is no JSON.
    pub async fn try_get(&self, path: &str) -> Option<Value> {
        self.client.get(self.url(path)).send().await.ok()?.json().await.ok()
    }

    /// A page.
    pub async fn get(&self, path: &str) -> Value {
        self.try_get(path).await.unwrap_or_else(|| panic!("{path} is not answered: {}", self.log()))
    }

    /// A page as text.
    pub async fn text(&self, path: &str) -> String {
        let answer = self.client.get(self.url(path)).send().await.expect("an answer");
        answer.text().await.expect("a text")
    }

    /// Posts; gives status and body.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.client.post(self.url(path)).json(body).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    /// Posts; the body of a good answer, `None` if there is none.
    pub async fn try_post(&self, path: &str, body: &Value) -> Option<Value> {
        let answer = self.client.post(self.url(path)).json(body).send().await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        answer.json().await.ok()
    }

    /// Starts a rollout; gives its id.
    pub async fn rollout(&self, target: &str, policy: &str, version: &str) -> String {
        let body = json!({"target": target, "policy": policy, "version": version, "by": "erin"});
        let (status, answer) = self.post("/api/v1/rollouts", &body).await;
        assert_eq!(status, 201, "{answer}");
        answer["id"].as_str().expect("an id").to_owned()
    }

    /// Gives a command to a gate; status and answer.
    pub async fn at_gate(&self, id: &str, command: &str, gate: &str, by: &str) -> (u16, Value) {
        let body = json!({"command": command, "gate": gate, "by": by, "reason": "as agreed"});
        self.post(&format!("/api/v1/rollouts/{id}/commands"), &body).await
    }

    /// Gives a command; it must be carried out.
    pub async fn command(&self, id: &str, command: &str) {
        let body = json!({"command": command, "by": "erin"});
        let (status, answer) = self.post(&format!("/api/v1/rollouts/{id}/commands"), &body).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// Waits until `check` says yes of the rollout, and gives its view. Nobody answering is waited out.
    pub async fn until(&self, id: &str, what: &str, seconds: u64, check: impl Fn(&Value) -> bool) -> Value {
        let path = format!("/api/v1/rollouts/{id}");
        let last = std::cell::RefCell::new(Value::Null);
        let waited = wait::within(Duration::from_secs(seconds), || async {
            let view = self.try_get(&path).await?;
            let yes = check(&view);
            *last.borrow_mut() = view.clone();
            yes.then_some(view)
        });
        match waited.await {
            Some(view) => view,
            None => {
                let sentences = self.sentences(id).await;
                let last = last.take();
                let log = self.log();
                let log: Vec<&str> = log.lines().rev().take(30).collect();
                panic!(
                    "not seen within {seconds} s: {what}\nlast: {last:#}\nevents: {sentences:#?}\nlog: {log:#?}"
                )
            }
        }
    }

    /// Waits for an end and gives the view.
    pub async fn ended(&self, id: &str, seconds: u64) -> Value {
        self.until(id, "the end of the rollout", seconds, |view| view["ended"] == json!(true)).await
    }

    /// The rollout's log.
    pub async fn events(&self, id: &str) -> Vec<Value> {
        let page = self.try_get(&format!("/api/v1/rollouts/{id}/events?limit=1000")).await;
        page.and_then(|page| page["items"].as_array().cloned()).unwrap_or_default()
    }

    /// The rollout's log as text.
    pub async fn sentences(&self, id: &str) -> Vec<String> {
        let events = self.events(id).await;
        let line = |e: &Value| format!("{} {} {}", e["at"], e["kind"], e["sentence"].as_str().unwrap_or(""));
        events.iter().map(line).collect()
    }

    /// All stored observations, as stored.
    pub async fn observations(&self, id: &str) -> Vec<Value> {
        self.all(&format!("/api/v1/rollouts/{id}/observations"), |item| item["seq"].as_u64()).await
    }

    /// All assessments.
    pub async fn evidence(&self, id: &str) -> Vec<Value> {
        self.all(&format!("/api/v1/rollouts/{id}/evidence"), |item| item["seq"].as_u64()).await
    }

    async fn all(&self, path: &str, seq: impl Fn(&Value) -> Option<u64>) -> Vec<Value> {
        let mut items: Vec<Value> = Vec::new();
        loop {
            let after = items.last().and_then(&seq).unwrap_or(0);
            let page = self.get(&format!("{path}?after={after}&limit=100")).await;
            let new = page["items"].as_array().cloned().expect("items");
            if new.is_empty() {
                return items;
            }
            items.extend(new);
        }
    }

    /// Runs the binary as a client of this daemon; gives exit code, output and errors.
    pub async fn cli(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_serin"));
        command.args(arguments).env("SERIN_SERVER", self.url("")).env("NO_COLOR", "1");
        let output = command.output().await.expect("the binary runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }
}

/// A webhook receiver that counts notices by key, and answers as it is told.
pub struct Hook {
    pub url: String,
    state: HookState,
}

#[derive(Clone, Default)]
struct HookState {
    got: std::sync::Arc<std::sync::Mutex<Vec<(String, Value)>>>,
    /// 0: silence.
    answer: std::sync::Arc<std::sync::atomic::AtomicU16>,
}

impl Hook {
    /// Starts one that answers 200.
    pub async fn start() -> Hook {
        use axum::extract::State;
        async fn receive(
            State(state): State<HookState>,
            headers: axum::http::HeaderMap,
            axum::Json(body): axum::Json<Value>,
        ) -> axum::http::StatusCode {
            let answer = state.answer.load(std::sync::atomic::Ordering::SeqCst);
            if answer == 0 {
                std::future::pending::<()>().await;
            }
            let key = headers["idempotency-key"].to_str().expect("a key").to_owned();
            state.got.lock().expect("not poisoned").push((key, body));
            axum::http::StatusCode::from_u16(answer).expect("a status")
        }
        let state = HookState::default();
        state.answer.store(200, std::sync::atomic::Ordering::SeqCst);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let app = axum::Router::new().route("/hook", axum::routing::post(receive)).with_state(state.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Hook { url, state }
    }

    /// Another answer; 0 is silence.
    pub fn answer(&self, status: u16) {
        self.state.answer.store(status, std::sync::atomic::Ordering::SeqCst);
    }

    /// What came, by key: the bodies that had it.
    pub fn by_key(&self) -> BTreeMap<String, Vec<Value>> {
        let mut by_key: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (key, body) in self.state.got.lock().expect("not poisoned").iter() {
            by_key.entry(key.clone()).or_default().push(body.clone());
        }
        by_key
    }

    /// The kinds of the notices that came, each key once, in order.
    pub fn kinds(&self) -> Vec<String> {
        let mut seen = std::collections::BTreeSet::new();
        let got = self.state.got.lock().expect("not poisoned");
        let new = got.iter().filter(|(key, _)| seen.insert(key.clone()));
        new.map(|(_, body)| body["kind"].as_str().unwrap_or("").to_owned()).collect()
    }
}
