//! The body of a reset -> its typed parts, with every fault named by its place.

mod values;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use actix_web::{HttpRequest, web};
use futures_util::StreamExt;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use zeroize::Zeroizing;

use super::problem::{FieldError, Kind, Problem};
use super::wiped::Wiped;
use crate::domain::{
    Alphabet, Batch, InstanceId, NewPassword, Password, Reason, ResetId, ResetRequest, Ticket, TicketPattern,
};
use crate::seal::RecipientKey;

use values::{Field, Given, Jwk};

/// Longest body that is read, in bytes.
const LONGEST: usize = 64 << 10;
/// Most instances of a batch.
pub(super) const MOST_INSTANCES: usize = 100;
/// Where a batch names its instances.
pub(super) const INSTANCES: &str = "instanceIds";

/// The whole body, which is JSON by its type; wiped when dropped.
pub(super) async fn read(
    request: &HttpRequest,
    payload: web::Payload,
    wait: Duration,
) -> Result<Wiped, Problem> {
    let content_type =
        request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") || request.headers().contains_key(CONTENT_ENCODING) {
        let error =
            FieldError::header("Content-Type", "The body must be sent as `application/json`, unencoded.");
        return Err(Problem::in_places(Kind::UnsupportedMediaType, vec![error]));
    }
    let late = |_| {
        let detail = format!("The body did not arrive within {} seconds.", wait.as_secs());
        Problem::new(Kind::InvalidRequest, detail)
    };
    actix_web::rt::time::timeout(wait, collect(payload)).await.map_err(late)?
}

async fn collect(mut payload: web::Payload) -> Result<Wiped, Problem> {
    let mut body = Wiped::new();
    while let Some(chunk) = payload.next().await {
        let chunk =
            chunk.map_err(|_| Problem::new(Kind::InvalidRequest, "The body ended before its end."))?;
        if body.as_slice().len() + chunk.len() > LONGEST {
            return Err(Problem::new(Kind::PayloadTooLarge, "The body is longer than 64 KiB."));
        }
        body.extend(&chunk);
    }
    Ok(body)
}

/// What a body asks for: which password, and why.
#[derive(Debug)]
pub(super) struct Wish {
    /// Of a batch.
    instances: Vec<InstanceId>,
    choice: Choice,
    reason: Option<Reason>,
    ticket: Option<Ticket>,
}

#[derive(Debug)]
enum Choice {
    Typed(Arc<Password>),
    /// Told sealed to the key if there is one, else in the clear.
    Generate(Option<RecipientKey>),
}

/// Which call a body is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// Its path names the instance.
    One,
    /// `instanceIds` does.
    Batch,
}

/// `{"password" or "generate": true with "recipientKey"?, "reason"?, "ticket"?}`, and "instanceIds" of a batch. First the shape (400), then the values
/// (422); of each, all faults.
pub(super) fn parse(body: &[u8], of: Of) -> Result<Wish, Problem> {
    if body.is_empty() {
        let missing =
            FieldError::field("", "The body is missing: send {\"password\": \"…\"} or {\"generate\": true}.");
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
    fields.wish(of)
}

impl Wish {
    /// Refuses a ticket that is not of the pattern.
    pub(super) fn with_ticket_of(self, pattern: Option<&TicketPattern>) -> Result<Self, Problem> {
        let (Some(pattern), Some(ticket)) = (pattern, &self.ticket) else { return Ok(self) };
        if pattern.fits(ticket) {
            return Ok(self);
        }
        let detail = format!("A ticket must fit the expression `{}`.", pattern.as_str());
        Err(Problem::in_places(Kind::InvalidValue, vec![FieldError::field("ticket", detail)]))
    }

    /// The reset of one instance, whose password is made up now if it is to be: before anything is decided or charged,
    /// so that nothing but a 503 comes of it where that fails.
    pub(super) fn of(self, instance: InstanceId, alphabet: &Alphabet) -> Result<ResetRequest, Problem> {
        self.request(instance, None, alphabet)
    }

    /// The resets of a batch, each with a password of its own if they are made up.
    pub(super) fn of_each(mut self, id: ResetId, alphabet: &Alphabet) -> Result<Vec<ResetRequest>, Problem> {
        let instances = std::mem::take(&mut self.instances);
        let batch = Batch { id, size: instances.len() };
        let requests = instances.into_iter().map(|instance| self.request(instance, Some(batch), alphabet));
        requests.collect()
    }

    /// Whether the answer alone will have the passwords.
    pub(super) fn tells_passwords(&self) -> bool {
        matches!(self.choice, Choice::Generate(None))
    }

    fn request(
        &self,
        instance: InstanceId,
        batch: Option<Batch>,
        alphabet: &Alphabet,
    ) -> Result<ResetRequest, Problem> {
        let failed = |error: &dyn fmt::Display| {
            tracing::error!("no password could be made up, so nothing was sent: {error}");
            Problem::unavailable("No password could be generated. Nothing was sent; try again.")
        };
        let password = match &self.choice {
            Choice::Typed(password) => NewPassword::Typed(password.clone()),
            Choice::Generate(key) => {
                let password = Password::generate(alphabet).map_err(|e| failed(&e))?;
                match key.as_ref().map(|key| key.seal(&password)).transpose().map_err(|e| failed(&e))? {
                    Some(sealed) => NewPassword::Sealed(password.into(), sealed),
                    None => NewPassword::Generated(password.into()),
                }
            }
        };
        let (reason, ticket) = (self.reason.clone(), self.ticket.clone());
        Ok(ResetRequest { instance, password, reason, ticket, batch })
    }
}

/// What the body says, as it says it.
#[derive(Default)]
struct Fields {
    instances: Option<Vec<Option<String>>>,
    password: Option<Zeroizing<String>>,
    generate: bool,
    key: Option<Jwk>,
    reason: Option<Zeroizing<String>>,
    ticket: Option<Zeroizing<String>>,
    /// Names of fields that are there, well or not.
    seen: Vec<String>,
    faults: Vec<FieldError>,
}

impl Fields {
    fn wish(mut self, of: Of) -> Result<Wish, Problem> {
        self.check_choice();
        self.check_instances(of);
        if !self.faults.is_empty() {
            return Err(Problem::in_places(Kind::InvalidRequest, self.faults));
        }
        let mut faults = Vec::new();
        let instances = named(self.instances.take().unwrap_or_default(), of, &mut faults);
        for (name, text) in [("reason", &self.reason), ("ticket", &self.ticket)] {
            let holds = text.as_ref().zip(self.password.as_ref());
            if holds.is_some_and(|(text, password)| password.len() >= 8 && text.contains(&***password)) {
                let detail = format!("`{name}` holds the password, and would be kept: leave it out.");
                faults.push(FieldError::field(name, detail));
            }
        }
        let choice = match self.password.as_mut().map(|text| std::mem::take(&mut **text)) {
            Some(text) => Password::parse(text).map(|good| Choice::Typed(good.into())).map_err(|broken| {
                faults.extend(broken.iter().map(|rule| FieldError::field("password", rule.to_string())))
            }),
            None => {
                let key = self.key.map(|Jwk { members, .. }| RecipientKey::from_jwk(&members)).transpose();
                key.map(Choice::Generate)
                    .map_err(|fault| faults.push(FieldError::field("recipientKey", fault.to_string())))
            }
        };
        let mut text = |name: &str, fault: crate::domain::TextFault| {
            faults.push(FieldError::field(name, fault.to_string()))
        };
        let reason: Option<Reason> =
            self.reason.and_then(|given| given.parse().map_err(|fault| text("reason", fault)).ok());
        let ticket: Option<Ticket> =
            self.ticket.and_then(|given| given.parse().map_err(|fault| text("ticket", fault)).ok());
        match choice {
            Ok(choice) if faults.is_empty() => Ok(Wish { instances, choice, reason, ticket }),
            _ => Err(Problem::in_places(Kind::InvalidValue, faults)),
        }
    }

    fn check_instances(&mut self, of: Of) {
        let has = self.seen.iter().any(|seen| seen == INSTANCES);
        let fault = match (of, has) {
            (Of::One, false) | (Of::Batch, true) => return,
            (Of::One, true) => {
                "`instanceIds` is for `POST /v1/password-resets`: here the path names the instance."
            }
            (Of::Batch, false) => "`instanceIds` is required: a list of 1 to 100 instances.",
        };
        self.faults.push(FieldError::field(INSTANCES, fault));
    }

    /// Exactly one of `password` and `generate`; a field that is there and wrong has its fault already.
    fn check_choice(&mut self) {
        let has = |name: &str| self.seen.iter().any(|seen| seen == name);
        let fault = match (has("password"), has("generate"), has("recipientKey")) {
            (false, false, false) => {
                ("password", "`password` is required, or `\"generate\": true` in its place.")
            }
            (_, false, true) => (
                "recipientKey",
                "`recipientKey` seals a generated password: send `\"generate\": true` with it, and no `password`.",
            ),
            (true, true, _) if self.generate => {
                ("generate", "`password` and `generate` exclude each other: send one of them.")
            }
            _ => return,
        };
        self.faults.push(FieldError::field(fault.0, fault.1));
    }

    /// Puts a value where it belongs, or says why it belongs nowhere.
    fn take(&mut self, name: &str, value: Given) {
        let fault = match (name, value) {
            ("password", Given::Text(text)) => return self.password = Some(text),
            ("reason", Given::Text(text)) => return self.reason = Some(text),
            ("ticket", Given::Text(text)) => return self.ticket = Some(text),
            (INSTANCES, Given::List(list)) => {
                let odd = list.iter().enumerate().filter(|(_, item)| item.is_none());
                let fault = |(place, _)| FieldError::item(INSTANCES, place, "An instance's id is a string.");
                self.faults.extend(odd.map(fault).take(20));
                return self.instances = Some(list);
            }
            ("generate", Given::Flag(true)) => return self.generate = true,
            ("recipientKey", Given::Key(jwk)) if jwk.twice.is_empty() => return self.key = Some(jwk),
            ("recipientKey", Given::Key(jwk)) => format!("`{}` is given twice in it.", shown(&jwk.twice[0])),
            ("password" | "reason" | "ticket", _) => format!("`{name}` must be a string."),
            ("generate", Given::Flag(false)) => {
                "`generate` is `true`, or left out: then send a `password`.".to_owned()
            }
            ("generate", _) => "`generate` must be `true`, without quotes.".to_owned(),
            (INSTANCES, _) => "`instanceIds` must be a list of strings.".to_owned(),
            ("recipientKey", _) => "`recipientKey` must be an object: a JSON Web Key.".to_owned(),
            _ => format!("`{}` is not a known field.", shown(name)),
        };
        self.faults.push(FieldError::field(&shown(name), fault));
    }
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
        while let Some(name) = map.next_key::<String>()? {
            let field = match name.as_str() {
                "recipientKey" => Field::Key,
                INSTANCES => Field::List,
                _ => Field::Plain,
            };
            let value = map.next_value_seed(field)?;
            if fields.seen.contains(&name) {
                let twice = format!("`{}` is given twice.", shown(&name));
                fields.faults.push(FieldError::field(&shown(&name), twice));
            } else {
                fields.take(&name, value);
                fields.seen.push(name);
            }
            // A body of nothing but faults need not be answered with as many.
            if fields.faults.len() >= 20 {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            }
        }
        Ok(fields)
    }
}

/// The instances of a batch: each once.
fn named(list: Vec<Option<String>>, of: Of, faults: &mut Vec<FieldError>) -> Vec<InstanceId> {
    if of == Of::Batch && !(1..=MOST_INSTANCES).contains(&list.len()) {
        let given = list.len();
        let detail = format!("A batch names 1 to {MOST_INSTANCES} instances, and this one names {given}.");
        faults.push(FieldError::field(INSTANCES, detail));
        return Vec::new();
    }
    let (mut instances, mut seen) = (Vec::with_capacity(list.len()), HashSet::new());
    for (place, text) in list.into_iter().flatten().enumerate() {
        match text.parse::<InstanceId>() {
            Err(fault) => faults.push(FieldError::item(INSTANCES, place, format!("{fault}."))),
            Ok(id) if !seen.insert(id.clone()) => {
                faults.push(FieldError::item(INSTANCES, place, format!("`{id}` is named twice.")));
            }
            Ok(id) => instances.push(id),
        }
    }
    instances
}

/// A name from outside, fit to be repeated: at most 64 characters, none of them a control character.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(body: &str) -> (u16, Vec<(String, String)>) {
        let problem = parse(body.as_bytes(), Of::One).expect_err(body);
        let place = |error: &FieldError| error.pointer.clone().expect("a place in the body");
        let errors = problem.errors.iter().map(|error| (place(error), error.detail.clone())).collect();
        (problem.kind.status().as_u16(), errors)
    }

    fn made(body: &str) -> ResetRequest {
        let wish = parse(body.as_bytes(), Of::One).unwrap_or_else(|e| panic!("{e}"));
        wish.of("ins-a".parse().expect("an id"), &Alphabet::new(false)).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn a_good_body_is_its_parts() {
        let body = r#"{"ticket":"OPS-1","password":"Abcd~12\u00334","reason":"lost"}"#;
        let request = made(body);
        assert_eq!(request.password.get().expose(), "Abcd~1234");
        assert_eq!(request.reason.as_ref().map(|r| r.as_str()), Some("lost"));
        assert_eq!(request.ticket.as_ref().map(|t| t.as_str()), Some("OPS-1"));
    }

    const KEY: &str = r#"{"kty":"EC","crv":"P-256","x":"gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0","y":"SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps","x5c":["…"],"ext":true}"#;

    #[test]
    fn a_password_is_made_up_when_asked_for_and_sealed_to_the_key_that_is_given() {
        let request = made(r#"{"generate":true,"reason":"lost"}"#);
        assert!(matches!(request.password, NewPassword::Generated(_)), "{request:?}");
        assert_eq!(request.password.get().expose().len(), 16);
        let sealed = made(&format!(r#"{{"recipientKey":{KEY},"generate":true}}"#)).password;
        assert_eq!(sealed.sealed().map(|jwe| jwe.split('.').count()), Some(5), "{sealed:?}");
    }

    #[test]
    fn a_key_that_cannot_be_sealed_to_is_a_bad_value() {
        let private = KEY.replace(r#""ext":true"#, r#""d":"Sekret~1""#);
        for (key, says) in [
            ("{}", "`kty` must be"),
            (private.as_str(), "`d` is a private part: send the public key alone"),
            (r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#, "must have 2048 to 4096 bits"),
            (r#"{"kty":{"a":[]}}"#, "`kty` must be"),
            (&KEY.replace("gI0G", &"A".repeat(60_000)), "`x` is required"),
        ] {
            let (status, errors) = faults(&format!(r#"{{"generate":true,"recipientKey":{key}}}"#));
            let [(place, detail)] = errors.as_slice() else { panic!("{errors:?}") };
            assert_eq!((status, place.as_str()), (422, "#/recipientKey"), "{key}");
            assert!(detail.contains(says) && !detail.contains("Sekret"), "{detail}");
        }
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
            (r#"{"generate":false}"#, vec!["#/generate"]),
            (r#"{"generate":"true"}"#, vec!["#/generate"]),
            (r#"{"generate":1,"recipientKey":[]}"#, vec!["#/generate", "#/recipientKey"]),
            (r#"{"generate":true,"generate":true}"#, vec!["#/generate"]),
            (r#"{"generate":false,"password":"Abcd~1234"}"#, vec!["#/generate"]),
            (r#"{"generate":true,"recipientKey":null}"#, vec!["#/recipientKey"]),
            (r#"{"generate":true,"recipientKey":"{}"}"#, vec!["#/recipientKey"]),
            (r#"{"generate":true,"recipientKey":{"kty":"EC","\u006bty":"RSA"}}"#, vec!["#/recipientKey"]),
            (r#"{"generate":true,"recipientKey":{},"recipientKey":{}}"#, vec!["#/recipientKey"]),
            (r#"{"password":"Abcd~1234","recipientKey":{}}"#, vec!["#/recipientKey"]),
            (r#"{"recipientKey":{}}"#, vec!["#/recipientKey"]),
            (r#"{"generate":true,"recipientkey":{}}"#, vec!["#/recipientkey"]),
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
