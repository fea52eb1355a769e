use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::audit::{Position, Reader, Stored};
use crate::authz::shown;
use crate::cli::Failure;
use crate::cli::lines::Lines;

/// Show all records of a reset or a call, whole
#[derive(clap::Args)]
pub(in crate::cli) struct Show {
    /// A reset's id, or the X-Request-Id of a call
    #[arg(value_name = "RESET-ID|REQUEST-ID")]
    id: String,
}

/// A record's fields, in their order.
struct Fields(Vec<(String, Value)>);

pub(super) fn run(arguments: &Show, reader: &Reader) -> Result<(), Failure> {
    let (mut lines, mut found) = (Lines::new(), false);
    let read = reader.each_about(&arguments.id, |stored| {
        found = true;
        put(&stored, &mut lines)
    });
    lines.end().and(read.map_err(Failure::finding))?;
    if found {
        return Ok(());
    }
    Err(Failure::Finding(format!("the trail has no record of {}", shown(&arguments.id))))
}

/// Where it stands, and a line a field. What a program reads is `export`'s.
fn put(stored: &Stored, lines: &mut Lines) -> bool {
    let Stored { position: Position { writer, sequence, hash }, record } = stored;
    // The store's own columns are as foreign as a record's text.
    let (writer, hash) = (shown(writer), shown(hash));
    let Ok(Fields(fields)) = serde_json::from_str(record) else {
        return lines.put(format!("writer {writer}, sequence {sequence}: {}", shown(record)));
    };
    let kind = fields.iter().find(|(name, _)| name == "kind").map_or("?", |(_, kind)| text(kind));
    let place = format!("{}: writer {writer}, sequence {sequence}, hash {hash}", shown(kind));
    let named = |name: &str| ["writer", "sequence", "kind"].contains(&name);
    lines.put(place)
        && fields.iter().filter(|(name, _)| !named(name)).all(|(name, value)| field(name, value, lines))
}

/// A list has a line an element.
fn field(name: &str, value: &Value, lines: &mut Lines) -> bool {
    let mut line = |name: &str, text: &str| lines.put(format!("  {:<20} {}", shown(name), shown(text)));
    match value {
        Value::String(text) => line(name, text),
        Value::Array(list) if list.is_empty() => line(name, "none"),
        Value::Array(list) => {
            let names = std::iter::once(name).chain(std::iter::repeat(""));
            list.iter().zip(names).all(|(element, name)| line(name, &one(element)))
        }
        other => line(name, &other.to_string()),
    }
}

fn one(element: &Value) -> String {
    match (element, Position::deserialize(element)) {
        (Value::String(text), _) => text.clone(),
        (_, Ok(Position { writer, sequence, hash })) => format!("{writer} {sequence} {hash}"),
        (other, _) => other.to_string(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a record")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields, M::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        from.deserialize_map(InOrder)
    }
}
