//! What tells that a request is the same as one before: its fingerprint, and who works on it now. What became of those
//! that were put on record, the trail knows.

mod in_flight;
mod keys;

pub use in_flight::{InFlight, Met, Place};
pub use keys::{FingerprintKeys, KeyFault};
