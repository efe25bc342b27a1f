//! Opening the file, and units of work on it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Sqlite, SqliteConnection, SqlitePool};

use super::error::{migration, within};
use crate::ports::StoreError;

static MIGRATIONS: Migrator = sqlx::migrate!("src/store/migrations/sqlite");

/// How long a writer waits for another process's write.
const BUSY: Duration = Duration::from_secs(5);
/// How long work waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(10);
/// Connections that read beside the writer.
const READERS: u32 = 4;
/// The write-ahead log is cut back to this size in bytes after a burst.
const LOG_SIZE: &str = "67108864";

/// The open file: one connection that writes, a few that read.
#[derive(Clone, Debug)]
pub(super) struct Database {
    path: PathBuf,
    identity: Identity,
    /// This process among those that have opened the file.
    pub(super) number: i64,
    pub(super) writer: SqlitePool,
    pub(super) readers: SqlitePool,
}

/// Tells a file from another one that was put in its place.
type Identity = (u64, u64);

impl Database {
    /// Opens the file, makes it if it is not there, and brings its tables up to date.
    pub(super) async fn open(path: &Path) -> Result<Database, StoreError> {
        let context = format!("the database {}", path.display());
        // A relative path must not be taken for a name with a meaning, such as `:memory:`.
        let path = std::path::absolute(path)
            .map_err(|error| StoreError::Unavailable(format!("{context}: {error}")))?;
        if let Some(folder) = path.parent()
            && !folder.is_dir()
        {
            return Err(StoreError::Unavailable(format!(
                "{context} cannot be opened: the folder {} does not exist; make it, or change the path",
                folder.display()
            )));
        }
        Database::connect(path).await.map_err(|error| within(&context, error))
    }

    async fn connect(path: PathBuf) -> Result<Database, StoreError> {
        // FULL makes every commit wait for the disk. A killed process would lose nothing without it, but
        // a machine that loses power would lose the last commits, after their effects: a split that a
        // proxy follows and no record knows of.
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .busy_timeout(BUSY)
            .foreign_keys(true)
            .synchronous(SqliteSynchronous::Full)
            .disable_statement_logging();
        let writing = options
            .clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .pragma("journal_size_limit", LOG_SIZE);
        let pool = || {
            SqlitePoolOptions::new()
                .acquire_timeout(ACQUIRE)
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
        };
        let writer = pool().max_connections(1).connect_lazy_with(writing);
        let number = migrate(&writer).await?;
        let readers = pool().max_connections(READERS).connect_lazy_with(options.pragma("query_only", "ON"));
        let identity = identity(&path).await?;
        Ok(Database { path, identity, number, writer, readers })
    }

    /// Begins a unit of work that writes; other writers wait.
    pub(super) async fn write(&self) -> Result<Work, StoreError> {
        // Writes into a file that was removed succeed and are lost with the process.
        if identity(&self.path).await? != self.identity {
            return Err(StoreError::Unavailable(format!(
                "the database {} was replaced by another file while it was open; start Serin again",
                self.path.display()
            )));
        }
        Work::begin(&self.writer, "BEGIN IMMEDIATE").await
    }

    /// Begins a unit of work that reads one state of the database.
    pub(super) async fn read(&self) -> Result<Work, StoreError> {
        Work::begin(&self.readers, "BEGIN").await
    }

    /// Ends all connections.
    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Brings the tables up to date, and gives the number of this process.
async fn migrate(writer: &SqlitePool) -> Result<i64, StoreError> {
    let mut connection = connect_patiently(writer).await?;
    // Two processes may open a new file at once; the lock lets one make the tables.
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let newest = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    MIGRATIONS.run(&mut *transaction).await.map_err(|error| migration(error, newest))?;
    let number = super::news::writer(&mut transaction).await?;
    transaction.commit().await?;
    Ok(number)
}

/// The first connection switches a new file to its write-ahead log. SQLite does not wait for the lock
/// that this needs, so that is done here, within about the time that any writer waits.
async fn connect_patiently(writer: &SqlitePool) -> Result<PoolConnection<Sqlite>, StoreError> {
    const PAUSE: Duration = Duration::from_millis(50);
    let mut waited = Duration::ZERO;
    loop {
        match writer.acquire().await {
            Ok(connection) => return Ok(connection),
            Err(sqlx::Error::Database(error))
                if waited < BUSY && error.message().contains("database is locked") =>
            {
                tokio::time::sleep(PAUSE).await;
                waited += PAUSE;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(unix)]
async fn identity(path: &Path) -> Result<Identity, StoreError> {
    use std::os::unix::fs::MetadataExt;
    let metadata = tokio::fs::metadata(path).await.map_err(|error| gone(path, &error))?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
async fn identity(path: &Path) -> Result<Identity, StoreError> {
    tokio::fs::metadata(path).await.map_err(|error| gone(path, &error))?;
    Ok((0, 0))
}

fn gone(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Unavailable(format!("the database {} is gone: {error}", path.display()))
}

/// One transaction. Dropped before its end (a caller that gave up waiting, an error after which SQLite
/// has rolled back by itself), its connection is closed, which undoes everything, and another is opened.
pub(super) struct Work {
    connection: PoolConnection<Sqlite>,
    open: bool,
}

impl Work {
    async fn begin(pool: &SqlitePool, statement: &'static str) -> Result<Work, StoreError> {
        let mut work = Work { connection: pool.acquire().await?, open: true };
        sqlx::query(statement).execute(work.connection()).await?;
        Ok(work)
    }

    /// What statements run on.
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    /// Commits if all went well, else undoes everything.
    pub(super) async fn end<T>(mut self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        match done {
            Ok(value) => {
                sqlx::query("COMMIT").execute(self.connection()).await?;
                self.open = false;
                Ok(value)
            }
            Err(error) => {
                self.open = sqlx::query("ROLLBACK").execute(self.connection()).await.is_err();
                Err(error)
            }
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if self.open {
            self.connection.close_on_drop();
        }
    }
}
