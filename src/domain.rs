//! The words of the trade, parsed once and valid for good.
//!
//! A value of one of these types proves that its text was checked: `InstanceId::from_str` and its
//! siblings are the only way in, and everything past the edges of the program takes these types.

mod keyed;
mod names;
mod outcome;
mod password;
mod request;
mod trace;

pub use keyed::{Fingerprint, Keyed};
pub use names::{IdempotencyKey, InstanceId, IssuerName, NameFault, RequestId, ResetId, Revision, TeamName};
pub use outcome::{Effort, Outcome, Rejection, Status, Unsent};
pub use password::{Alphabet, Class, Password, PasswordFault};
pub use request::{Batch, FreeText, NewPassword, Reason, ResetRequest, TextFault, Ticket, TicketPattern};
pub use trace::TraceId;

/// A time as every answer, record and log line writes it: RFC 3339, UTC, milliseconds.
pub fn rfc3339(time: jiff::Timestamp) -> String {
    format!("{time:.3}")
}
