use std::collections::BTreeSet;
use std::path::Path;

use jiff::tz::TimeZone;

use super::show::{field, listed};
use super::{Basis, about_instance, allowed, explain};
use crate::audit::Recorded;
use crate::authz::{Action, Asked, Inquiry, PolicyRevision, Verdict};
use crate::cli::policy::check;
use crate::cli::policy::sources::Sources;
use crate::cli::{Failure, audit, file, load, say};
use crate::domain::{InstanceId, rfc3339};
use crate::inventory::Attributes;

/// What decides now.
struct Now {
    revision: PolicyRevision,
    instances: Option<Vec<Attributes>>,
    zone: TimeZone,
}

/// Tells what the trail has of a reset or a call, and what would be decided now; whether all of it is allowed now.
pub(super) fn explain_again(id: &str, sources: &Sources, config: Option<&Path>) -> Result<bool, Failure> {
    let config = load(file(config))?;
    let records = audit::open(&config.audit)?.about(id).map_err(Failure::finding)?;
    let (outcomes, decided): (Vec<_>, Vec<_>) = records.iter().partition(|record| record.kind == "outcome");
    if decided.is_empty() {
        return Err(Failure::Finding(format!("the trail has no decision on {id}")));
    }
    for record in &decided {
        show(record)?;
        let ends = outcomes.iter().filter(|outcome| outcome.reset_id == record.reset_id);
        ends.copied().try_for_each(show_outcome)?;
    }
    let opened = sources.under(config);
    let revision = check::load(opened.folder())?;
    let of_instances = decided.iter().any(|record| question(record).is_ok());
    let instances = if of_instances { opened.instances()? } else { None };
    let now = Now { revision, instances, zone: opened.time_zone() };
    decided.iter().try_fold(true, |allowed, record| Ok(now.ask_again(record)? && allowed))
}

impl Now {
    /// Whether what the record asks for is allowed now.
    fn ask_again(&self, record: &Recorded) -> Result<bool, Failure> {
        let (asked, id) = match question(record) {
            Ok(question) => question,
            Err(why) => {
                say(format!("not asked again: {why}"))?;
                return Ok(false);
            }
        };
        let (about, known) = about_instance(id, self.instances.as_deref());
        let inquiry = Inquiry { action: Action::ResetPassword, asked, about, zone: self.zone.clone() };
        let verdict = explain(&self.revision, &inquiry, known, Basis::Record)?;
        compare(record, &self.revision, &verdict)?;
        Ok(allowed(&self.revision, &inquiry, &verdict))
    }
}

/// What a record says was asked and decided.
fn show(record: &Recorded) -> Result<(), Failure> {
    say(format!("recorded: {} at {}", record.kind, rfc3339(record.time)))?;
    let user = record.issuer.as_ref().zip(record.subject.as_ref());
    let user = user.map(|(issuer, subject)| format!("{issuer}|{subject}"));
    let address = record.client_address.map(|address| address.to_string());
    let scopes = match listed(record.scopes.iter().map(String::as_str)) {
        none if record.scopes.is_empty() => format!("{none}, or not told: old records do not tell them"),
        scopes => scopes,
    };
    let decision = then(record).map(|verdict| described(&verdict));
    for (name, value) in [
        ("request", record.request_id.as_deref()),
        ("reset", record.reset_id.as_deref()),
        ("user", user.as_deref()),
        ("client", record.client.as_deref()),
        ("actor", record.actor.as_deref()),
        ("token id", record.token_id.as_deref()),
        ("scopes", Some(&scopes)),
        ("team", record.team.as_ref().map(|team| team.as_str())),
        ("address", address.as_deref()),
        ("action", record.action.as_deref()),
        ("instance", record.instance_id.as_ref().map(|id| id.as_str())),
        ("reason", record.reason.as_deref()),
        ("ticket", record.ticket.as_deref()),
        ("decision", decision.as_deref()),
        ("revision", record.revision.as_ref().map(|revision| revision.as_str())),
        ("refused", record.refused.as_deref()),
    ] {
        value.map_or(Ok(()), |value| field(name, value))?;
    }
    Ok(())
}

fn show_outcome(record: &Recorded) -> Result<(), Failure> {
    let what = [&record.outcome, &record.upstream_code, &record.cause];
    let what = listed(what.into_iter().flatten().map(String::as_str));
    field("outcome", &format!("{what} at {}", rfc3339(record.time)))
}

/// The reset that a record asks for and its instance, or why it cannot be asked again.
fn question(record: &Recorded) -> Result<(Asked, &InstanceId), &'static str> {
    let (Some(team), Some(action)) = (&record.team, &record.action) else {
        return Err("it was refused before any policy was asked");
    };
    let (Some(id), true) = (&record.instance_id, action == Action::ResetPassword.name()) else {
        return Err("the record does not say whose resets it asked for");
    };
    let (Some(issuer), Some(subject), Some(address)) =
        (&record.issuer, &record.subject, record.client_address)
    else {
        return Err("the record does not say who asked");
    };
    let asked = Asked {
        user: format!("{issuer}|{subject}"),
        scopes: record.scopes.clone(),
        client: record.client.clone().unwrap_or_default(),
        actor: record.actor.clone().unwrap_or_default(),
        address,
        at: record.time,
        reason_given: record.reason.is_some(),
        ticket_given: record.ticket.is_some(),
        generated: record.generated,
        batch_size: record.batch_size.unwrap_or(1),
        ..Asked::anyone(team.clone())
    };
    Ok((asked, id))
}

/// What policy decided then. A record does not tell a policy that failed from a permit that does not fit.
fn then(record: &Recorded) -> Option<Verdict> {
    let policies = record.policies.clone();
    match record.decision.as_deref()? {
        "allow" => Some(Verdict::Permitted(policies)),
        _ => Some(Verdict::Refused(policies)),
    }
}

fn described(then: &Verdict) -> String {
    match then {
        Verdict::Refused(forbids) if forbids.is_empty() => {
            format!("{then}, or a policy could not be evaluated")
        }
        verdict => verdict.to_string(),
    }
}

/// Whether the policies and the decision are those of the record.
fn compare(record: &Recorded, revision: &PolicyRevision, now: &Verdict) -> Result<(), Failure> {
    say("compared with the record")?;
    match &record.revision {
        Some(then) if then == revision.id() => field("revision", "the same")?,
        Some(then) => field("revision", &format!("was {then}: the policies have changed since"))?,
        None => {}
    }
    match then(record) {
        None => field("decision", "none was taken then"),
        Some(then) if same(&then, now) => field("decision", "the same"),
        Some(then) => field("decision", &format!("was another: {}", described(&then))),
    }
}

fn same(then: &Verdict, now: &Verdict) -> bool {
    let by = |verdict: &Verdict| match verdict {
        Verdict::Erred(_) => BTreeSet::new(),
        decided => decided.policies().into_iter().map(str::to_owned).collect(),
    };
    then.permits() == now.permits() && by(then) == by(now)
}
