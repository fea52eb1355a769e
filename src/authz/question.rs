use std::net::IpAddr;
use std::str::FromStr;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request,
    RestrictedExpression as Expression,
};
use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use super::Owner;
use crate::authn::{Origin, Principal};
use crate::domain::TeamName;
use crate::inventory::{Attributes, Seen};

/// The actions of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    ResetPassword,
    ViewInstance,
    ViewReset,
    ViewAudit,
}

/// The text names none of the actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be ResetPassword, ViewInstance, ViewReset or ViewAudit")]
pub struct ActionFault;

impl FromStr for Action {
    type Err = ActionFault;

    fn from_str(text: &str) -> Result<Self, ActionFault> {
        Self::ALL.into_iter().find(|action| action.name() == text).ok_or(ActionFault)
    }
}

impl Action {
    pub(super) const ALL: [Self; 4] =
        [Self::ResetPassword, Self::ViewInstance, Self::ViewReset, Self::ViewAudit];

    /// Asked of an instance; the others are asked of a team.
    pub(super) fn is_of_instances(self) -> bool {
        matches!(self, Self::ResetPassword | Self::ViewInstance)
    }

    /// As the schema names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ResetPassword => "ResetPassword",
            Self::ViewInstance => "ViewInstance",
            Self::ViewReset => "ViewReset",
            Self::ViewAudit => "ViewAudit",
        }
    }
}

/// Who asks, and how: everything that a policy may read but the instance.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `<issuer name>|<subject>`.
    pub user: String,
    pub team: TeamName,
    pub scopes: Vec<String>,
    pub client: String,
    pub actor: String,
    pub address: IpAddr,
    pub at: Timestamp,
    pub reason_given: bool,
    pub ticket_given: bool,
    pub generated: bool,
    pub batch_size: i64,
}

impl Asked {
    /// Nothing was written down yet.
    pub fn by(principal: &Principal, origin: &Origin) -> Self {
        let identity = principal.identity();
        Self {
            user: identity.to_string(),
            team: principal.team().clone(),
            scopes: identity.scopes().to_vec(),
            client: identity.client().unwrap_or_default().to_owned(),
            actor: identity.actor().unwrap_or_default().to_owned(),
            address: origin.address,
            at: origin.at,
            reason_given: false,
            ticket_given: false,
            generated: false,
            batch_size: 1,
        }
    }

    pub(super) fn of(seen: &Seen) -> Self {
        let call = seen.call();
        Self {
            reason_given: call.request.reason.is_some(),
            ticket_given: call.request.ticket.is_some(),
            generated: call.request.password.is_generated(),
            batch_size: call.request.batch.map_or(1, |batch| batch.size as i64),
            ..Self::by(&call.principal, &call.origin)
        }
    }
}

/// A request in Cedar's terms, with the entities it speaks of.
pub(super) struct Question {
    pub(super) request: Request,
    pub(super) entities: Entities,
}

impl Question {
    pub(super) fn of_instance(
        action: Action,
        asked: &Asked,
        attributes: &Attributes,
        zone: &TimeZone,
    ) -> Self {
        Self::new(action, asked, instance(attributes), zone)
    }

    /// About what belongs to somebody.
    pub(super) fn of_owner(action: Action, asked: &Asked, owner: &Owner, zone: &TimeZone) -> Self {
        Self::new(action, asked, self::owner(owner), zone)
    }

    pub(super) fn new(action: Action, asked: &Asked, resource: Entity, zone: &TimeZone) -> Self {
        let asker = Asker::new(action, asked, zone);
        asker.question(resource.uid(), asker.with(resource))
    }
}

/// All of a question but its resource, for asking it of many.
pub(super) struct Asker {
    action: EntityUid,
    user: Entity,
    context: Context,
}

impl Asker {
    pub(super) fn new(action: Action, asked: &Asked, zone: &TimeZone) -> Self {
        let mut context = circumstances(asked, zone);
        if action == Action::ResetPassword {
            context.extend([
                ("reasonGiven".to_owned(), Expression::new_bool(asked.reason_given)),
                ("ticketGiven".to_owned(), Expression::new_bool(asked.ticket_given)),
                ("generated".to_owned(), Expression::new_bool(asked.generated)),
                ("batchSize".to_owned(), Expression::new_long(asked.batch_size)),
            ]);
        }
        let team = uid("Team", asked.team.as_str());
        Self {
            action: uid("Action", action.name()),
            user: Entity::new_no_attrs(uid("User", &asked.user), [team].into()),
            context: Context::from_pairs(context).expect("the names differ and the values are literals"),
        }
    }

    /// For what reads nothing of who asks.
    pub(super) fn anyone() -> Self {
        let anyone = Asked::anyone("anyone".parse().expect("a name"));
        Self::new(Action::ResetPassword, &anyone, &TimeZone::UTC)
    }

    pub(super) fn about_instance(&self, attributes: &Attributes) -> Question {
        let instance = instance(attributes);
        self.question(instance.uid(), self.with(instance))
    }

    /// The entities of a question about this one.
    pub(super) fn with(&self, resource: Entity) -> Entities {
        Entities::from_entities([self.user.clone(), resource], None).expect("two entities of different types")
    }

    /// The question about `resource`, one of the entities that [`Asker::with`] gave.
    pub(super) fn question(&self, resource: EntityUid, entities: Entities) -> Question {
        let (user, action, context) = (self.user.uid(), self.action.clone(), self.context.clone());
        let request = Request::new(user, action, resource, context, None);
        let request = request.expect("a request is checked only against a schema, and none is given");
        Question { request, entities }
    }
}

fn circumstances(asked: &Asked, zone: &TimeZone) -> Vec<(String, Expression)> {
    let scopes = asked.scopes.iter().cloned().map(Expression::new_string);
    let text = |text: &str| Expression::new_string(text.to_owned());
    vec![
        ("scopes".to_owned(), Expression::new_set(scopes)),
        ("client".to_owned(), text(&asked.client)),
        ("actor".to_owned(), text(&asked.actor)),
        ("address".to_owned(), address(asked.address)),
        ("time".to_owned(), Expression::new_datetime(crate::domain::rfc3339(asked.at))),
        ("local".to_owned(), local(asked.at, zone)),
    ]
}

fn local(at: Timestamp, zone: &TimeZone) -> Expression {
    let local = zone.to_datetime(at);
    let weekday = match local.weekday() {
        Weekday::Monday => "mon",
        Weekday::Tuesday => "tue",
        Weekday::Wednesday => "wed",
        Weekday::Thursday => "thu",
        Weekday::Friday => "fri",
        Weekday::Saturday => "sat",
        Weekday::Sunday => "sun",
    };
    let fields = [
        ("weekday".to_owned(), Expression::new_entity_uid(uid("Weekday", weekday))),
        ("hour".to_owned(), Expression::new_long(local.hour().into())),
        ("minute".to_owned(), Expression::new_long(local.minute().into())),
    ];
    Expression::new_record(fields).expect("the names differ")
}

pub(super) fn instance(attributes: &Attributes) -> Entity {
    let text = |text: &str| Expression::new_string(text.to_owned());
    let addresses = attributes.addresses.iter().copied().map(address);
    let parents = [("ResourceGroup", &attributes.resource_group), ("Zone", &attributes.zone)];
    Entity::new_with_tags(
        uid("Instance", attributes.id.as_str()),
        [
            ("name".to_owned(), text(&attributes.name)),
            ("status".to_owned(), text(&attributes.status)),
            ("instanceType".to_owned(), text(&attributes.instance_type)),
            ("image".to_owned(), text(&attributes.image)),
            ("agent".to_owned(), text(attributes.agent.as_str())),
            ("addresses".to_owned(), Expression::new_set(addresses)),
        ],
        parents.into_iter().filter_map(|(kind, id)| Some(uid(kind, id.as_deref()?))),
        attributes.tags.iter().map(|tag| (tag.key.to_string(), text(&tag.value))),
    )
    .expect("literals evaluate, and no tag's key comes twice")
}

pub(super) fn owner(owner: &Owner) -> Entity {
    Entity::with_uid(uid("Team", owner.as_str()))
}

/// One that no policy names.
pub(super) fn unnamed_owner() -> Entity {
    Entity::with_uid(uid("Team", "@another"))
}

/// Whose records are read where a policy names this entity.
pub(super) fn as_owner(uid: &EntityUid) -> Option<Owner> {
    let is_team = uid.type_name().basename() == "Team";
    uid.id().unescaped().parse().ok().filter(|_| is_team)
}

/// Cedar refuses an IPv4 address inside IPv6.
fn address(ip: IpAddr) -> Expression {
    Expression::new_ip(ip.to_canonical().to_string())
}

fn uid(kind: &'static str, id: &str) -> EntityUid {
    let kind: EntityTypeName = kind.parse().expect("a type of the schema");
    EntityUid::from_type_name_and_id(kind, EntityId::new(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_time_follows_its_zone_over_a_change_of_the_clock() {
        let zone = TimeZone::get("Europe/Berlin").expect("a zone");
        for (utc, weekday, hour, minute) in [
            ("2026-10-24T23:30:00Z", "sun", 1, 30),
            ("2026-10-25T00:30:00Z", "sun", 2, 30),
            ("2026-10-25T01:30:00Z", "sun", 2, 30),
            ("2026-10-25T02:30:00Z", "sun", 3, 30),
            ("2026-11-23T23:00:00Z", "tue", 0, 0),
        ] {
            let told = format!("{:?}", local(utc.parse().expect("a time"), &zone));
            let expected = Expression::new_record([
                ("weekday".to_owned(), Expression::new_entity_uid(uid("Weekday", weekday))),
                ("hour".to_owned(), Expression::new_long(hour)),
                ("minute".to_owned(), Expression::new_long(minute)),
            ]);
            assert_eq!(told, format!("{:?}", expected.expect("a record")), "{utc}");
        }
    }
}
