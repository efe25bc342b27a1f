//! A small SMTP server that answers as it is told, and keeps the mails.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::lock;

/// What it answers to `RCPT TO`.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This line.
    Line(&'static str),
    /// It closes the connection.
    Reset,
    /// Nothing.
    Silence,
}

/// A running server; ends with the test.
pub struct Smtp {
    pub port: u16,
    pub answers: Arc<Mutex<VecDeque<Answer>>>,
    mails: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Smtp {
    pub async fn start() -> Smtp {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let (answers, mails) =
            (Arc::<Mutex<VecDeque<Answer>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let shared = (answers.clone(), mails.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, mails) = shared.clone();
                tokio::spawn(async move { talk(stream, &answers, &mails).await });
            }
        });
        Smtp { port, answers, mails, task }
    }

    /// The mails as they came, headers and all.
    pub fn mails(&self) -> Vec<String> {
        lock(&self.mails).clone()
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection; `None` at its end.
async fn talk(
    stream: TcpStream,
    answers: &Mutex<VecDeque<Answer>>,
    mails: &Mutex<Vec<String>>,
) -> Option<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 test ESMTP\r\n").await.ok()?;
    loop {
        let line = lines.next_line().await.ok()??;
        let word = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let answer = match word.as_str() {
            "EHLO" => "250-test\r\n250 8BITMIME",
            "RCPT" => {
                let next = lock(answers).pop_front();
                match next {
                    None => "250 OK",
                    Some(Answer::Line(line)) => line,
                    Some(Answer::Reset) => return None,
                    Some(Answer::Silence) => std::future::pending().await,
                }
            }
            "DATA" => {
                write.write_all(b"354 go on\r\n").await.ok()?;
                let mut mail = String::new();
                loop {
                    let line = lines.next_line().await.ok()??;
                    if line == "." {
                        break;
                    }
                    mail.push_str(&format!("{line}\n"));
                }
                lock(mails).push(mail);
                "250 taken"
            }
            "QUIT" => "221 bye",
            _ => "250 OK",
        };
        write.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
    }
}
