//! The table of resets, held against the records that it is made of.

use super::{Part, Progress, Told, Verifier, What};
use crate::audit::projection::{self, Untold};
use crate::audit::read::BATCH;
use crate::audit::store::StoreError;
use crate::audit::{Position, Reset};
use crate::domain::ResetId;

impl Verifier<'_> {
    /// The reset that a record begins must be in the table, as its records tell it.
    pub(super) fn beginning(
        &mut self,
        position: &Position,
        record: &str,
        queued: bool,
    ) -> Result<(), StoreError> {
        self.beginnings += 1;
        let Position { writer, sequence, .. } = position;
        let Some(id) = projection::reset_of(record) else {
            self.find(writer, *sequence, What::NotAReset);
            return Ok(());
        };
        if let Some(what) = self.reset(position, id, queued)? {
            self.find(writer, *sequence, what);
        }
        Ok(())
    }

    /// An outcome's reset must have an intent, unless that can have been pruned.
    pub(super) fn outcome(&mut self, position: &Position, record: &str) -> Result<(), StoreError> {
        let Position { writer, sequence, .. } = position;
        let Some(id) = projection::ended_by(record) else {
            self.find(writer, *sequence, What::NotAReset);
            return Ok(());
        };
        match projection::told(self.source, id) {
            Ok(Some(_)) => Ok(()),
            Ok(None) if self.marks.may_have_pruned(id) => Ok(()),
            Ok(None) => {
                // It may have been while this went on.
                self.marks.load_pruned(self.source)?;
                if !self.marks.may_have_pruned(id) {
                    self.find(writer, *sequence, What::NoIntent);
                }
                Ok(())
            }
            Err(Untold::Store(error)) => Err(error),
            Err(Untold::Record(at)) => {
                if at == *position {
                    self.find(writer, *sequence, What::NotAReset);
                }
                Ok(())
            }
        }
    }

    fn reset(&self, position: &Position, id: ResetId, queued: bool) -> Result<Option<What>, StoreError> {
        let mut row = match self.source.reset(id) {
            Ok(row) => row,
            // If the store itself is away, the records cannot be read either.
            Err(error) => {
                projection::told(self.source, id).map(drop).or_else(unread)?;
                return Ok(Some(What::UnreadableRow(error.to_string())));
            }
        };
        loop {
            let told = match projection::told(self.source, id) {
                Ok(told) => told,
                Err(Untold::Store(error)) => return Err(error),
                Err(Untold::Record(at)) if at == *position => return Ok(Some(What::NotAReset)),
                Err(Untold::Record(_)) => return Ok(None),
            };
            if let Some(told) = &told {
                let first = told.queued.as_ref().filter(|_| queued).unwrap_or(&told.reset.receipt);
                if first != position {
                    return Ok(Some(What::Again(first.clone())));
                }
            }
            let told = told.map(|told| told.reset);
            // One that was sent is looked at from its intent.
            if row == told || told.as_ref().is_some_and(|told| told.receipt != *position) {
                return Ok(None);
            }
            // An outcome may have come between the two looks; the row and its records change together.
            let again = self.source.reset(id)?;
            if again != row {
                row = again;
                continue;
            }
            return Ok(match (told, row) {
                // It was pruned meanwhile.
                (None, _) => None,
                (Some(_), None) => Some(What::NoRow),
                (Some(told), Some(row)) => Some(What::OtherRow(differing(&told, &row))),
            });
        }
    }

    /// A row of the table must have a record that begins it.
    pub(super) fn rows(&mut self, progress: &Progress<'_>) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let rows = match self.source.resets_after(after, BATCH) {
                Ok(rows) => rows,
                Err(error) => {
                    // If the store itself is away, its chains cannot be told either.
                    self.source.chains()?;
                    self.verified.findings += 1;
                    let from = after.map_or_else(String::new, |id| format!(" behind the reset {id}"));
                    let why = format!("the table resets cannot be read{from}: {error}");
                    (self.tell)(Told::Store(why));
                    return Ok(());
                }
            };
            let full = rows.len() == BATCH;
            after = rows.last().map(|row| row.id);
            for row in rows {
                self.verified.resets += 1;
                let Position { writer, sequence, .. } = &row.receipt;
                // That the intent has its row, and the row its content, was looked at from the intent.
                if !self.begins(&row)? && self.source.reset(row.id)?.is_some() {
                    self.find(writer, *sequence, What::RowOfNothing(row.id.to_string()));
                }
            }
            progress(Part::Resets, self.verified.resets, self.beginnings.max(self.verified.resets));
            if !full {
                return Ok(());
            }
        }
    }

    fn begins(&self, row: &Reset) -> Result<bool, StoreError> {
        let Position { writer, sequence, .. } = &row.receipt;
        let there = self.source.since(writer, sequence.saturating_sub(1), 1)?.pop();
        let there = there.filter(|stored| stored.position.sequence == *sequence);
        Ok(there.is_some_and(|stored| projection::reset_of(&stored.record) == Some(row.id)))
    }
}

fn unread(untold: Untold) -> Result<(), StoreError> {
    match untold {
        Untold::Store(error) => Err(error),
        Untold::Record(_) => Ok(()),
    }
}

/// The columns in which they differ.
fn differing(told: &Reset, row: &Reset) -> Vec<&'static str> {
    let columns = [
        ("instance", told.instance != row.instance),
        ("team", told.team != row.team),
        ("status", told.status != row.status),
        ("request_id", told.request_id != row.request_id),
        ("upstream_request_id", told.upstream_request_id != row.upstream_request_id),
        ("batch", told.batch != row.batch),
        ("cause", told.cause != row.cause),
        ("upstream_code", told.upstream_code != row.upstream_code),
        ("reason", told.reason != row.reason),
        ("ticket", told.ticket != row.ticket),
        ("policies", told.policies != row.policies),
        ("created_at", told.created_at != row.created_at),
        ("finished_at", told.finished_at != row.finished_at),
        ("writer", told.receipt.writer != row.receipt.writer),
        ("sequence", told.receipt.sequence != row.receipt.sequence),
        ("hash", told.receipt.hash != row.receipt.hash),
        ("sealed_password", told.sealed_password != row.sealed_password),
    ];
    columns.into_iter().filter(|(_, differ)| *differ).map(|(column, _)| column).collect()
}
