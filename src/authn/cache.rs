use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::principal::Identity;

/// Identities of tokens that were verified, by the SHA-256 of the whole token: another signature over the same
/// claims is another token. Bounded; which entries stay is moka's choice.
pub(super) struct Cache(Option<moka::sync::Cache<[u8; 32], Arc<Identity>>>);

impl Cache {
    /// A capacity of 0 remembers nothing.
    pub(super) fn new(capacity: u64) -> Self {
        Self((capacity > 0).then(|| moka::sync::Cache::new(capacity)))
    }

    /// An entry ends with its token, leeway and all; what a clock set back would make early is looked at anew.
    pub(super) fn get(&self, token: &str, now: Timestamp) -> Option<Arc<Identity>> {
        let identity = self.0.as_ref()?.get(&key(token))?;
        (identity.valid_from <= now && now < identity.valid_until).then_some(identity)
    }

    pub(super) fn put(&self, token: &str, identity: &Arc<Identity>) {
        if let Some(cache) = &self.0 {
            cache.insert(key(token), identity.clone());
        }
    }
}

fn key(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn identity() -> Arc<Identity> {
        let mut identity = Identity::for_test("alice", &["a"]);
        let inner = Arc::get_mut(&mut identity).expect("just made");
        (inner.valid_from, inner.valid_until) = (at(100), at(200));
        identity
    }

    #[test]
    fn an_entry_holds_for_its_token_and_its_time_alone() {
        let cache = Cache::new(10);
        cache.put("a.b.c", &identity());
        for (row, token, now, found) in [
            ("its time", "a.b.c", 150, true),
            ("its first second", "a.b.c", 100, true),
            ("its last", "a.b.c", 199, true),
            ("its end", "a.b.c", 200, false),
            ("a clock set back", "a.b.c", 99, false),
            ("another signature", "a.b.d", 150, false),
            ("a longer token", "a.b.c.", 150, false),
            ("another case", "A.b.c", 150, false),
        ] {
            assert_eq!(cache.get(token, at(now)).is_some(), found, "{row}");
        }
    }

    #[test]
    fn a_capacity_of_zero_remembers_nothing_and_any_other_is_kept_to() {
        let none = Cache::new(0);
        none.put("a.b.c", &identity());
        assert!(none.get("a.b.c", at(150)).is_none());
        let few = Cache::new(10);
        (0..1000).for_each(|n| few.put(&format!("a.b.{n}"), &identity()));
        let inner = few.0.as_ref().expect("on");
        inner.run_pending_tasks();
        assert!(inner.entry_count() <= 10, "{}", inner.entry_count());
    }
}
