use super::{Basis, Known};
use crate::authz::{About, Action, Asked, Holds, Inquiry, Owner, PolicyRevision, Trace, Verdict, shown};
use crate::cli::{Failure, say};
use crate::domain::rfc3339;
use crate::inventory::Attributes;

/// Who asks what, and how.
pub(super) fn question(revision: &PolicyRevision, inquiry: &Inquiry, basis: Basis) -> Result<(), Failure> {
    let Inquiry { action, asked, zone, .. } = inquiry;
    let local = zone.to_datetime(asked.at).strftime("%a %H:%M").to_string().to_lowercase();
    let zone = zone.iana_name().unwrap_or("local time");
    say("question")?;
    field("action", action.name())?;
    let note = if revision.has_team(&asked.team) { "" } else { ": the folder has no policies of it" };
    field("team", &format!("{}{note}", asked.team))?;
    field("user", &asked.user)?;
    field("scopes", &listed(asked.scopes.iter().map(String::as_str)))?;
    field("client", given(&asked.client))?;
    field("actor", given(&asked.actor))?;
    field("address", &asked.address.to_canonical().to_string())?;
    field("time", &format!("{}, {local} in {zone}", rfc3339(asked.at)))?;
    if *action == Action::ResetPassword { reset(asked, basis) } else { Ok(()) }
}

fn reset(asked: &Asked, basis: Basis) -> Result<(), Failure> {
    let yes = |given| if given { "given" } else { "not given" };
    field("reason", yes(asked.reason_given))?;
    field("ticket", yes(asked.ticket_given))?;
    let taken = match basis {
        Basis::Arguments => "",
        Basis::Record => "not on record, taken as ",
    };
    let password = if asked.generated { "generated" } else { "the caller's" };
    field("password", password)?;
    field("batch size", &format!("{taken}{}", asked.batch_size))
}

/// What the question is about, as policy sees it.
pub(super) fn subject(about: &About, known: Known) -> Result<(), Failure> {
    match about {
        About::Owner(Owner::Team(owner)) => say(format!("team {owner}")),
        About::Owner(Owner::Gateway) => say("the gateway itself"),
        About::Instance(told) => {
            let note = match known {
                Known::Told => "",
                Known::Missing => ": there is no such instance, so all of it is unknown",
                Known::Nothing => {
                    ": neither --inventory nor a configuration tells of it, so all of it is unknown"
                }
            };
            say(format!("instance {}{note}", told.id))?;
            attributes(told)
        }
    }
}

fn attributes(told: &Attributes) -> Result<(), Failure> {
    let addresses: Vec<String> = told.addresses.iter().map(ToString::to_string).collect();
    let tags: Vec<String> = told.tags.iter().map(|tag| format!("{}={}", tag.key, tag.value)).collect();
    field("name", given(&told.name))?;
    field("status", &told.status)?;
    field("type", &told.instance_type)?;
    field("image", &told.image)?;
    field("agent", told.agent.as_str())?;
    field("addresses", &listed(addresses.iter().map(String::as_str)))?;
    field("zone", told.zone.as_deref().unwrap_or("none"))?;
    field("group", told.resource_group.as_deref().unwrap_or("none"))?;
    field("tags", &listed(tags.iter().map(String::as_str)))
}

/// The decision, and what stops the caller whatever it is.
pub(super) fn answer(revision: &PolicyRevision, inquiry: &Inquiry, verdict: &Verdict) -> Result<(), Failure> {
    say("answer")?;
    field("decision", &verdict.to_string())?;
    field("revision", revision.id().as_str())?;
    if revision.stops(&inquiry.asked) {
        field("blocked", "blocks.toml stops this caller, whatever policies permit")?;
    }
    Ok(())
}

/// What a refused caller would be told: only who may view the instance learns why.
pub(super) fn sight(revision: &PolicyRevision, inquiry: &Inquiry, known: Known) -> Result<(), Failure> {
    if inquiry.action != Action::ResetPassword {
        return Ok(());
    }
    let view = revision.answer(&Inquiry { action: Action::ViewInstance, ..inquiry.clone() });
    let reason = view.reason();
    let text = match (view.permits(), known) {
        (true, Known::Missing) => format!("no, it is missing (else {reason}): a refusal does not say why"),
        (true, Known::Told | Known::Nothing) => format!("yes, {reason}: a refusal says why"),
        (false, _) => format!("no, {reason}: a refusal does not say why"),
    };
    field("may view", &text)
}

/// How every policy fares that speaks of the action.
pub(super) fn policies(revision: &PolicyRevision, inquiry: &Inquiry) -> Result<(), Failure> {
    say(format!("policies that speak of {}, in the order of their files", inquiry.action.name()))?;
    let traces = revision.trace(inquiry);
    if traces.is_empty() {
        return say("  none");
    }
    traces.iter().try_for_each(policy)
}

fn policy(trace: &Trace) -> Result<(), Failure> {
    let Trace { policy, effect, applies, conditions } = trace;
    let applies = match applies {
        Holds::True => "applies".to_owned(),
        Holds::False | Holds::NotReached => "does not apply".to_owned(),
        Holds::Erred(why) => format!("cannot be evaluated: {why}"),
    };
    say(format!("  {effect} {policy}: {applies}"))?;
    conditions.iter().try_for_each(|(text, holds)| match holds {
        Holds::True => say(format!("    true   {text}")),
        Holds::False => say(format!("    false  {text}")),
        Holds::Erred(why) => say(format!("    error  {text}: {why}")),
        Holds::NotReached => say(format!("    -      {text}")),
    })
}

/// Callers and Zenlayer's users choose some of the values, and none of them is to steer a terminal.
pub(super) fn field(name: &str, value: &str) -> Result<(), Failure> {
    say(format!("  {name:<10} {}", shown(value)))
}

pub(super) fn listed<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    let texts: Vec<&str> = texts.collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(" ") }
}

fn given(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}
