//! Failures on order: rules that strike calls.
//!
//! A new one is a variant of [`Kind`](kind::Kind), an arm in [`plan`] and a line here:
//! ```text
#![doc = include_str!("faults/reference.txt")]
//! ```

mod canned;
mod kind;
mod plan;
mod rule;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::parameters::Parameters;
pub use plan::{Huge, Part, Plan, Strike, Then, skewed};
use rule::{BadRule, Rule};

/// Every fault with its members, for people.
pub const REFERENCE: &str = include_str!("faults/reference.txt");

/// The rules in force.
#[derive(Default)]
pub struct Faults {
    rules: Vec<Rule>,
    since: Timestamp,
}

/// Why rules could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BadFaults {
    /// Says line and column.
    #[error("not a JSON array of objects: {0}")]
    Json(#[from] serde_json::Error),
    /// Counted from 1.
    #[error("fault {number}: {why}")]
    Rule { number: usize, why: BadRule },
}

impl Faults {
    /// Reads a JSON array of rules. What flaps is up at `since`.
    pub fn read(json: &[u8], since: Timestamp) -> Result<Self, BadFaults> {
        let rules: Vec<Map<String, Value>> = serde_json::from_slice(json)?;
        let rules = (1..)
            .zip(rules)
            .map(|(number, rule)| Rule::read(rule).map_err(|why| BadFaults::Rule { number, why }));
        Ok(Self { rules: rules.collect::<Result<_, _>>()?, since })
    }

    /// As they were given.
    pub fn shown(&self) -> Value {
        json!({ "faults": self.rules.iter().map(Rule::shown).collect::<Vec<_>>() })
    }

    /// Whether a call may be struck before it is read.
    pub fn may_strike_unread(&self) -> bool {
        self.rules.iter().any(Rule::is_before_read)
    }

    /// What befalls a call that is about to be read.
    pub fn before_read(&mut self, now: Timestamp) -> Option<Then> {
        let elapsed = self.elapsed(now);
        let mut rules = self.rules.iter_mut().filter(|rule| rule.is_before_read());
        rules.find_map(|rule| rule.strike(elapsed)?.fault.unread())
    }

    /// What befalls a call that was read.
    pub fn after_read(
        &mut self,
        action: &str,
        parameters: Option<&Parameters>,
        now: Timestamp,
    ) -> Option<Strike> {
        let elapsed = self.elapsed(now);
        let mut rules =
            self.rules.iter_mut().filter(|rule| !rule.is_before_read() && rule.is_about(action, parameters));
        rules.find_map(|rule| rule.strike(elapsed))
    }

    fn elapsed(&self, now: Timestamp) -> SignedDuration {
        now.duration_since(self.since)
    }
}

#[cfg(test)]
mod tests;
