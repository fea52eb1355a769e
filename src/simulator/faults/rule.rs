//! One rule: whom a fault strikes.

use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::kind::{BadFault, Fault};
use super::plan::Strike;
use crate::simulator::parameters::Parameters;

/// Which calls a fault strikes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Scope {
    action: Option<String>,
    instance_id: Option<String>,
    #[serde(default = "all")]
    share: f64,
}

const SCOPE: [&str; 3] = ["action", "instanceId", "share"];

fn all() -> f64 {
    1.0
}

pub struct Rule {
    scope: Scope,
    fault: Fault,
    shown: Value,
    met: u64,
    struck: u64,
}

/// What is wrong with a rule.
#[derive(Debug, thiserror::Error)]
pub enum BadRule {
    #[error(transparent)]
    Scope(#[from] serde_json::Error),
    #[error("share {0} is not between 0 and 1")]
    Share(f64),
    #[error("it strikes before the call is read, so it cannot know `action` and `instanceId`")]
    Unread,
    #[error(transparent)]
    Fault(#[from] BadFault),
}

impl Rule {
    pub fn read(members: Map<String, Value>) -> Result<Self, BadRule> {
        let shown = Value::Object(members.clone());
        // Taken apart by hand: serde cannot both flatten and refuse unknown members.
        let (scope, fault): (Map<_, _>, Map<_, _>) =
            members.into_iter().partition(|(name, _)| SCOPE.contains(&name.as_str()));
        let scope = Scope::deserialize(Value::Object(scope))?;
        if !(0.0..=1.0).contains(&scope.share) {
            return Err(BadRule::Share(scope.share));
        }
        let fault = Fault::try_from(fault)?;
        if fault.unread().is_some() && (scope.action.is_some() || scope.instance_id.is_some()) {
            return Err(BadRule::Unread);
        }
        Ok(Self { scope, fault, shown, met: 0, struck: 0 })
    }

    pub fn shown(&self) -> &Value {
        &self.shown
    }

    pub fn is_before_read(&self) -> bool {
        self.fault.unread().is_some()
    }

    pub fn is_about(&self, action: &str, parameters: Option<&Parameters>) -> bool {
        let named = |id: &String| parameters.is_some_and(|parameters| parameters.names_instance(id));
        self.scope.action.as_ref().is_none_or(|wanted| wanted == action)
            && self.scope.instance_id.as_ref().is_none_or(named)
    }

    /// Strikes its share of the calls that it meets while down. `elapsed` is since the rules came into force.
    pub fn strike(&mut self, elapsed: SignedDuration) -> Option<Strike> {
        let fault = self.fault.at(elapsed)?;
        let place = spread(self.met);
        self.met += 1;
        if place >= self.scope.share {
            return None;
        }
        let strike = Strike { fault: fault.clone(), jitter: spread(self.struck) };
        self.struck += 1;
        Some(strike)
    }
}

/// Multiples of the golden ratio fall evenly between 0 and 1, never in step with the calls, and the same way
/// every time.
fn spread(number: u64) -> f64 {
    (number as f64 * 0.618_033_988_749_895).fract()
}
