//! DescribeInstances: filters, all of which must match, and pages.

use serde::Serialize;
use serde_json::{Map, Value};

use super::instances::{Held, Instances};
use super::parameters::{Parameters, Tag};
use super::refusal::Refusal;

const MAX_IDS: usize = 100;
const MAX_TAGS: usize = 20;
const MAX_PAGE: u64 = 1000;
const DEFAULT_PAGE: u64 = 20;
/// Compared as a whole.
const EXACT: [&str; 5] = ["zoneId", "imageId", "instanceType", "status", "resourceGroupId"];
const ADDRESSES: [&str; 2] = ["ipv4Address", "ipv6Address"];

/// One page of the instances that match.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Page<'i> {
    total_count: usize,
    data_set: Vec<&'i Map<String, Value>>,
}

struct Filter<'p> {
    exact: Vec<(&'static str, &'p str)>,
    addresses: Vec<&'p str>,
    name: Option<String>,
    tag_keys: Vec<&'p str>,
    tags: Vec<Tag>,
}

pub fn describe<'i>(instances: &'i Instances, parameters: &Parameters) -> Result<Page<'i>, Refusal> {
    let ids = parameters.texts("instanceIds", MAX_IDS)?.filter(|ids| !ids.is_empty());
    let filter = Filter::read(parameters)?;
    let size = parameters.number("pageSize", DEFAULT_PAGE, MAX_PAGE)?;
    let skip = (parameters.number("pageNum", 1, u64::MAX)? - 1).saturating_mul(size);
    let candidates = match ids {
        Some(ids) => instances.among(&ids),
        None => instances.all().iter().collect(),
    };
    let matching: Vec<&Held> = candidates.into_iter().filter(|instance| filter.matches(instance)).collect();
    let skip = usize::try_from(skip).unwrap_or(usize::MAX);
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    Ok(Page {
        total_count: matching.len(),
        data_set: matching.into_iter().skip(skip).take(size).map(Held::fields).collect(),
    })
}

impl<'p> Filter<'p> {
    fn read(parameters: &'p Parameters) -> Result<Self, Refusal> {
        let mut exact = Vec::new();
        for field in EXACT {
            exact.extend(parameters.text(field)?.map(|wanted| (field, wanted)));
        }
        let mut addresses = Vec::new();
        for parameter in ADDRESSES {
            addresses.extend(parameters.text(parameter)?);
        }
        Ok(Self {
            exact,
            addresses,
            name: parameters.text("name")?.map(str::to_lowercase),
            tag_keys: parameters.texts("tagKeys", MAX_TAGS)?.unwrap_or_default(),
            tags: parameters.tags("tags", MAX_TAGS)?.unwrap_or_default(),
        })
    }

    fn matches(&self, instance: &Held) -> bool {
        self.exact.iter().all(|(field, wanted)| instance.text(field) == Some(wanted))
            && self.addresses.iter().all(|wanted| has_address(instance, wanted))
            && self.name.as_ref().is_none_or(|part| has_name(instance, part))
            && self.tag_keys.iter().all(|wanted| has_tag(instance, |key, _| key == *wanted))
            && self
                .tags
                .iter()
                .all(|tag| has_tag(instance, |key, value| key == tag.key && value == tag.value))
    }
}

fn has_name(instance: &Held, part: &str) -> bool {
    instance.text("instanceName").is_some_and(|name| name.to_lowercase().contains(part))
}

fn has_address(instance: &Held, wanted: &str) -> bool {
    let listed = ["publicIpAddresses", "privateIpAddresses"].into_iter();
    listed.filter_map(|field| instance.fields().get(field)?.as_array()).flatten().any(|each| each == wanted)
}

/// Tags come as `{"tags": [{"key", "value"}]}`.
fn has_tag(instance: &Held, matches: impl Fn(&str, &str) -> bool) -> bool {
    let tags = instance.fields().get("tags").and_then(|tags| tags.get("tags")?.as_array());
    tags.into_iter().flatten().any(|tag| {
        let text = |member| tag.get(member).and_then(Value::as_str).unwrap_or_default();
        matches(text("key"), text("value"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::parse_instances;
    use crate::simulator::refusal::Code;

    const INSTANCES: &str = r#"[
        {"instanceId": "ins-a", "instanceName": "Pay-1", "zoneId": "z1", "status": "RUNNING", "privateIpAddresses": ["10.0.0.1"],
         "tags": {"tags": [{"key": "team", "value": "pay"}, {"key": "env", "value": "dev"}]}},
        {"instanceId": "ins-b", "instanceName": "pay-2", "zoneId": "z1", "status": "STOPPED", "publicIpAddresses": null,
         "tags": {"tags": [{"key": "team", "value": "pay"}]}},
        {"instanceId": "ins-c", "tags": null, "status": null}
    ]"#;

    fn listed(body: &str) -> Result<(usize, Vec<String>), Code> {
        let instances = Instances::new(parse_instances(INSTANCES).expect("good instances"));
        let parameters = Parameters::parse(body.as_bytes()).expect("an object");
        let page = describe(&instances, &parameters).map_err(|refusal| refusal.code)?;
        let id = |fields: &&Map<String, Value>| fields["instanceId"].as_str().map(str::to_owned);
        Ok((page.total_count, page.data_set.iter().filter_map(id).collect()))
    }

    #[test]
    fn every_filter_must_match_and_pages_count_from_one() {
        for (body, total, ids) in [
            ("{}", 3, "ins-a ins-b ins-c"),
            (r#"{"instanceIds": [], "status": null}"#, 3, "ins-a ins-b ins-c"),
            (r#"{"instanceIds": ["ins-c", "ins-z", "ins-a", "ins-c"]}"#, 2, "ins-a ins-c"),
            (r#"{"instanceIds": ["ins-b"], "status": "RUNNING"}"#, 0, ""),
            (r#"{"zoneId": "z1", "status": "RUNNING"}"#, 1, "ins-a"),
            (r#"{"status": "NO_SUCH"}"#, 0, ""),
            (r#"{"name": "PAY"}"#, 2, "ins-a ins-b"),
            (r#"{"ipv4Address": "10.0.0.1"}"#, 1, "ins-a"),
            (r#"{"ipv6Address": "::1"}"#, 0, ""),
            (r#"{"tagKeys": ["env", "team"]}"#, 1, "ins-a"),
            (r#"{"tags": [{"key": "team", "value": "pay"}]}"#, 2, "ins-a ins-b"),
            (r#"{"tags": [{"key": "team", "value": "dev"}]}"#, 0, ""),
            (r#"{"pageSize": 2}"#, 3, "ins-a ins-b"),
            (r#"{"pageSize": 2, "pageNum": 2}"#, 3, "ins-c"),
            (r#"{"pageSize": 1000, "pageNum": 9223372036854775807}"#, 3, ""),
        ] {
            let ids = ids.split_whitespace().map(str::to_owned).collect();
            assert_eq!(listed(body), Ok((total, ids)), "{body}");
        }
    }

    #[test]
    fn a_parameter_out_of_bounds_is_refused() {
        let many = |what: &str, count| vec![what; count].join(",");
        for (body, code) in [
            (r#"{"pageSize": 1001}"#.to_owned(), Code::ExceedMaximum),
            (r#"{"pageSize": 0}"#.into(), Code::LessMinimum),
            (r#"{"pageNum": -1}"#.into(), Code::LessMinimum),
            (r#"{"pageNum": 1.5}"#.into(), Code::InvalidType),
            (r#"{"pageSize": "10"}"#.into(), Code::InvalidType),
            (r#"{"instanceIds": "ins-a"}"#.into(), Code::InvalidType),
            (r#"{"instanceIds": [1]}"#.into(), Code::InvalidType),
            (r#"{"tags": [{"key": "team"}]}"#.into(), Code::InvalidType),
            (format!(r#"{{"instanceIds": [{}]}}"#, many(r#""a""#, 101)), Code::ExceedMaximum),
            (format!(r#"{{"tagKeys": [{}]}}"#, many(r#""a""#, 21)), Code::ExceedMaximum),
        ] {
            assert_eq!(listed(&body), Err(code), "{body}");
        }
    }
}
