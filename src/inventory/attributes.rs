use std::net::IpAddr;
use std::sync::Arc;

use crate::domain::InstanceId;

/// What Zenlayer tells of an instance. What it does not tell is `UNKNOWN` or empty here, never absent, so
/// that a policy reads the same attributes of every instance. Texts are shared: an account has few statuses,
/// images, groups and tags, and many instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    pub id: InstanceId,
    pub name: Arc<str>,
    /// As Zenlayer writes it (`RUNNING`); `UNKNOWN` when it does not say.
    pub status: Arc<str>,
    pub instance_type: Arc<str>,
    pub image: Arc<str>,
    pub agent: Agent,
    /// Public and private; IPv4-mapped IPv6 unmapped, what is no address left out.
    pub addresses: Box<[IpAddr]>,
    pub zone: Option<Arc<str>>,
    pub resource_group: Option<Arc<str>>,
    /// No key comes twice.
    pub tags: Box<[Tag]>,
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
    pub key: Arc<str>,
    pub value: Arc<str>,
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
            name: "".into(),
            status: UNKNOWN.into(),
            instance_type: UNKNOWN.into(),
            image: UNKNOWN.into(),
            agent: Agent::Unknown,
            addresses: Box::default(),
            zone: None,
            resource_group: None,
            tags: Box::default(),
        }
    }
}
