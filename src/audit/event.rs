use serde::Serialize;

use super::Position;
use super::record::Kind;

/// What the gateway puts on record of itself.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Event<'e> {
    /// A writer begins: it has seen these ends of other chains, as far as no start before it has.
    #[serde(rename_all = "camelCase")]
    Start { version: &'e str, signing_key: &'e str, heads: &'e [Position] },
    /// It ends in order.
    Stop {},
    /// A signed statement of the record before it.
    Checkpoint { checkpoint: &'e str },
    /// The policies in force.
    Policy { revision: &'e str, teams: usize },
    /// A key is in force that was not before: at the start, or in another's place.
    #[serde(rename_all = "camelCase")]
    Key { key: KeyUse, key_id: &'e str },
    /// Records could not be kept, from `since` until this one.
    #[serde(rename_all = "camelCase")]
    Degraded { part: Part, since: &'e str, lost_records: u64, cause: &'e str },
    /// Old records were taken out, up to these of each chain: all prunings until now together.
    Pruned { before: &'e str, pruned: &'e [Position] },
    /// The store was put back from a backup that ended with these.
    Restored { reason: &'e str, heads: &'e [Position] },
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyUse {
    /// Signs calls to Zenlayer.
    AccessKey,
    /// Signs callers' tokens: `key_id` names the issuer and its keys.
    Issuer,
    /// Proves the gateway to its callers: `key_id` is the SHA-256 of its DER.
    Certificate,
}

/// What did not work as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Nothing could be committed.
    Store,
    /// Free space was below the reserve, so refusals were recorded once a caller and minute.
    Space,
}

impl Event<'_> {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Start { .. } => Kind::Start,
            Self::Stop {} => Kind::Stop,
            Self::Checkpoint { .. } => Kind::Checkpoint,
            Self::Policy { .. } => Kind::Policy,
            Self::Key { .. } => Kind::Key,
            Self::Degraded { .. } => Kind::Degraded,
            Self::Pruned { .. } => Kind::Pruned,
            Self::Restored { .. } => Kind::Restored,
        }
    }
}
