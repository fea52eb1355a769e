//! Groups of records -> the store, as the next links of one chain.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use uuid::Uuid;

use super::event::Event;
use super::record::Chain;
use super::store::{Projection, Row, Store, StoreError};
use super::writer::Draft;
use super::{Position, Reset, SigningKey};
use crate::config;

/// The chain of this writer and the store it grows in.
pub(super) struct Committer {
    pub(super) store: Box<dyn Store>,
    chain: Chain,
    key: SigningKey,
    checkpoints: Checkpoints,
    /// Commits that failed, and may have happened all the same.
    doubts: Vec<Doubt>,
}

/// When the next checkpoint is due.
struct Checkpoints {
    every: u64,
    interval: Duration,
    /// Records since the last one.
    records: u64,
    last: Instant,
    newest: Option<String>,
}

/// What is about to be kept.
struct Links<'d> {
    /// The chain, once it is.
    chain: Chain,
    rows: Vec<Row<'d>>,
    /// That of the last row.
    checkpoint: Option<String>,
}

/// A commit of which nobody knows whether it happened.
pub(super) struct Doubt {
    /// The chain, had it happened.
    chain: Chain,
    /// How many drafts of those that must land it held: they are the first that wait.
    pub(super) landed: usize,
    /// What it was asked for, and refused to its callers.
    pub(super) asked: Vec<Reset>,
}

impl Committer {
    pub(super) fn new(store: Box<dyn Store>, key: SigningKey, settings: &config::Audit) -> Self {
        let checkpoints = Checkpoints {
            every: settings.checkpoint_records,
            interval: settings.checkpoint_interval,
            records: 0,
            last: Instant::now(),
            newest: None,
        };
        Self { store, chain: new_chain(), key, checkpoints, doubts: Vec::new() }
    }

    /// Says that this writer lives.
    pub(super) fn renew(&mut self) -> Result<(), StoreError> {
        self.store.renew(self.chain.writer())
    }

    /// The last record that is committed.
    pub(super) fn head(&self) -> &Position {
        self.chain.head()
    }

    /// The resets that dead writers left open, for this one to close.
    pub(super) fn orphans(&mut self) -> Result<Vec<Reset>, StoreError> {
        self.store.orphans(self.chain.writer())
    }

    pub(super) fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Whose chain grows.
    pub(super) fn writer(&self) -> &str {
        self.chain.writer()
    }

    /// The last checkpoint that it signed.
    pub(super) fn newest_checkpoint(&self) -> Option<&str> {
        self.checkpoints.newest.as_deref()
    }

    /// How long until a checkpoint is due by time alone.
    pub(super) fn due_in(&self) -> Duration {
        match self.checkpoints.records {
            0 => self.checkpoints.interval,
            _ => self.checkpoints.interval.saturating_sub(self.checkpoints.last.elapsed()),
        }
    }

    /// Leaves a chain that others have closed.
    pub(super) fn begin_anew(&mut self) {
        self.chain = new_chain();
        self.doubts.clear();
        self.checkpoints.records = 0;
    }

    /// A commit of before that happened after all. Until this says none, nothing can follow.
    pub(super) fn resolve(&mut self) -> Result<Option<Doubt>, StoreError> {
        if self.doubts.is_empty() {
            return Ok(None);
        }
        let head = self.store.head(self.chain.writer())?;
        if head.as_ref().map_or(0, |head| head.sequence) == self.chain.head().sequence {
            return Ok(None);
        }
        let happened = self.doubts.drain(..).find(|doubt| Some(doubt.chain.head()) == head.as_ref());
        let happened = happened.ok_or(StoreError::Fenced)?;
        self.chain = happened.chain.clone();
        Ok(Some(happened))
    }

    /// All drafts in one transaction, synced, with a checkpoint behind them where one is due; or none, with the
    /// chain where it was.
    pub(super) fn commit(
        &mut self,
        drafts: &[&Draft],
        exported: &BTreeMap<String, u64>,
        last: bool,
    ) -> Result<Vec<Position>, StoreError> {
        let due = last || self.checkpoints.due(drafts.len() as u64);
        let Links { chain, rows, checkpoint } = self.links(drafts, due);
        match self.store.append(&rows, exported) {
            Ok(()) => {}
            // What is damaged says nothing to rely on.
            Err(plain @ (StoreError::Refused(_) | StoreError::Claimed | StoreError::Damaged(_))) => {
                return Err(plain);
            }
            Err(error) => self.happened(error, drafts, &chain)?,
        }
        self.doubts.clear();
        self.grown(chain, drafts.len() as u64, checkpoint);
        Ok(rows.into_iter().take(drafts.len()).map(|row| row.position).collect())
    }

    /// Takes the records up to each position out of the store, and puts this one on record, with the checkpoint that
    /// vouches for it, in one transaction: whatever happens next, the trail says by itself that nothing was cut off.
    pub(super) fn remove(&mut self, up_to: &[Position], draft: &Draft) -> Result<(), StoreError> {
        let Links { chain, rows, checkpoint } = self.links(&[draft], true);
        if let Err(error) = self.store.remove(up_to, &rows)
            && !self.is_there(&chain)
        {
            return Err(error);
        }
        self.grown(chain, 1, checkpoint);
        Ok(())
    }

    /// The drafts as the next links of the chain, with a checkpoint behind them or without.
    fn links<'d>(&self, drafts: &[&'d Draft], checkpoint: bool) -> Links<'d> {
        let mut chain = self.chain.clone();
        let mut rows = Vec::with_capacity(drafts.len() + 1);
        for draft in drafts {
            let (position, record) = chain.append(&draft.rest);
            rows.push(Row { position, record, projection: &draft.projection, claim: draft.claim.as_deref() });
        }
        let signed = || self.key.sign(chain.head().clone(), Timestamp::now()).to_string();
        let checkpoint = checkpoint.then(signed);
        if let Some(checkpoint) = &checkpoint {
            let draft = Draft::event(&Event::Checkpoint { checkpoint });
            let (position, record) = chain.append(&draft.rest);
            rows.push(Row { position, record, projection: &Projection::None, claim: None });
        }
        Links { chain, rows, checkpoint }
    }

    /// The chain is this one now: so many records more, and a checkpoint or none.
    fn grown(&mut self, chain: Chain, records: u64, checkpoint: Option<String>) {
        self.chain = chain;
        self.checkpoints.records += records;
        if let Some(checkpoint) = checkpoint {
            (self.checkpoints.records, self.checkpoints.last) = (0, Instant::now());
            // Outside of the store it is what a cut-off tail is found out by.
            tracing::info!(audit.checkpoint = checkpoint, "the trail has come this far");
            self.checkpoints.newest = Some(checkpoint);
        }
    }

    /// Whether a commit that seemed to fail is there.
    fn is_there(&mut self, chain: &Chain) -> bool {
        self.store.head(chain.writer()).is_ok_and(|head| head.as_ref() == Some(chain.head()))
    }

    /// A connection may break after the commit and before its answer; and a commit that was given up may land late,
    /// where this one belongs.
    fn happened(&mut self, error: StoreError, drafts: &[&Draft], chain: &Chain) -> Result<(), StoreError> {
        let head = self.store.head(chain.writer());
        if head.as_ref().is_ok_and(|head| head.as_ref() == Some(chain.head())) {
            return Ok(());
        }
        let ours = match &head {
            Ok(head) => self.doubts.iter().any(|doubt| Some(doubt.chain.head()) == head.as_ref()),
            Err(_) => true,
        };
        self.doubts.push(Doubt::of(drafts, chain.clone()));
        Err(match error {
            StoreError::Fenced if ours => {
                StoreError::Unavailable("a commit that was given up may have landed".to_owned())
            }
            error => error,
        })
    }
}

impl Checkpoints {
    fn due(&self, more: u64) -> bool {
        let records = self.records + more;
        records >= self.every || (records > 0 && self.last.elapsed() >= self.interval)
    }
}

impl Doubt {
    fn of(drafts: &[&Draft], chain: Chain) -> Self {
        let asked = drafts.iter().filter_map(|draft| draft.projection.asked()).cloned();
        let landed = drafts.iter().filter(|draft| draft.must_land).count();
        Self { chain, landed, asked: asked.collect() }
    }
}

fn new_chain() -> Chain {
    Chain::new(Uuid::now_v7().to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::domain::{Outcome, RequestId, ResetId, Unsent};

    /// It keeps heads, and does with the next appends what it is told.
    #[derive(Default)]
    struct Odd {
        head: Option<Position>,
        next: Vec<Next>,
        /// An append that lands once the head was asked for.
        under_way: Option<Position>,
    }

    enum Next {
        /// It is kept, and the answer lost.
        Lost,
        /// It is kept after all, once nobody expects it.
        Late,
        Fenced,
    }

    struct Shared(Arc<Mutex<Odd>>);

    impl Store for Shared {
        fn append(&mut self, rows: &[Row<'_>], _: &BTreeMap<String, u64>) -> Result<(), StoreError> {
            let mut odd = self.0.lock().expect("one thread");
            let (first, last) = (&rows[0].position, rows[rows.len() - 1].position.clone());
            if odd
                .head
                .as_ref()
                .is_some_and(|head| head.writer == first.writer && head.sequence >= first.sequence)
            {
                return Err(StoreError::Fenced);
            }
            let unavailable = Err(StoreError::Unavailable("no answer".to_owned()));
            match odd.next.pop() {
                None => _ = odd.head.replace(last),
                Some(Next::Fenced) => return Err(StoreError::Fenced),
                Some(Next::Late) => {
                    odd.under_way = Some(last);
                    return unavailable;
                }
                Some(Next::Lost) => {
                    odd.head = Some(last);
                    return unavailable;
                }
            }
            Ok(())
        }

        fn head(&mut self, writer: &str) -> Result<Option<Position>, StoreError> {
            Ok(self.0.lock().expect("one thread").head.clone().filter(|head| head.writer == writer))
        }

        fn renew(&mut self, _: &str) -> Result<(), StoreError> {
            Ok(())
        }

        fn lease(&self) -> Option<Duration> {
            None
        }

        fn orphans(&mut self, _: &str) -> Result<Vec<Reset>, StoreError> {
            Ok(Vec::new())
        }

        fn remove(&mut self, _: &[Position], _: &[Row<'_>]) -> Result<u64, StoreError> {
            Ok(0)
        }

        fn replace_projection(&mut self, _: &mut crate::audit::store::Resets<'_>) -> Result<(), StoreError> {
            Ok(())
        }

        fn expire_keys(&mut self, _: Timestamp, _: usize) -> Result<usize, StoreError> {
            Ok(0)
        }

        fn free_bytes(&self) -> Option<u64> {
            None
        }
    }

    fn committer() -> (Committer, Arc<Mutex<Odd>>) {
        let folder = tempfile::tempdir().expect("a folder");
        let odd = Arc::<Mutex<Odd>>::default();
        let key = SigningKey::load(&folder.path().join("key"), true).expect("made");
        let settings = config::Audit::sqlite(&folder.path().join("trail.db"));
        (Committer::new(Box::new(Shared(odd.clone())), key, &settings), odd)
    }

    fn outcome() -> Draft {
        let about = crate::audit::About {
            reset: ResetId::generate(),
            batch: None,
            request: RequestId::generate(),
            team: "a".parse().expect("a name"),
            instance: "ins-1".parse().expect("an id"),
            arrived: None,
        };
        Draft::outcome(&about, &Outcome::NotSent(Unsent::Unreachable), None, Timestamp::now(), None)
    }

    fn commit(committer: &mut Committer, drafts: &[&Draft]) -> Result<Vec<Position>, StoreError> {
        committer.commit(drafts, &BTreeMap::new(), false)
    }

    #[test]
    fn a_commit_whose_answer_was_lost_has_happened() {
        let (mut committer, odd) = committer();
        odd.lock().expect("one thread").next = vec![Next::Lost];
        assert_eq!(commit(&mut committer, &[&outcome()]).expect("happened")[0].sequence, 1);
        assert!(committer.resolve().expect("readable").is_none());
    }

    #[test]
    fn a_commit_that_lands_after_its_head_was_asked_for_is_adopted_and_not_taken_for_foreign() {
        let (mut committer, odd) = committer();
        commit(&mut committer, &[&outcome()]).expect("kept");
        odd.lock().expect("one thread").next = vec![Next::Late];
        commit(&mut committer, &[&outcome(), &outcome()]).expect_err("nobody knows");
        assert!(committer.resolve().expect("readable").is_none(), "it has not landed");
        let landed = odd.lock().expect("one thread").under_way.take();
        odd.lock().expect("one thread").head = landed;
        let taken = commit(&mut committer, &[&outcome()]).expect_err("its place is taken");
        assert!(matches!(taken, StoreError::Unavailable(_)), "{taken}");
        let happened = committer.resolve().expect("readable").expect("it has landed");
        assert_eq!(happened.landed, 2);
        assert_eq!(commit(&mut committer, &[&outcome()]).expect("kept")[0].sequence, 4, "the chain goes on");
    }

    #[test]
    fn who_was_declared_gone_is_fenced_and_settles_its_doubts_first() {
        let (mut committer, odd) = committer();
        commit(&mut committer, &[&outcome()]).expect("kept");
        odd.lock().expect("one thread").next = vec![Next::Fenced, Next::Late];
        commit(&mut committer, &[&outcome()]).expect_err("nobody knows");
        let landed = odd.lock().expect("one thread").under_way.take();
        odd.lock().expect("one thread").head = landed;
        commit(&mut committer, &[&outcome()]).expect_err("gone");
        assert!(committer.resolve().expect("readable").is_some(), "it has landed");
        odd.lock().expect("one thread").next = vec![Next::Fenced];
        assert!(matches!(commit(&mut committer, &[&outcome()]), Err(StoreError::Fenced)));
        committer.begin_anew();
        assert_eq!(commit(&mut committer, &[&outcome()]).expect("kept")[0].sequence, 1);
    }
}
