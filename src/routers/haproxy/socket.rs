//! One connection a question, with a deadline and a bound on the answer.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::super::RouterBuildError;
use crate::ports::RouterError;

/// No answer is longer: 4 MiB are the counters of some ten thousand servers.
const ANSWER: u64 = 4 << 20;
/// Commands in one line; HAProxy reads a line into one buffer of 16 KiB.
const COMMANDS: usize = 40;

/// Where the Runtime API is.
pub(super) struct Socket {
    address: Address,
    deadline: Duration,
}

#[derive(Debug, PartialEq, Eq)]
enum Address {
    Unix(PathBuf),
    Tcp(String),
}

impl Socket {
    /// Reads `/path/to/socket` or `tcp:HOST:PORT`.
    pub(super) fn new(address: &str, deadline: Duration) -> Result<Socket, RouterBuildError> {
        Ok(Socket { address: parse(address)?, deadline })
    }

    /// The whole answer to one command, with the empty line at its end.
    pub(super) async fn ask(&self, command: &str) -> Result<String, RouterError> {
        let asked = async {
            match &self.address {
                Address::Unix(path) => converse(UnixStream::connect(path).await, command).await,
                Address::Tcp(address) => converse(TcpStream::connect(address).await, command).await,
            }
        };
        tokio::time::timeout(self.deadline, asked).await.map_err(|_| RouterError::Timeout)?
    }

    /// Commands that answer nothing if they succeed; several share a line, and each is carried out
    /// whatever became of those before it.
    ///
    /// # Errors
    /// [`RouterError::Refused`] with what HAProxy says, and what may help.
    pub(super) async fn command(&self, commands: &[String]) -> Result<(), RouterError> {
        for commands in commands.chunks(COMMANDS) {
            let text = self.ask(&commands.join(";")).await?;
            let answers = answers(&text);
            for (command, answer) in commands.iter().zip(&answers) {
                if !answer.is_empty() {
                    let (said, hint) = (shown(answer), hint(answer));
                    return Err(RouterError::Refused(format!("`{command}`: {said}{hint}")));
                }
            }
            if answers.len() != commands.len() {
                return Err(RouterError::Malformed(format!(
                    "{} answers to {} commands: {:?}",
                    answers.len(),
                    commands.len(),
                    shown(&text)
                )));
            }
        }
        Ok(())
    }
}

fn parse(address: &str) -> Result<Address, RouterBuildError> {
    let wrong = || {
        RouterBuildError(format!(
            "{address:?} is not an HAProxy socket: write an absolute path such as /run/haproxy/admin.sock, \
             or tcp:HOST:PORT"
        ))
    };
    if let Some(rest) = address.strip_prefix("tcp:") {
        let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().map_err(|_| wrong())?;
        return if host.is_empty() || port == 0 { Err(wrong()) } else { Ok(Address::Tcp(rest.to_owned())) };
    }
    if address.starts_with('/') { Ok(Address::Unix(address.into())) } else { Err(wrong()) }
}

async fn converse<S>(stream: std::io::Result<S>, command: &str) -> Result<String, RouterError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let unreachable = |error: std::io::Error| RouterError::Unreachable(error.to_string());
    let mut stream = stream.map_err(unreachable)?;
    stream.write_all(format!("{command}\n").as_bytes()).await.map_err(unreachable)?;
    let mut answer = Vec::new();
    stream.take(ANSWER + 1).read_to_end(&mut answer).await.map_err(unreachable)?;
    if answer.len() as u64 > ANSWER {
        return Err(RouterError::Malformed(format!("the answer is longer than {ANSWER} bytes")));
    }
    let answer =
        String::from_utf8(answer).map_err(|_| RouterError::Malformed("the answer is not text".to_owned()))?;
    if answer != "\n" && !answer.ends_with("\n\n") {
        return Err(RouterError::Malformed(format!("the answer was cut off: {:?}", shown(&answer))));
    }
    Ok(answer)
}

/// Each answer ends with an empty line; the answer of a command that succeeds is nothing but that line.
fn answers(text: &str) -> Vec<String> {
    let mut answers = Vec::new();
    let mut current: Vec<&str> = Vec::new();
    for line in text.lines() {
        if line.is_empty() {
            answers.push(current.join("\n"));
            current.clear();
        } else {
            current.push(line);
        }
    }
    answers
}

fn hint(answer: &str) -> &'static str {
    if answer.contains("Permission denied") {
        " (the socket needs `level admin` in HAProxy's configuration)"
    } else if answer.contains("static LB algorithm") {
        " (use `balance roundrobin`, `leastconn`, `random`, or a hash with `hash-type consistent`)"
    } else {
        ""
    }
}

fn shown(text: &str) -> String {
    text.trim_end().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(parse("/run/h.sock").unwrap(), Address::Unix("/run/h.sock".into()));
        assert_eq!(parse("tcp:127.0.0.1:9999").unwrap(), Address::Tcp("127.0.0.1:9999".into()));
        assert_eq!(parse("tcp:[::1]:9999").unwrap(), Address::Tcp("[::1]:9999".into()));
        for wrong in ["", "h.sock", "tcp:", "tcp:host", "tcp::80", "tcp:host:0", "tcp:host:99999", "http://x"]
        {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(error.contains("tcp:HOST:PORT"), "{wrong:?}: {error}");
        }
    }

    #[test]
    fn answers_are_told_apart() {
        assert_eq!(answers("\n"), [""]);
        assert_eq!(answers("\n\n\n"), ["", "", ""]);
        assert_eq!(
            answers("\nNo such server.\n\n10 (initial 0)\n\n"),
            ["", "No such server.", "10 (initial 0)"]
        );
        assert_eq!(answers("two\nlines\n\n\n"), ["two\nlines", ""]);
    }
}
