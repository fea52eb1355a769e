use std::time::Instant;

use serde_json::{Map, Value, json};

use super::World;
use super::faults::Kind;
use super::http::{Request, Response};

const PATH: &str = "/api/v2/zec";
const VERSIONS: [&str; 2] = ["2025-09-01", "2024-04-01"];
const SPECIAL: &[u8] = b"~!@$^*-_=+";

/// Zenlayer's no: status, code, message.
pub(super) type No = (u16, &'static str, &'static str);

const MISSING: No = (400, "MISSING_PARAMETER", "A required parameter is missing.");
const TYPE: No = (400, "INVALID_PARAMETER_TYPE", "A parameter has the wrong type.");
const TOO_MANY: No = (400, "INVALID_PARAMETER_EXCEED_MAXIMUM", "A parameter is over its maximum.");
const TOO_FEW: No = (400, "INVALID_PARAMETER_LESS_MINIMUM", "A parameter is under its minimum.");

/// One call of the API. None: no answer.
pub(super) async fn respond(world: &World, request: &Request) -> Option<Response> {
    let action = request.text("x-zc-action").unwrap_or_default().to_owned();
    let seq = world.journal().record(&action, request);
    let parsed = check(world, request, &action);
    let verdict = |code: &'static str| world.journal().verdict(seq, code);
    let parameters = match parsed {
        Ok(parameters) => parameters,
        Err(no) => {
            verdict(no.1);
            return Some(refuse(no));
        }
    };
    let instance = parameters.get("instanceId").and_then(Value::as_str);
    let fault = world.faults().meet(&action, instance);
    if let Some(fault) = &fault {
        match fault.fault {
            Kind::Delay => tokio::time::sleep(fault.delay()).await,
            Kind::HangAfterRead | Kind::CloseAfterRead | Kind::Answer => {
                let applied =
                    fault.applied && perform(world, &action, &parameters).is_ok() && action == RESET;
                if applied {
                    world.journal().applied(seq);
                }
                verdict("ok");
                match fault.fault {
                    Kind::HangAfterRead => std::future::pending::<()>().await,
                    Kind::Answer => {
                        let headers = fault.headers.clone().into_iter().collect();
                        let body = fault.body.clone().unwrap_or_default().into_bytes();
                        return Some(Response { status: fault.status?, headers, body });
                    }
                    Kind::Delay | Kind::CloseAfterRead => {}
                }
                return None;
            }
        }
    }
    match perform(world, &action, &parameters) {
        Ok(mut answer) => {
            if action == RESET {
                world.journal().applied(seq);
            }
            verdict("ok");
            let id = request_id();
            answer.insert("requestId".to_owned(), id.clone().into());
            Some(Response::json(200, &json!({ "requestId": id, "response": answer })))
        }
        Err(no) => {
            verdict(no.1);
            Some(refuse(no))
        }
    }
}

const RESET: &str = "ResetInstancePassword";
const DESCRIBE: &str = "DescribeInstances";

fn check(world: &World, request: &Request, action: &str) -> Result<Map<String, Value>, No> {
    let now = jiff::Timestamp::now().as_second();
    world
        .key
        .verify(request, now)
        .map_err(|refusal| (401, refusal.code(), "The request is not authenticated."))?;
    if request.method != "POST" || request.path != PATH {
        return Err((404, "OPERATION_FAILED_RESOURCE_NOT_FOUND", "There is no such product."));
    }
    if !VERSIONS.contains(&request.text("x-zc-version").unwrap_or_default()) {
        return Err((400, "INVALID_PARAMETER_VALUE", "There is no such version."));
    }
    if ![RESET, DESCRIBE].contains(&action) {
        return Err((400, "INVALID_PARAMETER_VALUE", "There is no such action."));
    }
    serde_json::from_slice(&request.body).map_err(|_| TYPE)
}

fn perform(world: &World, action: &str, parameters: &Map<String, Value>) -> Result<Map<String, Value>, No> {
    if action == RESET { reset(world, parameters) } else { describe(world, parameters) }
}

fn refuse((status, code, message): No) -> Response {
    Response::json(status, &json!({ "requestId": request_id(), "code": code, "message": message }))
}

fn request_id() -> String {
    format!("T{}", uuid::Uuid::now_v7().to_string().to_ascii_uppercase())
}

fn text<'p>(parameters: &'p Map<String, Value>, name: &str) -> Result<&'p str, No> {
    parameters.get(name).filter(|value| !value.is_null()).ok_or(MISSING)?.as_str().ok_or(TYPE)
}

fn reset(world: &World, parameters: &Map<String, Value>) -> Result<Map<String, Value>, No> {
    let (id, password) = (text(parameters, "instanceId")?, text(parameters, "password")?);
    if !acceptable(password.as_bytes()) {
        return Err((400, "INVALID_PASSWORD_MALFORMED", "The password does not keep the rule."));
    }
    let mut instances = world.instances();
    let instance =
        instances.get_mut(id).ok_or((404, "INVALID_INSTANCE_NOT_FOUND", "There is no such instance."))?;
    if !instance.runs() {
        return Err((403, "OPERATION_DENIED_INSTANCE_NOT_RUNNING", "The instance is not running."));
    }
    if !instance.has_agent() {
        return Err((400, "INVALID_PARAMETER_VALUE", "The instance has no QGA."));
    }
    let now = Instant::now();
    if instance.busy(now) {
        return Err((400, "OPERATION_DENIED_INSTANCE_IN_OPERATION", "Another operation is running."));
    }
    instance.reset(password, now + world.busy);
    Ok(Map::new())
}

/// The page's rule under its strictest reading.
fn acceptable(password: &[u8]) -> bool {
    let classes: [fn(&u8) -> bool; 4] =
        [u8::is_ascii_lowercase, u8::is_ascii_uppercase, u8::is_ascii_digit, |b| SPECIAL.contains(b)];
    (8..=16).contains(&password.len())
        && password.iter().all(|b| classes.iter().any(|class| class(b)))
        && classes.iter().all(|class| password.iter().any(class))
}

fn describe(world: &World, parameters: &Map<String, Value>) -> Result<Map<String, Value>, No> {
    let number = |name: &str, default: u64| match parameters.get(name) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => value.as_u64().ok_or(TYPE),
    };
    let (size, page) = (number("pageSize", 20)?, number("pageNum", 1)?);
    if size > 1000 {
        return Err(TOO_MANY);
    }
    if size == 0 || page == 0 {
        return Err(TOO_FEW);
    }
    let filters: Vec<(&str, &Value)> = parameters
        .iter()
        .map(|(name, value)| (name.as_str(), value))
        .filter(|(name, value)| !["pageSize", "pageNum"].contains(name) && !value.is_null())
        .collect();
    for (name, value) in &filters {
        match *name {
            "instanceIds" | "tagKeys" | "tags" => {
                let most = if *name == "instanceIds" { 100 } else { 20 };
                let list = value.as_array().ok_or(TYPE)?;
                if list.len() > most {
                    return Err(TOO_MANY);
                }
            }
            "zoneId" | "imageId" | "ipv4Address" | "ipv6Address" | "status" | "name" | "resourceGroupId" => {
                value.as_str().ok_or(TYPE)?;
            }
            _ => {}
        }
    }
    let instances = world.instances();
    // An empty list asks for nothing in particular, as in the vendor's SDKs.
    let asks = |value: &Value| value.as_array().is_none_or(|list| !list.is_empty());
    let kept: Vec<_> = instances
        .all()
        .filter(|instance| {
            filters.iter().filter(|(_, v)| asks(v)).all(|(name, value)| instance.matches(name, value))
        })
        .collect();
    let skip = usize::try_from((page - 1).saturating_mul(size)).unwrap_or(usize::MAX);
    let data: Vec<Value> =
        kept.iter().skip(skip).take(size as usize).map(|instance| instance.described()).collect();
    let mut answer = Map::new();
    answer.insert("totalCount".to_owned(), kept.len().into());
    answer.insert("dataSet".to_owned(), data.into());
    Ok(answer)
}
