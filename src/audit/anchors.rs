//! Which ends of chains a later chain's start names: a chain that was cut off or taken out whole is found out by it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Position;
use super::read::each;
use super::record::Kind;
use super::store::{Filter, Order, Source, StoreError};

/// What a start record names.
#[derive(Deserialize)]
struct Start {
    #[serde(default)]
    heads: Vec<Position>,
}

/// The ends of all chains, but those that a start names already. A dead writer's is named once, and the start that
/// names it is itself named by the next.
pub(super) fn not_yet_anchored(source: &dyn Source) -> Result<Vec<Position>, StoreError> {
    let chains = source.chains()?;
    let mut anchored: BTreeMap<String, u64> = BTreeMap::new();
    let starts = Filter { kind: Some(Kind::Start), ..Filter::default() };
    each(source, &starts, Order::OldestFirst, |stored| {
        // What cannot be read is for `verify` to find, and anchors nothing.
        let Ok(Start { heads }) = serde_json::from_str(&stored.record) else { return true };
        for head in heads {
            let anchored = anchored.entry(head.writer).or_default();
            *anchored = head.sequence.max(*anchored);
        }
        true
    })?;
    let known =
        |head: &Position| anchored.get(&head.writer).is_some_and(|sequence| *sequence >= head.sequence);
    Ok(chains.into_iter().map(|chain| chain.last).filter(|head| !known(head)).collect())
}
