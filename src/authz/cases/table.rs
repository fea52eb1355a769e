use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::tz::TimeZone;
use toml::de::DeTable;

use super::fields::{Fields, Found, Inner, boolean, by, list, listed, moment, parsed, text, texts, whole};
use super::{Case, Expected};
use crate::authz::fault::{Faults, Text};
use crate::authz::inquiry::{About, Inquiry, user};
use crate::authz::question::{Action, Asked};
use crate::authz::{Owner, PolicyFault, PolicyRevision};
use crate::domain::{InstanceId, TeamName};
use crate::inventory::{Agent, Attributes, Tag};

/// What the cases of a table may speak of.
struct Setting<'s> {
    /// By id. None: it is there and has a fault.
    instances: BTreeMap<String, Option<Arc<Attributes>>>,
    zone: TimeZone,
    /// The folder's policies, unless they have a fault.
    revision: Option<&'s PolicyRevision>,
}

/// Most instances that a call can name.
const LARGEST_BATCH: i64 = 100;

/// The cases of one file, without those that have a fault; and what may be a mistake in it.
pub(super) fn parse(
    text: Text<'_>,
    zone: &TimeZone,
    revision: Option<&PolicyRevision>,
    faults: &mut Faults,
) -> (Vec<Case>, Vec<PolicyFault>) {
    let mut found = Found { text, faults, doubts: BTreeMap::new() };
    let (document, errors) = DeTable::parse_recoverable(text.text);
    for error in &errors {
        found.add(&error.span().unwrap_or_default(), format!("is not TOML: {}", error.message()));
    }
    if !errors.is_empty() {
        return Default::default();
    }
    let mut root = Fields::new(0..0, document.into_inner(), &mut found);
    let zone = root.read("time_zone", by(time_zone)).unwrap_or_else(|| zone.clone());
    let (instances, cases) = (root.tables("instances"), root.tables("cases"));
    drop(root);
    let instances = instances.into_iter().map(|inner| {
        let id = inner.key.get_ref().to_string();
        (id, instance(inner, &mut found).map(Arc::new))
    });
    let setting = Setting { instances: instances.collect(), zone, revision };
    let cases = cases.into_iter().filter_map(|inner| case(inner, &setting, &mut found)).collect();
    let mut warnings = Faults::default();
    found.doubts.iter().for_each(|(message, place)| warnings.at(text, place, message));
    (cases, warnings.sorted().0)
}

fn time_zone(name: &str) -> Result<TimeZone, &'static str> {
    TimeZone::get(name).map_err(|_| "must be an IANA name such as \"Europe/Berlin\"")
}

/// What is left out is what Zenlayer does not tell.
fn instance(Inner { key, values }: Inner<'_>, found: &mut Found<'_>) -> Option<Attributes> {
    let mut fields = Fields::new(key.span(), values, found);
    let id = key.get_ref().parse::<InstanceId>();
    if let Err(fault) = &id {
        fields.fault(format!("{:?}: {fault}", key.get_ref()));
    }
    let mut told = |name| fields.read(name, text).map(Arc::<str>::from);
    let (name, status) = (told("name"), told("status"));
    let (instance_type, image) = (told("instance_type"), told("image"));
    let (zone, resource_group) = (told("zone"), told("resource_group"));
    let agent = fields.read("agent", by(agent));
    let addresses: Vec<IpAddr> = fields.read("addresses", list).unwrap_or_default();
    let tags = fields.read("tags", texts).unwrap_or_default().into_iter();
    let unknown = Attributes::unknown(id.ok()?);
    Some(Attributes {
        name: name.unwrap_or(unknown.name),
        status: status.unwrap_or(unknown.status),
        instance_type: instance_type.unwrap_or(unknown.instance_type),
        image: image.unwrap_or(unknown.image),
        agent: agent.unwrap_or(unknown.agent),
        addresses: addresses.iter().map(IpAddr::to_canonical).collect(),
        zone,
        resource_group,
        tags: tags.map(|(key, value)| Tag { key: key.into(), value: value.into() }).collect(),
        id: unknown.id,
    })
}

fn agent(name: &str) -> Result<Agent, &'static str> {
    let all = [Agent::Present, Agent::Absent, Agent::Unknown];
    all.into_iter().find(|agent| agent.as_str() == name).ok_or("must be PRESENT, ABSENT or UNKNOWN")
}

fn case(Inner { key, values }: Inner<'_>, setting: &Setting<'_>, found: &mut Found<'_>) -> Option<Case> {
    let mut fields = Fields::new(key.span(), values, found);
    if key.get_ref().trim().is_empty() {
        fields.fault("a case's name says what should be, and this one is empty");
    }
    let action =
        if fields.has("action") { fields.read("action", parsed) } else { Some(Action::ResetPassword) };
    let place = fields.place("team");
    let team = fields.need("team", parsed::<TeamName>);
    // That a team without a file is refused is a good case; that a misspelt one is proves nothing.
    if let (Some(team), Some(place), Some(revision)) = (&team, place, setting.revision)
        && !revision.has_team(team)
        && let Some(other) = revision.nearest_team(team)
    {
        fields.doubt(place, format!("the folder has no policies of team {team}: is {other} meant?"));
    }
    let about = about(&mut fields, action, setting);
    let rules = fields.read("rules", listed(|name| rule(name, team.as_ref(), setting.revision)));
    let asked = asked(&mut fields, action, team);
    let allow = fields.need("expect", by(expect));
    let inquiry = Inquiry { action: action?, asked: asked?, about: about?, zone: setting.zone.clone() };
    let expected = Expected { allow: allow?, rules: rules.map(|rules| rules.into_iter().collect()) };
    Some(Case { name: key.into_inner().into_owned(), inquiry, expected })
}

fn expect(word: &str) -> Result<bool, &'static str> {
    match word {
        "allow" => Ok(true),
        "deny" => Ok(false),
        _ => Err("must be allow or deny"),
    }
}

/// A policy that can decide for the team, as far as is known.
fn rule(name: &str, team: Option<&TeamName>, revision: Option<&PolicyRevision>) -> Result<String, String> {
    match (team, revision) {
        (Some(team), Some(revision)) if !revision.binds(team, name) => {
            Err(format!("is no policy of teams/{team}.cedar or global.cedar"))
        }
        _ => Ok(name.to_owned()),
    }
}

fn about(fields: &mut Fields<'_, '_, '_>, action: Option<Action>, setting: &Setting<'_>) -> Option<About> {
    match action {
        // Its fault is told already, and what would fit it is not known.
        None => {
            fields.discard("instance");
            fields.discard("owner");
            None
        }
        Some(Action::ResetPassword | Action::ViewInstance) => {
            fields.refuse("owner", "does not fit: the action is asked of an instance");
            let known = |id: &str| setting.instances.get(id).ok_or("is not one of the file's [instances]");
            let instance = fields.need("instance", by(known))?;
            instance.clone().map(About::Instance)
        }
        Some(action @ (Action::ViewReset | Action::ViewAudit)) => {
            fields.refuse("instance", "does not fit: the action is asked of the team that is `owner`");
            // The gateway has records and no resets.
            let owner = match action {
                Action::ViewAudit => fields.need("owner", parsed),
                _ => fields.need("owner", parsed).map(Owner::Team),
            };
            owner.map(About::Owner)
        }
    }
}

fn asked(fields: &mut Fields<'_, '_, '_>, action: Option<Action>, team: Option<TeamName>) -> Option<Asked> {
    if action.is_some_and(|action| action != Action::ResetPassword) {
        for key in ["reason_given", "ticket_given", "generated", "batch_size"] {
            fields.refuse(key, "does not fit: only ResetPassword has it");
        }
    }
    let user = fields.read("user", by(user));
    let scopes = fields.read("scopes", list);
    let (client, actor) = (fields.read("client", text), fields.read("actor", text));
    let address = fields.read("address", parsed);
    let at = fields.read("time", moment);
    let mut given = |key| fields.read(key, boolean).unwrap_or(false);
    let (reason_given, ticket_given, generated) =
        (given("reason_given"), given("ticket_given"), given("generated"));
    let batch_size = fields.read("batch_size", whole(1..=LARGEST_BATCH));
    let anyone = Asked::anyone(team?);
    Some(Asked {
        user: user.unwrap_or(anyone.user),
        team: anyone.team,
        scopes: scopes.unwrap_or(anyone.scopes),
        client: client.unwrap_or(anyone.client),
        actor: actor.unwrap_or(anyone.actor),
        address: address.unwrap_or(anyone.address),
        at: at.unwrap_or(anyone.at),
        reason_given,
        ticket_given,
        generated,
        batch_size: batch_size.unwrap_or(anyone.batch_size),
    })
}
