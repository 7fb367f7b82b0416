//! The store in one SQLite file: a table of documents for each [`Table`], one writer.
//!
//! Write-ahead log with `synchronous=FULL`: what a commit acknowledged survives a kill and a power cut. The
//! simulation runs this same adapter in memory.

use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{params, Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};
use scatter_actors::ports::store::{Batch, Change, Error, Order, Row, Store, Table};

/// Marks the file as ours (`PRAGMA application_id`): "SCAT".
const APPLICATION: i64 = 0x5343_4154;
/// Milliseconds to wait for another connection's lock (a backup's, an operator's shell).
const BUSY_MS: u64 = 5_000;
/// Each table has at most 7 statements: get, put, delete, and a scan for each order and bound.
const STATEMENTS: usize = 7 * Table::ALL.len();
/// What changed in stored documents: entry `n` takes a file from version `n + 1` to `n + 2`. Tables that are
/// only added need no entry.
const MIGRATIONS: &[&str] = &[];

/// Why a store was not opened. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A newer program wrote it.
    #[error("{path}: the store has version {found}, this program knows up to {known}: use a newer program")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its `user_version`.
        found: i64,
        /// The highest version known.
        known: i64,
    },
    /// A database, but of another program.
    #[error("{path}: this is not a store of scatter")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// SQLite's own check found damage.
    #[error("{path}: the store is damaged: {what}; restore a backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        what: String,
    },
    /// SQLite or the operating system refused.
    #[error("{path}: the store can't be opened")]
    Refused {
        /// The file.
        path: PathBuf,
        /// Their words.
        #[source]
        source: rusqlite::Error,
    },
}

/// A store in a SQLite file or in memory.
#[derive(Debug)]
pub struct Sqlite {
    connection: Connection,
}

impl Sqlite {
    /// Opens or makes the store in that file, checks it and brings it to the current version.
    ///
    /// # Errors
    /// If it can't be opened, is damaged, another program's or a newer version's.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::prepare(path, Connection::open(path), MIGRATIONS)
    }

    /// A store in memory, gone when dropped.
    ///
    /// # Errors
    /// If SQLite refuses.
    pub fn in_memory() -> Result<Self, OpenError> {
        Self::prepare(Path::new(":memory:"), Connection::open_in_memory(), MIGRATIONS)
    }

    /// Opens an existing store for reports, beside the writer and possibly on another thread; it can't write.
    ///
    /// # Errors
    /// As [`Sqlite::open`]; also if there is no file, or its version is not the current one.
    pub fn open_read_only(path: &Path) -> Result<Self, OpenError> {
        let refused = |source| OpenError::Refused { path: path.into(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(refused)?;
        settings(&connection).map_err(refused)?;
        check_origin(path, &connection, version_known(MIGRATIONS))?;
        Ok(Self { connection })
    }

    /// Writes a whole, consistent copy to a new file; other connections go on meanwhile.
    ///
    /// # Errors
    /// If the file exists or can't be written.
    pub fn backup(&self, to: &Path) -> Result<(), Error> {
        self.connection.execute("VACUUM INTO ?1", [to.to_string_lossy()]).map_err(failed)?;
        Ok(())
    }

    /// Moves the write-ahead log into the file, so that a stopped node leaves one file behind.
    ///
    /// # Errors
    /// If SQLite refuses.
    pub fn checkpoint(&self) -> Result<(), Error> {
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(failed)
    }

    fn prepare(
        path: &Path,
        connection: rusqlite::Result<Connection>,
        migrations: &[&str],
    ) -> Result<Self, OpenError> {
        let refused = |source| OpenError::Refused { path: path.into(), source };
        let connection = connection.map_err(refused)?;
        settings(&connection).map_err(refused)?;
        let version = check_origin(path, &connection, version_known(migrations))?;
        check_pages(path, &connection)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(refused)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(refused)?;
        migrate(&connection, version, migrations).map_err(refused)?;
        Ok(Self { connection })
    }
}

impl Store for Sqlite {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let sql = format!("SELECT doc FROM {} WHERE key = ?1", table.name());
        let mut statement = self.connection.prepare_cached(&sql).map_err(failed)?;
        statement.query_row([key], |row| row.get(0)).optional().map_err(failed)
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Row>, Error> {
        let bound = until.map_or("?3 IS NULL", |_| "key < ?3");
        let direction = match order {
            Order::Ascending => "ASC",
            Order::Descending => "DESC",
        };
        let sql = format!(
            "SELECT key, doc FROM {} WHERE key >= ?1 AND {bound} ORDER BY key {direction} LIMIT ?2",
            table.name()
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut statement = self.connection.prepare_cached(&sql).map_err(failed)?;
        let rows = statement.query_map(params![from, limit, until], |row| Ok((row.get(0)?, row.get(1)?)));
        rows.and_then(Iterator::collect).map_err(failed)
    }

    fn commit(&self, batch: Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let write = || {
            // Dropped without a commit, it rolls back: a failure in the middle leaves nothing.
            let tx = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
            // Neighbours of one kind share a statement: a range of the chain is thousands of them.
            for alike in batch.changes.chunk_by(|a, b| kind(a) == kind(b)) {
                let Some((table, puts)) = alike.first().map(kind) else { continue };
                let sql = match puts {
                    true => format!("INSERT OR REPLACE INTO {} (key, doc) VALUES (?1, ?2)", table.name()),
                    false => format!("DELETE FROM {} WHERE key = ?1", table.name()),
                };
                let mut statement = tx.prepare_cached(&sql)?;
                for change in alike {
                    match change {
                        Change::Put(_, key, doc) => statement.execute(params![key, doc])?,
                        Change::Delete(_, key) => statement.execute([key])?,
                    };
                }
            }
            tx.commit()
        };
        write().map_err(failed)
    }
}

/// The table of a change, and whether it writes there.
fn kind(change: &Change) -> (Table, bool) {
    match change {
        Change::Put(table, ..) => (*table, true),
        Change::Delete(table, _) => (*table, false),
    }
}

fn failed(error: rusqlite::Error) -> Error {
    Error::Failed(error.to_string())
}

fn version_known(migrations: &[&str]) -> i64 {
    1 + i64::try_from(migrations.len()).unwrap_or(i64::MAX - 1)
}

/// What every connection wants, also one that only reads.
fn settings(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Without it the bundled SQLite prepares every scan anew, in case the bounds would suit another plan.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Refuses files of other programs and of newer versions; tells the version, 0 for an empty file.
fn check_origin(path: &Path, connection: &Connection, known: i64) -> Result<i64, OpenError> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let refused = |source| OpenError::Refused { path: path.into(), source };
    let application = pragma("application_id").map_err(refused)?;
    let found = pragma("user_version").map_err(refused)?;
    let objects: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(refused)?;
    let empty = application == 0 && found == 0 && objects == 0;
    if application != APPLICATION && !empty {
        return Err(OpenError::Foreign { path: path.into() });
    }
    if found > known {
        return Err(OpenError::Newer { path: path.into(), found, known });
    }
    Ok(found)
}

/// Reads every page once: damage is told now, not in the middle of a payout.
fn check_pages(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    match connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0)) {
        Ok(verdict) if verdict == "ok" => Ok(()),
        Ok(what) => Err(OpenError::Damaged { path: path.into(), what }),
        Err(error) => Err(OpenError::Damaged { path: path.into(), what: error.to_string() }),
    }
}

/// Makes missing tables and runs the migrations that the file has not seen, all in one transaction.
fn migrate(connection: &Connection, version: i64, migrations: &[&str]) -> rusqlite::Result<()> {
    let tx = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    for table in Table::ALL {
        tx.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS {} (key BLOB PRIMARY KEY, doc BLOB NOT NULL) WITHOUT ROWID",
            table.name()
        ))?;
    }
    // A new file holds nothing that would have to be changed.
    let unseen = match usize::try_from(version) {
        Ok(seen @ 1..) => migrations.get(seen - 1..).unwrap_or_default(),
        _ => &[],
    };
    for migration in unseen {
        tx.execute_batch(migration)?;
    }
    tx.pragma_update(None, "application_id", APPLICATION)?;
    tx.pragma_update(None, "user_version", version_known(migrations))?;
    tx.commit()
}

#[cfg(test)]
mod tests;
