//! What a change of the policies gives to whom, and takes from whom.

mod circumstances;
mod ledger;
mod reading;
mod trial;

use std::collections::{BTreeMap, BTreeSet};

use super::parallel::{self, Progress};
use super::question::Asker;
use super::terms::Book;
use super::{Action, Owner, PolicyRevision, Rule};
use crate::domain::TeamName;
use crate::inventory::Attributes;
use ledger::Ledger;
use trial::{Found, Subject, Trial};

pub use circumstances::Circumstances;
pub use ledger::{Unreached, Version};

/// What there is between two revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differences {
    /// By team, and of a team by action; gains come before losses.
    pub changes: Vec<Change>,
    pub unreached: Vec<Unreached>,
}

/// What one team gains or loses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub team: TeamName,
    pub action: Action,
    pub gained: bool,
    /// Under which circumstances; empty: under all that were asked.
    pub only: Vec<String>,
    /// Ids of instances, or whose resets or records are read. Sorted; at least one.
    pub on: Vec<String>,
}

/// What the policies that differ speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    /// No policy differs.
    Nothing,
    /// What teams own, and no instance.
    Teams,
    Instances,
}

/// How far a change of the policies goes.
pub fn extent(revisions: [&PolicyRevision; 2]) -> Extent {
    let speaks_of_instances = |rule: &Rule| {
        Action::ALL.into_iter().any(|action| action.is_of_instances() && rule.speaks_of(action))
    };
    let of = |rule: &Rule| if speaks_of_instances(rule) { Extent::Instances } else { Extent::Teams };
    Ledger::of(revisions).rules().map(of).max().unwrap_or(Extent::Nothing)
}

/// Everything on which the two revisions decide differently.
pub fn compare(
    revisions: [&PolicyRevision; 2],
    instances: &[Attributes],
    circumstances: &Circumstances,
    progress: &Progress<'_>,
) -> Differences {
    let (ledger, mut book) = (Ledger::of(revisions), Book::default());
    let teams: BTreeSet<&TeamName> = revisions.iter().flat_map(|revision| revision.teams.keys()).collect();
    let trials = teams.iter().filter_map(|team| Trial::of(revisions, team, circumstances, &mut book));
    let trials: Vec<Trial<'_>> = trials.collect();
    let owners: Vec<Owner> =
        std::iter::once(Owner::Gateway).chain(teams.iter().map(|&team| Owner::Team(team.clone()))).collect();
    let of_owners: Vec<Vec<Found<'_>>> = parallel::map(&trials, &|_, _| {}, |trial| {
        owners.iter().flat_map(|owner| trial.on(Subject::Owner(owner), &ledger)).collect()
    });
    let anyone = Asker::anyone();
    let of_instances = parallel::map(&parallel::shares(instances), progress, |share| {
        let mut found = Vec::new();
        for told in *share {
            let question = anyone.about_instance(told);
            let mut tried = book.on(&question);
            let concerned = trials.iter().filter(|trial| trial.concerns(&mut tried));
            found.extend(concerned.flat_map(|trial| trial.on(Subject::Instance(told), &ledger)));
        }
        found
    });
    let changes = gathered(of_owners.into_iter().chain(of_instances).flatten());
    Differences { changes, unreached: ledger.unreached() }
}

fn gathered<'t>(found: impl Iterator<Item = Found<'t>>) -> Vec<Change> {
    let mut changes: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
    for Found { team, action, gained, only, on } in found {
        changes.entry((team, action, !gained, only)).or_default().insert(on);
    }
    let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
    let change = |((team, action, lost, only), on): ((&TeamName, _, bool, _), BTreeSet<&str>)| Change {
        team: team.clone(),
        action,
        gained: !lost,
        only: owned(only),
        on: owned(on.into_iter().collect()),
    };
    changes.into_iter().map(change).collect()
}

#[cfg(test)]
mod tests;
