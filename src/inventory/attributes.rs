use std::net::IpAddr;

use crate::domain::InstanceId;

/// What Zenlayer tells of an instance. What it does not tell is `UNKNOWN` or empty here, never absent, so
/// that a policy reads the same attributes of every instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    pub id: InstanceId,
    pub name: String,
    /// As Zenlayer writes it (`RUNNING`); `UNKNOWN` when it does not say.
    pub status: String,
    pub instance_type: String,
    pub image: String,
    pub agent: Agent,
    /// Public and private; IPv4-mapped IPv6 unmapped, what is no address left out.
    pub addresses: Vec<IpAddr>,
    pub zone: Option<String>,
    pub resource_group: Option<String>,
    /// No key comes twice.
    pub tags: Vec<Tag>,
}

/// Whether the guest agent, which sets the password, is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    Present,
    Absent,
    Unknown,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    pub key: String,
    pub value: String,
}

/// What Zenlayer does not tell.
pub(super) const UNKNOWN: &str = "UNKNOWN";

impl Agent {
    /// As policies read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Present => "PRESENT",
            Self::Absent => "ABSENT",
            Self::Unknown => UNKNOWN,
        }
    }
}

impl Attributes {
    /// What policy sees in place of an instance that Zenlayer does not have.
    pub fn unknown(id: InstanceId) -> Self {
        Self {
            id,
            name: String::new(),
            status: UNKNOWN.to_owned(),
            instance_type: UNKNOWN.to_owned(),
            image: UNKNOWN.to_owned(),
            agent: Agent::Unknown,
            addresses: Vec::new(),
            zone: None,
            resource_group: None,
            tags: Vec::new(),
        }
    }
}
