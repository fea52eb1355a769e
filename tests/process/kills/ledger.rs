//! What callers were told, what Zenlayer took, and what the trail says of both: three books that must agree. Shares no
//! code with the gateway.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::store::Store;
use super::{Ask, number, ticket};
use crate::http::Answer;
use crate::support::Simulator;

/// A row of the projection: by name, what the records say that it holds.
type Row = BTreeMap<&'static str, Option<String>>;

const COLUMNS: [&str; 15] = [
    "id",
    "instance",
    "team",
    "status",
    "request_id",
    "upstream_request_id",
    "upstream_code",
    "reason",
    "ticket",
    "policies",
    "created_at",
    "finished_at",
    "writer",
    "sequence",
    "hash",
];

/// A reset as its records tell of it.
struct Reset {
    row: Row,
    /// Outcome and cause, oldest first.
    outcomes: Vec<(String, Option<String>)>,
}

pub struct Ledger<'s> {
    store: &'s Store,
    /// The last record of each chain.
    heads: HashMap<String, (i64, String)>,
    /// Whose id sorts last, as they follow each other. None before it writes any more.
    last_writer: String,
    resets: BTreeMap<String, Reset>,
    by_ticket: HashMap<String, String>,
    /// The number of the last call that the simulator recorded.
    calls: u64,
    /// By what was asked: whether it reached Zenlayer, and whether it took effect there.
    reached: HashMap<u64, bool>,
    /// By instance.
    applied: HashMap<String, u64>,
    asked: u64,
    answered: u64,
}

/// Figures for docs/reliability.md.
pub struct Saw {
    asked: u64,
    answered: u64,
    applied: u64,
    writers: usize,
    intents: usize,
    /// By outcome and cause.
    outcomes: BTreeMap<String, usize>,
}

impl<'s> Ledger<'s> {
    pub fn new(store: &'s Store) -> Self {
        Self {
            store,
            heads: HashMap::new(),
            last_writer: String::new(),
            resets: BTreeMap::new(),
            by_ticket: HashMap::new(),
            calls: 0,
            reached: HashMap::new(),
            applied: HashMap::new(),
            asked: 0,
            answered: 0,
        }
    }

    /// Reads on in all three, and compares what is new.
    pub fn look(&mut self, simulator: &Simulator, asks: Vec<Ask>) {
        let called = self.read_calls(simulator);
        self.read_trail();
        for n in called {
            let intent = self.reset(n).unwrap_or_else(|| panic!("{n} reached Zenlayer without an intent"));
            assert_eq!(intent.row["instance"].as_ref(), Some(&Ask::new(n).instance), "{n}");
        }
        self.compare_instances(simulator);
        for ask in &asks {
            self.asked += 1;
            if let Some(answer) = &ask.answer {
                self.answered += 1;
                self.compare_answer(ask, answer);
            }
        }
    }

    /// Every reset that Zenlayer was asked for, refused and unanswered ones included.
    fn read_calls(&mut self, simulator: &Simulator) -> Vec<u64> {
        let list = || simulator.get("calls")["calls"].as_array().cloned().expect("a list");
        let last = |calls: &[Value]| calls.last().map(|call| call["seq"].clone());
        // What a dead gateway had sent is read to its end.
        let mut calls = list();
        loop {
            let again = list();
            let quiet = last(&again) == last(&calls);
            calls = again;
            if quiet {
                break;
            }
        }
        crate::http::call(simulator.address, "DELETE", "/_simulator/calls", None, None);
        let mut called = Vec::new();
        for call in calls {
            self.calls += 1;
            assert_eq!(call["seq"], self.calls, "no call was forgotten unread");
            if call["action"] != "ResetInstancePassword" {
                continue;
            }
            let body: Value = call["body"].as_str().and_then(|b| serde_json::from_str(b).ok()).expect("JSON");
            let n = number(body["password"].as_str().expect("a password"));
            let applied = call["applied"] == true;
            assert_eq!(body["instanceId"], Ask::new(n).instance, "{n}");
            assert!(self.reached.get(&n) != Some(&true), "{n} took effect, and was sent again");
            self.reached.insert(n, applied);
            *self.applied.entry(Ask::new(n).instance).or_default() += u64::from(applied);
            called.push(n);
        }
        called
    }

    /// Every new record, checked against its chain by its bytes alone.
    fn read_trail(&mut self) {
        let (last, (read, _)) =
            (&self.last_writer, self.heads.get(&self.last_writer).cloned().unwrap_or_default());
        let new = format!(
            "FROM records WHERE writer > '{last}' OR (writer = '{last}' AND sequence > {read})
             ORDER BY writer, sequence"
        );
        for row in self.store.rows(&["writer", "sequence", "hash", "record"], &new) {
            let column = |at: usize| row[at].as_str().expect("text").to_owned();
            let (writer, hash, bytes) = (column(0), column(2), column(3));
            let sequence = row[1].as_i64().expect("a number");
            let record: Value = serde_json::from_str(&bytes).expect("a record is JSON");
            let (before, previous) = self.heads.get(&writer).cloned().unwrap_or_else(|| (0, "0".repeat(64)));
            assert_eq!(hash, hex::encode(Sha256::digest(&bytes)), "{bytes}");
            assert_eq!(sequence, before + 1, "{bytes}");
            assert_eq!(record["sequence"], sequence, "{bytes}");
            assert_eq!(
                (text(&record, "writer"), text(&record, "previous")),
                (Some(writer.clone()), Some(previous))
            );
            self.take(&record, &hash);
            self.last_writer.clone_from(&writer);
            self.heads.insert(writer, (sequence, hash));
        }
    }

    fn take(&mut self, record: &Value, hash: &str) {
        let id = || text(record, "resetId").expect("an id");
        match record["kind"].as_str() {
            Some("intent") => {
                let row = Row::from([
                    ("id", text(record, "resetId")),
                    ("instance", text(record, "instanceId")),
                    ("team", text(record, "team")),
                    ("status", Some("sent".to_owned())),
                    ("request_id", text(record, "requestId")),
                    ("upstream_request_id", None),
                    ("upstream_code", None),
                    ("reason", text(record, "reason")),
                    ("ticket", text(record, "ticket")),
                    ("policies", Some(record["policies"].to_string())),
                    ("created_at", text(record, "time")),
                    ("finished_at", None),
                    ("writer", text(record, "writer")),
                    ("sequence", Some(record["sequence"].to_string())),
                    ("hash", Some(hash.to_owned())),
                ]);
                let ticket = text(record, "ticket").expect("a ticket");
                assert!(self.by_ticket.insert(ticket, id()).is_none(), "one intent a reset: {record}");
                self.resets.insert(id(), Reset { row, outcomes: Vec::new() });
            }
            Some("outcome") => {
                let reset = self.resets.get_mut(&id()).expect("an outcome follows its intent");
                let outcome = text(record, "outcome").expect("an outcome");
                reset.row.extend([
                    ("status", Some(outcome.clone())),
                    ("upstream_request_id", text(record, "upstreamRequestId")),
                    ("upstream_code", text(record, "upstreamCode")),
                    ("finished_at", text(record, "time")),
                ]);
                reset.outcomes.push((outcome, text(record, "cause")));
                // What comes after the first can only be the late answer.
                let late =
                    reset.outcomes.iter().skip(1).all(|(_, cause)| cause.as_deref() == Some("late answer"));
                assert!(late, "{record}: {:?}", reset.outcomes);
            }
            _ => {}
        }
    }

    /// What Zenlayer holds, whatever its calls say.
    fn compare_instances(&self, simulator: &Simulator) {
        for held in simulator.get("instances")["instances"].as_array().expect("a list") {
            let instance = held["instanceId"].as_str().expect("an id");
            let resets = held["resets"].as_u64().expect("a number");
            assert_eq!(resets, self.applied.get(instance).copied().unwrap_or_default(), "{instance}");
            if let Some(password) = held["password"].as_str() {
                let reset = self.reset(number(password)).expect("a password has its intent");
                assert_eq!(reset.row["instance"].as_deref(), Some(instance));
            }
        }
    }

    fn reset(&self, n: u64) -> Option<&Reset> {
        self.by_ticket.get(&ticket(n)).map(|id| &self.resets[id])
    }

    /// What the caller was told is on record, and is what happened.
    fn compare_answer(&self, ask: &Ask, answer: &Answer) {
        let (n, body) = (ask.n, answer.json());
        let reached = self.reached.get(&n).copied();
        let Some(id) = text(&body, if answer.status == 201 { "id" } else { "resetId" }) else {
            assert_eq!(answer.status, 503, "{n}: {answer:?}");
            assert!(
                body["detail"].as_str().is_some_and(|detail| detail.contains("Nothing was sent")),
                "{answer:?}"
            );
            assert!(reached.is_none() && self.reset(n).is_none(), "{n} was told not to be sent: {answer:?}");
            return;
        };
        let told = match (answer.status, body.get("upstreamCode")) {
            (201, _) => "accepted",
            (504, _) => "unknown",
            (409 | 502, _) | (503, Some(_)) => "rejected",
            (503, None) => "not_sent",
            _ => panic!("{n}: {answer:?}"),
        };
        let reset = self.reset(n).unwrap_or_else(|| panic!("{n} was told {told} without an intent"));
        assert_eq!(reset.row["id"].as_deref(), Some(&*id), "{n}");
        let first = reset.outcomes.first().unwrap_or_else(|| panic!("{n} was told {told}, not on record"));
        assert_eq!(first, &(told.to_owned(), None), "{n}: {answer:?}");
        match told {
            "accepted" => {
                assert_eq!(reached, Some(true), "{n} took effect");
                let receipt = &body["receipt"];
                assert_eq!(text(receipt, "hash"), reset.row["hash"], "{n}: {answer:?}");
                assert_eq!(text(receipt, "writer"), reset.row["writer"], "{n}: {answer:?}");
                assert_eq!(Some(receipt["sequence"].to_string()), reset.row["sequence"], "{n}: {answer:?}");
            }
            "rejected" | "not_sent" => assert_ne!(reached, Some(true), "{n} took effect: {answer:?}"),
            _ => {}
        }
    }

    /// The resets without an outcome.
    pub fn open(&self) -> Vec<String> {
        let open = self.resets.iter().filter(|(_, reset)| reset.outcomes.is_empty());
        open.map(|(id, _)| id.clone()).collect()
    }

    /// Who serves has closed what others left.
    pub fn only_the_last_writer_left_resets_open(&self) {
        for id in self.open() {
            let writer = self.resets[&id].row["writer"].as_deref();
            assert_eq!(writer, Some(&*self.last_writer), "{id} was left open by a writer before");
        }
    }

    /// What was open has ended as unknown, and nothing is open any more.
    pub fn all_are_closed(&self, left_open: &[String]) {
        assert_eq!(self.open(), [""; 0]);
        for id in left_open {
            let gone = ("unknown".to_owned(), Some("writer gone".to_owned()));
            assert_eq!(self.resets[id].outcomes, [gone], "{id}");
        }
    }

    pub fn projection_is_as_rebuilt(&self) {
        let mut rebuilt = self.resets.values();
        for row in self.store.rows(&COLUMNS, "FROM resets ORDER BY id") {
            let text = |value: &Value| match value {
                Value::Null => None,
                Value::String(text) => Some(text.clone()),
                number => Some(number.to_string()),
            };
            let row: Row = COLUMNS.iter().zip(&row).map(|(name, value)| (*name, text(value))).collect();
            assert_eq!(Some(&row), rebuilt.next().map(|reset| &reset.row));
        }
        assert!(rebuilt.next().is_none(), "every reset has its row");
    }

    pub fn saw(&self) -> Saw {
        let mut outcomes = BTreeMap::new();
        for (outcome, cause) in self.resets.values().flat_map(|reset| &reset.outcomes) {
            let name = cause.as_ref().map_or_else(|| outcome.clone(), |cause| format!("{outcome} ({cause})"));
            *outcomes.entry(name).or_default() += 1;
        }
        Saw {
            asked: self.asked,
            answered: self.answered,
            applied: self.applied.values().sum(),
            writers: self.heads.len(),
            intents: self.resets.len(),
            outcomes,
        }
    }
}

impl Saw {
    /// Kills met resets in flight, and others had come through.
    pub fn was_under_load(&self) -> bool {
        ["accepted", "unknown (writer gone)"].iter().all(|name| self.outcomes.contains_key(*name))
    }
}

impl fmt::Display for Saw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcomes: Vec<_> = self.outcomes.iter().map(|(name, count)| format!("{name}: {count}")).collect();
        write!(
            f,
            "| | |\n|---|---|\n| resets asked for, answered before the kill | {}, {} |\n| passwords that Zenlayer took | {} |\n\
             | chains, intents in them | {}, {} |\n| outcomes on record | {} |\n",
            self.asked,
            self.answered,
            self.applied,
            self.writers,
            self.intents,
            outcomes.join(", ")
        )
    }
}

fn text(record: &Value, field: &str) -> Option<String> {
    record[field].as_str().map(str::to_owned)
}
