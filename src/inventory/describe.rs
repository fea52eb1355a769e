use std::net::IpAddr;

use serde::Deserialize;
use zeroize::Zeroizing;

use super::Error;
use super::attributes::{Agent, Attributes, Tag, UNKNOWN};
use crate::domain::InstanceId;
use crate::http::{Action, Client};

#[derive(Deserialize)]
struct Envelope {
    response: Option<Page>,
    code: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    data_set: Option<Vec<Entry>>,
}

/// Any field may be null or absent; unknown ones are ignored (Zenlayer's DescribeInstances).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    instance_id: Option<String>,
    instance_name: Option<String>,
    zone_id: Option<String>,
    instance_type: Option<String>,
    image_id: Option<String>,
    status: Option<String>,
    enable_agent: Option<bool>,
    public_ip_addresses: Option<Vec<Option<String>>>,
    private_ip_addresses: Option<Vec<Option<String>>>,
    resource_group_id: Option<String>,
    tags: Option<Tags>,
}

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<KeyValue>>,
}

#[derive(Deserialize)]
struct KeyValue {
    key: Option<String>,
    value: Option<String>,
}

/// Asks for one instance by id, and trusts no order: the entry is picked by its id.
pub(super) async fn one(client: &Client, id: &InstanceId) -> Result<Option<Attributes>, Error> {
    let body = serde_json::json!({ "instanceIds": [id.as_str()], "pageSize": 10, "pageNum": 1 });
    let answer =
        client.call(Action::DescribeInstances, Zeroizing::new(body.to_string().into_bytes())).await?;
    let envelope: Option<Envelope> = serde_json::from_slice(&answer.body).ok();
    let code = envelope.as_ref().and_then(|e| e.code.clone());
    if answer.status != 200 || code.is_some() {
        return Err(Error::Refused { status: answer.status, code });
    }
    let page = envelope.and_then(|e| e.response).ok_or(Error::Unreadable)?;
    let entries = page.data_set.ok_or(Error::Unreadable)?;
    let entry = entries.into_iter().find(|entry| entry.instance_id.as_deref() == Some(id.as_str()));
    Ok(entry.map(|entry| attributes(id, entry)))
}

fn attributes(id: &InstanceId, entry: Entry) -> Attributes {
    let told = |text: Option<String>| text.filter(|t| !t.is_empty()).unwrap_or_else(|| UNKNOWN.to_owned());
    let addresses =
        [entry.public_ip_addresses, entry.private_ip_addresses].into_iter().flatten().flatten().flatten();
    let mut tags: Vec<Tag> = Vec::new();
    for pair in entry.tags.and_then(|t| t.tags).unwrap_or_default() {
        let Some(key) = pair.key else { continue };
        tags.retain(|tag| tag.key != key);
        tags.push(Tag { key, value: pair.value.unwrap_or_default() });
    }
    Attributes {
        id: id.clone(),
        name: entry.instance_name.unwrap_or_default(),
        status: told(entry.status),
        instance_type: told(entry.instance_type),
        image: told(entry.image_id),
        agent: match entry.enable_agent {
            Some(true) => Agent::Present,
            Some(false) => Agent::Absent,
            None => Agent::Unknown,
        },
        addresses: addresses
            .filter_map(|text| text.parse().ok())
            .map(|ip: IpAddr| ip.to_canonical())
            .collect(),
        zone: entry.zone_id.filter(|z| !z.is_empty()),
        resource_group: entry.resource_group_id.filter(|g| !g.is_empty()),
        tags,
    }
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
        ] {
            let entry = serde_json::from_str(body).expect("an entry");
            assert_eq!(attributes(&id, entry), Attributes::unknown(id.clone()), "{body}");
        }
    }

    #[test]
    fn of_two_tags_with_one_key_the_last_counts() {
        let id: InstanceId = "ins-a".parse().expect("an id");
        let body = r#"{"tags":{"tags":[{"key":"env","value":"dev"},{"key":"env","value":"prod"},{"value":"x"}]},
            "privateIpAddresses":["::ffff:10.0.0.1"],"enableAgent":true,"status":"WARMING"}"#;
        let told = attributes(&id, serde_json::from_str(body).expect("an entry"));
        assert_eq!(told.tags, [Tag { key: "env".to_owned(), value: "prod".to_owned() }]);
        assert_eq!(told.addresses, ["10.0.0.1".parse::<IpAddr>().expect("an address")]);
        assert_eq!((told.status.as_str(), told.agent), ("WARMING", Agent::Present));
    }
}
