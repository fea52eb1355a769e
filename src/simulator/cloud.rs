//! One account of Zenlayer: what it holds, and how it judges a call.

use std::time::Duration;

use jiff::Timestamp;

use super::Settings;
use super::calls::Calls;
use super::control;
use super::describe;
use super::envelope::{self, Nothing};
use super::faults::{Faults, Plan, Strike, Then, skewed};
use super::instances::Instances;
use super::message::{Message, Request};
use super::parameters::Parameters;
use super::refusal::{Code, Refusal};
use super::reset;
use super::response::Response;
use super::signature::AccessKey;

const PATH: &str = "/api/v2/zec";
const VERSIONS: [&str; 2] = ["2025-09-01", "2024-04-01"];
const RESET: &str = "ResetInstancePassword";
const DESCRIBE: &str = "DescribeInstances";

pub struct Cloud {
    pub calls: Calls,
    pub faults: Faults,
    pub instances: Instances,
    /// One, but while it is rotated.
    pub keys: Vec<AccessKey>,
    busy: Duration,
}

/// How a call is judged.
struct Judging {
    /// Whether a good reset takes effect.
    apply: bool,
    /// The time by which signatures are judged.
    clock: Timestamp,
    now: Timestamp,
}

impl Cloud {
    pub fn new(settings: Settings, faults: Faults) -> Self {
        Self {
            calls: Calls::default(),
            faults,
            instances: Instances::new(settings.instances),
            keys: vec![AccessKey::new(settings.access_key_id, &settings.access_key_password)],
            busy: settings.busy,
        }
    }

    /// Judges and records the call the moment it was read, whatever a fault then makes of the answer.
    pub fn receive(&mut self, message: &Message, now: Timestamp) -> Plan {
        let Some(request) = message.request() else { return Plan::now(Then::Close) };
        if let Some(path) = request.target.strip_prefix(control::PREFIX) {
            return Plan::now(Then::Answer(control::answer(self, &request, path, now)));
        }
        let action = request.text("x-zc-action").unwrap_or_default();
        let parameters = Parameters::parse(request.body);
        let strike = self.faults.after_read(action, parameters.as_ref().ok(), now);
        let judging = Judging {
            apply: strike.as_ref().is_none_or(Strike::applies),
            clock: strike.as_ref().map_or(now, |strike| skewed(now, strike.skew())),
            now,
        };
        let judged = self.judge(&request, action, parameters, &judging);
        let applied = judged.is_ok() && action == RESET && judging.apply;
        let verdict = judged.as_ref().map(|_| ()).map_err(|refusal| refusal.code);
        self.calls.record(message.compact(), verdict, applied, now);
        let answer = judged.unwrap_or_else(|refusal| envelope::failure(&refusal));
        match strike {
            Some(strike) => strike.plan(answer, now),
            None => Plan::now(Then::Answer(answer)),
        }
    }

    /// By any of the keys; where none fits, the last says why.
    fn verify(&self, request: &Request<'_>, clock: Timestamp) -> Result<(), Refusal> {
        let mut verdict = Err(Code::InvalidAuthorization.refuse("The account has no access key."));
        for key in &self.keys {
            verdict = key.verify(request, clock);
            if verdict.is_ok() {
                break;
            }
        }
        verdict
    }

    fn judge(
        &mut self,
        request: &Request<'_>,
        action: &str,
        parameters: Result<Parameters, Refusal>,
        judging: &Judging,
    ) -> Result<Response, Refusal> {
        let Judging { apply, clock, now } = *judging;
        if request.target != PATH {
            return Err(Code::UnknownPath.refuse("There is no such path."));
        }
        if request.method != "POST" {
            return Err(Code::WrongMethod.refuse("Only POST is supported."));
        }
        self.verify(request, clock)?;
        if !request.text("content-type").is_some_and(is_json) {
            return Err(Code::WrongContentType.refuse("The content type is not application/json."));
        }
        if !request.text("x-zc-version").is_some_and(|version| VERSIONS.contains(&version)) {
            return Err(Code::UnknownAction.refuse("The version does not exist."));
        }
        let parameters = parameters?;
        match action {
            RESET => {
                reset::reset(&mut self.instances, &parameters, self.busy, apply, now)?;
                Ok(envelope::success(Nothing {}))
            }
            DESCRIBE => Ok(envelope::success(describe::describe(&self.instances, &parameters)?)),
            _ => Err(Code::UnknownAction.refuse("The action does not exist.")),
        }
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}
