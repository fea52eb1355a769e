use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Map, Value};

/// An instance: the vendor's fields as they were given, null included, and what became of it.
#[derive(Debug, Clone)]
pub struct Instance {
    id: String,
    fields: Map<String, Value>,
    password: Option<String>,
    resets: u64,
    busy_until: Option<Instant>,
}

/// What is wrong with a list of instances.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    #[error("is not a JSON array of instances: {0}")]
    Json(#[from] serde_json::Error),
    #[error("instance {0} (counted from 1) has no text `instanceId`")]
    NoId(usize),
    #[error("two instances have the id {0}")]
    Twice(String),
}

/// Reads a JSON array of instances in the vendor's shape.
pub fn parse(json: &str) -> Result<Vec<Instance>, ParseError> {
    let list: Vec<Map<String, Value>> = serde_json::from_str(json)?;
    let mut instances: Vec<Instance> = Vec::with_capacity(list.len());
    for (index, fields) in list.into_iter().enumerate() {
        let id =
            fields.get("instanceId").and_then(Value::as_str).ok_or(ParseError::NoId(index + 1))?.to_owned();
        if instances.iter().any(|other| other.id == id) {
            return Err(ParseError::Twice(id));
        }
        instances.push(Instance { id, fields, password: None, resets: 0, busy_until: None });
    }
    Ok(instances)
}

impl Instance {
    pub(super) fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).and_then(Value::as_str)
    }

    /// A field that Zenlayer leaves out or null counts as set: what it does not tell, it may still have.
    pub(super) fn runs(&self) -> bool {
        self.text("status").is_none_or(|status| status == "RUNNING")
    }

    pub(super) fn has_agent(&self) -> bool {
        self.fields.get("enableAgent").and_then(Value::as_bool).unwrap_or(true)
    }

    pub(super) fn busy(&self, now: Instant) -> bool {
        self.busy_until.is_some_and(|until| now < until)
    }

    pub(super) fn reset(&mut self, password: &str, busy_until: Instant) {
        self.password = Some(password.to_owned());
        self.resets += 1;
        self.busy_until = Some(busy_until);
    }

    pub(super) fn described(&self) -> Value {
        Value::Object(self.fields.clone())
    }

    /// As the control call shows it.
    pub(super) fn whole(&self) -> Value {
        let mut whole = self.fields.clone();
        if let Some(password) = &self.password {
            whole.insert("password".to_owned(), password.clone().into());
        }
        whole.insert("resets".to_owned(), self.resets.into());
        Value::Object(whole)
    }

    fn addresses(&self, field: &str) -> impl Iterator<Item = &str> {
        self.fields.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    fn tags(&self) -> impl Iterator<Item = (&str, &str)> {
        let tags = self.fields.get("tags").and_then(|t| t.get("tags")).and_then(Value::as_array);
        tags.into_iter()
            .flatten()
            .filter_map(|tag| Some((tag.get("key")?.as_str()?, tag.get("value")?.as_str()?)))
    }

    /// Whether a filter of DescribeInstances keeps it. Pages are no filter.
    pub(super) fn matches(&self, filter: &str, wanted: &Value) -> bool {
        let text = |field: &str| wanted.as_str() == self.text(field);
        let address = |fields: [&str; 2]| {
            fields.iter().any(|field| self.addresses(field).any(|ip| wanted.as_str() == Some(ip)))
        };
        let wants = || wanted.as_array().into_iter().flatten();
        match filter {
            "instanceIds" => wants().any(|id| id.as_str() == Some(&self.id)),
            "zoneId" | "imageId" | "status" | "resourceGroupId" => text(filter),
            "ipv4Address" | "ipv6Address" => address(["publicIpAddresses", "privateIpAddresses"]),
            "name" => wanted
                .as_str()
                .is_some_and(|part| self.text("instanceName").is_some_and(|n| n.contains(part))),
            "tagKeys" => wants().all(|key| self.tags().any(|(k, _)| key.as_str() == Some(k))),
            "tags" => wants().all(|tag| {
                let (key, value) =
                    (tag.get("key").and_then(Value::as_str), tag.get("value").and_then(Value::as_str));
                self.tags().any(|(k, v)| key == Some(k) && value.is_none_or(|value| value == v))
            }),
            _ => true,
        }
    }
}

/// All instances of the account, by id.
pub(super) struct Instances(BTreeMap<String, Instance>);

impl Instances {
    pub(super) fn new(list: Vec<Instance>) -> Self {
        Self(list.into_iter().map(|instance| (instance.id.clone(), instance)).collect())
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Instance> {
        self.0.values()
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Instance> {
        self.0.get_mut(id)
    }

    /// Lays fields over those of an instance; a new id makes a new instance.
    pub(super) fn merge(&mut self, id: &str, fields: Map<String, Value>) {
        let new = || Instance {
            id: id.to_owned(),
            fields: Map::new(),
            password: None,
            resets: 0,
            busy_until: None,
        };
        let instance = self.0.entry(id.to_owned()).or_insert_with(new);
        instance.fields.extend(fields);
        instance.fields.insert("instanceId".to_owned(), id.into());
    }

    pub(super) fn remove(&mut self, id: &str) -> bool {
        self.0.remove(id).is_some()
    }
}
