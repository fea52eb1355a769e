use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::authn::Identity;
use crate::domain::{Fingerprint, IdempotencyKey, Keyed};

/// A caller, as records name it, and its key.
type Name = (String, IdempotencyKey);

/// The keys of this process that are between their look-up and their intent: until then the trail does not know them.
pub struct InFlight {
    held: Mutex<HashMap<Name, Fingerprint>>,
    most: usize,
}

/// The right to work on a request by its key, until dropped.
pub struct Place {
    of: Arc<InFlight>,
    name: Name,
}

/// Why a place is not to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    /// The same request is worked on.
    Same,
    /// Another by the same key is.
    Other,
    /// There are too many.
    Full,
}

impl InFlight {
    /// At most so many at a time.
    pub fn new(most: usize) -> Self {
        Self { held: Mutex::default(), most }
    }

    pub fn take(self: &Arc<Self>, caller: &Identity, keyed: &Keyed) -> Result<Place, Met> {
        let name = (caller.to_string(), keyed.key.clone());
        let mut held = self.held();
        let full = held.len() >= self.most;
        match held.entry(name.clone()) {
            Entry::Occupied(other) if *other.get() == keyed.fingerprint => return Err(Met::Same),
            Entry::Occupied(_) => return Err(Met::Other),
            Entry::Vacant(_) if full => return Err(Met::Full),
            Entry::Vacant(place) => _ = place.insert(keyed.fingerprint.clone()),
        }
        Ok(Place { of: self.clone(), name })
    }

    /// Nothing is done behind the lock that a panic could leave half done.
    fn held(&self) -> MutexGuard<'_, HashMap<Name, Fingerprint>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.held().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyed(key: &str, byte: u8) -> Keyed {
        Keyed { key: key.parse().expect("a key"), fingerprint: Fingerprint::new([byte; 32], None) }
    }

    #[test]
    fn a_key_is_worked_on_once_by_each_caller_until_its_place_is_given_up() {
        let places = Arc::new(InFlight::new(3));
        let (alice, bob) = (Identity::for_test("alice", &[]), Identity::for_test("bob", &[]));
        let take = |caller: &Identity, key: &str, byte| places.take(caller, &keyed(key, byte));
        let met = |taken: Result<Place, Met>| taken.err().expect("none is to be had");
        let first = take(&alice, "k", 1).expect("free");
        assert_eq!(met(take(&alice, "k", 1)), Met::Same);
        assert_eq!(met(take(&alice, "k", 2)), Met::Other);
        let others = [take(&bob, "k", 2), take(&alice, "K", 1)].map(|place| place.expect("another key"));
        assert_eq!(met(take(&alice, "more", 1)), Met::Full);
        assert_eq!(met(take(&alice, "k", 1)), Met::Same, "that is told though there is no room");
        drop(first);
        drop(take(&alice, "k", 2).expect("free again"));
        drop(others);
        assert!(places.held().is_empty());
    }
}
