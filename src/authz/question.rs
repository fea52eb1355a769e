use std::net::IpAddr;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request,
    RestrictedExpression as Expression,
};

use crate::authn::{Origin, Principal};
use crate::domain::TeamName;
use crate::inventory::{Attributes, Seen};

/// The actions of the schema that this version asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    ResetPassword,
    ViewInstance,
    ViewReset,
}

impl Action {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ResetPassword => "ResetPassword",
            Self::ViewInstance => "ViewInstance",
            Self::ViewReset => "ViewReset",
        }
    }
}

/// A request in Cedar's terms, with the entities it speaks of.
pub(super) struct Question {
    pub(super) request: Request,
    pub(super) entities: Entities,
}

impl Question {
    /// About an instance; one that Zenlayer does not have is all unknown.
    pub(super) fn of_instance(action: Action, seen: &Seen) -> Self {
        let call = seen.call();
        let resource = match seen.attributes() {
            Some(attributes) => instance(attributes),
            None => instance(&Attributes::unknown(call.request.instance.clone())),
        };
        let mut context = circumstances(&call.principal, &call.origin);
        if action == Action::ResetPassword {
            context.push(("reasonGiven".to_owned(), Expression::new_bool(call.request.reason.is_some())));
            context.push(("ticketGiven".to_owned(), Expression::new_bool(call.request.ticket.is_some())));
        }
        Self::new(action, &call.principal, resource, context)
    }

    /// About what belongs to a team.
    pub(super) fn of_team(action: Action, principal: &Principal, origin: &Origin, team: &TeamName) -> Self {
        let resource = Entity::with_uid(uid("Team", team.as_str()));
        Self::new(action, principal, resource, circumstances(principal, origin))
    }

    fn new(
        action: Action,
        principal: &Principal,
        resource: Entity,
        context: Vec<(String, Expression)>,
    ) -> Self {
        let who = uid("User", &principal.identity().to_string());
        let team = uid("Team", principal.team().as_str());
        let user = Entity::new_no_attrs(who.clone(), [team].into());
        let request = Request::new(
            who,
            uid("Action", action.name()),
            resource.uid(),
            Context::from_pairs(context).expect("the names differ and the values are literals"),
            None,
        );
        Self {
            request: request.expect("a request is checked only against a schema, and none is given"),
            entities: Entities::from_entities([user, resource], None)
                .expect("two entities of different types"),
        }
    }
}

fn circumstances(principal: &Principal, origin: &Origin) -> Vec<(String, Expression)> {
    let identity = principal.identity();
    let scopes = identity.scopes().iter().cloned().map(Expression::new_string);
    let text = |text: Option<&str>| Expression::new_string(text.unwrap_or_default().to_owned());
    vec![
        ("scopes".to_owned(), Expression::new_set(scopes)),
        ("client".to_owned(), text(identity.client())),
        ("actor".to_owned(), text(identity.actor())),
        ("address".to_owned(), address(origin.address)),
        ("time".to_owned(), Expression::new_datetime(crate::domain::rfc3339(origin.at))),
    ]
}

fn instance(attributes: &Attributes) -> Entity {
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
        attributes.tags.iter().map(|tag| (tag.key.clone(), text(&tag.value))),
    )
    .expect("literals evaluate, and no tag's key comes twice")
}

/// Cedar refuses an IPv4 address inside IPv6.
fn address(ip: IpAddr) -> Expression {
    Expression::new_ip(ip.to_canonical().to_string())
}

fn uid(kind: &'static str, id: &str) -> EntityUid {
    let kind: EntityTypeName = kind.parse().expect("a type of the schema");
    EntityUid::from_type_name_and_id(kind, EntityId::new(id))
}
