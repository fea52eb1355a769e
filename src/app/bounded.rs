//! What bounds a caller's connection in time where actix-http does not: heads after the first, what still comes of a body
//! that nobody reads, and answers that are not taken.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a caller may take for its part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// From the end of an answer until the next request's head is whole.
    pub next: Duration,
    /// For taking a buffer full of an answer (32 KiB).
    pub take: Duration,
}

/// Whose turn it is on a connection: the gateway's (None), or the caller's since then.
#[derive(Clone)]
pub(super) struct Turn(Rc<Cell<Option<Instant>>>);

impl Turn {
    fn callers(&self) {
        self.0.set(Some(Instant::now()));
    }
}

/// Passes the turn back however a request ends: answered, or dropped with its connection.
struct Ours(Turn);

impl Drop for Ours {
    fn drop(&mut self) {
        self.0.callers();
    }
}

/// While a request is handled the caller is waited for by nobody but who reads its body.
pub(super) async fn our_turn<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let turn = request.conn_data::<Turn>().expect("every connection is bounded").clone();
    turn.0.set(None);
    let _ours = Ours(turn);
    next.call(request).await
}

/// A connection that fails with [`io::ErrorKind::TimedOut`] past its bounds; it is closed then without an answer.
pub(super) struct Bounded<T> {
    stream: T,
    bounds: Bounds,
    turn: Turn,
    /// Since when something written is not taken whole.
    stuck: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
}

impl<T> Bounded<T> {
    /// The caller's turn begins now. Must be called on the runtime that polls it.
    pub(super) fn new(stream: T, bounds: Bounds) -> Self {
        let now = Instant::now();
        let turn = Turn(Rc::new(Cell::new(Some(now))));
        Self { stream, bounds, turn, stuck: None, alarm: Box::pin(sleep_until(now)) }
    }

    pub(super) fn turn(&self) -> Turn {
        self.turn.clone()
    }

    /// Whether a bound is passed; wakes the task when it will be.
    fn overdue(&mut self, cx: &mut Context<'_>) -> bool {
        let deadline = match (self.stuck, self.turn.0.get()) {
            (Some(since), _) => since + self.bounds.take,
            (None, Some(since)) => since + self.bounds.next,
            (None, None) => return false,
        };
        if self.alarm.deadline() != deadline {
            self.alarm.as_mut().reset(deadline);
        }
        self.alarm.as_mut().poll(cx).is_ready()
    }

    /// All that there was to write is taken; `fresh`: there was something.
    fn taken(&mut self, cx: &mut Context<'_>, fresh: bool) {
        let was_stuck = self.stuck.take().is_some();
        // It begins to be the caller's turn when it has its answer.
        if (was_stuck || fresh) && self.turn.0.get().is_some() {
            self.turn.callers();
        }
        // Only to be woken.
        _ = self.overdue(cx);
    }

    /// Something is not taken yet.
    fn untaken(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.stuck.get_or_insert_with(Instant::now);
        if self.overdue(cx) { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }

    /// What came of a flush or a shutdown, which find nothing to do mostly.
    fn flushed(&mut self, cx: &mut Context<'_>, came: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        match came {
            Poll::Ready(Ok(())) => self.taken(cx, false),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.untaken(cx)?,
        }
        came
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Bounded<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Before what there is to read: a flood must not outrun it.
        if self.overdue(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Bounded<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let came = Pin::new(&mut self.stream).poll_write(cx, bytes);
        match &came {
            Poll::Ready(Ok(count)) if *count == bytes.len() => self.taken(cx, true),
            Poll::Ready(Err(_)) => {}
            Poll::Ready(Ok(_)) | Poll::Pending => self.untaken(cx)?,
        }
        came
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let came = Pin::new(&mut self.stream).poll_flush(cx);
        self.flushed(cx, came)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let came = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.flushed(cx, came)
    }
}
