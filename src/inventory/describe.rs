use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::Error;
use super::attributes::{Agent, Attributes, Tag, UNKNOWN};
use crate::domain::InstanceId;
use crate::http::{Action, Client, Share};

/// Most instances that Zenlayer tells at a time.
pub(super) const PAGE: usize = 1000;
/// Most ids that one call may name.
pub(super) const IDS: usize = 100;

#[derive(Deserialize)]
struct Envelope {
    response: Option<Listing>,
    code: Option<String>,
}

/// Entries stay as they came: one that is not as it should be must not spoil the others.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    total_count: Option<Value>,
    data_set: Option<Vec<Value>>,
}

impl Listing {
    fn total(&self) -> Option<u64> {
        match self.total_count.as_ref()? {
            Value::String(text) => text.parse().ok(),
            number => number.as_u64().or_else(|| Some(number.as_f64().filter(|n| *n >= 0.0)? as u64)),
        }
    }
}

/// One page of an account's instances.
pub(super) struct Page {
    /// Those whose id can be one; none comes twice here, but one may stand on two pages.
    pub(super) instances: Vec<Attributes>,
    /// Entries on the page, readable or not.
    pub(super) entries: usize,
    /// Instances of the account; None: not told.
    pub(super) total: Option<u64>,
}

/// Texts that many instances share.
#[derive(Default)]
pub(super) struct Texts(HashSet<Arc<str>>);

impl Texts {
    fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        let text: Arc<str> = text.into();
        self.0.insert(text.clone());
        text
    }
}

/// Asks for the instances of these ids, at most [`IDS`]. Trusts no order: entries are picked by their ids.
pub(super) async fn some(client: &Client, ids: &[InstanceId]) -> Result<Vec<Attributes>, Error> {
    let names: Vec<&str> = ids.iter().map(InstanceId::as_str).collect();
    let body = serde_json::json!({ "instanceIds": names, "pageSize": IDS, "pageNum": 1 });
    let page = call(client, &body, &mut Texts::default()).await?;
    Ok(page.instances.into_iter().filter(|told| ids.contains(&told.id)).collect())
}

/// Asks for a page of all instances, counted from 1.
pub(super) async fn page(client: &Client, number: usize, texts: &mut Texts) -> Result<Page, Error> {
    call(client, &serde_json::json!({ "pageSize": PAGE, "pageNum": number }), texts).await
}

async fn call(client: &Client, body: &serde_json::Value, texts: &mut Texts) -> Result<Page, Error> {
    let slot = client.reserve(Action::DescribeInstances, Share::Inventory).await?;
    let answer = client.call(Zeroizing::new(body.to_string().into_bytes()), slot).await?;
    let envelope: Option<Envelope> = serde_json::from_slice(&answer.body).ok();
    let code = envelope.as_ref().and_then(|e| e.code.clone());
    if answer.status != 200 || code.is_some() {
        return Err(Error::Refused { status: answer.status, code });
    }
    let listing = envelope.and_then(|e| e.response).ok_or(Error::Unreadable)?;
    let total = listing.total();
    let entries = listing.data_set.ok_or(Error::Unreadable)?;
    Ok(Page { entries: entries.len(), total, instances: read(&entries, texts) })
}

/// Why a saved inventory cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("must be a JSON array of instances as DescribeInstances tells them, or its whole answer: {0}")]
pub struct SavedFault(String);

/// The instances of a saved inventory: the array that `dataSet` is, or a whole answer with all of them.
pub fn saved(json: &[u8]) -> Result<Vec<Attributes>, SavedFault> {
    #[derive(Deserialize)]
    struct Answer {
        response: Listing,
    }
    let listing = match json.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => {
            serde_json::from_slice(json).map(|entries| Listing { total_count: None, data_set: Some(entries) })
        }
        _ => serde_json::from_slice(json).map(|answer: Answer| answer.response),
    };
    let listing = listing.map_err(|e| SavedFault(e.to_string()))?;
    let total = listing.total();
    let entries = listing.data_set.ok_or_else(|| SavedFault("it has no dataSet".to_owned()))?;
    if let Some(total) = total.filter(|total| *total > entries.len() as u64) {
        let only = entries.len();
        return Err(SavedFault(format!(
            "it has {only} of the account's {total} instances: put all pages together"
        )));
    }
    match entries.iter().position(|entry| id(entry).is_none()) {
        Some(index) => Err(SavedFault(format!("entry {} has no good instanceId", index + 1))),
        None => Ok(read(&entries, &mut Texts::default())),
    }
}

fn id(entry: &Value) -> Option<InstanceId> {
    entry.get("instanceId")?.as_str()?.parse().ok()
}

/// Of two entries with one id the last counts; those without a good one do not.
fn read(entries: &[Value], texts: &mut Texts) -> Vec<Attributes> {
    let mut seen = HashSet::new();
    let told = entries.iter().rev().filter_map(|entry| {
        let id = id(entry)?;
        seen.insert(id.clone()).then(|| attributes(id, entry, texts))
    });
    told.collect()
}

/// Any field may be null, absent, or of a kind that it should not be: then it is not told.
fn attributes(id: InstanceId, entry: &Value, texts: &mut Texts) -> Attributes {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let list = |name: &str| entry.get(name).and_then(Value::as_array).into_iter().flatten();
    let mut told = |name: &str| texts.shared(text(name).unwrap_or(UNKNOWN));
    let (status, instance_type, image) = (told("status"), told("instanceType"), told("imageId"));
    let mut group = |name: &str| text(name).map(|text| texts.shared(text));
    let (zone, resource_group) = (group("zoneId"), group("resourceGroupId"));
    let addresses = list("publicIpAddresses").chain(list("privateIpAddresses"));
    Attributes {
        id,
        name: text("instanceName").unwrap_or_default().into(),
        status,
        instance_type,
        image,
        agent: match entry.get("enableAgent").and_then(Value::as_bool) {
            Some(true) => Agent::Present,
            Some(false) => Agent::Absent,
            None => Agent::Unknown,
        },
        addresses: addresses
            .filter_map(|address| address.as_str()?.parse().ok())
            .map(|ip: IpAddr| ip.to_canonical())
            .collect(),
        zone,
        resource_group,
        tags: tags(entry, texts),
    }
}

/// Of two tags with one key the last counts.
fn tags(entry: &Value, texts: &mut Texts) -> Box<[Tag]> {
    let pairs = entry.get("tags").and_then(|tags| tags.get("tags")?.as_array());
    let mut tags: Vec<Tag> = Vec::new();
    for pair in pairs.into_iter().flatten() {
        let Some(key) = pair.get("key").and_then(Value::as_str) else { continue };
        tags.retain(|tag| *tag.key != *key);
        let value = pair.get("value").and_then(Value::as_str).unwrap_or_default();
        tags.push(Tag { key: texts.shared(key), value: texts.shared(value) });
    }
    tags.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_told_is_unknown() {
        let id: InstanceId = "ins-a".parse().expect("an id");
        for body in [
            r#"{"instanceId":"ins-a"}"#,
            r#"{"instanceId":"ins-a","status":null,"enableAgent":null,"tags":null,"publicIpAddresses":null,"new":[1]}"#,
            r#"{"instanceId":"ins-a","status":"","tags":{"tags":null},"publicIpAddresses":[null,"nonsense"]}"#,
            r#"{"instanceId":"ins-a","status":7,"tags":{"tags":[null,{"key":1},"x"]},"enableAgent":"true"}"#,
            r#"{"instanceId":"ins-a","tags":["x"],"zoneId":{},"publicIpAddresses":"10.0.0.1"}"#,
        ] {
            let entry = serde_json::from_str(body).expect("an entry");
            let told = attributes(id.clone(), &entry, &mut Texts::default());
            assert_eq!(told, Attributes::unknown(id.clone()), "{body}");
        }
    }

    #[test]
    fn of_two_tags_with_one_key_the_last_counts() {
        let id: InstanceId = "ins-a".parse().expect("an id");
        let body = r#"{"tags":{"tags":[{"key":"env","value":"dev"},{"key":"env","value":"prod"},{"value":"x"}]},
            "privateIpAddresses":["::ffff:10.0.0.1"],"enableAgent":true,"status":"WARMING"}"#;
        let entry = serde_json::from_str(body).expect("an entry");
        let told = attributes(id, &entry, &mut Texts::default());
        assert_eq!(*told.tags, [Tag { key: "env".into(), value: "prod".into() }]);
        assert_eq!(*told.addresses, ["10.0.0.1".parse::<IpAddr>().expect("an address")]);
        assert_eq!((&*told.status, told.agent), ("WARMING", Agent::Present));
    }

    #[test]
    fn a_saved_inventory_is_an_array_or_a_whole_answer() {
        let ids = |json: &str| {
            let told = saved(json.as_bytes()).map_err(|fault| fault.to_string())?;
            Ok(told.iter().map(|told| format!("{} {}", told.id, told.status)).collect::<Vec<_>>())
        };
        let both = Ok(vec!["ins-b RUNNING".to_owned(), "ins-a UNKNOWN".to_owned()]);
        let array = r#"[{"instanceId":"ins-b","status":"STOPPED"},{"instanceId":"ins-a"},{"instanceId":"ins-b","status":"RUNNING"}]"#;
        assert_eq!(ids(array), both, "of two with one id the last counts");
        let answer = format!(r#" {{"requestId":"T1","response":{{"totalCount":2,"dataSet":{array}}}}}"#);
        assert_eq!(ids(&answer), both);
        for (json, part) in [
            ("", "EOF"),
            ("{}", "response"),
            (r#"{"response":{}}"#, "no dataSet"),
            (r#"[{"instanceId":"ins-a"},{}]"#, "entry 2 has no good instanceId"),
            (r#"[{"instanceId":"a b"}]"#, "entry 1 has no good instanceId"),
            (r#"[7]"#, "entry 1 has no good instanceId"),
            (
                r#"{"response":{"totalCount":2,"dataSet":[{"instanceId":"ins-a"}]}}"#,
                "1 of the account's 2 instances",
            ),
        ] {
            let fault: Result<Vec<String>, String> = ids(json);
            assert!(fault.as_ref().is_err_and(|fault| fault.contains(part)), "{json}: {fault:?}");
        }
    }

    #[test]
    fn one_bad_entry_spoils_no_other() {
        let entries: Vec<Value> = serde_json::from_str(
            r#"[null,7,{"instanceId":"ins-a"},{"instanceId":"a b"},{"instanceId":null},{},{"instanceId":"ins-b"}]"#,
        )
        .expect("JSON");
        let ids: Vec<String> =
            read(&entries, &mut Texts::default()).iter().map(|told| told.id.to_string()).collect();
        assert_eq!(ids, ["ins-b", "ins-a"]);
        for (total, expected) in
            [("3", Some(3)), ("\"3\"", Some(3)), ("3.0", Some(3)), ("-1", None), ("null", None)]
        {
            let json = format!(r#"{{"totalCount":{total},"dataSet":[]}}"#);
            let listing: Listing = serde_json::from_str(&json).expect("JSON");
            assert_eq!(listing.total(), expected, "{total}");
        }
    }
}
