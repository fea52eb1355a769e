mod ask;
mod past;
mod show;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check;
use super::sources::Sources;
use crate::authz::{About, Inquiry, PolicyRevision, Verdict};
use crate::cli::Failure;
use crate::domain::InstanceId;
use crate::inventory::Attributes;

/// Show everything about one decision
#[derive(clap::Args)]
pub(in crate::cli) struct Explain {
    /// A reset's id, or the X-Request-Id of a call, of a refused one too: shows what the trail says of it, and what
    /// would be decided now
    #[arg(value_name = "RESET-ID|REQUEST-ID", conflicts_with = "by_hand")]
    id: Option<String>,
    #[command(flatten)]
    by_hand: ask::ByHand,
    /// The policies folder; default: the one that the configuration names
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// Instances as DescribeInstances tells them (JSON), instead of asking Zenlayer
    #[arg(long, value_name = "FILE")]
    inventory: Option<PathBuf>,
}

/// Ends well only if all that was asked is allowed.
pub(super) fn run(arguments: &Explain, config: Option<&Path>) -> Result<(), Failure> {
    let sources = Sources { folder: arguments.policies.clone(), inventory: arguments.inventory.clone() };
    let allowed = match &arguments.id {
        Some(id) => past::explain_again(id, &sources, config)?,
        None => {
            let asking = arguments.by_hand.read()?;
            let opened = sources.open(config)?;
            let revision = check::load(opened.folder())?;
            let (inquiry, known) = asking.put(&opened)?;
            let verdict = explain(&revision, &inquiry, known, Basis::Arguments)?;
            allowed(&revision, &inquiry, &verdict)
        }
    };
    if allowed { Ok(()) } else { Err(Failure::Told) }
}

/// What is known of the instance that a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// What Zenlayer tells of it.
    Told,
    /// There is no such instance.
    Missing,
    /// Nothing says where instances are.
    Nothing,
}

/// What a question was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Basis {
    Arguments,
    /// It does not say how many instances the call named.
    Record,
}

/// An instance among those that are told. What is not known of it is what Zenlayer does not tell.
fn about_instance(id: &InstanceId, instances: Option<&[Attributes]>) -> (About, Known) {
    let told = instances.and_then(|instances| instances.iter().find(|told| told.id == *id));
    let known = match (told, instances) {
        (Some(_), _) => Known::Told,
        (None, Some(_)) => Known::Missing,
        (None, None) => Known::Nothing,
    };
    let told = told.cloned().unwrap_or_else(|| Attributes::unknown(id.clone()));
    (About::Instance(Arc::new(told)), known)
}

/// Tells all about a question and its decision.
fn explain(
    revision: &PolicyRevision,
    inquiry: &Inquiry,
    known: Known,
    basis: Basis,
) -> Result<Verdict, Failure> {
    let verdict = revision.answer(inquiry);
    show::question(revision, inquiry, basis)?;
    show::subject(&inquiry.about, known)?;
    show::answer(revision, inquiry, &verdict)?;
    show::sight(revision, inquiry, known)?;
    show::policies(revision, inquiry)?;
    Ok(verdict)
}

fn allowed(revision: &PolicyRevision, inquiry: &Inquiry, verdict: &Verdict) -> bool {
    verdict.permits() && !revision.stops(&inquiry.asked)
}
