//! What SQLite and sqlx say, in the words of the port.

use sqlx::migrate::MigrateError;

use crate::ports::StoreError;

/// SQLite's primary result codes (<https://www.sqlite.org/rescode.html>).
const PERM: i32 = 3;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READONLY: i32 = 8;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const CONSTRAINT: i32 = 19;
const NOTADB: i32 = 26;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> StoreError {
        match error {
            sqlx::Error::Database(ref inner) => {
                // The low byte of an extended code is the primary one.
                let code = inner.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(0) & 0xff;
                of_code(code, inner.message())
            }
            sqlx::Error::PoolTimedOut => {
                unavailable("other work on the database has not ended in time; it may be locked or slow")
            }
            sqlx::Error::PoolClosed => unavailable("it was closed"),
            sqlx::Error::WorkerCrashed => unavailable("the thread of its connection has ended"),
            sqlx::Error::ColumnDecode { index, source } => {
                StoreError::Corrupt(format!("column {index}: {source}"))
            }
            sqlx::Error::Decode(source) => StoreError::Corrupt(source.to_string()),
            other => StoreError::Unavailable(other.to_string()),
        }
    }
}

fn of_code(code: i32, message: &str) -> StoreError {
    let why = match code {
        BUSY | LOCKED => "the database is locked by another process",
        READONLY => "the database is read-only; check the permissions of its file and folder",
        PERM => "the permissions of the database's file or folder forbid it",
        IOERR => "reading or writing the database's file failed",
        FULL => "the disk is full, or the database has reached its size limit",
        CANTOPEN => "the database's file cannot be opened; check that its folder exists and its permissions",
        CORRUPT => {
            return StoreError::Corrupt(format!(
                "the database's file is damaged; restore a backup ({message})"
            ));
        }
        NOTADB => return StoreError::Corrupt("the file is not a SQLite database".to_owned()),
        CONSTRAINT => return StoreError::Conflict(format!("what is stored under a unique key ({message})")),
        _ => return StoreError::Unavailable(format!("SQLite says: {message}")),
    };
    StoreError::Unavailable(format!("{why} (SQLite says: {message})"))
}

fn unavailable(why: &str) -> StoreError {
    StoreError::Unavailable(why.to_owned())
}

/// `conflict` if the row was there already, else what else was wrong.
pub(super) fn taken(error: sqlx::Error, conflict: impl FnOnce() -> String) -> StoreError {
    match error {
        sqlx::Error::Database(ref inner) if inner.is_unique_violation() => StoreError::Conflict(conflict()),
        other => other.into(),
    }
}

/// Why the tables could not be brought to this version; `newest` is the last one that is known here.
pub(super) fn migration(error: MigrateError, newest: i64) -> StoreError {
    match error {
        MigrateError::VersionMissing(version) => StoreError::Unavailable(format!(
            "it was written by a newer Serin (its tables are of version {version}, this program knows them \
             up to {newest}); run that version, or restore a backup from before the update"
        )),
        MigrateError::VersionMismatch(version) | MigrateError::Dirty(version) => {
            StoreError::Corrupt(format!(
                "the tables of version {version} are not those of this program; it was written by a \
                 development version, or changed by hand"
            ))
        }
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => source.into(),
        other => StoreError::Unavailable(format!("its tables cannot be brought up to date: {other}")),
    }
}

/// Puts `context` in front of the sentence of an error that says nothing else about where.
pub(super) fn within(context: &str, error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable(why) => StoreError::Unavailable(format!("{context}: {why}")),
        StoreError::Corrupt(what) => StoreError::Corrupt(format!("{context}: {what}")),
        other => other,
    }
}
