use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use super::read::{ReadError, Reader};
use super::store::{Filter, Order};
use crate::domain::{InstanceId, Revision, TeamName};

/// A record of a call or of its outcome, as far as it tells what was decided and why.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// `intent`, `refused` or `outcome`.
    pub kind: String,
    #[serde(deserialize_with = "parsed")]
    pub time: Timestamp,
    pub reset_id: Option<String>,
    pub request_id: Option<String>,
    pub issuer: Option<String>,
    pub subject: Option<String>,
    pub client: Option<String>,
    pub actor: Option<String>,
    pub token_id: Option<String>,
    /// Empty in old records, whatever the token had.
    #[serde(default)]
    pub scopes: Vec<String>,
    #[serde(default, deserialize_with = "some_parsed")]
    pub team: Option<TeamName>,
    pub client_address: Option<IpAddr>,
    pub action: Option<String>,
    #[serde(default, deserialize_with = "some_parsed")]
    pub instance_id: Option<InstanceId>,
    pub decision: Option<String>,
    #[serde(default)]
    pub policies: Vec<String>,
    #[serde(default, deserialize_with = "some_parsed")]
    pub revision: Option<Revision>,
    pub reason: Option<String>,
    pub ticket: Option<String>,
    pub refused: Option<String>,
    pub outcome: Option<String>,
    pub cause: Option<String>,
    pub upstream_code: Option<String>,
}

impl Reader {
    /// The records of the reset with this id, or of the call with this `X-Request-Id` and of its resets, oldest first.
    /// Reads the whole trail, one record at a time.
    pub fn about(&self, id: &str) -> Result<Vec<Recorded>, ReadError> {
        let mut search = Search { ids: vec![id.to_owned()], found: Vec::new() };
        let mut failed = None;
        self.each(&Filter::default(), Order::OldestFirst, |stored| {
            failed = search.look(&stored.record).err();
            failed.is_none()
        })?;
        failed.map_or(Ok(search.found), |error| Err(error.into()))
    }
}

struct Search {
    /// What was asked for, and the resets that a call of this name turned out to have made.
    ids: Vec<String>,
    found: Vec<Recorded>,
}

impl Search {
    fn look(&mut self, record: &str) -> Result<(), serde_json::Error> {
        // Most records name none of them, and are not worth the parsing.
        if !self.ids.iter().any(|id| record.contains(id)) {
            return Ok(());
        }
        let recorded: Recorded = serde_json::from_str(record)?;
        let named = |id: &Option<String>| id.as_ref().is_some_and(|id| self.ids.contains(id));
        if named(&recorded.request_id) || named(&recorded.reset_id) {
            self.ids.extend(recorded.reset_id.clone().filter(|id| !self.ids.contains(id)));
            self.found.push(recorded);
        }
        Ok(())
    }
}

fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(text: D) -> Result<T, D::Error> {
    String::deserialize(text)?.parse().map_err(serde::de::Error::custom)
}

fn some_parsed<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(text: D) -> Result<Option<T>, D::Error> {
    parsed(text).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_found_with_its_resets_and_their_outcomes_and_nothing_else() {
        let records = [
            r#"{"kind":"start","time":"2026-11-24T12:00:00.000Z","heads":[]}"#,
            r#"{"kind":"intent","time":"2026-11-24T12:00:00.000Z","requestId":"call-1","resetId":"reset-1","team":"web","scopes":["x"]}"#,
            r#"{"kind":"intent","time":"2026-11-24T12:00:00.000Z","requestId":"call-2","resetId":"reset-2","reason":"call-1"}"#,
            r#"{"kind":"outcome","time":"2026-11-24T12:00:01.000Z","resetId":"reset-2","outcome":"accepted"}"#,
            r#"{"kind":"outcome","time":"2026-11-24T12:00:01.000Z","resetId":"reset-1","outcome":"unknown"}"#,
            r#"{"kind":"refused","time":"2026-11-24T12:00:02.000Z","requestId":"call-11","refused":"policy"}"#,
        ];
        for (id, expected) in [
            ("call-1", &["intent", "outcome"][..]),
            ("reset-1", &["intent", "outcome"]),
            ("call-11", &["refused"]),
            ("call", &[]),
            ("web", &[]),
        ] {
            let mut search = Search { ids: vec![id.to_owned()], found: Vec::new() };
            records.iter().try_for_each(|record| search.look(record)).expect("good records");
            let kinds: Vec<_> = search.found.iter().map(|record| record.kind.as_str()).collect();
            assert_eq!(kinds, expected, "{id}");
        }
        let mut search = Search { ids: vec!["call-1".to_owned()], found: Vec::new() };
        assert!(search.look(r#"{"requestId":"call-1"}"#).is_err(), "what is no record is told");
    }
}
