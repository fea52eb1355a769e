//! How Zenlayer wraps what it says.

use serde::Serialize;
use uuid::Uuid;

use super::refusal::Refusal;
use super::response::Response;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Success<'a, T> {
    request_id: &'a str,
    response: Payload<'a, T>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a, T> {
    request_id: &'a str,
    #[serde(flatten)]
    members: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure<'a> {
    request_id: &'a str,
    code: &'a str,
    message: &'a str,
}

/// For actions that answer with nothing but a request id.
#[derive(Serialize)]
pub struct Nothing {}

/// The members stand beside the inner request id.
pub fn success(members: impl Serialize) -> Response {
    let id = request_id();
    Response::json(200, &Success { request_id: &id, response: Payload { request_id: &id, members } })
}

pub fn failure(refusal: &Refusal) -> Response {
    error(refusal.code.status(), refusal.code.as_str(), &refusal.message)
}

pub fn error(status: u16, code: &str, message: &str) -> Response {
    Response::json(status, &Failure { request_id: &request_id(), code, message })
}

fn request_id() -> String {
    format!("T{:X}", Uuid::now_v7().hyphenated())
}
