//! A real SMTP server: aiosmtpd, which writes the mails that it gets into its log.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::process::{Process, free_port};
use super::wait::until;

/// A running server; ends with the test.
pub struct Smtpd {
    _process: Process,
    pub port: u16,
    folder: TempDir,
}

/// The Python that has aiosmtpd: `SERIN_AIOSMTPD`, or the one that `make parts` installs.
fn python() -> PathBuf {
    match std::env::var_os("SERIN_AIOSMTPD") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join(".parts/smtp/bin/python"),
    }
}

impl Smtpd {
    /// Starts it and waits until it greets.
    pub async fn start() -> Smtpd {
        let listen = |command: &mut Command, port: u16| {
            command.args(["-m", "aiosmtpd", "-n", "-l", &format!("127.0.0.1:{port}")]);
        };
        Smtpd::run(listen).await
    }

    /// One that takes mail over TLS alone (`starttls` or `implicit`), from who logs in.
    pub async fn start_protected(mode: &str, certificate: &Path, key: &Path, login: [&str; 2]) -> Smtpd {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testkit/smtpd.py");
        let listen = |command: &mut Command, port: u16| {
            command.arg(&script).args([&port.to_string(), mode]).args([certificate, key]).args(login);
        };
        Smtpd::run(listen).await
    }

    async fn run(listen: impl FnOnce(&mut Command, u16)) -> Smtpd {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let mut command = Command::new(python());
        command.arg("-u");
        listen(&mut command, port);
        let process = Process::start(&mut command, &folder.path().join("log"));
        let server = Smtpd { _process: process, port, folder };
        until("the SMTP server listens", Duration::from_secs(60), async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok().map(|_| ())
        })
        .await;
        server
    }

    /// The mails as it wrote them.
    pub fn mails(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let mails = log.split("---------- MESSAGE FOLLOWS ----------\n").skip(1);
        mails
            .filter_map(|mail| mail.split_once("------------ END MESSAGE ------------"))
            .map(|(mail, _)| mail.to_owned())
            .collect()
    }
}
