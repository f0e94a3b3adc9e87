//! The answer to a request.

use super::RateLimitFields;
use crate::Decision;
use http::Response;
use pin_project::pin_project;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// The future of [`HttpRateLimit`](super::HttpRateLimit).
///
/// # Cancel safety
///
/// Dropping it drops the inner future; what the request took of the quota is not given back, since the service was asked.
///
/// # Panics
///
/// A refused request panics when polled again after its answer.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct HttpResponseFuture<F, B> {
    #[pin]
    state: State<F, B>,
}

#[pin_project(project = StateProjected)]
enum State<F, B> {
    Refused(Option<Response<B>>),
    Allowed {
        #[pin]
        inner: F,
        note: Option<Note>,
    },
}

/// What is to be written to the response.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) fields: Arc<RateLimitFields>,
    pub(super) decision: Decision,
    /// Whether the rules are still those of the policies.
    pub(super) holds: bool,
}

impl Note {
    pub(super) fn write<B>(&self, response: &mut Response<B>) {
        self.fields.write_if(self.holds, &self.decision, response.headers_mut());
    }
}

impl<F, B> HttpResponseFuture<F, B> {
    pub(super) const fn refused(response: Response<B>) -> Self {
        Self { state: State::Refused(Some(response)) }
    }

    pub(super) const fn allowed(inner: F, note: Option<Note>) -> Self {
        Self { state: State::Allowed { inner, note } }
    }
}

impl<F, B, E> Future for HttpResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjected::Refused(response) => {
                Poll::Ready(Ok(response.take().expect("the future was polled after its answer")))
            }
            StateProjected::Allowed { inner, note } => {
                // Pending: the inner future will wake us.
                let mut response = ready!(inner.poll(cx))?;
                if let Some(note) = note {
                    note.write(&mut response);
                }
                Poll::Ready(Ok(response))
            }
        }
    }
}

/// Shows neither request nor response.
impl<F, B> fmt::Debug for HttpResponseFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Refused(_) => "Refused",
            State::Allowed { .. } => "Allowed",
        };
        f.debug_struct("HttpResponseFuture").field("state", &format_args!("{state}")).finish_non_exhaustive()
    }
}
