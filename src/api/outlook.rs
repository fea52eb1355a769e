//! Instances as one caller sees them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::authz::Viewer;
use crate::domain::{InstanceId, rfc3339};
use crate::inventory::{Agent, Attributes, Known, Mirror};
use crate::ratelimit::{Limiter, Standings};
use crate::reset::{Blocker, Gateway, obstacles};

/// Instances that one page looks at, at most; what it does not reach is behind its cursor.
const MOST_EXAMINED: usize = 2000;

/// An instance, as Zenlayer described it at `asOf`. What it does not tell is absent.
#[derive(Serialize, ToSchema)]
#[schema(as = Instance)]
#[serde(rename_all = "camelCase")]
pub(super) struct InstanceView {
    #[schema(example = "pay-0001")]
    instance_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "payments-db-1")]
    name: Option<String>,
    /// Zenlayer's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "RUNNING")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "z2a.cpu.1")]
    instance_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "img-debian-12")]
    image_id: Option<String>,
    /// Whether the guest agent, which sets the password, is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = true)]
    enable_agent: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "asia-southeast-1a")]
    zone_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "rg-payments")]
    resource_group_id: Option<String>,
    /// Public and private.
    #[schema(example = json!(["10.0.0.1"]))]
    addresses: Vec<String>,
    #[schema(example = json!({"team": "payments"}))]
    tags: BTreeMap<String, String>,
    #[schema(format = DateTime, example = "2026-11-24T12:00:00.000Z")]
    as_of: String,
    reset: Outlook,
}

/// What a reset would meet now.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Outlook {
    /// Policy permits to reset it alone, with a reason and a ticket, and with a typed or a generated password. `dryRun`
    /// judges a whole request.
    #[schema(example = true)]
    allowed: bool,
    /// Nothing but policy stands against it.
    #[schema(example = true)]
    ready: bool,
    /// What does: `policy`, `not-running`, `busy`, `no-agent`, `cooldown`, `quota`, `limits-unavailable`,
    /// `stale`.
    #[schema(example = json!([]))]
    blockers: Vec<&'static str>,
}

/// A page of instances.
#[derive(Serialize, ToSchema)]
#[schema(as = InstancePage)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageView {
    /// In the order of their ids. May be fewer than `limit`, even none, and yet not the last.
    pub(super) items: Vec<InstanceView>,
    /// Where the next page goes on; absent from the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "Zk9…")]
    pub(super) next_cursor: Option<String>,
}

/// What was asked for; every part must match.
#[derive(Default)]
pub(super) struct Filter {
    pub(super) zone: Option<String>,
    pub(super) resource_group: Option<String>,
    pub(super) tag: Option<(String, String)>,
    /// In lower case; any part of the name.
    pub(super) name: Option<String>,
    pub(super) status: Option<String>,
}

/// One page's work, with all it needs to leave the worker's thread.
pub(super) struct Listing {
    pub(super) filter: Filter,
    pub(super) limit: usize,
    pub(super) after: Option<InstanceId>,
    pub(super) eye: Eye,
}

/// An instance that the caller may view.
pub(super) struct Viewed {
    known: Known,
    /// Policy permits to reset it.
    allowed: bool,
}

/// One caller's view of instances.
#[derive(Clone)]
pub(super) struct Eye {
    pub(super) viewer: Arc<Viewer>,
    limiter: Arc<Limiter>,
    mirror: Arc<Mirror>,
}

impl Filter {
    fn matches(&self, told: &Attributes) -> bool {
        let same = |wanted: &Option<String>, has: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == has)
        };
        same(&self.zone, told.zone.as_deref())
            && same(&self.resource_group, told.resource_group.as_deref())
            && same(&self.status, Some(&told.status))
            && self.name.as_ref().is_none_or(|part| told.name.to_lowercase().contains(part.as_str()))
            && self.tag.as_ref().is_none_or(|(key, value)| {
                told.tags.iter().any(|tag| *tag.key == **key && *tag.value == **value)
            })
    }
}

impl Listing {
    /// The page, and where the next goes on, if it may hold something. None: nothing is known yet.
    pub(super) fn page(&self) -> Option<(Vec<Viewed>, Option<InstanceId>)> {
        let snapshot = self.eye.mirror.snapshot()?;
        let rest = snapshot.after(self.after.as_ref());
        let mut items = Vec::new();
        // Where the page ends: behind its last item, if another follows within what one page examines.
        let mut end = None;
        for (place, known) in rest.iter().enumerate().take(MOST_EXAMINED) {
            let told = &known.attributes;
            if !self.filter.matches(told) || !self.eye.viewer.may_view(told) {
                continue;
            }
            if items.len() == self.limit {
                let last = &rest[end.unwrap_or(place)].attributes;
                return Some((items, Some(last.id.clone())));
            }
            items.push(self.eye.judged(known.clone()));
            end = Some(place);
        }
        let more = rest.len() > MOST_EXAMINED;
        Some((items, more.then(|| rest[MOST_EXAMINED - 1].attributes.id.clone())))
    }
}

impl Eye {
    pub(super) fn of(gateway: &Gateway, viewer: Viewer) -> Self {
        let viewer = Arc::new(viewer);
        Self { viewer, limiter: gateway.limiter.clone(), mirror: gateway.inventory.mirror().clone() }
    }

    pub(super) fn last_known(&self, id: &InstanceId) -> Option<Known> {
        self.mirror.snapshot()?.get(id).cloned()
    }

    fn judged(&self, known: Known) -> Viewed {
        Viewed { allowed: self.viewer.may_reset(&known.attributes), known }
    }

    /// The instance as the caller sees it.
    pub(super) async fn look(&self, known: Known) -> InstanceView {
        self.look_at(&[self.judged(known)]).await.pop().expect("as many as were given")
    }

    /// The same of several, whose quotas are asked for at once.
    pub(super) async fn look_at(&self, viewed: &[Viewed]) -> Vec<InstanceView> {
        let ids = viewed.iter().map(|viewed| &viewed.known.attributes.id);
        let left = self.limiter.standings(self.viewer.revision(), self.viewer.team(), ids).await;
        let left = left.as_deref().ok();
        let of = |place| left.and_then(|left| left.get(place));
        viewed.iter().enumerate().map(|(place, viewed)| self.shown(viewed, of(place))).collect()
    }

    fn shown(&self, viewed: &Viewed, left: Option<&Standings>) -> InstanceView {
        let Viewed { known, allowed } = viewed;
        let (told, allowed) = (&known.attributes, *allowed);
        let mut met = obstacles(told, left);
        met.extend((!self.mirror.is_fresh(known)).then_some(Blocker::Stale));
        let reset = Outlook { allowed, ready: met.is_empty(), blockers: blockers(allowed, &met) };
        let text = |text: &Arc<str>| (!matches!(&**text, "" | "UNKNOWN")).then(|| text.to_string());
        InstanceView {
            instance_id: told.id.to_string(),
            name: text(&told.name),
            status: text(&told.status),
            instance_type: text(&told.instance_type),
            image_id: text(&told.image),
            enable_agent: match told.agent {
                Agent::Present => Some(true),
                Agent::Absent => Some(false),
                Agent::Unknown => None,
            },
            zone_id: told.zone.as_deref().map(str::to_owned),
            resource_group_id: told.resource_group.as_deref().map(str::to_owned),
            addresses: told.addresses.iter().map(ToString::to_string).collect(),
            tags: told.tags.iter().map(|tag| (tag.key.to_string(), tag.value.to_string())).collect(),
            as_of: rfc3339(wall(known.asked)),
            reset,
        }
    }
}

/// All that stands against a reset, policy first.
pub(super) fn blockers(allowed: bool, met: &[Blocker]) -> Vec<&'static str> {
    let policy = (!allowed).then_some(Blocker::Policy);
    policy.iter().chain(met).map(|blocker| blocker.as_str()).collect()
}

/// The time of day at an instant that is past.
fn wall(instant: Instant) -> Timestamp {
    let ago = SignedDuration::try_from(instant.elapsed()).unwrap_or_default();
    Timestamp::now() - ago
}
