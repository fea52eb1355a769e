use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

/// One thread that moves the bytes of all connections, so that whoever asks may block, wherever it runs.
pub(super) struct Runtime(Option<tokio::runtime::Runtime>);

impl Runtime {
    pub(super) fn new() -> io::Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("postgres").enable_io().enable_time();
        Ok(Self(Some(builder.build()?)))
    }

    /// Blocks until it is done, or the time is over.
    pub(super) fn wait_within<F: Future>(&self, within: Option<Duration>, future: F) -> Option<F::Output> {
        self.wait(async {
            match within {
                Some(within) => tokio::time::timeout(within, future).await.ok(),
                None => Some(future.await),
            }
        })
    }

    /// Blocks until it is done. tokio's own `block_on` panics where another runtime is entered, as in a test.
    pub(super) fn wait<F: Future>(&self, future: F) -> F::Output {
        let _entered = self.0.as_ref().map(tokio::runtime::Runtime::enter);
        let mut future = pin!(future);
        // A flag of its own: what unparks may be meant for another future that this thread waits for.
        let woken = Arc::new(Woken { thread: thread::current(), flag: AtomicBool::new(true) });
        let waker = Waker::from(woken.clone());
        loop {
            while !woken.flag.swap(false, Ordering::AcqRel) {
                thread::park();
            }
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
        }
    }
}

/// Dropped in an async context, a runtime that waits for its threads panics.
impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

struct Woken {
    thread: Thread,
    flag: AtomicBool,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.flag.store(true, Ordering::Release);
        self.thread.unpark();
    }
}
