//! Several replicas of one service, asked in turn.

use crate::stacks::Upstream;
use axum::body::Body;
use http::Request;
use mainstay::{BoxError, Error, Reason, Refused};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tower::{ServiceExt, service_fn, util::BoxCloneSyncService};

/// Asks one replica after the other in turn; if its circuit refuses, the next one is asked.
///
/// That is safe for any request, since a refused call was certainly not executed. Only the head of the request is sent
/// again, so this is for requests without a body.
pub(crate) fn in_turn(name: &'static str, replicas: impl IntoIterator<Item = Upstream>) -> Upstream {
    let replicas: Arc<[Upstream]> = replicas.into_iter().collect();
    let turn = Arc::new(AtomicUsize::new(0));
    BoxCloneSyncService::new(service_fn(move |request: Request<Body>| {
        let replicas = Arc::clone(&replicas);
        // Relaxed: all that matters is that each caller gets another number.
        let first = turn.fetch_add(1, Ordering::Relaxed);
        async move {
            let (head, _) = request.into_parts();
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

    fn replica(answer: impl Fn() -> Result<&'static str, Error<BoxError>> + Clone + Send + Sync + 'static) -> Upstream {
        BoxCloneSyncService::new(service_fn(move |_| {
            let answer = answer();
            async move { answer.map(|text| Response::new(Body::from(text))) }
        }))
    }

    fn refusing() -> Upstream {
        replica(|| Err(Refused::new(Reason::CircuitOpen, "test").into()))
    }

    async fn ask(service: &Upstream) -> Result<String, Error<BoxError>> {
        let body = service.clone().oneshot(Request::new(Body::empty())).await?.into_body();
        let bytes = axum::body::to_bytes(body, 100).await.unwrap();
        Ok(String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn replicas_take_turns() {
        let service = in_turn("test", [replica(|| Ok("a")), replica(|| Ok("b"))]);
        assert_eq!([ask(&service).await.unwrap(), ask(&service).await.unwrap()], ["a", "b"]);
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
