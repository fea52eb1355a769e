//! The body of a reset -> its typed parts, with every fault named by its place.

use std::fmt;
use std::time::Duration;

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use actix_web::{HttpRequest, web};
use futures_util::StreamExt;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use zeroize::Zeroizing;

use super::problem::{FieldError, Kind, Problem};
use crate::domain::{InstanceId, NewPassword, Password, Reason, ResetRequest, Ticket};

/// Longest body that is read, in bytes.
const LONGEST: usize = 64 << 10;
/// Longest wait for all of a body.
const PATIENCE: Duration = Duration::from_secs(10);

/// The whole body, which is JSON by its type; wiped when dropped.
pub(super) async fn read(
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let content_type =
        request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") || request.headers().contains_key(CONTENT_ENCODING) {
        let error =
            FieldError::header("Content-Type", "The body must be sent as `application/json`, unencoded.");
        return Err(Problem::in_places(Kind::UnsupportedMediaType, vec![error]));
    }
    let late = |_| Problem::new(Kind::InvalidRequest, "The body did not arrive within 10 seconds.");
    actix_web::rt::time::timeout(PATIENCE, collect(payload)).await.map_err(late)?
}

async fn collect(mut payload: web::Payload) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let mut body = Zeroizing::new(Vec::with_capacity(1024));
    while let Some(chunk) = payload.next().await {
        let chunk =
            chunk.map_err(|_| Problem::new(Kind::InvalidRequest, "The body ended before its end."))?;
        if body.len() + chunk.len() > LONGEST {
            return Err(Problem::new(Kind::PayloadTooLarge, "The body is longer than 64 KiB."));
        }
        if body.len() + chunk.len() > body.capacity() {
            // A vector that grows leaves a copy behind: make room, and let the old place be wiped.
            let mut roomier =
                Zeroizing::new(Vec::with_capacity((2 * body.capacity()).max(body.len() + chunk.len())));
            roomier.extend_from_slice(&body);
            body = roomier;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// `{"password": "…", "reason"?, "ticket"?}`. First the shape (400), then the values (422); of each, all faults.
pub(super) fn parse(body: &[u8], instance: InstanceId) -> Result<ResetRequest, Problem> {
    if body.is_empty() {
        let missing = FieldError::field("", "The body is missing: send {\"password\": \"…\"}.");
        return Err(Problem::in_places(Kind::InvalidRequest, vec![missing]));
    }
    let fields: Fields = serde_json::from_slice(body).map_err(|e| {
        let detail = if e.is_data() {
            "The body must be a JSON object.".to_owned()
        } else {
            // serde_json's words for syntax name a place, never a value.
            format!("The body is not JSON: {e}.")
        };
        Problem::in_places(Kind::InvalidRequest, vec![FieldError::field("", detail)])
    })?;
    fields.request(instance)
}

/// What the body says, as it says it.
#[derive(Default)]
struct Fields {
    password: Option<Zeroizing<String>>,
    reason: Option<Zeroizing<String>>,
    ticket: Option<Zeroizing<String>>,
    faults: Vec<FieldError>,
}

impl Fields {
    fn request(mut self, instance: InstanceId) -> Result<ResetRequest, Problem> {
        if self.password.is_none() && !self.faults.iter().any(|fault| *fault == wrong_type("password")) {
            self.faults.push(FieldError::field("password", "`password` is required."));
        }
        if !self.faults.is_empty() {
            return Err(Problem::in_places(Kind::InvalidRequest, self.faults));
        }
        let mut faults = Vec::new();
        let password = self.password.as_mut().map(|text| std::mem::take(&mut **text)).unwrap_or_default();
        let password = Password::parse(password).map_err(|broken| {
            faults.extend(broken.iter().map(|rule| FieldError::field("password", rule.to_string())))
        });
        let mut text = |name: &str, fault: crate::domain::TextFault| {
            faults.push(FieldError::field(name, fault.to_string()))
        };
        let reason: Option<Reason> =
            self.reason.and_then(|given| given.parse().map_err(|fault| text("reason", fault)).ok());
        let ticket: Option<Ticket> =
            self.ticket.and_then(|given| given.parse().map_err(|fault| text("ticket", fault)).ok());
        match password {
            Ok(password) if faults.is_empty() => {
                let password = NewPassword::Typed(password.into());
                Ok(ResetRequest { instance, password, reason, ticket })
            }
            _ => Err(Problem::in_places(Kind::InvalidValue, faults)),
        }
    }
}

fn wrong_type(name: &str) -> FieldError {
    FieldError::field(name, format!("`{name}` must be a string."))
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    /// Goes on past every fault, so that all are told at once. A second value of one name is a fault and never
    /// replaces the first: readers disagree on which counts.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::default();
        let mut seen: Vec<String> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(TextOrNot)?;
            if seen.contains(&name) {
                fields.faults.push(FieldError::field(&name, format!("`{}` is given twice.", shown(&name))));
                continue;
            }
            let place = match name.as_str() {
                "password" => Some(&mut fields.password),
                "reason" => Some(&mut fields.reason),
                "ticket" => Some(&mut fields.ticket),
                _ => None,
            };
            match (place, value) {
                (Some(place), Some(text)) => *place = Some(text),
                (Some(_), None) => fields.faults.push(wrong_type(&name)),
                (None, _) => fields.faults.push(unknown(&name)),
            }
            seen.push(name);
            // A body of nothing but faults need not be answered with as many.
            if fields.faults.len() >= 20 {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            }
        }
        Ok(fields)
    }
}

fn unknown(name: &str) -> FieldError {
    let detail = match name {
        "generate" | "recipientKey" => format!("`{name}` is not supported by this version: send `password`."),
        _ => format!("`{}` is not a known field.", shown(name)),
    };
    FieldError::field(&shown(name), detail)
}

/// A name from outside, fit to be repeated: at most 64 characters, none of them a control character.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// A string, or a value of any other kind, which is skipped.
struct TextOrNot;

impl<'de> DeserializeSeed<'de> for TextOrNot {
    type Value = Option<Zeroizing<String>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TextOrNot {
    type Value = Option<Zeroizing<String>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Zeroizing::new(text.to_owned())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(body: &str) -> (u16, Vec<(String, String)>) {
        let problem = parse(body.as_bytes(), "ins-a".parse().expect("an id")).expect_err(body);
        let place = |error: &FieldError| error.pointer.clone().expect("a place in the body");
        let errors = problem.errors.iter().map(|error| (place(error), error.detail.clone())).collect();
        (problem.kind.status().as_u16(), errors)
    }

    #[test]
    fn a_good_body_is_its_parts() {
        let body = r#"{"ticket":"OPS-1","password":"Abcd~12\u00334","reason":"lost"}"#;
        let request = parse(body.as_bytes(), "ins-a".parse().expect("an id")).expect("good");
        assert_eq!(request.password.get().expose(), "Abcd~1234");
        assert_eq!(request.reason.as_ref().map(|r| r.as_str()), Some("lost"));
        assert_eq!(request.ticket.as_ref().map(|t| t.as_str()), Some("OPS-1"));
    }

    #[test]
    fn every_fault_of_the_shape_is_named_by_its_place() {
        for (body, places) in [
            ("", vec!["#"]),
            ("{", vec!["#"]),
            ("nul", vec!["#"]),
            ("null", vec!["#"]),
            ("[]", vec!["#"]),
            ("\"password\"", vec!["#"]),
            ("{} {}", vec!["#"]),
            ("{}", vec!["#/password"]),
            (r#"{"password":7}"#, vec!["#/password"]),
            (r#"{"password":null}"#, vec!["#/password"]),
            (
                r#"{"password":{"a":[{}]},"reason":[1,[2]],"ticket":1.5}"#,
                vec!["#/password", "#/reason", "#/ticket"],
            ),
            (r#"{"password":"Abcd~1234","a/b~c":1}"#, vec!["#/a~1b~0c"]),
            (r#"{"password":"Abcd~1234","generate":true}"#, vec!["#/generate"]),
            (r#"{"password":"Abcd~1234","password":"Abcd~1235"}"#, vec!["#/password"]),
            (r#"{"password":"Abcd~1234","pass\u0077ord":"Abcd~1235"}"#, vec!["#/password"]),
            (r#"{"x":1,"y":2}"#, vec!["#/x", "#/y", "#/password"]),
        ] {
            let (status, errors) = faults(body);
            let found: Vec<_> = errors.iter().map(|(place, _)| place.as_str()).collect();
            assert_eq!((status, found), (400, places), "{body}");
        }
    }

    #[test]
    fn no_fault_repeats_a_value() {
        for body in [
            r#"{"password":"Sekret~1","password":7}"#,
            r#"{"password":"Sekret"#,
            r#"{"password":["Sekret~1"]}"#,
        ] {
            assert!(!format!("{:?}", faults(body)).contains("Sekret"), "{body}");
        }
    }

    #[test]
    fn every_broken_value_is_named() {
        let (status, errors) = faults(r#"{"password":"short","reason":"","ticket":"a\nb"}"#);
        let found: Vec<_> = errors.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(status, 422);
        assert_eq!(found, ["#/password", "#/password", "#/password", "#/password", "#/reason", "#/ticket"]);
    }
}
