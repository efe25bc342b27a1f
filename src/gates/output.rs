//! What a program writes: its head and its tail are kept, what lies between is read and dropped.

use std::collections::VecDeque;

use tokio::io::{AsyncRead, AsyncReadExt};

/// So much is kept of each end.
pub(super) const KEEP: usize = 4 << 10;

/// The kept output of a program.
#[derive(Debug, Default)]
pub(super) struct Output {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    dropped: u64,
}

impl Output {
    /// Reads to the end, however much comes.
    pub async fn read(&mut self, mut from: impl AsyncRead + Unpin) {
        let mut chunk = vec![0; KEEP];
        loop {
            match from.read(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(length) => self.take(&chunk[..length]),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let (first, rest) = bytes.split_at((KEEP - self.head.len()).min(bytes.len()));
        self.head.extend_from_slice(first);
        self.tail.extend(rest);
        let surplus = self.tail.len().saturating_sub(KEEP);
        self.tail.drain(..surplus);
        self.dropped += surplus as u64;
    }

    /// The last line that is not empty, without control characters.
    pub fn last_line(&self) -> Option<String> {
        let bytes: Vec<u8> = self.head.iter().chain(&self.tail).copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
        Some(super::text::head(line))
    }

    /// All that is kept, for the log; says how much is missing.
    pub fn text(&self) -> String {
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        let head = String::from_utf8_lossy(&self.head);
        let gap = if self.dropped > 0 {
            format!("\n… {} bytes left out …\n", self.dropped)
        } else {
            String::new()
        };
        format!("{head}{gap}{}", String::from_utf8_lossy(&tail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_ends_are_kept_and_the_rest_is_counted() {
        let mut output = Output::default();
        let text = format!("first\n{}\nlast one\n\n", "x".repeat(1 << 20));
        output.read(text.as_bytes()).await;
        assert_eq!(output.last_line().as_deref(), Some("last one"));
        assert!(output.text().starts_with("first\nxxx"));
        let missing = text.len() - 2 * KEEP;
        assert!(output.text().contains(&format!("… {missing} bytes left out …")), "{missing}");
        assert!(output.text().len() < 2 * KEEP + 100);

        let mut short = Output::default();
        short.read(&b"one\ntwo"[..]).await;
        assert_eq!((short.text().as_str(), short.last_line().as_deref()), ("one\ntwo", Some("two")));
        assert_eq!(Output::default().last_line(), None);
    }
}
