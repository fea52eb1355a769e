//! The resets of the projection, newest first, a page at a time.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::Reset;
use super::read::{ReadError, Reader};
use super::store::{Shelf, Source, StoreError, Stretch};
use crate::domain::{InstanceId, ResetId, Status, TeamName, rfc3339};

/// Resets that one page looks at, at most; what it does not reach is behind its `next`.
const MOST_EXAMINED: usize = 2000;
/// Resets that are read at a time where not all that are read are shown.
const BATCH: usize = 500;

/// Which resets are wanted: those that every given part fits.
#[derive(Debug, Clone, Default)]
pub struct ResetFilter {
    pub team: Option<TeamName>,
    pub instance: Option<InstanceId>,
    pub status: Option<Status>,
    /// Created at this time and later.
    pub since: Option<Timestamp>,
    /// Created before this time.
    pub until: Option<Timestamp>,
}

/// Where a reset stands in the order of time. The id tells those of one millisecond apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    at: Timestamp,
    id: ResetId,
}

/// Some resets, newest first.
#[derive(Debug)]
pub struct ResetPage {
    pub resets: Vec<Reset>,
    /// After which there may be more.
    pub next: Option<Moment>,
}

impl Reader {
    /// Up to `limit` resets that fit, of the teams that `visible` says, on from `after`. Reads off the worker threads.
    pub async fn history(
        &self,
        filter: ResetFilter,
        after: Option<Moment>,
        limit: usize,
        visible: impl FnMut(&TeamName) -> bool + Send + 'static,
    ) -> Result<ResetPage, ReadError> {
        self.off(move |source| page(source, &filter, after, limit, visible)).await
    }
}

fn page(
    source: &dyn Source,
    filter: &ResetFilter,
    mut after: Option<Moment>,
    limit: usize,
    mut visible: impl FnMut(&TeamName) -> bool,
) -> Result<ResetPage, StoreError> {
    let (mut resets, mut examined) = (Vec::with_capacity(limit), 0);
    loop {
        // One more than fits tells whether another page follows; mostly that is all there is to read.
        let count = if examined == 0 { limit + 1 } else { BATCH.max(limit + 1) };
        let count = count.min(MOST_EXAMINED - examined);
        let found = source.history(&filter.stretch(after), count)?;
        let last = found.len() < count;
        examined += found.len();
        for reset in found {
            let moment = Moment { at: reset.created_at, id: reset.id };
            if filter.fits(&reset) && visible(&reset.team) {
                if resets.len() == limit {
                    return Ok(ResetPage { resets, next: after });
                }
                resets.push(reset);
            }
            after = Some(moment);
        }
        if last || examined >= MOST_EXAMINED {
            return Ok(ResetPage { resets, next: after.filter(|_| !last) });
        }
    }
}

impl ResetFilter {
    /// The shortest one that holds all that fit.
    fn stretch(&self, after: Option<Moment>) -> Stretch {
        let shelf = match (&self.instance, &self.team, self.status) {
            // An instance has few resets: what else is asked of them is looked for among these.
            (Some(instance), _, _) => Shelf::Instance(instance.clone()),
            (None, Some(team), Some(status)) => Shelf::TeamAndStatus(team.clone(), status),
            (None, Some(team), None) => Shelf::Team(team.clone()),
            (None, None, Some(status)) => Shelf::Status(status),
            (None, None, None) => Shelf::All,
        };
        let before = match (after, self.until) {
            (Some(after), Some(until)) if until <= after.at => Some((until, None)),
            (Some(after), _) => Some((after.at, Some(after.id))),
            (None, until) => until.map(|until| (until, None)),
        };
        Stretch { shelf, since: self.since, before }
    }

    /// Of one in the stretch.
    fn fits(&self, reset: &Reset) -> bool {
        self.team.as_ref().is_none_or(|team| *team == reset.team)
            && self.status.is_none_or(|status| status == reset.status)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", rfc3339(self.at), self.id)
    }
}

/// The text is no moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a time and a reset's id")]
pub struct MomentFault;

impl FromStr for Moment {
    type Err = MomentFault;

    fn from_str(text: &str) -> Result<Self, MomentFault> {
        let (at, id) = text.split_once(' ').ok_or(MomentFault)?;
        let at = at.parse().map_err(|_| MomentFault)?;
        Ok(Self { at, id: id.parse().map_err(|_| MomentFault)? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::sqlite::{Reading, Writing};
    use crate::audit::store::Store;
    use crate::audit::{Position, now};

    const STATUSES: [Status; 3] = [Status::Accepted, Status::Rejected, Status::Unknown];

    fn team(n: usize) -> TeamName {
        format!("team-{n}").parse().expect("a name")
    }

    fn instance(n: usize) -> InstanceId {
        format!("ins-{n}").parse().expect("an id")
    }

    /// So few that many resets have the same.
    fn time(n: i64) -> Timestamp {
        Timestamp::from_millisecond(1_790_000_000_000 + n).expect("a time")
    }

    fn reset(team_of: usize, of: usize, status: Status, at: Timestamp) -> Reset {
        Reset {
            id: ResetId::generate(),
            batch: None,
            cause: None,
            instance: instance(of),
            team: team(team_of),
            status,
            request_id: "r".parse().expect("an id"),
            upstream_request_id: None,
            upstream_code: None,
            reason: None,
            ticket: None,
            policies: Vec::new(),
            created_at: at,
            finished_at: None,
            sealed_password: None,
            receipt: Position { writer: "w".to_owned(), sequence: 1, hash: "h".to_owned() },
        }
    }

    fn store(resets: &[Reset]) -> (tempfile::TempDir, Reading) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trail.db");
        let mut writing = Writing::open(&path).expect("a store");
        writing.replace_projection(&mut resets.iter().cloned().map(Ok)).expect("written");
        let reading = Reading::open(&path).expect("readable");
        (folder, reading)
    }

    /// All pages, each asked for with what the one before said, as a cursor carries it.
    fn walk(
        source: &dyn Source,
        filter: &ResetFilter,
        limit: usize,
        visible: fn(&TeamName) -> bool,
    ) -> Vec<ResetPage> {
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let page = page(source, filter, after, limit, visible).expect("readable");
            after = page.next.map(|next| next.to_string().parse().expect("a moment"));
            pages.push(page);
            if after.is_none() {
                return pages;
            }
        }
    }

    fn ids(pages: &[ResetPage]) -> Vec<ResetId> {
        pages.iter().flat_map(|page| page.resets.iter().map(|reset| reset.id)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn pages_hold_what_fits_and_no_more_in_the_order_of_time(
            made in prop::collection::vec((0..3_usize, 0..3_usize, 0..3_usize, 0..8_i64), 0..40),
            filters in prop::collection::vec(
                (
                    prop::option::of(0..3_usize),
                    prop::option::of(0..3_usize),
                    prop::option::of(0..3_usize),
                    prop::option::of(0..9_i64),
                    prop::option::of(0..9_i64),
                    1..7_usize,
                    any::<bool>(),
                ),
                8,
            ),
        ) {
            let resets = made.iter().map(|&(team, of, status, at)| reset(team, of, STATUSES[status], time(at)));
            let mut resets: Vec<_> = resets.collect();
            let (_folder, source) = store(&resets);
            resets.sort_by_key(|reset| std::cmp::Reverse((reset.created_at, reset.id.to_string())));
            for (of_team, of, status, since, until, limit, partly) in filters {
                let filter = ResetFilter {
                    team: of_team.map(team),
                    instance: of.map(instance),
                    status: status.map(|status| STATUSES[status]),
                    since: since.map(time),
                    until: until.map(time),
                };
                let visible: fn(&TeamName) -> bool =
                    if partly { |team| team.as_str() != "team-1" } else { |_| true };
                let expected = resets.iter().filter(|reset| {
                    filter.team.as_ref().is_none_or(|team| *team == reset.team)
                        && filter.instance.as_ref().is_none_or(|instance| *instance == reset.instance)
                        && filter.status.is_none_or(|status| status == reset.status)
                        && filter.since.is_none_or(|since| since <= reset.created_at)
                        && filter.until.is_none_or(|until| reset.created_at < until)
                        && visible(&reset.team)
                });
                let expected: Vec<_> = expected.map(|reset| reset.id).collect();
                let pages = walk(&source, &filter, limit, visible);
                prop_assert_eq!(ids(&pages), expected, "{:?}", filter);
                for (place, page) in pages.iter().enumerate() {
                    let full = page.resets.len() == limit;
                    prop_assert!(full || place == pages.len() - 1, "only the last may be short");
                    prop_assert!(!page.resets.is_empty() || place == 0, "no page too many");
                }
            }
        }
    }

    #[test]
    fn a_page_looks_at_no_more_than_2000_and_goes_on_behind_them() {
        let mut resets = vec![reset(1, 0, Status::Accepted, time(0))];
        resets.extend((0..4100).map(|n| reset(2, 0, Status::Accepted, time(1 + n))));
        resets.push(reset(1, 0, Status::Rejected, time(5000)));
        let (_folder, source) = store(&resets);
        let lengths = |pages: &[ResetPage]| pages.iter().map(|page| page.resets.len()).collect::<Vec<_>>();
        let pages = walk(&source, &ResetFilter::default(), 50, |name| *name == team(1));
        assert_eq!(lengths(&pages), [1, 0, 1], "of all teams, where one may be seen");
        let mut filter =
            ResetFilter { instance: Some(instance(0)), team: Some(team(1)), ..Default::default() };
        assert_eq!(lengths(&walk(&source, &filter, 50, |_| true)), [1, 0, 1], "of a handed over instance");
        filter.instance = None;
        assert_eq!(lengths(&walk(&source, &filter, 50, |_| true)), [2], "by the team's own index");
        filter = ResetFilter { status: Some(Status::Rejected), ..Default::default() };
        assert_eq!(lengths(&walk(&source, &filter, 50, |_| true)), [1], "by the status's own");
    }

    #[test]
    fn a_moment_survives_its_text_and_fits_a_cursor() {
        let moment = Moment { at: now(), id: ResetId::generate() };
        let text = moment.to_string();
        assert_eq!((text.parse(), text.len() <= 64), (Ok(moment), true));
        for bad in ["", " ", "2026-11-24T12:00:00.000Z", &moment.id.to_string(), "x y"] {
            assert_eq!(bad.parse::<Moment>(), Err(MomentFault), "{bad:?}");
        }
    }
}
