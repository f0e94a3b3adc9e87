//! A body that reports its own end.

use bytes::Buf;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End<'a> {
    /// Everything was sent.
    Complete {
        /// The trailers, if there were any.
        trailers: Option<&'a HeaderMap>,
    },
    /// The body failed before its end, or panicked.
    Failed,
    /// Nobody asked for the end: the body was dropped after nothing was read of it, or all that was announced. There is
    /// no more than the head to judge by.
    HeadOnly,
}

/// What wants to know how a body ended, once.
///
/// Implemented for closures, and by policies for what holds their guard. To be dropped unsettled means *abandoned*: the
/// reader left in the middle.
pub trait Settle {
    /// Takes the end.
    fn settle(self, end: End<'_>);

    /// Is told of each frame that is not the last: the body is not silent.
    fn progress(&mut self) {}
}

impl<F> Settle for F
where
    F: FnOnce(End<'_>),
{
    fn settle(self, end: End<'_>) {
        self(end);
    }
}

/// A body that tells its settler how it ended: at most once, and as soon as that is known.
///
/// The end is the trailers; an error or a panic; the end of the frames; or the last frame of data, if the body then says
/// that it is at its end, since hyper does not poll such a body again. A body that has nothing to send is settled by
/// [`new`](Self::new).
///
/// Not every reader asks for the end. A client may look at the status and no further, a server answers a `HEAD`, hyper
/// stops at the announced length. So a body that is dropped after nothing was read of it, or all that was
/// [announced](Self::announced), is settled as [`End::HeadOnly`]. Dropped in the middle it drops its settler, which means
/// *abandoned*.
///
/// Nothing is boxed and nothing is allocated.
///
/// # Cancel safety
///
/// Dropping the body settles it or drops the settler, as said above, unless it is settled already.
///
/// # Examples
///
/// ```
/// use http_body_util::{BodyExt, Full};
/// use mainstay_core::http::{End, SettleBody};
/// use std::cell::Cell;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let complete = Cell::new(false);
/// let order = Full::new(&b"three flat whites"[..]);
/// let body = SettleBody::new(order, |end: End<'_>| {
///     complete.set(matches!(end, End::Complete { .. }));
/// });
///
/// assert!(!complete.get());
/// body.collect().await.unwrap();
/// assert!(complete.get());
/// # }
/// ```
#[pin_project]
#[derive(Debug)]
pub struct SettleBody<B, S: Settle> {
    #[pin]
    inner: B,
    waiting: Waiting<S>,
}

/// A settler that waits for the end.
#[derive(Debug)]
struct Waiting<S: Settle> {
    settler: Option<S>,
    untouched: bool,
    /// Of what was announced.
    left: Option<u64>,
}

impl<B, S: Settle> SettleBody<B, S> {
    /// A body with nothing to settle, for the calls that a policy does not count.
    pub const fn settled(inner: B) -> Self {
        Self { inner, waiting: Waiting { settler: None, untouched: true, left: None } }
    }

    /// The inner body.
    pub const fn get_ref(&self) -> &B {
        &self.inner
    }

    /// The inner body.
    pub const fn get_mut(&mut self) -> &mut B {
        &mut self.inner
    }

    /// The inner body; a settler that still waits is treated as if the body were dropped.
    pub fn into_inner(self) -> B {
        self.inner
    }

    /// Says how many bytes were announced, by a `Content-Length`; without it the body's own exact size hint counts.
    #[must_use]
    pub const fn announced(mut self, bytes: Option<u64>) -> Self {
        if bytes.is_some() {
            self.waiting.left = bytes;
        }
        self
    }
}

impl<B: Body, S: Settle> SettleBody<B, S> {
    /// Has `settler` told how `inner` ends; at once, if it is at its end already.
    pub fn new(inner: B, settler: S) -> Self {
        if !inner.is_end_stream() {
            let left = inner.size_hint().exact();
            return Self { inner, waiting: Waiting { settler: Some(settler), untouched: true, left } };
        }
        settler.settle(End::Complete { trailers: None });
        Self::settled(inner)
    }
}

/// An empty body with nothing to settle, for responses that a layer further out makes itself.
impl<B: Default, S: Settle> Default for SettleBody<B, S> {
    fn default() -> Self {
        Self::settled(B::default())
    }
}

impl<B: Body, S: Settle> Body for SettleBody<B, S> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        this.waiting.untouched = false;
        let mut scope = FailOnPanic(this.waiting.settler.take());
        // Pending: the inner body will wake us.
        let polled = this.inner.as_mut().poll_frame(cx);
        let Some(settler) = scope.0.take() else {
            return polled;
        };
        let Poll::Ready(frame) = &polled else {
            this.waiting.settler = Some(settler);
            return polled;
        };
        if let Some(end) = end(frame.as_ref(), this.inner.is_end_stream()) {
            settler.settle(end);
        } else {
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref);
            this.waiting.go_on(settler, data.map_or(0, Buf::remaining));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<S: Settle> Waiting<S> {
    fn go_on(&mut self, mut settler: S, read: usize) {
        settler.progress();
        self.settler = Some(settler);
        self.left = self.left.map(|left| left.saturating_sub(read as u64));
    }
}

impl<S: Settle> Drop for Waiting<S> {
    fn drop(&mut self) {
        if let Some(settler) = self.settler.take()
            && (self.untouched || self.left == Some(0))
        {
            settler.settle(End::HeadOnly);
        }
    }
}

/// Dropped with a settler only while the inner body unwinds.
struct FailOnPanic<S: Settle>(Option<S>);

impl<S: Settle> Drop for FailOnPanic<S> {
    fn drop(&mut self) {
        if let Some(settler) = self.0.take() {
            settler.settle(End::Failed);
        }
    }
}

/// The end, if `frame` is the last that the body has to say.
fn end<D, E>(frame: Option<&Result<Frame<D>, E>>, is_end_stream: bool) -> Option<End<'_>> {
    match frame {
        None => Some(End::Complete { trailers: None }),
        Some(Err(_)) => Some(End::Failed),
        Some(Ok(frame)) => {
            let trailers = frame.trailers_ref();
            (trailers.is_some() || is_end_stream).then_some(End::Complete { trailers })
        }
    }
}
