//! A body that reports its own end.

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
    /// The body failed before its end.
    Failed,
}

/// What wants to know how a body ended, once.
///
/// Implemented for closures, and by policies for what holds their guard. To be dropped unsettled means *abandoned*: nobody
/// waited for the end, or the body panicked.
pub trait Settle {
    /// Takes the end.
    fn settle(self, end: End<'_>);
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
/// The end is the trailers; an error; the end of the frames; or the last frame of data, if the body then says that it is at
/// its end, since hyper does not poll such a body again. A body that has nothing to send is settled by [`new`](Self::new).
///
/// The settler is dropped unsettled with a body that is dropped before its end, and at once if the inner body panics. That
/// includes a reader that counts bytes and drops the body after the last one: to such a reader the body should say that
/// it is at its end, as the bodies of hyper and axum do.
///
/// Nothing is boxed and nothing is allocated.
///
/// # Cancel safety
///
/// Dropping the body drops the settler, unless it is settled already.
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
pub struct SettleBody<B, S> {
    #[pin]
    inner: B,
    settler: Option<S>,
}

impl<B, S> SettleBody<B, S> {
    /// A body with nothing to settle, for the calls that a policy does not count.
    pub const fn settled(inner: B) -> Self {
        Self { inner, settler: None }
    }

    /// The inner body.
    pub const fn get_ref(&self) -> &B {
        &self.inner
    }

    /// The inner body.
    pub const fn get_mut(&mut self) -> &mut B {
        &mut self.inner
    }

    /// The inner body; a settler that still waits is dropped.
    pub fn into_inner(self) -> B {
        self.inner
    }
}

impl<B: Body, S: Settle> SettleBody<B, S> {
    /// Has `settler` told how `inner` ends; at once, if it is at its end already.
    pub fn new(inner: B, settler: S) -> Self {
        if !inner.is_end_stream() {
            return Self { inner, settler: Some(settler) };
        }
        settler.settle(End::Complete { trailers: None });
        Self::settled(inner)
    }
}

/// An empty body with nothing to settle, for responses that a layer further out makes itself.
impl<B: Default, S> Default for SettleBody<B, S> {
    fn default() -> Self {
        Self::settled(B::default())
    }
}

impl<B: Body, S: Settle> Body for SettleBody<B, S> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        // Taken out while foreign code runs: a panic in there drops the settler, and no later poll can settle it.
        let settler = this.settler.take();
        // Pending: the inner body will wake us.
        let polled = this.inner.as_mut().poll_frame(cx);
        if let Some(settler) = settler {
            let end = match &polled {
                Poll::Pending => None,
                Poll::Ready(frame) => end(frame.as_ref(), this.inner.is_end_stream()),
            };
            match end {
                Some(end) => settler.settle(end),
                None => *this.settler = Some(settler),
            }
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
