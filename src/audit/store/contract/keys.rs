//! Idempotency keys.

use super::*;

/// Of alice's key `k`, at this second and for a minute.
fn claim_of(target: ResetId, second: u64) -> Claim {
    let at = time(10 * second).parse().expect("good");
    Claim {
        caller: "corp|alice".to_owned(),
        key: "k".to_owned(),
        fingerprint: format!("mac-{second}"),
        target,
        at,
        expired: crate::audit::claim::before(at, Duration::from_secs(60)),
    }
}

fn claiming<'p>(chain: &mut Chain, projection: &'p Projection, claim: &'p Claim) -> Row<'p> {
    Row { claim: Some(claim), ..row(chain, &plain(1), projection) }
}

/// Who has alice's key of this name.
fn has(source: &dyn Source, key: &str) -> Option<Claimed> {
    source.claimed("corp|alice", key, Timestamp::UNIX_EPOCH).expect("readable")
}

pub(super) fn a_key_goes_to_one_and_is_known_by_its_caller_alone(here: &Here) {
    let mut store = here.open();
    let source = here.source();
    let (one, batch) = (reset(), ResetId::generate());
    let (opens, first) = (open_of(&one), claim_of(one.id, 0));
    let of_batch = Claim { key: "b".to_owned(), ..claim_of(batch, 0) };
    let mut w1 = chain("w1");
    let rows = [claiming(&mut w1, &opens, &first), claiming(&mut w1, &NONE, &of_batch)];
    append(&mut *store, &rows).expect("kept");
    let found = has(&*source, "k").expect("claimed");
    assert_eq!((found.fingerprint.as_str(), found.target), ("mac-0", one.id));
    assert_eq!(found.reset, Some(Reset { receipt: rows[0].position.clone(), ..one }), "as it now is");
    let found = has(&*source, "b").expect("claimed");
    assert_eq!((found.target, found.reset), (batch, None), "of what is no reset");
    for (caller, key, since) in
        [("corp|bob", "k", 0), ("corp|alice", "K", 0), ("corp|alice", "", 0), ("corp|alice", "k", 1)]
    {
        let since = time(10 * since).parse().expect("good");
        let found = source.claimed(caller, key, since).expect("readable");
        assert_eq!(found, None, "{caller} {key} {since}");
    }
    assert!(has(&*source, "k").is_some(), "at the very time it was claimed");
}

pub(super) fn a_claimed_key_refuses_its_group_and_breaks_nothing(here: &Here) {
    let mut store = here.open();
    let source = here.source();
    let (first, second, third) = (reset(), reset(), reset());
    let (opens, again, other) = (open_of(&first), open_of(&second), open_of(&third));
    let (taken, late) = (claim_of(first.id, 0), claim_of(second.id, 1));
    let mut w1 = chain("w1");
    append(&mut *store, &[claiming(&mut w1, &opens, &taken)]).expect("kept");
    let before = w1.clone();
    let rows =
        [row(&mut w1, &plain(2), &other), claiming(&mut w1, &again, &late), row(&mut w1, &plain(3), &NONE)];
    let refused = append(&mut *store, &rows);
    assert!(matches!(refused, Err(StoreError::Claimed)), "{refused:?}");
    assert_eq!(source.reset(third.id).expect("readable"), None, "none of it is kept");
    let mut w1 = before;
    append(&mut *store, &[row(&mut w1, &plain(2), &other)]).expect("the others are, by themselves");
    assert_eq!(has(&*source, "k").map(|found| found.target), Some(first.id));
    // Twice in one group.
    let (one, two) = (claim_of(second.id, 2), claim_of(first.id, 2));
    let [one, two] = [one, two].map(|claim| Claim { key: "twice".to_owned(), ..claim });
    let rows = [claiming(&mut w1, &again, &one), claiming(&mut w1, &NONE, &two)];
    let refused = append(&mut *store, &rows);
    assert!(matches!(refused, Err(StoreError::Claimed)), "{refused:?}");
    assert_eq!(has(&*source, "twice"), None);
}

pub(super) fn a_key_is_released_by_what_the_outcome_says(here: &Here) {
    let mut store = here.open();
    let source = here.source();
    let (quick, slow, next) = (reset(), reset(), reset());
    let closes = |reset: &Reset, releases| {
        let at = "2026-11-24T12:00:01Z".parse().expect("good");
        Projection::Close { id: reset.id, outcome: unknown(), at, cause: None, gone: false, releases }
    };
    let mut w1 = chain("w1");
    let (opens, ends, claim) = (open_of(&quick), closes(&quick, Some(quick.id)), claim_of(quick.id, 0));
    append(&mut *store, &[claiming(&mut w1, &opens, &claim), row(&mut w1, &plain(1), &ends)]).expect("kept");
    assert_eq!(has(&*source, "k"), None, "within its group");
    let (opens, claim) = (open_of(&slow), claim_of(slow.id, 1));
    append(&mut *store, &[claiming(&mut w1, &opens, &claim)]).expect("the key is free");
    let (keeps, foreign) = (closes(&slow, None), closes(&slow, Some(quick.id)));
    append(&mut *store, &[row(&mut w1, &plain(2), &keeps), row(&mut w1, &plain(3), &foreign)]).expect("kept");
    assert_eq!(has(&*source, "k").map(|found| found.target), Some(slow.id), "nobody released it");
    let (frees, opens, claim) = (closes(&slow, Some(slow.id)), open_of(&next), claim_of(next.id, 2));
    append(&mut *store, &[row(&mut w1, &plain(4), &frees)]).expect("kept");
    assert_eq!(has(&*source, "k"), None);
    append(&mut *store, &[claiming(&mut w1, &opens, &claim)]).expect("the key is free");
    assert_eq!(has(&*source, "k").map(|found| found.target), Some(next.id));
}

pub(super) fn an_expired_key_is_claimed_anew_and_forgotten_in_steps(here: &Here) {
    let mut store = here.open();
    let source = here.source();
    let mut w1 = chain("w1");
    let (old, early, new) = (ResetId::generate(), ResetId::generate(), ResetId::generate());
    let at =
        |second: u64| Claim { at: "2026-11-24T12:00:00Z".parse().expect("good"), ..claim_of(old, second) };
    append(&mut *store, &[claiming(&mut w1, &NONE, &at(0))]).expect("kept");
    let expired = |text: &str| text.parse::<Timestamp>().expect("good");
    let early = Claim { expired: expired("2026-11-24T12:00:00Z"), ..claim_of(early, 1) };
    let before = w1.clone();
    let refused = append(&mut *store, &[claiming(&mut w1, &NONE, &early)]);
    assert!(matches!(refused, Err(StoreError::Claimed)), "to the millisecond: {refused:?}");
    let mut w1 = before;
    let late = Claim { expired: expired("2026-11-24T12:00:00.001Z"), ..claim_of(new, 2) };
    append(&mut *store, &[claiming(&mut w1, &NONE, &late)]).expect("it has expired");
    let found = has(&*source, "k").expect("claimed");
    assert_eq!((found.fingerprint.as_str(), found.target), ("mac-2", new));
    let many: Vec<_> = (0..5).map(|n| Claim { key: format!("old-{n}"), ..at(0) }).collect();
    let rows: Vec<_> = many.iter().map(|claim| claiming(&mut w1, &NONE, claim)).collect();
    append(&mut *store, &rows).expect("kept");
    let forgotten: Vec<_> =
        (0..3).map(|_| store.expire_keys(expired("2026-11-24T12:00:01Z"), 3).expect("kept")).collect();
    assert_eq!(forgotten, [3, 2, 0]);
    assert!(has(&*source, "k").is_some() && has(&*source, "old-0").is_none());
}

pub(super) fn keys_outlive_a_rebuild_and_a_pruning(here: &Here) {
    let mut store = here.open();
    let source = here.source();
    let (mut w1, mut w2) = (chain("w1"), chain("w2"));
    let one = reset();
    let (opens, claim) = (open_of(&one), claim_of(one.id, 0));
    append(&mut *store, &[claiming(&mut w1, &opens, &claim)]).expect("kept");
    let one = Reset { receipt: w1.head().clone(), ..one };
    store.replace_projection(&mut std::iter::once(Ok(one.clone()))).expect("replaced");
    assert_eq!(has(&*source, "k").and_then(|found| found.reset), Some(one.clone()));
    store.remove(&[w1.head().clone()], &[row(&mut w2, &plain(1), &NONE)]).expect("removed");
    let found = has(&*source, "k").expect("claimed");
    assert_eq!((found.target, found.reset), (one.id, None), "its reset has gone");
}
