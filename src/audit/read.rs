use std::path::Path;
use std::sync::{Arc, Mutex};

use rusqlite::Connection;

use super::{Reset, sqlite};
use crate::domain::ResetId;

/// Reads the trail beside whoever writes it.
#[derive(Clone)]
pub struct Reader {
    connection: Arc<Mutex<Connection>>,
}

/// Why the trail cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the trail cannot be read: {0}")]
    Store(#[from] rusqlite::Error),
    #[error("a record that names the id is not as zengate writes it: {0}")]
    Record(#[from] serde_json::Error),
    #[error("the read was cut short by a stop")]
    Stopped,
}

impl Reader {
    /// Opens the trail read-only; it must exist.
    pub fn open(path: &Path) -> Result<Self, rusqlite::Error> {
        Ok(Self { connection: Arc::new(Mutex::new(sqlite::open_read_only(path)?)) })
    }

    /// The reset of this id, from the projection. Reads off the worker threads.
    pub async fn reset(&self, id: ResetId) -> Result<Option<Reset>, ReadError> {
        let connection = self.connection.clone();
        let read = tokio::task::spawn_blocking(move || {
            sqlite::reset(&connection.lock().expect("nothing panics while it holds the lock"), id)
        });
        Ok(read.await.map_err(|_| ReadError::Stopped)??)
    }

    /// Gives every record's bytes, in the order they were written, until `each` says enough.
    pub fn records(&self, mut each: impl FnMut(&str) -> bool) -> Result<(), ReadError> {
        let connection = self.connection.lock().expect("nothing panics while it holds the lock");
        let mut statement = connection.prepare("SELECT record FROM records ORDER BY position")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if !each(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?) {
                break;
            }
        }
        Ok(())
    }

    /// Gives writer, sequence, hash and bytes of every record, chain by chain.
    pub(super) fn chains(&self, mut each: impl FnMut(&str, u64, &str, &str)) -> Result<(), ReadError> {
        let connection = self.connection.lock().expect("nothing panics while it holds the lock");
        let mut statement = connection
            .prepare("SELECT writer, sequence, hash, record FROM records ORDER BY writer, sequence")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let text = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
            each(text(0)?, row.get::<_, i64>(1)? as u64, text(2)?, text(3)?);
        }
        Ok(())
    }
}
