use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use super::describe::{self, IDS, PAGE, Page};
use super::lookup::Lookups;
use super::{Attributes, Error};
use crate::config;
use crate::domain::InstanceId;
use crate::http::{Action, CallError, Client};
use crate::metrics::Metrics;

/// Most instances of an account.
pub(super) const MOST: usize = 1_000_000;
/// How often a page is asked for before a refresh is given up.
const ATTEMPTS: usize = 3;
/// Most calls of one refresh that confirm that instances are gone; the rest waits for the next refresh.
const CONFIRMATIONS: usize = 10;

/// An instance, and when Zenlayer was asked about it.
#[derive(Debug, Clone)]
pub struct Known {
    pub attributes: Arc<Attributes>,
    pub asked: Instant,
}

/// All instances of one refresh, in the order of their ids.
#[derive(Debug)]
pub struct Snapshot {
    known: Box<[Known]>,
    /// When the refresh began.
    began: Instant,
}

impl Snapshot {
    /// The instance of this id.
    pub fn get(&self, id: &InstanceId) -> Option<&Known> {
        let place = self.known.binary_search_by(|known| known.attributes.id.cmp(id)).ok()?;
        Some(&self.known[place])
    }

    /// All whose id comes after this one; all of them after none.
    pub fn after(&self, id: Option<&InstanceId>) -> &[Known] {
        let start = id.map_or(0, |id| self.known.partition_point(|known| known.attributes.id <= *id));
        &self.known[start..]
    }

    /// Takes a refresh over: of an id told twice, the later; of one told no more, what was known of it.
    fn merged(&self, told: Vec<Known>, began: Instant) -> (Self, Vec<InstanceId>) {
        let mut by_id: HashMap<InstanceId, Known> = HashMap::with_capacity(told.len());
        by_id.extend(told.into_iter().map(|known| (known.attributes.id.clone(), known)));
        let gone = self.known.iter().filter(|known| !by_id.contains_key(&known.attributes.id));
        let (gone, kept): (Vec<_>, Vec<_>) =
            gone.map(|known| (known.attributes.id.clone(), known.clone())).unzip();
        let mut all: Vec<Known> = by_id.into_values().chain(kept).collect();
        all.sort_unstable_by(|a, b| a.attributes.id.cmp(&b.attributes.id));
        (Self { known: all.into(), began }, gone)
    }

    /// Settles what was asked about by id: it is as it was told, or gone.
    fn settled(self, mut confirmed: HashMap<InstanceId, Option<Known>>) -> Self {
        let settle = |known: Known| confirmed.remove(&known.attributes.id).unwrap_or(Some(known));
        Self { known: self.known.into_iter().filter_map(settle).collect(), ..self }
    }

    /// An instance that is as before is kept as it is, so that a refresh needs no second copy of all.
    fn known(&self, attributes: Attributes, asked: Instant) -> Known {
        let same = self.get(&attributes.id).filter(|known| *known.attributes == attributes);
        let attributes = same.map_or_else(|| Arc::new(attributes), |known| known.attributes.clone());
        Known { attributes, asked }
    }
}

/// The account's instances, refreshed in the background; readers never wait for a refresh.
pub struct Mirror {
    /// None: no refresh has succeeded yet.
    snapshot: ArcSwapOption<Snapshot>,
    lookups: Lookups,
    max_age: Duration,
    pause: Duration,
    metrics: Arc<Metrics>,
}

impl Mirror {
    /// Knows nothing yet.
    pub fn new(settings: &config::Inventory, metrics: Arc<Metrics>) -> Self {
        Self {
            snapshot: ArcSwapOption::empty(),
            lookups: Lookups::new(settings, metrics.clone()),
            max_age: settings.max_age,
            pause: settings.refresh,
            metrics,
        }
    }

    /// The newest refresh; None before the first.
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.load_full()
    }

    /// Whether this may still be decided on.
    pub fn is_fresh(&self, known: &Known) -> bool {
        known.asked.elapsed() <= self.max_age
    }

    /// Whether the newest refresh may still be decided on.
    pub fn is_current(&self) -> bool {
        self.snapshot.load().as_ref().is_some_and(|snapshot| snapshot.began.elapsed() <= self.max_age)
    }

    /// Forgets who has everything left. Takes milliseconds: not for the request path.
    pub fn sweep(&self) {
        self.lookups.sweep();
    }

    pub(super) fn lookups(&self) -> &Lookups {
        &self.lookups
    }

    /// Refreshes for as long as it is polled, with jitter, so that replicas do not ask in step.
    pub async fn keep(&self, client: &Client) {
        loop {
            let pause = match self.refresh(client).await {
                Ok(()) => self.pause,
                Err(error) => {
                    self.metrics.inventory_not_refreshed();
                    tracing::warn!(
                        "the inventory could not be refreshed, so instances are looked up one by one once it is too old: {error}"
                    );
                    self.pause / 4
                }
            };
            tokio::time::sleep(pause.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
        }
    }

    /// One refresh, swapped in as a whole.
    async fn refresh(&self, client: &Client) -> Result<(), Error> {
        let began = Instant::now();
        let empty = || Arc::new(Snapshot { known: Box::default(), began });
        let before = self.snapshot().unwrap_or_else(empty);
        let mut told = Vec::new();
        let take = |asked, page: Vec<Attributes>| {
            told.extend(page.into_iter().map(|attributes| before.known(attributes, asked)));
        };
        pages(client, &self.metrics, take).await?;
        // Some 50 ms for 100,000 instances: not on the thread that answers signals.
        let merged = tokio::task::spawn_blocking(move || before.merged(told, began)).await;
        let (snapshot, gone) = merged.expect("merging does not panic");
        let snapshot = match gone.is_empty() {
            true => snapshot,
            false => snapshot.settled(self.confirm(client, &gone).await),
        };
        self.metrics.inventory_refreshed(snapshot.known.len(), began.elapsed());
        self.snapshot.store(Some(Arc::new(snapshot)));
        Ok(())
    }

    /// Asks about instances that are told no more. Whoever cannot be asked about is kept: it soon is too old to decide
    /// on, and a reset looks it up.
    async fn confirm(&self, client: &Client, gone: &[InstanceId]) -> HashMap<InstanceId, Option<Known>> {
        let mut confirmed = HashMap::new();
        for ids in gone.chunks(IDS).take(CONFIRMATIONS) {
            let (time, found) = asked(&self.metrics, describe::some(client, ids)).await;
            let Ok(found) = found else { break };
            confirmed.extend(ids.iter().map(|id| (id.clone(), None)));
            confirmed.extend(
                found
                    .into_iter()
                    .map(|told| (told.id.clone(), Some(Known { attributes: Arc::new(told), asked: time }))),
            );
        }
        confirmed
    }
}

/// Asks for page after page until Zenlayer's count is reached, or a page is empty.
pub(super) async fn pages(
    client: &Client,
    metrics: &Metrics,
    mut take: impl FnMut(Instant, Vec<Attributes>),
) -> Result<(), Error> {
    let mut texts = describe::Texts::default();
    let mut entries = 0;
    for number in 1..=MOST / PAGE {
        let (time, page) = patiently(client, metrics, number, &mut texts).await;
        let Page { instances, entries: more, total } = page?;
        if instances.len() < more {
            tracing::warn!(
                page = number,
                entries = more,
                instances = instances.len(),
                "entries of DescribeInstances have no id, or share one: they are left out"
            );
        }
        take(time, instances);
        entries += more;
        let complete = total.map_or(more < PAGE, |total| entries as u64 >= total);
        if more == 0 || complete {
            return Ok(());
        }
    }
    Err(Error::TooMany)
}

async fn patiently(
    client: &Client,
    metrics: &Metrics,
    number: usize,
    texts: &mut describe::Texts,
) -> (Instant, Result<Page, Error>) {
    let mut attempt = 1;
    loop {
        let (time, page) = asked(metrics, describe::page(client, number, texts)).await;
        if page.is_ok() || attempt == ATTEMPTS {
            return (time, page);
        }
        attempt += 1;
        tokio::time::sleep(Duration::from_millis(100 + fastrand::u64(0..200))).await;
    }
}

/// A call's answer, and when it was made: what it tells is as old as that.
pub(super) async fn asked<T>(
    metrics: &Metrics,
    call: impl Future<Output = Result<T, Error>>,
) -> (Instant, Result<T, Error>) {
    let time = Instant::now();
    let answer = call.await;
    let outcome = match &answer {
        Ok(_) => "ok",
        Err(Error::Call(CallError::NotSent(_) | CallError::Mismatched)) => "not_sent",
        Err(Error::Call(CallError::Unanswered(_))) => "unanswered",
        Err(Error::Refused { .. }) => "refused",
        Err(Error::Unsendable(_)) => "unsendable",
        Err(Error::Unreadable | Error::TooMany | Error::Budget) => "unreadable",
    };
    metrics.called(Action::DescribeInstances.label(), outcome, time.elapsed());
    (time, answer)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn id(n: u8) -> InstanceId {
        format!("ins-{n:03}").parse().expect("an id")
    }

    fn told(n: u8, name: &str) -> Known {
        let attributes = Attributes { name: name.into(), ..Attributes::unknown(id(n)) };
        Known { attributes: Arc::new(attributes), asked: Instant::now() }
    }

    fn holding(known: Vec<Known>) -> Snapshot {
        Snapshot { known: Box::default(), began: Instant::now() }.merged(known, Instant::now()).0
    }

    fn names(snapshot: &Snapshot) -> Vec<(String, String)> {
        let each = |known: &Known| (known.attributes.id.to_string(), known.attributes.name.to_string());
        snapshot.after(None).iter().map(each).collect()
    }

    #[test]
    fn what_is_gone_is_kept_until_it_is_settled() {
        let before = holding(vec![told(3, "c"), told(1, "a"), told(2, "b"), told(4, "d")]);
        let (after, gone) = before.merged(vec![told(2, "B"), told(5, "e"), told(2, "bb")], Instant::now());
        assert_eq!(gone, [id(1), id(3), id(4)]);
        let confirmed = HashMap::from([(id(1), None), (id(3), Some(told(3, "C")))]);
        let settled = names(&after.settled(confirmed));
        let expected = [("ins-002", "bb"), ("ins-003", "C"), ("ins-004", "d"), ("ins-005", "e")];
        assert_eq!(
            settled,
            expected.map(|(id, name)| (id.to_owned(), name.to_owned())),
            "the fourth was not asked about"
        );
    }

    #[test]
    fn an_unchanged_instance_is_not_held_twice() {
        let before = holding(vec![told(1, "a"), told(2, "b")]);
        let same = before.known((*told(1, "a").attributes).clone(), Instant::now());
        let changed = before.known((*told(2, "B").attributes).clone(), Instant::now());
        assert!(Arc::ptr_eq(&same.attributes, &before.get(&id(1)).expect("known").attributes));
        assert!(!Arc::ptr_eq(&changed.attributes, &before.get(&id(2)).expect("known").attributes));
        assert!(same.asked > before.get(&id(1)).expect("known").asked, "but its age is that of the refresh");
    }

    proptest! {
        /// A snapshot is a map in the order of ids, however it came about.
        #[test]
        fn a_snapshot_is_a_sorted_map(first in prop::collection::vec(0u8..60, 0..80), second in prop::collection::vec(0u8..60, 0..80), at in 0u8..60) {
            let numbered = |ns: &[u8], from: usize| -> Vec<Known> {
                ns.iter().enumerate().map(|(place, n)| told(*n, &(from + place).to_string())).collect()
            };
            let model = |ns: &[u8], from: usize| -> BTreeMap<u8, String> {
                ns.iter().enumerate().map(|(place, n)| (*n, (from + place).to_string())).collect()
            };
            let (snapshot, gone) = holding(numbered(&first, 0)).merged(numbered(&second, 1000), Instant::now());
            let (old, new) = (model(&first, 0), model(&second, 1000));
            let expected_gone: Vec<_> = old.keys().filter(|n| !new.contains_key(n)).map(|n| id(*n)).collect();
            prop_assert_eq!(gone, expected_gone);
            let all: BTreeMap<u8, String> = old.into_iter().chain(new).collect();
            let expected: Vec<_> = all.iter().map(|(n, name)| (id(*n).to_string(), name.clone())).collect();
            prop_assert_eq!(names(&snapshot), expected);
            prop_assert_eq!(snapshot.get(&id(at)).map(|known| known.attributes.name.to_string()), all.get(&at).cloned());
            let after = snapshot.after(Some(&id(at))).iter().map(|known| known.attributes.id.clone());
            prop_assert_eq!(after.collect::<Vec<_>>(), all.range(at + 1..).map(|(n, _)| id(*n)).collect::<Vec<_>>());
        }
    }
}
