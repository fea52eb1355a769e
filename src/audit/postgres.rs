//! The trail in PostgreSQL: several replicas write, each its own chain, and anybody who may log in reads.
//!
//! Whether a writer lives is said by its lease, a row of `writers`. Each of its transactions locks that row first: so
//! they follow each other, and whoever declares it gone does so before or after one, never amid it.

mod reading;
mod runtime;
mod schema;
mod session;
mod writing;

#[cfg(test)]
#[allow(dead_code, reason = "each binary uses its part of it")]
#[path = "../../tests/support/proxy.rs"]
mod proxy;
#[cfg(test)]
#[path = "../../tests/support/postgres.rs"]
pub(super) mod server;
#[cfg(test)]
mod tests;

pub(super) use reading::Reading;
pub(super) use writing::Writing;

use std::error::Error;

use tokio_postgres::error::SqlState;

use super::store::StoreError;

/// What the settings say of it.
pub(super) struct Settings<'s> {
    pub(super) url: &'s crate::config::PostgresUrl,
    pub(super) url_file: &'s std::path::Path,
    pub(super) connections: usize,
    pub(super) lease: std::time::Duration,
    pub(super) timeout: std::time::Duration,
}

fn late(within: std::time::Duration) -> StoreError {
    StoreError::Unavailable(format!("no answer within {within:?}"))
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(told) = error.as_db_error() else {
            let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
            return Self::Unavailable(format!("{error}{cause}"));
        };
        // Not its detail, which may hold a whole row.
        let text = format!("{} (SQLSTATE {})", told.message(), told.code().code());
        match told.code() {
            code if *code == SqlState::UNIQUE_VIOLATION && told.constraint() == Some("records_pkey") => {
                Self::Fenced
            }
            code if *code == SqlState::UNIQUE_VIOLATION
                && told.constraint() == Some("idempotency_keys_pkey") =>
            {
                Self::Claimed
            }
            code if *code == SqlState::DATA_CORRUPTED || *code == SqlState::INDEX_CORRUPTED => {
                Self::Damaged(text)
            }
            // Data exception, integrity constraint violation, program limit exceeded.
            code if ["22", "23", "54"].iter().any(|class| code.code().starts_with(class)) => {
                Self::Refused(text)
            }
            _ => Self::Unavailable(text),
        }
    }
}
