use serde_json::{Value, json};

use super::attributes::{Agent, Attributes, UNKNOWN};

/// An instance as DescribeInstances tells it, as far as policies read it: [`saved`](super::saved) reads it back.
///
/// Which addresses are public is not kept, so all are told as private.
pub fn retold(told: &Attributes) -> Value {
    let known = |text: &str| Some(text.to_owned()).filter(|text| text != UNKNOWN);
    let agent = match told.agent {
        Agent::Present => Some(true),
        Agent::Absent => Some(false),
        Agent::Unknown => None,
    };
    let tags: Vec<Value> =
        told.tags.iter().map(|tag| json!({ "key": &*tag.key, "value": &*tag.value })).collect();
    let mut entry = json!({
        "instanceId": told.id.as_str(),
        "instanceName": &*told.name,
        "status": known(&told.status),
        "instanceType": known(&told.instance_type),
        "imageId": known(&told.image),
        "enableAgent": agent,
        "privateIpAddresses": told.addresses,
        "zoneId": told.zone.as_deref(),
        "resourceGroupId": told.resource_group.as_deref(),
        "tags": { "tags": tags },
    });
    if let Value::Object(fields) = &mut entry {
        fields.retain(|_, value| !value.is_null());
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::super::{Tag, saved};
    use super::*;

    #[test]
    fn what_is_retold_is_read_back_the_same() {
        let bare = Attributes::unknown("ins-bare".parse().expect("an id"));
        let tag = |key: &str, value: &str| Tag { key: key.into(), value: value.into() };
        let full = Attributes {
            id: "ins-full".parse().expect("an id"),
            name: "a \"name\"\u{1b}".into(),
            status: "RUNNING".into(),
            instance_type: "z2a.cpu.4".into(),
            image: "img-debian".into(),
            agent: Agent::Absent,
            addresses: ["203.0.113.10", "10.0.0.10", "2001:db8::10"]
                .map(|ip| ip.parse().expect("an IP"))
                .into(),
            zone: Some("asia-east-1a".into()),
            resource_group: Some("rg".into()),
            tags: [tag("team", "payments"), tag("", ""), tag("UNKNOWN", "UNKNOWN")].into(),
        };
        let present = Attributes { agent: Agent::Present, ..bare.clone() };
        for told in [bare, full, present] {
            let json = json!([retold(&told)]).to_string();
            assert_eq!(saved(json.as_bytes()).expect("good"), [told], "{json}");
        }
    }
}
