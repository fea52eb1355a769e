use std::thread::Builder;

/// What a thread may use that reads policies. Within the bounds on a text a hundredth of it is used.
const STACK: usize = 64 << 20;

/// Does work that goes as deep as a text does on a thread with room for it. None: there is no such thread to be had.
pub(super) fn deep<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread =
            Builder::new().name("policies".to_owned()).stack_size(STACK).spawn_scoped(scope, work).ok()?;
        Some(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
