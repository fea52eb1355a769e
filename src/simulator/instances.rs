//! The account's instances, in the vendor's shape.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

/// One instance as DescribeInstances tells of it. What is null or absent stays so.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    id: String,
    fields: Map<String, Value>,
}

/// Why instances could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BadInstances {
    /// Says line and column.
    #[error("not a JSON array of objects: {0}")]
    Json(#[from] serde_json::Error),
    /// Counted from 1.
    #[error("instance {number} has no `instanceId` of at least one character")]
    NoId { number: usize },
    #[error("instance {number} repeats the `instanceId` {id}")]
    Repeated { number: usize, id: String },
}

/// Reads a JSON array of instance objects.
pub fn parse_instances(json: &str) -> Result<Vec<Instance>, BadInstances> {
    let objects: Vec<Map<String, Value>> = serde_json::from_str(json)?;
    let mut instances: Vec<Instance> = Vec::with_capacity(objects.len());
    let mut seen = HashSet::with_capacity(objects.len());
    for (number, fields) in (1..).zip(objects) {
        let id = fields.get("instanceId").and_then(Value::as_str).filter(|id| !id.is_empty());
        let id = id.ok_or(BadInstances::NoId { number })?.to_owned();
        if !seen.insert(id.clone()) {
            return Err(BadInstances::Repeated { number, id });
        }
        instances.push(Instance { id, fields });
    }
    Ok(instances)
}

/// An instance and what has happened to it.
#[derive(Serialize)]
pub struct Held {
    #[serde(flatten)]
    fields: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    resets: u64,
    #[serde(skip)]
    busy_until: Option<Timestamp>,
}

impl Held {
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    pub fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).and_then(Value::as_str)
    }

    pub fn is_busy(&self, now: Timestamp) -> bool {
        self.busy_until.is_some_and(|until| now < until)
    }

    /// Takes the password; busy until then.
    pub fn reset(&mut self, password: &str, busy_until: Timestamp) {
        self.password = Some(password.to_owned());
        self.resets += 1;
        self.busy_until = Some(busy_until);
    }

    /// Sets these fields and leaves the others.
    pub fn merge(&mut self, fields: Map<String, Value>) {
        self.fields.extend(fields);
    }
}

/// All of them, in the order they were given.
pub struct Instances {
    held: Vec<Held>,
    places: HashMap<String, usize>,
}

impl Instances {
    pub fn new(instances: Vec<Instance>) -> Self {
        let places = instances.iter().enumerate().map(|(place, each)| (each.id.clone(), place)).collect();
        let hold = |each: Instance| Held { fields: each.fields, password: None, resets: 0, busy_until: None };
        Self { held: instances.into_iter().map(hold).collect(), places }
    }

    pub fn all(&self) -> &[Held] {
        &self.held
    }

    pub fn get_mut(&mut self, id: &str) -> Option<&mut Held> {
        self.places.get(id).map(|place| &mut self.held[*place])
    }

    /// Those of these ids that there are, each once, in the order they were given at the start.
    pub fn among(&self, ids: &[&str]) -> Vec<&Held> {
        let mut places: Vec<usize> = ids.iter().filter_map(|id| self.places.get(*id).copied()).collect();
        places.sort_unstable();
        places.dedup();
        places.into_iter().map(|place| &self.held[place]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_that_cannot_be_read_are_named() {
        for (json, part) in [
            ("{}", "line 1 column"),
            ("[\n  {\"instanceId\": \"ins-a\",}\n]", "line 2 column"),
            (r#"[{"instanceId": "ins-a"}, {"instanceName": "b"}]"#, "instance 2 has no `instanceId`"),
            (r#"[{"instanceId": 7}]"#, "instance 1 has no `instanceId`"),
            (
                r#"[{"instanceId": "ins-a"}, {"instanceId": "ins-a"}]"#,
                "instance 2 repeats the `instanceId` ins-a",
            ),
        ] {
            let error = parse_instances(json).expect_err(json).to_string();
            assert!(error.contains(part), "{json}: {error}");
        }
    }
}
