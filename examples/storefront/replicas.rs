//! Several replicas of one service, asked in turn.

use crate::{stacks::Upstream, traffic::attempt};
use axum::body::Body;
use http::Request;
use mainstay::{BoxError, Error, Reason, Refused};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tower::{ServiceExt, service_fn, util::BoxCloneSyncService};

/// Whose turn it is when a call is sent for the first time; each time it is sent again it is the turn of the next.
#[derive(Clone, Copy, Debug, Default)]
struct Turn(usize);

/// Gives each call its turn; to be put around whatever may send it more than once.
pub(crate) fn take_turns() -> impl Fn(Request<Body>) -> Request<Body> + Clone {
    let next = Arc::new(AtomicUsize::new(0));
    move |mut request| {
        // Relaxed: all that matters is that each call gets another number.
        request.extensions_mut().insert(Turn(next.fetch_add(1, Ordering::Relaxed)));
        request
    }
}

/// Passes the turn on if the request is sent again; to be put directly below each policy that does that.
pub(crate) fn pass_turn(mut request: Request<Body>) -> Request<Body> {
    let before = usize::try_from(attempt(&request).number()).unwrap_or(usize::MAX) - 1;
    if let Some(Turn(turn)) = request.extensions_mut().get_mut() {
        *turn = turn.wrapping_add(before);
    }
    request
}

/// Asks the replica whose turn it is; if its circuit refuses, the next one is asked.
///
/// That is safe for any request, since a refused call was certainly not executed. Only the head of the request is sent
/// again, so this is for requests without a body.
pub(crate) fn in_turn(name: &'static str, replicas: impl IntoIterator<Item = Upstream>) -> Upstream {
    let replicas: Arc<[Upstream]> = replicas.into_iter().collect();
    BoxCloneSyncService::new(service_fn(move |request: Request<Body>| {
        let replicas = Arc::clone(&replicas);
        async move {
            let (head, _) = request.into_parts();
            let Turn(first) = head.extensions.get().copied().unwrap_or_default();
            let mut answer = Err::<_, Error<BoxError>>(Refused::new(Reason::NoEndpoint, name).into());
            for replica in (0..replicas.len()).map(|step| &replicas[first.wrapping_add(step) % replicas.len()]) {
                let request = Request::from_parts(head.clone(), Body::empty());
                answer = replica.clone().oneshot(request).await;
                if !matches!(answer, Err(Error::Refused(_))) {
                    break;
                }
            }
            answer
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Response;
    use mainstay::Attempt;

    fn replica(answer: impl Fn() -> Result<&'static str, Error<BoxError>> + Clone + Send + Sync + 'static) -> Upstream {
        BoxCloneSyncService::new(service_fn(move |_| {
            let answer = answer();
            async move { answer.map(|text| Response::new(Body::from(text))) }
        }))
    }

    fn refusing() -> Upstream {
        replica(|| Err(Refused::new(Reason::CircuitOpen, "test").into()))
    }

    async fn send(service: &Upstream, request: Request<Body>) -> Result<String, Error<BoxError>> {
        let body = service.clone().oneshot(request).await?.into_body();
        let bytes = axum::body::to_bytes(body, 100).await.unwrap();
        Ok(String::from_utf8(bytes.to_vec()).unwrap())
    }

    async fn ask(service: &Upstream) -> Result<String, Error<BoxError>> {
        send(service, Request::new(Body::empty())).await
    }

    #[tokio::test]
    async fn replicas_take_turns() {
        let service = in_turn("test", [replica(|| Ok("a")), replica(|| Ok("b"))]);
        let take_turns = take_turns();
        for expected in ["a", "b", "a"] {
            assert_eq!(send(&service, take_turns(Request::new(Body::empty()))).await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn what_is_sent_again_goes_to_the_other_replica_whoever_comes_between() {
        let service = in_turn("test", [replica(|| Ok("a")), replica(|| Ok("b"))]);
        let turn = Turn(4);
        for (hedge, retry, expected) in [(1, 1, "a"), (2, 1, "b"), (1, 2, "b"), (2, 2, "a")] {
            let mut request = Request::new(Body::empty());
            request.extensions_mut().insert(turn);
            for number in [hedge, retry] {
                let attempt = if number == 1 { Attempt::FIRST } else { Attempt::FIRST.next() };
                request.extensions_mut().insert(attempt);
                request = pass_turn(request);
            }
            assert_eq!(send(&service, request).await.unwrap(), expected, "{hedge} {retry}");
        }
    }

    #[tokio::test]
    async fn a_refusal_goes_to_the_next_replica_and_a_failure_does_not() {
        let service = in_turn("test", [refusing(), replica(|| Ok("b"))]);
        for _ in 0..3 {
            assert_eq!(ask(&service).await.unwrap(), "b");
        }
        let service = in_turn("test", [replica(|| Err(Error::Inner("reset".into()))), replica(|| Ok("b"))]);
        assert!(matches!(ask(&service).await, Err(Error::Inner(_))));
    }

    #[tokio::test]
    async fn only_if_all_refuse_is_the_call_refused() {
        let service = in_turn("test", [refusing(), refusing()]);
        assert!(matches!(ask(&service).await, Err(Error::Refused(_))));
    }
}
