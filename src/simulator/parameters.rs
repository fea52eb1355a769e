//! The body of a call: a JSON object, its members checked one by one as Zenlayer reports them.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::refusal::{Code, Refusal};

/// Null counts as absent throughout.
#[derive(Debug)]
pub struct Parameters(Map<String, Value>);

#[derive(Debug, Deserialize)]
pub struct Tag {
    pub key: String,
    pub value: String,
}

impl Parameters {
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        serde_json::from_slice(body)
            .map(Self)
            .map_err(|_| Code::InvalidType.refuse("The request body is not a JSON object."))
    }

    pub fn text(&self, name: &str) -> Result<Option<&str>, Refusal> {
        self.present(name).map(|value| value.as_str().ok_or_else(|| wrong_type(name, "a string"))).transpose()
    }

    pub fn required_text(&self, name: &str) -> Result<&str, Refusal> {
        match self.text(name)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(Code::MissingParameter.refuse(format!("The parameter `{name}` is required."))),
        }
    }

    pub fn number(&self, name: &str, default: u64, maximum: u64) -> Result<u64, Refusal> {
        let Some(value) = self.present(name) else { return Ok(default) };
        match value.as_i64() {
            None => Err(wrong_type(name, "an integer")),
            Some(..1) => Err(Code::LessMinimum.refuse(format!("The parameter `{name}` is less than 1."))),
            Some(number) if number.unsigned_abs() > maximum => Err(over(name, maximum)),
            Some(number) => Ok(number.unsigned_abs()),
        }
    }

    pub fn texts(&self, name: &str, maximum: usize) -> Result<Option<Vec<&str>>, Refusal> {
        let Some(items) = self.items(name, maximum)? else { return Ok(None) };
        let texts =
            items.iter().map(|item| item.as_str().ok_or_else(|| wrong_type(name, "an array of strings")));
        texts.collect::<Result<_, _>>().map(Some)
    }

    pub fn tags(&self, name: &str, maximum: usize) -> Result<Option<Vec<Tag>>, Refusal> {
        let Some(items) = self.items(name, maximum)? else { return Ok(None) };
        let tags = items.iter().map(Tag::deserialize).collect::<Result<_, _>>();
        tags.map(Some).map_err(|_| wrong_type(name, "an array of tags"))
    }

    /// Whether the call is about this instance, by `instanceId` or among `instanceIds`.
    pub fn names_instance(&self, id: &str) -> bool {
        let among = |ids: &Value| ids.as_array().is_some_and(|ids| ids.iter().any(|each| each == id));
        self.present("instanceId").is_some_and(|each| each == id)
            || self.present("instanceIds").is_some_and(among)
    }

    fn items(&self, name: &str, maximum: usize) -> Result<Option<&Vec<Value>>, Refusal> {
        let Some(value) = self.present(name) else { return Ok(None) };
        match value.as_array() {
            None => Err(wrong_type(name, "an array")),
            Some(items) if items.len() > maximum => Err(over(name, maximum)),
            Some(items) => Ok(Some(items)),
        }
    }

    fn present(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }
}

fn wrong_type(name: &str, expected: &str) -> Refusal {
    Code::InvalidType.refuse(format!("The parameter `{name}` is not {expected}."))
}

fn over(name: &str, maximum: impl std::fmt::Display) -> Refusal {
    Code::ExceedMaximum.refuse(format!("The parameter `{name}` exceeds the maximum of {maximum}."))
}
