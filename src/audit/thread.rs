//! The one thread that writes: it groups what is asked for, answers, and keeps what must land until it has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::commit::{Committer, Doubt};
use super::event::{Event, Part};
use super::opening;
use super::store::{Opened, Projection, Source, StoreError};
use super::writer::{Draft, Group, Job, Reply, Standing, WriteError, must_land};
use super::{About, Position, Reset, SigningKey, now};
use crate::config;
use crate::domain::{Outcome, Status, Unsent, rfc3339};
use crate::metrics::Metrics;

/// Most records of one commit.
const GROUP: usize = 256;
/// Most idempotency keys that are forgotten at a time.
const EXPIRED: usize = 500;
/// Pause before what could not be written is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// Pause between two looks at the free space.
const LOOK: Duration = Duration::from_secs(1);
/// Longest sleep: a thread that nobody wakes still looks around.
const IDLE: Duration = Duration::from_secs(60);

pub(super) struct Thread {
    committer: Committer,
    source: Arc<dyn Source>,
    /// What must land and has not.
    waiting: Vec<Draft>,
    /// How far the second sink has come, until that is written too.
    exported: BTreeMap<String, u64>,
    /// Idempotency keys that were claimed before this are to be forgotten.
    expired: Option<Timestamp>,
    down: Option<Down>,
    /// It is damaged: nothing is written any more.
    damaged: bool,
    /// Others have closed this chain: the next is to be begun.
    fenced: bool,
    /// The chain has no record yet, and its start waits first of all.
    unstarted: bool,
    /// Since when free space is below the reserve.
    scarce: Option<Timestamp>,
    reserve: u64,
    looked: Option<Instant>,
    renewed: Instant,
    /// Told how far the chain has come.
    committed: Box<dyn Fn(&Position) + Send>,
    standing: Arc<Standing>,
    metrics: Arc<Metrics>,
}

/// Nothing can be committed.
struct Down {
    since: Timestamp,
    cause: String,
    lost: u64,
    /// What is being committed says so.
    noted: bool,
}

fn degraded(part: Part, since: Timestamp, lost_records: u64, cause: &str) -> Draft {
    Draft::event(&Event::Degraded { part, since: &rfc3339(since), lost_records, cause })
}

impl Thread {
    /// Starts a chain in the store, and closes what dead writers left open.
    pub(super) fn start(
        Opened { store, source }: Opened,
        settings: &config::Audit,
        key: SigningKey,
        committed: Box<dyn Fn(&Position) + Send>,
        standing: Arc<Standing>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StoreError> {
        let committer = Committer::new(store, key, settings);
        let mut thread = Self {
            committer,
            source,
            waiting: Vec::new(),
            exported: BTreeMap::new(),
            expired: None,
            down: None,
            damaged: false,
            fenced: false,
            unstarted: false,
            scarce: None,
            reserve: settings.reserve_bytes,
            looked: None,
            renewed: Instant::now(),
            committed,
            standing,
            metrics,
        };
        thread.first_commit()?;
        thread.look_at_space();
        Ok(thread)
    }

    /// In one transaction: the start, and the end of what dead writers left open.
    fn first_commit(&mut self) -> Result<(), StoreError> {
        let mut first = vec![opening::start(&self.committer, &*self.source)?];
        first.extend(self.closed_orphans()?);
        self.commit(&first.iter().collect::<Vec<_>>(), false).map(drop)
    }

    fn closed_orphans(&mut self) -> Result<Vec<Draft>, StoreError> {
        let closed = opening::closed_orphans(&mut self.committer)?;
        for draft in &closed {
            if let Projection::Close { outcome, .. } = &draft.projection {
                self.metrics.reset(outcome.status().as_str());
            }
        }
        Ok(closed)
    }

    pub(super) fn run(mut self, queue: &Receiver<Job>) {
        loop {
            let first = match queue.recv_timeout(self.next_due()) {
                Ok(job) => Some(job),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(Job::Stop),
            };
            let (mut asked, mut stopping) = (Vec::new(), false);
            for job in first.into_iter().chain(queue.try_iter().take(GROUP - 1)) {
                match job {
                    Job::Write { group, reply } => asked.push((group, reply)),
                    Job::Exported { writer, sequence } => _ = self.exported.insert(writer, sequence),
                    Job::ExpireKeys(before) => self.expired = Some(before),
                    Job::Stop => stopping = true,
                }
            }
            let drafts = asked.iter().map(|(group, _)| group.len()).sum();
            self.standing.queued.fetch_sub(drafts, Ordering::Relaxed);
            self.look_around();
            self.write(asked, false);
            if stopping {
                return self.stop();
            }
            self.expire_keys();
        }
    }

    fn stop(mut self) {
        self.write(vec![(vec![Draft::event(&Event::Stop {})], None)], true);
        let closes = |draft: &&Draft| matches!(draft.projection, Projection::Close { .. });
        match self.waiting.iter().filter(closes).count() {
            0 if self.waiting.is_empty() => {}
            0 => tracing::error!("the trail has no record of this stop; no outcome was waiting"),
            outcomes => tracing::error!(
                records = outcomes,
                "outcomes are not in the trail: their resets will be recorded as unknown"
            ),
        }
    }

    fn next_due(&self) -> Duration {
        let lease = self.committer.store.lease();
        let renewal = lease.map_or(IDLE, |lease| (lease / 3).saturating_sub(self.renewed.elapsed()));
        let work = match (self.damaged, self.down.is_some(), self.waiting.is_empty()) {
            (true, ..) => return IDLE,
            _ if self.fenced => Duration::ZERO,
            (false, true, _) => RETRY,
            (false, false, false) => Duration::ZERO,
            _ if self.expired.is_some() => Duration::ZERO,
            (false, false, true) => self.committer.due_in(),
        };
        let look = if self.scarce.is_some() || !self.exported.is_empty() { LOOK } else { IDLE };
        work.min(renewal).min(look)
    }

    /// What time alone brings about.
    fn look_around(&mut self) {
        self.look_at_space();
        let Some(lease) = self.committer.store.lease() else { return };
        if self.renewed.elapsed() < lease / 3 {
            return;
        }
        self.renewed = Instant::now();
        let renewed = self.committer.renew().inspect(|()| self.lives(self.renewed));
        match renewed.and_then(|()| self.closed_orphans()) {
            Ok(closed) => self.waiting.extend(closed),
            Err(error) => self.failed(&error),
        }
    }

    fn look_at_space(&mut self) {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return;
        }
        self.looked = Some(Instant::now());
        let Some(free) = self.committer.store.free_bytes() else { return };
        self.metrics.audit_free(free);
        let scarce = free < self.reserve;
        if self.standing.scarce.swap(scarce, Ordering::Relaxed) == scarce {
            return;
        }
        if scarce {
            self.scarce = Some(Timestamp::now());
            tracing::error!(
                audit.free_bytes = free,
                audit.reserve_bytes = self.reserve,
                "free space for the trail is below its reserve, so refusals are recorded once a caller and minute: make room"
            );
        } else if let Some(since) = self.scarce.take() {
            tracing::info!(audit.free_bytes = free, "there is room for the trail again");
            self.waiting.push(degraded(Part::Space, since, 0, "free space was below audit.reserve_mib"));
        }
    }

    /// Commits what waits and what is asked for; each gets its answer.
    fn write(&mut self, mut asked: Vec<(Group, Reply)>, last: bool) {
        // Nothing came yet of an intent that nobody waits for any more.
        asked.retain(|(group, reply)| {
            must_land(group) || reply.as_ref().is_none_or(|reply| !reply.is_closed())
        });
        if self.damaged {
            // Whoever is called by a growing number is called for as long as it lasts.
            self.metrics.commit_failed();
            let damaged = WriteError::Commit("the store is damaged".to_owned());
            return self.refuse(asked, &damaged);
        }
        if let Err(error) = self.settle() {
            self.failed(&error);
            return self.refuse(asked, &WriteError::Commit(error.to_string()));
        }
        let nothing = asked.is_empty() && self.waiting.is_empty() && self.exported.is_empty();
        if nothing && !last && self.committer.due_in() > Duration::ZERO {
            return self.probe();
        }
        let waited = std::mem::take(&mut self.waiting);
        let drafts: Vec<&Draft> = waited.iter().chain(asked.iter().flat_map(|(group, _)| group)).collect();
        match self.commit(&drafts, last) {
            Ok(positions) => {
                let mut positions = positions.into_iter().skip(waited.len());
                for (group, reply) in asked {
                    let places = positions.by_ref().take(group.len()).collect();
                    self.answer(&group, reply, places);
                }
            }
            Err(error @ (StoreError::Refused(_) | StoreError::Claimed)) => {
                let waited = waited.into_iter().map(|draft| (vec![draft], None));
                let all = waited.chain(asked).collect();
                match error {
                    StoreError::Claimed => self.write_apart(all),
                    _ => self.write_singly(all),
                }
                if last && let Err(error) = self.commit(&[], true) {
                    self.failed(&error);
                }
            }
            Err(error) => {
                self.waiting = waited;
                self.failed(&error);
                self.refuse(asked, &WriteError::Commit(error.to_string()));
            }
        }
    }

    /// Nobody asks for anything where resets are refused: that the store works again shows only if it is asked.
    fn probe(&mut self) {
        let Some(down) = &mut self.down else { return };
        // If it fails it is made anew: it says until when.
        let degraded =
            Draft { must_land: false, ..degraded(Part::Store, down.since, down.lost, &down.cause) };
        down.noted = true;
        if let Err(error) = self.commit(&[&degraded], false) {
            self.failed(&error);
        }
        if let Some(down) = &mut self.down {
            down.noted = false;
        }
    }

    /// Another has a key that one of these claims: whoever claims one goes alone, behind all others together.
    fn write_apart(&mut self, groups: Vec<(Group, Reply)>) {
        let claims = |(group, _): &(Group, Reply)| group.iter().any(|draft| draft.claim.is_some());
        let (claiming, others): (Vec<_>, Vec<_>) = groups.into_iter().partition(claims);
        if others.is_empty() {
            return self.write_singly(claiming);
        }
        let drafts: Vec<&Draft> = others.iter().flat_map(|(group, _)| group).collect();
        match self.commit(&drafts, false) {
            Ok(positions) => {
                let mut positions = positions.into_iter();
                for (group, reply) in others {
                    let places = positions.by_ref().take(group.len()).collect();
                    self.answer(&group, reply, places);
                }
                self.write_singly(claiming);
            }
            Err(StoreError::Refused(_)) => self.write_singly(others.into_iter().chain(claiming).collect()),
            Err(error) => {
                self.failed(&error);
                let all = others.into_iter().chain(claiming).collect();
                self.refuse(all, &WriteError::Commit(error.to_string()));
            }
        }
    }

    /// The store does not take one of these for what it holds, or for the key that it claims: the others must not
    /// wait for it.
    fn write_singly(&mut self, groups: Vec<(Group, Reply)>) {
        let mut groups = groups.into_iter();
        while let Some((group, reply)) = groups.next() {
            match self.commit(&group.iter().collect::<Vec<_>>(), false) {
                Ok(places) => self.answer(&group, reply, places),
                Err(StoreError::Refused(why)) => {
                    self.unstarted = false;
                    self.metrics.records_lost(group.len());
                    tracing::error!("a record of the trail is lost, since the store does not take it: {why}");
                    if let Some(reply) = reply {
                        _ = reply.send(Err(WriteError::Commit(why)));
                    }
                }
                Err(StoreError::Claimed) => {
                    // Only what somebody waits for claims one.
                    reply.into_iter().for_each(|reply| _ = reply.send(Err(WriteError::Claimed)));
                }
                Err(error) => {
                    let rest = std::iter::once((group, reply)).chain(groups).collect();
                    self.failed(&error);
                    return self.refuse(rest, &WriteError::Commit(error.to_string()));
                }
            }
        }
    }

    /// In steps, so that no record waits long for it.
    fn expire_keys(&mut self) {
        let Some(before) = self.expired.filter(|_| self.down.is_none() && !self.damaged) else { return };
        let expired = self.committer.store.expire_keys(before, EXPIRED);
        if let Err(error) = &expired {
            tracing::warn!("expired idempotency keys stay until the next try: {error}");
        }
        // As many as could be: there may be more.
        if !expired.is_ok_and(|expired| expired == EXPIRED) {
            self.expired = None;
        }
    }

    /// What became of commits in doubt, and a new chain where others have closed this one.
    fn settle(&mut self) -> Result<(), StoreError> {
        match self.committer.resolve() {
            Ok(None) => {}
            Ok(Some(happened)) => self.adopt(happened),
            Err(StoreError::Fenced) if self.fenced => {}
            Err(error) => return Err(error),
        }
        if !self.fenced {
            return Ok(());
        }
        let start = opening::start(&self.committer, &*self.source)?;
        if self.unstarted {
            self.waiting.remove(0);
        }
        self.committer.begin_anew();
        self.waiting.insert(0, start);
        (self.fenced, self.unstarted) = (false, true);
        Ok(())
    }

    fn commit(&mut self, drafts: &[&Draft], last: bool) -> Result<Vec<Position>, StoreError> {
        let started = Instant::now();
        let positions = self.committer.commit(drafts, &self.exported, last)?;
        self.lives(started);
        self.metrics.committed(started.elapsed());
        self.metrics.pending(0);
        self.exported.clear();
        self.unstarted = false;
        if let Some(down) = self.down.take() {
            self.standing.healthy.store(true, Ordering::Relaxed);
            tracing::info!(audit.lost_records = down.lost, "the trail can be written again");
            if !down.noted {
                self.waiting.push(degraded(Part::Store, down.since, down.lost, &down.cause));
            }
        }
        (self.committed)(self.committer.head());
        Ok(positions)
    }

    /// Its lease was renewed, no earlier than then.
    fn lives(&self, then: Instant) {
        let mut life = self.standing.life.lock().expect("nothing panics while it holds the lock");
        self.committer.writer().clone_into(&mut life.writer);
        life.until = self.committer.store.lease().map(|lease| then + lease);
    }

    /// A commit that seemed to fail has happened: what waited for it has landed, and its intents, which were
    /// refused, are closed as surely not sent.
    fn adopt(&mut self, happened: Doubt) {
        self.waiting.drain(..happened.landed.min(self.waiting.len()));
        self.unstarted = false;
        happened.asked.iter().for_each(|reset| self.close_unsent(reset, "commit in doubt"));
    }

    /// Whoever asked for resets may have given up just now.
    fn answer(&mut self, group: &[Draft], reply: Reply, places: Vec<Position>) {
        let Some(reply) = reply else { return };
        if reply.send(Ok(places)).is_ok() {
            return;
        }
        for draft in group {
            if let Some(reset) = draft.projection.asked() {
                self.close_unsent(reset, "given up");
            }
        }
    }

    /// Whoever asked was refused, so a batch that nobody knows of gives its key back too.
    fn close_unsent(&mut self, reset: &Reset, cause: &'static str) {
        let unsent = Outcome::NotSent(Unsent::Unreachable);
        self.metrics.reset(unsent.status().as_str());
        let mut draft = Draft::outcome(&About::of(reset, None), &unsent, None, now(), Some(cause));
        if let (Status::Queued, Projection::Close { releases, .. }) = (reset.status, &mut draft.projection) {
            *releases = reset.batch;
        }
        self.waiting.push(draft);
    }

    /// What must land waits on; the rest is refused, and is lost where nobody waits for it.
    fn refuse(&mut self, asked: Vec<(Group, Reply)>, error: &WriteError) {
        let (mut lost, mut told) = (0, Vec::new());
        for (group, reply) in asked {
            match reply {
                Some(reply) => told.push(reply),
                None if !must_land(&group) => lost += group.len(),
                None => {}
            }
            if must_land(&group) {
                self.waiting.extend(group);
            }
        }
        self.metrics.records_lost(lost);
        self.metrics.pending(self.waiting.len());
        // Behind the count: who hears that an outcome waits finds it there. Whoever asked may have gone.
        told.into_iter().for_each(|reply| _ = reply.send(Err(error.clone())));
        if let Some(down) = &mut self.down {
            down.lost += lost as u64;
        }
    }

    /// One line a change, not one a failure.
    fn failed(&mut self, error: &StoreError) {
        self.metrics.commit_failed();
        match error {
            StoreError::Damaged(_) => {
                self.damaged = true;
                tracing::error!(
                    "the trail's store is damaged, so resets are refused until it is restored and the gateway started again: {error}"
                );
            }
            StoreError::Fenced => {
                tracing::error!("this writer of the trail was taken for dead, so it begins a new chain");
                self.fenced = true;
            }
            StoreError::Unavailable(_) | StoreError::Refused(_) | StoreError::Claimed => {}
        }
        if self.standing.healthy.swap(false, Ordering::Relaxed) {
            tracing::error!("the trail cannot be written, so resets are refused until it can: {error}");
        }
        if self.down.is_none() {
            self.down =
                Some(Down { since: Timestamp::now(), cause: error.to_string(), lost: 0, noted: false });
        }
    }
}

#[cfg(test)]
mod tests;
