//! Reads one file, and says what is wrong with all of it.

use std::io::Read;
use std::path::Path;

use super::problem::{Mark, Problems, Report};
use super::yaml::MAX_BYTES;

/// Reads a file, at most a little more than is allowed.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, Problems> {
    let mut bytes = Vec::new();
    let read =
        std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes));
    match read {
        // One byte more tells the reader of the tree that it is too large; it need not know how much.
        Ok(_) if bytes.len() > MAX_BYTES => {
            Err(whole_file(path, "", "the file is too large".to_owned(), "at most 1 MiB"))
        }
        Ok(_) => Ok(bytes),
        Err(error) => Err(whole_file(path, "", format!("the file cannot be read: {error}"), "")),
    }
}

pub(super) fn whole_file(path: &Path, field: &str, message: String, expected: &str) -> Problems {
    let report = Report::new(path.display().to_string());
    report.add(Mark::default(), field, message, expected);
    match report.finish::<()>(None) {
        Ok(()) => Problems(Vec::new()),
        Err(problems) => problems,
    }
}
