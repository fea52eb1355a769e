//! Pages of the trail for whoever may read a part of it.

use std::borrow::Cow;

use serde::Deserialize;

use super::read::{ReadError, Reader};
use super::record::Kind;
use super::store::{Filter, Order, Place, Stored};
use crate::authz::Owner;

/// Most records that one page looks at.
const MOST_LOOKED_AT: usize = 5000;

/// Some records, newest first.
#[derive(Debug, Default)]
pub struct Page {
    pub records: Vec<Stored>,
    /// Where the next page begins, if there may be one.
    pub next: Option<Place>,
}

/// Whose a record is.
#[derive(Deserialize)]
struct Owned<'r> {
    #[serde(borrow)]
    team: Option<Cow<'r, str>>,
}

impl Reader {
    /// Up to `limit` records that fit and whose owner `may` be read, newest first, on from `after`. Looks at a bounded
    /// number of records, so there may be fewer and yet a next page. Blocks.
    pub fn browse(
        &self,
        filter: &Filter,
        after: Option<Place>,
        limit: usize,
        mut may: impl FnMut(&Owner) -> bool,
    ) -> Result<Page, ReadError> {
        let (mut page, mut looked_at) = (Page::default(), 0);
        self.each_after(&filter.by_index(), Order::NewestFirst, after, |stored| {
            looked_at += 1;
            // What is no record is for `verify` to find, and nobody's to read.
            let owned: Result<Owned<'_>, _> = serde_json::from_str(&stored.record);
            let given = owned.is_ok_and(|owned| filter.fits(&stored) && may(&owned.owner()));
            if given && page.records.len() == limit {
                page.next = page.records.last().map(Stored::place);
                return false;
            }
            if looked_at == MOST_LOOKED_AT {
                page.next = Some(stored.place());
            }
            if given {
                page.records.push(stored);
            }
            looked_at < MOST_LOOKED_AT
        })?;
        Ok(page)
    }
}

impl Owned<'_> {
    fn owner(&self) -> Owner {
        let team = self.team.as_ref().and_then(|team| team.parse().ok());
        team.map_or(Owner::Gateway, Owner::Team)
    }
}

impl Filter {
    /// The part of it that a store finds without looking at other records: one of its values, and the time. However
    /// rare what is looked for, one read is then as short as its number of records.
    fn by_index(&self) -> Self {
        let mut one = Self { since: self.since, until: self.until, ..Self::default() };
        if self.request.is_some() {
            one.request = self.request.clone();
        } else if self.reset.is_some() {
            one.reset = self.reset;
        } else if self.instance.is_some() {
            one.instance = self.instance.clone();
        } else if self.user.is_some() {
            one.user = self.user.clone();
        } else if !matches!(self.kind, None | Some(Kind::Intent | Kind::Outcome | Kind::Refused)) {
            // Of the other kinds there are few, and an index.
            one.kind = self.kind;
        } else {
            one.team = self.team.clone();
        }
        one
    }
}

#[cfg(test)]
mod tests;
