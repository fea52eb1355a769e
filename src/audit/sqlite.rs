//! The trail in one SQLite file: one process writes, anybody who may read the file reads beside it.

mod files;
mod reading;
mod schema;
mod writing;

pub(super) use reading::Reading;
pub(super) use writing::Writing;

use rusqlite::ErrorCode;

use super::store::StoreError;

#[cfg(test)]
mod tests;

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            // Only one process writes: whoever else put a record at this place is no gateway.
            Some(ErrorCode::ConstraintViolation) if error.to_string().contains("records.sequence") => {
                Self::Damaged("another program has put a record into the chain".to_owned())
            }
            Some(ErrorCode::ConstraintViolation) => Self::Refused(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}
