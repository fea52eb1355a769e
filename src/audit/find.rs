use std::collections::HashSet;
use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use super::read::{ReadError, Reader};
use super::store::{Filter, Order, Stored};
use crate::domain::{InstanceId, ResetId, Revision, TeamName, rfc3339};

/// A record of a call or of its outcome, as far as it tells what was decided and why.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// `queued`, `intent`, `refused` or `outcome`.
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
    /// Not in old records, whose passwords were the callers'.
    #[serde(default)]
    pub generated: bool,
    /// Of a reset that one call asked for with others.
    pub batch_size: Option<i64>,
    pub refused: Option<String>,
    pub outcome: Option<String>,
    pub cause: Option<String>,
    pub upstream_code: Option<String>,
}

impl Reader {
    /// The records of the reset with this id, or of the call with this `X-Request-Id` and of its resets, each reset's
    /// together, oldest first. Blocks.
    pub fn about(&self, id: &str) -> Result<Vec<Recorded>, ReadError> {
        let (mut found, mut failed) = (Vec::new(), None);
        self.each_about(id, |stored| {
            match serde_json::from_str(&stored.record) {
                Ok(recorded) => found.push(recorded),
                Err(error) => failed = Some(error),
            }
            failed.is_none()
        })?;
        failed.map_or(Ok(found), |error| Err(error.into()))
    }

    /// Gives the same one by one and whole, until `each` says enough. Blocks.
    pub fn each_about(&self, id: &str, mut each: impl FnMut(Stored) -> bool) -> Result<(), ReadError> {
        let (mut told, mut more) = (HashSet::new(), true);
        if let Ok(reset) = id.parse::<ResetId>() {
            told.insert(reset);
            self.each(&of_reset(reset), Order::OldestFirst, |stored| {
                more = each(stored);
                more
            })?;
        }
        let (Ok(request), true) = (id.parse(), more) else { return Ok(()) };
        let calls = Filter { request: Some(request), ..Filter::default() };
        let mut failed = None;
        self.each(&calls, Order::OldestFirst, |stored| {
            let Some(reset) = Named::by(&stored).reset_id.and_then(|id| id.parse().ok()) else {
                return each(stored);
            };
            if told.insert(reset) {
                let read = self.each(&of_reset(reset), Order::OldestFirst, |stored| {
                    more = each(stored);
                    more
                });
                failed = read.err();
            }
            more && failed.is_none()
        })?;
        failed.map_or(Ok(()), Err)
    }
}

fn of_reset(id: ResetId) -> Filter {
    Filter { reset: Some(id), ..Filter::default() }
}

/// What a record is found by.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Named {
    time: Option<String>,
    kind: Option<String>,
    team: Option<String>,
    instance_id: Option<String>,
    issuer: Option<String>,
    subject: Option<String>,
    reset_id: Option<String>,
    request_id: Option<String>,
}

impl Named {
    /// What is no record has no name.
    fn by(stored: &Stored) -> Self {
        serde_json::from_str(&stored.record).unwrap_or_default()
    }
}

impl Filter {
    /// Whether this record is one of those that a store would give.
    pub fn fits(&self, stored: &Stored) -> bool {
        let Self { kind, team, instance, user, reset, request, writer, since, until } = self;
        let named = Named::by(stored);
        let named_user =
            named.issuer.zip(named.subject).map(|(issuer, subject)| format!("{issuer}|{subject}"));
        let equal = |wanted: Option<String>, is: &Option<String>| wanted.is_none() || wanted == *is;
        let time = |good: &dyn Fn(&str) -> bool| named.time.as_deref().is_some_and(good);
        equal(kind.map(|kind| kind.as_str().to_owned()), &named.kind)
            && equal(team.as_ref().map(ToString::to_string), &named.team)
            && equal(instance.as_ref().map(ToString::to_string), &named.instance_id)
            && equal(user.clone(), &named_user)
            && equal(reset.map(|id| id.to_string()), &named.reset_id)
            && equal(request.as_ref().map(ToString::to_string), &named.request_id)
            && writer.as_ref().is_none_or(|writer| *writer == stored.position.writer)
            && since.is_none_or(|since| time(&|time| time >= rfc3339(since).as_str()))
            && until.is_none_or(|until| time(&|time| time < rfc3339(until).as_str()))
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
    use rusqlite::Connection;

    use super::*;
    use crate::audit::Kind;
    use crate::audit::sqlite::Writing;
    use crate::config;

    const A: &str = "01a20b74-a492-7299-a003-73dfe8c1537d";
    const B: &str = "01a20b74-a492-7299-a003-73dfe8c1537e";

    /// A store with these records and their ids, two of which are put into it as no program would.
    fn reader() -> (tempfile::TempDir, Reader) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trail.db");
        drop(Writing::open(&path).expect("made"));
        let connection = Connection::open(&path).expect("opened");
        let records = [
            r#"{"kind":"start","time":"2026-11-24T12:00:00.000Z","heads":[]}"#.to_owned(),
            format!(
                r#"{{"kind":"intent","time":"2026-11-24T12:00:00.500Z","requestId":"call-1","resetId":"{A}","team":"web","issuer":"corp","subject":"al|ice","instanceId":"ins-1","scopes":["x"]}}"#
            ),
            format!(
                r#"{{"kind":"intent","time":"2026-11-24T12:00:00.500Z","requestId":"call-2","resetId":"{B}","reason":"call-1","team":"pay"}}"#
            ),
            format!(
                r#"{{"kind":"outcome","time":"2026-11-24T12:00:01.000Z","resetId":"{B}","outcome":"accepted"}}"#
            ),
            format!(
                r#"{{"kind":"outcome","time":"2026-11-24T12:00:01.000Z","requestId":"call-1","resetId":"{A}","outcome":"unknown"}}"#
            ),
            r#"{"kind":"refused","time":"2026-11-24T12:00:02.000Z","requestId":"call-11","refused":"policy","issuer":"corp"}"#
                .to_owned(),
            r#"{"kind":"refused","requestId":"timeless"}"#.to_owned(),
            "no record".to_owned(),
        ];
        for (sequence, record) in (1..).zip(records) {
            let insert = "INSERT INTO records (writer, sequence, hash, record) VALUES ('w', ?1, 'h', ?2)";
            connection.execute(insert, (sequence, record)).expect("inserted");
        }
        (folder, Reader::open(&config::Audit::sqlite(&path)).expect("readable"))
    }

    #[test]
    fn a_call_is_found_with_its_resets_and_their_outcomes_and_nothing_else() {
        let (_folder, reader) = reader();
        for (id, expected) in [
            ("call-1", &[2, 5][..]),
            (A, &[2, 5]),
            ("call-2", &[3, 4]),
            ("call-11", &[6]),
            ("call", &[]),
            ("web", &[]),
            ("no id", &[]),
        ] {
            let mut found = Vec::new();
            let each = |stored: Stored| {
                found.push(stored.position.sequence);
                true
            };
            reader.each_about(id, each).expect("readable");
            assert_eq!(found, expected, "{id}");
            let mut first = 0;
            let each = |_| {
                first += 1;
                false
            };
            reader.each_about(id, each).expect("readable");
            assert_eq!(first, expected.len().min(1), "{id}: until it is enough");
        }
        assert_eq!(reader.about("call-1").expect("good records").len(), 2);
        assert!(reader.about("timeless").is_err(), "what is no record is told");
    }

    #[test]
    fn a_filter_fits_what_the_store_gives_by_it() {
        let (_folder, reader) = reader();
        let filter = Filter::default();
        let at = |time: &str| Some(time.parse().expect("a time"));
        let half = "2026-11-24T12:00:00.5Z";
        for (row, filter) in [
            ("all", filter.clone()),
            ("kind", Filter { kind: Some(Kind::Intent), ..filter.clone() }),
            ("team", Filter { team: "web".parse().ok(), ..filter.clone() }),
            ("instance", Filter { instance: "ins-1".parse().ok(), ..filter.clone() }),
            ("user", Filter { user: Some("corp|al|ice".to_owned()), ..filter.clone() }),
            ("another user", Filter { user: Some("corp|al".to_owned()), ..filter.clone() }),
            ("reset", Filter { reset: A.parse().ok(), ..filter.clone() }),
            ("request", Filter { request: "call-1".parse().ok(), ..filter.clone() }),
            ("writer", Filter { writer: Some("w".to_owned()), ..filter.clone() }),
            ("another writer", Filter { writer: Some("v".to_owned()), ..filter.clone() }),
            ("since", Filter { since: at(half), ..filter.clone() }),
            ("until", Filter { until: at(half), ..filter.clone() }),
            ("between", Filter { since: at(half), until: at("2026-11-24T12:00:01Z"), ..filter.clone() }),
            ("two", Filter { team: "pay".parse().ok(), kind: Some(Kind::Outcome), ..filter.clone() }),
        ] {
            let (mut all, mut given) = (Vec::new(), Vec::new());
            let read = |filter: &Filter, into: &mut Vec<Stored>| {
                reader.each(filter, Order::OldestFirst, |stored| {
                    into.push(stored);
                    true
                })
            };
            read(&Filter::default(), &mut all).expect("readable");
            read(&filter, &mut given).expect("readable");
            all.retain(|stored| filter.fits(stored));
            assert_eq!(all, given, "{row}");
        }
    }
}
