use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use super::World;
use super::http::{Request, Response};

/// Calls that are remembered.
const MEMORY: usize = 100_000;

/// Every call of the API, refused ones too, from the moment it was read.
#[derive(Default)]
pub(super) struct Journal {
    calls: VecDeque<Call>,
    next: u64,
}

struct Call {
    seq: u64,
    time: jiff::Timestamp,
    action: String,
    headers: Map<String, Value>,
    body: String,
    verdict: Option<&'static str>,
    applied: bool,
}

impl Journal {
    pub(super) fn record(&mut self, action: &str, request: &Request) -> u64 {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.next += 1;
        if self.calls.len() == MEMORY {
            self.calls.pop_front();
        }
        self.calls.push_back(Call {
            seq: self.next,
            time: jiff::Timestamp::now(),
            action: action.to_owned(),
            headers: request.headers.iter().map(|(name, value)| (name.clone(), text(value).into())).collect(),
            body: text(&request.body),
            verdict: None,
            applied: false,
        });
        self.next
    }

    pub(super) fn verdict(&mut self, seq: u64, code: &'static str) {
        self.change(seq, |call| call.verdict = Some(code));
    }

    pub(super) fn applied(&mut self, seq: u64) {
        self.change(seq, |call| call.applied = true);
    }

    fn change(&mut self, seq: u64, change: impl FnOnce(&mut Call)) {
        let first = self.calls.front().map_or(0, |call| call.seq);
        let index = seq.checked_sub(first).and_then(|index| usize::try_from(index).ok());
        if let Some(call) = index.and_then(|index| self.calls.get_mut(index)) {
            change(call);
        }
    }

    fn list(&self) -> Vec<Value> {
        let show = |call: &Call| {
            json!({
                "seq": call.seq,
                "time": format!("{:.3}", call.time),
                "action": call.action,
                "headers": call.headers,
                "body": call.body,
                "verdict": call.verdict,
                "applied": call.applied,
            })
        };
        self.calls.iter().map(show).collect()
    }
}

/// The calls of the simulator itself, which no Zenlayer has; they need no signature.
pub(super) fn respond(world: &World, request: &Request, path: &str) -> Response {
    let answer = match (request.method.as_str(), path.trim_start_matches("/_simulator/")) {
        ("GET", "calls") => Ok(json!({ "calls": world.journal().list() })),
        ("DELETE", "calls") => {
            world.journal().calls.clear();
            Ok(json!({}))
        }
        ("GET", "instances") => {
            let instances: Vec<Value> = world.instances().all().map(super::Instance::whole).collect();
            Ok(json!({ "instances": instances }))
        }
        ("POST", path) if path.starts_with("instances/") => {
            let id = path.trim_start_matches("instances/");
            match serde_json::from_slice(&request.body) {
                Ok(fields) => {
                    world.instances().merge(id, fields);
                    Ok(json!({}))
                }
                Err(e) => Err((400, format!("the body is not a JSON object: {e}"))),
            }
        }
        ("DELETE", path) if path.starts_with("instances/") => {
            match world.instances().remove(path.trim_start_matches("instances/")) {
                true => Ok(json!({})),
                false => Err((404, "there is no such instance".to_owned())),
            }
        }
        ("GET", "faults") => Ok(json!(world.faults().list())),
        ("POST", "faults") => match world.faults().replace(&request.body) {
            Ok(()) => Ok(json!({})),
            Err(message) => Err((400, message)),
        },
        ("DELETE", "faults") => {
            world.faults().clear();
            Ok(json!({}))
        }
        _ => Err((404, "there is no such control call".to_owned())),
    };
    match answer {
        Ok(body) => Response::json(200, &body),
        Err((status, message)) => Response::json(status, &json!({ "message": message })),
    }
}
