//! The values of a body's fields, each read as what it is; what no field takes is skipped and never copied.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::seal::MEMBERS;

/// A value of a field.
pub(super) enum Given {
    Text(Zeroizing<String>),
    Flag(bool),
    Key(Jwk),
    /// None in the place of what is no string.
    List(Vec<Option<String>>),
    Other,
}

/// A JSON Web Key, as far as it is looked at.
#[derive(Default)]
pub(super) struct Jwk {
    /// The members that are read; of any other the name alone: it may be a private key's.
    pub(super) members: Map<String, Value>,
    /// Names that came twice.
    pub(super) twice: Vec<String>,
}

/// Reads a value; an object or a list only where one may stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Plain,
    Key,
    List,
}

impl<'de> DeserializeSeed<'de> for Field {
    type Value = Given;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Given, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Field {
    type Value = Given;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Given, E> {
        Ok(Given::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Given, E> {
        Ok(Given::Flag(flag))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Given, E> {
        Ok(Given::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Given, E> {
        Ok(Given::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Given, E> {
        Ok(Given::Other)
    }

    fn visit_unit<E>(self) -> Result<Given, E> {
        Ok(Given::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Given, A::Error> {
        if self != Self::List {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Given::Other);
        }
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Self::Plain)? {
            list.push(match item {
                Given::Text(text) => Some(text.to_string()),
                _ => None,
            });
        }
        Ok(Given::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Given, A::Error> {
        if self != Self::Key {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Given::Other);
        }
        let mut jwk = Jwk::default();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(Member { read: MEMBERS.contains(&name.as_str()) })?;
            if jwk.members.contains_key(&name) {
                // Readers disagree on which counts.
                jwk.twice.push(name);
            } else {
                jwk.members.insert(name, value);
            }
        }
        Ok(Given::Key(jwk))
    }
}

/// A member of a key: its value, or null for one that is not looked at.
struct Member {
    read: bool,
}

impl<'de> DeserializeSeed<'de> for Member {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.read {
            Value::deserialize(deserializer)
        } else {
            IgnoredAny::deserialize(deserializer).map(|_| Value::Null)
        }
    }
}
