use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Told now and then how much is done, and of how much.
pub type Progress<'p> = dyn Fn(usize, usize) + Sync + 'p;

/// Items that one thread takes in one go when there are many small ones.
const SHARE: usize = 256;

/// Many small items, for [`map`].
pub(super) fn shares<T>(items: &[T]) -> Vec<&[T]> {
    items.chunks(SHARE).collect()
}

/// What `work` makes of each item, in their order, by as many threads as there are cores.
pub(super) fn map<'i, T, R>(
    items: &'i [T],
    progress: &Progress<'_>,
    work: impl Fn(&'i T) -> R + Sync,
) -> Vec<R>
where
    T: Sync,
    R: Send,
{
    let (next, finished) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let share = || {
        let mut results = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return results };
            results.push((index, work(item)));
            progress(1 + finished.fetch_add(1, Ordering::Relaxed), items.len());
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(items.len());
    let mut results: Vec<(usize, R)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(share)).collect();
        let joined =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|e| std::panic::resume_unwind(e)));
        joined.flatten().collect()
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_their_items() {
        let items: Vec<usize> = (0..1000).collect();
        let most = AtomicUsize::new(0);
        let progress = |done: usize, of: usize| {
            assert_eq!(of, 1000);
            most.fetch_max(done, Ordering::Relaxed);
        };
        let doubled = map(&items, &progress, |n| 2 * n);
        assert!(doubled.iter().enumerate().all(|(index, n)| *n == 2 * index));
        assert_eq!((doubled.len(), most.load(Ordering::Relaxed)), (1000, 1000));
        assert!(map(&[] as &[usize], &progress, |n| *n).is_empty());
    }
}
