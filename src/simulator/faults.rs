//! Failures on order. A new one is a variant of [`Fault`] and an arm in [`Fault::plan`].

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::parameters::Parameters;
use super::response::Response;

/// What can go wrong.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(tag = "fault", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// The call is worked on at once, the answer comes late.
    Delay { milliseconds: u64 },
    /// Reads the call and says nothing until the client hangs up.
    HangAfterRead {
        #[serde(default)]
        applied: bool,
    },
    /// Reads the call and closes the connection.
    CloseAfterRead {
        #[serde(default)]
        applied: bool,
    },
    /// Says this instead of what it would say.
    Answer {
        status: u16,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        #[serde(default)]
        body: String,
        #[serde(default)]
        applied: bool,
    },
}

/// What happens on the wire.
pub struct Plan {
    pub delay: Duration,
    pub then: Then,
}

pub enum Then {
    Answer(Response),
    Hang,
    Close,
}

impl Fault {
    /// Whether the call has its effect all the same.
    pub fn applies(&self) -> bool {
        match self {
            Self::Delay { .. } => true,
            Self::HangAfterRead { applied }
            | Self::CloseAfterRead { applied }
            | Self::Answer { applied, .. } => *applied,
        }
    }

    /// `answer` is what would be said without the fault.
    pub fn plan(&self, answer: Response) -> Plan {
        match self {
            Self::Delay { milliseconds } => {
                Plan { delay: Duration::from_millis(*milliseconds), then: Then::Answer(answer) }
            }
            Self::HangAfterRead { .. } => Plan::now(Then::Hang),
            Self::CloseAfterRead { .. } => Plan::now(Then::Close),
            Self::Answer { status, headers, body, .. } => {
                let headers = headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
                Plan::now(Then::Answer(Response::bare(*status, headers, body)))
            }
        }
    }
}

impl Plan {
    pub fn now(then: Then) -> Self {
        Self { delay: Duration::ZERO, then }
    }
}

/// Which calls a fault strikes.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Scope {
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_id: Option<String>,
    #[serde(default = "all")]
    share: f64,
}

const SCOPE: [&str; 3] = ["action", "instanceId", "share"];

fn all() -> f64 {
    1.0
}

#[derive(Debug, Serialize)]
struct Rule {
    #[serde(flatten)]
    scope: Scope,
    #[serde(flatten)]
    fault: Fault,
    #[serde(skip)]
    met: u64,
}

impl Rule {
    fn read(members: Map<String, Value>) -> Result<Self, String> {
        // Taken apart by hand: serde cannot both flatten and refuse unknown members.
        let (scope, fault): (Map<_, _>, Map<_, _>) =
            members.into_iter().partition(|(name, _)| SCOPE.contains(&name.as_str()));
        let scope = Scope::deserialize(Value::Object(scope)).map_err(|error| error.to_string())?;
        if !(0.0..=1.0).contains(&scope.share) {
            return Err(format!("share {} is not between 0 and 1", scope.share));
        }
        let fault = Fault::deserialize(Value::Object(fault)).map_err(|error| error.to_string())?;
        Ok(Self { scope, fault, met: 0 })
    }

    /// Spreads its share evenly over the calls it is about, and the same way every time.
    fn strikes(&mut self, action: &str, parameters: Option<&Parameters>) -> bool {
        let about_action = self.scope.action.as_ref().is_none_or(|wanted| wanted == action);
        let named = |id: &String| parameters.is_some_and(|parameters| parameters.names_instance(id));
        if !about_action || !self.scope.instance_id.as_ref().is_none_or(named) {
            return false;
        }
        // Multiples of the golden ratio fall evenly between 0 and 1 and never repeat in step with the calls.
        let place = (self.met as f64 * 0.618_033_988_749_895).fract();
        self.met += 1;
        place < self.scope.share
    }
}

/// The list in force; the first rule that strikes decides.
#[derive(Default, Serialize)]
pub struct Faults {
    faults: Vec<Rule>,
}

impl Faults {
    /// Reads a JSON array of rules. Says which one is wrong, counted from 1, and how.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        let rules: Vec<Map<String, Value>> =
            serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let rules = (1..)
            .zip(rules)
            .map(|(number, rule)| Rule::read(rule).map_err(|error| format!("fault {number}: {error}")));
        Ok(Self { faults: rules.collect::<Result<_, _>>()? })
    }

    pub fn strike(&mut self, action: &str, parameters: Option<&Parameters>) -> Option<Fault> {
        let struck =
            self.faults.iter_mut().find_map(|rule| rule.strikes(action, parameters).then_some(&rule.fault));
        struck.cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_strikes_its_part_of_the_calls() {
        for (share, expected) in [(0.0, 0), (0.1, 100), (0.5, 500), (1.0, 1000)] {
            let json = format!(r#"[{{"share": {share}, "fault": "close-after-read"}}]"#);
            let mut faults = Faults::read(json.as_bytes()).expect("good rules");
            let struck = (0..1000).filter(|_| faults.strike("DescribeInstances", None).is_some()).count();
            assert!(struck.abs_diff(expected) <= 2, "share {share} struck {struck} of 1000");
        }
    }

    #[test]
    fn a_rule_strikes_only_its_action_and_its_instance() {
        let json = br#"[{"action": "ResetInstancePassword", "instanceId": "ins-a", "fault": "delay", "milliseconds": 5}]"#;
        let mut faults = Faults::read(json).expect("good rules");
        for (action, body, struck) in [
            ("ResetInstancePassword", r#"{"instanceId": "ins-a"}"#, true),
            ("ResetInstancePassword", r#"{"instanceId": "ins-b"}"#, false),
            ("ResetInstancePassword", r#"{"instanceIds": ["ins-b", "ins-a"]}"#, true),
            ("ResetInstancePassword", "{}", false),
            ("DescribeInstances", r#"{"instanceId": "ins-a"}"#, false),
        ] {
            let parameters = Parameters::parse(body.as_bytes()).ok();
            assert_eq!(faults.strike(action, parameters.as_ref()).is_some(), struck, "{action} {body}");
        }
    }

    #[test]
    fn what_a_rule_does_not_know_is_named() {
        for (json, part) in [
            ("{}", "invalid type"),
            (
                r#"[{"fault": "delay", "milliseconds": 1}, {"fault": "explode"}]"#,
                "fault 2: unknown variant `explode`",
            ),
            (r#"[{"fault": "delay"}]"#, "missing field `milliseconds`"),
            (r#"[{"fault": "delay", "milliseconds": 1, "applied": true}]"#, "unknown field `applied`"),
            (r#"[{"fault": "close-after-read", "instance": "x"}]"#, "unknown field `instance`"),
            (r#"[{"fault": "close-after-read", "share": 1.5}]"#, "share 1.5 is not between 0 and 1"),
            (r#"[{"share": 1}]"#, "missing field `fault`"),
        ] {
            let error = Faults::read(json.as_bytes()).err().unwrap_or_default();
            assert!(error.contains(part), "{json}: {error}");
        }
    }
}
