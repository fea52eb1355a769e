use super::*;
use crate::authz::tests::authorized;

const LIMITS: &str =
    "[default]\nteam = { requests = 2, period_seconds = 3600, burst = 2 }\ninstance_cooldown_seconds = 60\n";

fn limiter(max_keys: usize) -> Limiter {
    let settings = config::Limits { max_keys, failed_authentications: Quota::new(1, 60, 2), redis: None };
    Limiter::new(&crate::authz::tests::revision_with("x", LIMITS), &settings, None, Arc::default())
}

fn left(limiter: &Limiter) -> u32 {
    let revision = crate::authz::tests::revision_with("x", LIMITS);
    let team = "a".parse().expect("a name");
    let standing = limiter.team_standing(&revision, &team);
    futures_util::FutureExt::now_or_never(standing)
        .expect("nothing is waited for")
        .expect("counted here")
        .remaining
}

fn remaining(standings: &Standings) -> Vec<(Limit, u32)> {
    standings.iter().map(|standing| (standing.limit, standing.remaining)).collect()
}

fn spent(refused: Result<Permit, Box<Limited>>) -> Limit {
    match refused.expect_err("refused").error {
        Error::Spent(spent) => spent.limit,
        other => panic!("spent, not {other}"),
    }
}

#[test]
fn a_permit_that_does_not_become_an_intent_gives_all_back() {
    let limiter = limiter(100);
    let permit = limiter.admit_now(authorized("a", "ins-1", LIMITS)).expect("admitted");
    assert_eq!(left(&limiter), 1);
    drop(permit);
    assert_eq!(left(&limiter), 2);
    assert!(limiter.admit_now(authorized("a", "ins-1", LIMITS)).is_ok(), "the cool-down came back too");
}

#[test]
fn what_is_kept_follows_the_outcome() {
    let limiter = limiter(100);
    let charged = || limiter.admit_now(authorized("a", "ins-1", LIMITS)).map(|permit| permit.into_parts().1);
    charged().expect("admitted").give_back();
    assert_eq!(left(&limiter), 2, "not sent: all comes back");
    charged().expect("admitted").keep_team();
    assert_eq!(left(&limiter), 1, "rejected: the team's quota is spent");
    charged().expect("the cool-down came back").keep();
    assert_eq!(left(&limiter), 0);
    assert_eq!(spent(limiter.admit_now(authorized("a", "ins-2", LIMITS))), Limit::Team);
}

#[test]
fn all_quotas_are_charged_or_none() {
    let limiter = limiter(100);
    let kept = limiter.admit_now(authorized("a", "ins-1", LIMITS)).expect("admitted");
    assert_eq!(spent(limiter.admit_now(authorized("a", "ins-1", LIMITS))), Limit::Cooldown);
    assert_eq!(left(&limiter), 1, "the refused one cost the team nothing");
    drop(kept);
}

#[test]
fn a_permit_and_a_refusal_tell_what_is_left() {
    let limiter = limiter(100);
    let admit = |instance| limiter.admit_now(authorized("a", instance, LIMITS));
    let kept = admit("ins-1").expect("admitted");
    assert_eq!(remaining(kept.standings()), [(Limit::Team, 1), (Limit::Cooldown, 0)]);
    let refused = admit("ins-1").expect_err("it rests");
    let left = refused.standings.map(|standings| remaining(&standings));
    assert_eq!(left, Some(vec![(Limit::Team, 1), (Limit::Cooldown, 0)]), "nothing was charged");
    let other = admit("ins-2").expect("admitted");
    assert_eq!(remaining(other.standings()), [(Limit::Team, 0), (Limit::Cooldown, 0)]);
    let refused = admit("ins-3").expect_err("the team's quota is spent");
    let left = refused.standings.map(|standings| remaining(&standings));
    assert_eq!(left, Some(vec![(Limit::Team, 0), (Limit::Cooldown, 1)]));
    let restless = limiter.admit_now(authorized("b", "ins-1", "[default]\ninstance_cooldown_seconds = 0\n"));
    let restless = restless.expect("admitted");
    assert_eq!(restless.standings().iter().map(|standing| standing.limit).collect::<Vec<_>>(), [Limit::Team]);
}

#[test]
fn more_keys_than_are_counted_refuse_instead_of_forgetting() {
    let limiter = limiter(2);
    let first = limiter.admit_now(authorized("a", "ins-1", LIMITS)).expect("admitted");
    let refused = limiter.admit_now(authorized("a", "ins-2", LIMITS)).expect_err("no room");
    assert_eq!((refused.error, refused.standings), (Error::Overflow(Overflow), None));
    drop(first);
    assert!(
        limiter.admit_now(authorized("a", "ins-2", LIMITS)).is_ok(),
        "what is all there again makes room"
    );
}

#[test]
fn a_network_that_fails_too_often_waits_and_another_does_not() {
    let limiter = limiter(100);
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    for _ in 0..2 {
        assert!(limiter.check_network(address("192.0.2.1")).is_ok(), "asking costs nothing");
        limiter.charge_failure(address("192.0.2.1"));
        limiter.charge_failure(address("2001:db8:1:2::1"));
    }
    let spent = limiter.check_network(address("192.0.2.1")).expect_err("spent");
    assert_eq!(spent.limit, Limit::FailedAuthentications);
    assert!(spent.retry_after > Duration::from_secs(50), "{spent:?}");
    for (other, free) in [
        ("192.0.2.2", true),
        ("2001:db8:1:2:ffff::9", false),
        ("2001:db8:1:3::1", true),
        ("198.51.100.1", true),
    ] {
        assert_eq!(limiter.check_network(address(other)).is_ok(), free, "{other}");
    }
}
