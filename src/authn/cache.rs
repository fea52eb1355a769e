use std::sync::Arc;

use sha2::{Digest, Sha256};

/// What came of tokens that were verified, by the SHA-256 of the whole token: another signature over the same
/// claims is another token. Bounded; which entries stay is moka's choice.
pub(super) struct Cache<V>(Option<moka::sync::Cache<[u8; 32], Arc<V>>>);

impl<V: Send + Sync + 'static> Cache<V> {
    /// A capacity of 0 remembers nothing.
    pub(super) fn new(capacity: u64) -> Self {
        Self((capacity > 0).then(|| moka::sync::Cache::new(capacity)))
    }

    pub(super) fn get(&self, token: &str) -> Option<Arc<V>> {
        self.0.as_ref()?.get(&key(token))
    }

    pub(super) fn put(&self, token: &str, value: V) {
        if let Some(cache) = &self.0 {
            cache.insert(key(token), Arc::new(value));
        }
    }
}

fn key(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_by_its_whole_token_alone() {
        let cache = Cache::new(10);
        cache.put("a.b.c", 7);
        for (row, token, found) in [
            ("itself", "a.b.c", Some(7)),
            ("another signature", "a.b.d", None),
            ("a longer token", "a.b.c.", None),
            ("a shorter token", "a.b.", None),
            ("another case", "A.b.c", None),
        ] {
            assert_eq!(cache.get(token).map(|value| *value), found, "{row}");
        }
    }

    #[test]
    fn a_capacity_of_zero_remembers_nothing_and_any_other_is_kept_to() {
        let none = Cache::new(0);
        none.put("a.b.c", ());
        assert!(none.get("a.b.c").is_none());
        let few = Cache::new(10);
        (0..1000).for_each(|n| few.put(&format!("a.b.{n}"), ()));
        let inner = few.0.as_ref().expect("on");
        inner.run_pending_tasks();
        assert!(inner.entry_count() <= 10, "{}", inner.entry_count());
    }
}
