//! Unsigned calls by which tests look inside and change what there is.
//!
//! - `GET` or `DELETE /_simulator/calls`: what was called, as received.
//! - `GET /_simulator/instances`: the vendor's fields, the last password, the number of resets.
//! - `PUT /_simulator/instances`: replaces all of them; an array as at the start.
//! - `POST /_simulator/instances/{id}`: sets these fields and leaves the others.
//! - `PUT /_simulator/access-keys`: an array of `{"id", "password"}`, the keys that are good from now on.
//! - `GET`, `POST` (replaces the list) or `DELETE /_simulator/faults`.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::cloud::Cloud;
use super::faults::Faults;
use super::instances::{Instances, parse_instances};
use super::message::Request;
use super::response::Response;
use super::signature::AccessKey;

pub const PREFIX: &str = "/_simulator/";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    id: String,
    password: String,
}

/// Whether a request that begins so is a control call. Its first line is taken to come in one piece.
pub fn is_control(start: &[u8]) -> bool {
    start.split(|byte| *byte == b' ').nth(1).is_some_and(|target| target.starts_with(PREFIX.as_bytes()))
}

/// `path` is what follows [`PREFIX`].
pub fn answer(cloud: &mut Cloud, request: &Request<'_>, path: &str, now: Timestamp) -> Response {
    match (request.method, path) {
        ("GET", "calls") => Response::json(200, &cloud.calls.list()),
        ("DELETE", "calls") => {
            cloud.calls.clear();
            done()
        }
        ("GET", "instances") => Response::json(200, &json!({ "instances": cloud.instances.all() })),
        ("PUT", "access-keys") => match serde_json::from_slice::<Vec<NewKey>>(request.body) {
            Ok(keys) => {
                cloud.keys = keys.into_iter().map(|key| AccessKey::new(key.id, &key.password)).collect();
                done()
            }
            Err(error) => failed(400, &error.to_string()),
        },
        ("PUT", "instances") => match std::str::from_utf8(request.body).map(parse_instances) {
            Ok(Ok(instances)) => {
                cloud.instances = Instances::new(instances);
                done()
            }
            Ok(Err(error)) => failed(400, &error.to_string()),
            Err(error) => failed(400, &error.to_string()),
        },
        ("GET", "faults") => Response::json(200, &cloud.faults.shown()),
        ("POST", "faults") => match Faults::read(request.body, now) {
            Ok(faults) => {
                cloud.faults = faults;
                done()
            }
            Err(error) => failed(400, &error.to_string()),
        },
        ("DELETE", "faults") => {
            cloud.faults = Faults::default();
            done()
        }
        ("POST", _) => match path.strip_prefix("instances/") {
            Some(id) => merge(cloud, id, request.body),
            None => failed(404, "no such control call"),
        },
        _ => failed(404, "no such control call"),
    }
}

fn merge(cloud: &mut Cloud, id: &str, body: &[u8]) -> Response {
    let Some(instance) = cloud.instances.get_mut(id) else { return failed(404, "no such instance") };
    match serde_json::from_slice::<Map<String, Value>>(body) {
        Ok(fields) if fields.get("instanceId").is_some_and(|other| other != id) => {
            failed(400, "the `instanceId` of an instance does not change")
        }
        Ok(fields) => {
            instance.merge(fields);
            done()
        }
        Err(error) => failed(400, &error.to_string()),
    }
}

fn done() -> Response {
    Response::json(200, &json!({}))
}

fn failed(status: u16, message: &str) -> Response {
    Response::json(status, &json!({ "message": message }))
}
