use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A fault and the calls that meet it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Fault {
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_id: Option<String>,
    /// Of the calls that fit, from 0 to 1, evenly: of a share of 0.25 every fourth.
    #[serde(default = "all")]
    share: f64,
    pub(super) fault: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    milliseconds: Option<u64>,
    /// Whether a reset takes effect before the fault.
    #[serde(default)]
    pub(super) applied: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(skip)]
    met: f64,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// The answer comes `milliseconds` late.
    Delay,
    /// The call is read and never answered.
    HangAfterRead,
    /// The call is read and the connection closed.
    CloseAfterRead,
    /// `status`, `headers` and `body` are answered instead.
    Answer,
}

fn all() -> f64 {
    1.0
}

impl Fault {
    pub(super) fn delay(&self) -> Duration {
        Duration::from_millis(self.milliseconds.unwrap_or_default())
    }

    /// What is missing or out of bounds.
    fn check(&self) -> Result<(), &'static str> {
        match self.fault {
            _ if !(0.0..=1.0).contains(&self.share) => Err("`share` must be from 0 to 1"),
            Kind::Delay if self.milliseconds.is_none() => Err("`delay` needs `milliseconds`"),
            Kind::Answer if !self.status.is_some_and(|s| (200..600).contains(&s)) => {
                Err("`answer` needs a `status` from 200")
            }
            _ => Ok(()),
        }
    }
}

/// The faults in force; the first that fits a call is met.
#[derive(Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    /// Replaces the list, or says what is wrong with the new one.
    pub(super) fn replace(&mut self, json: &[u8]) -> Result<(), String> {
        let list: Vec<Fault> = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        list.iter().try_for_each(Fault::check)?;
        self.0 = list;
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn list(&self) -> &[Fault] {
        &self.0
    }

    pub(super) fn meet(&mut self, action: &str, instance_id: Option<&str>) -> Option<Fault> {
        let fits = |fault: &&mut Fault| {
            fault.action.as_deref().is_none_or(|wanted| wanted == action)
                && fault.instance_id.as_deref().is_none_or(|wanted| Some(wanted) == instance_id)
        };
        self.0.iter_mut().filter(fits).find_map(|fault| {
            fault.met += fault.share;
            (fault.met >= 1.0).then(|| {
                fault.met -= 1.0;
                fault.clone()
            })
        })
    }
}
