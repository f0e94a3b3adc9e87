//! The contract of tower, for an engine as a service: the conformance kit over sagas of one step that calls the inner service.

use futures_util::{FutureExt, future::BoxFuture};
use mainstay_conformance::{AutoTraits, Probe, ProbeError, Profile, Reply, Request, Subject, conformance_suite};
use mainstay_core::{BoxError, Error};
use mainstay_saga::{
    Config, Draft, Engine, Out, Outcome, Saga, SagaService, Start, Step, StepCx, StepError, journal::Memory,
};
use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tower::{Layer, Service};

/// What cannot be kept in a journal, by the number of its saga.
struct Back {
    inner: Mutex<Probe>,
    requests: Mutex<HashMap<u64, Request>>,
    answers: Mutex<HashMap<u64, Result<Reply, ProbeError>>>,
}

async fn pass(cx: StepCx<Back>, number: u64) -> Result<(), StepError> {
    let back = cx.app();
    let request = back.requests.lock().unwrap().remove(&number).ok_or_else(|| StepError::rejected("gone"))?;
    let mut inner = back.inner.lock().unwrap().clone();
    let answer = match poll_fn(|cx| inner.poll_ready(cx)).await {
        Ok(()) => inner.call(request).await,
        Err(error) => Err(error),
    };
    back.answers.lock().unwrap().insert(number, answer);
    Ok(())
}

fn one_call<'s>(mut s: Draft<'s, Back>, number: Out<'s, u64>) -> Out<'s, ()> {
    // A saga goes on without those who wait for it, so what it holds comes back when its attempt has ended.
    s.read(Step::named("call").attempts(1).attempt_timeout(Duration::from_secs(3)), number, pass)
}

/// Each service of it is an engine with so much room.
struct Sagas(usize);

impl Layer<Probe> for Sagas {
    type Service = Through;

    fn layer(&self, inner: Probe) -> Through {
        let back = Back { inner: Mutex::new(inner), requests: Mutex::default(), answers: Mutex::default() };
        let back = Arc::new(back);
        let saga = Saga::define("call", 1, one_call).unwrap();
        let builder = Engine::builder(Arc::clone(&back), Memory::with_ended(0)).register(&saga);
        let started = builder.config(Config::default().max_in_memory(self.0)).start();
        let engine = started.now_or_never().expect("a journal in memory answers at once").unwrap();
        Through { sagas: engine.service(&saga), back, next: Arc::default() }
    }
}

/// Hands requests to sagas by number.
#[derive(Clone)]
struct Through {
    sagas: SagaService<Back, u64, ()>,
    back: Arc<Back>,
    next: Arc<AtomicU64>,
}

impl Service<Request> for Through {
    type Response = Reply;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Reply, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.sagas.poll_ready(cx).map_err(boxed)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // Only the number matters, and each is given once.
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let outcome = self.sagas.call(Start::new(number.to_string(), number));
        let back = Arc::clone(&self.back);
        Box::pin(async move {
            back.requests.lock().unwrap().insert(number, request);
            let outcome = outcome.await;
            let answer = back.answers.lock().unwrap().remove(&number);
            drop(back.requests.lock().unwrap().remove(&number));
            match (outcome.map_err(boxed)?, answer) {
                (Outcome::Completed(()), Some(answer)) => answer.map_err(Into::into),
                (other, _) => Err(format!("the saga did not complete: {other:?}").into()),
            }
        })
    }
}

/// A refusal is boxed as itself.
fn boxed<E: std::error::Error + Send + Sync + 'static>(error: Error<E>) -> BoxError {
    match error {
        Error::Refused(refused) => refused.into(),
        error => error.into(),
    }
}

fn profile() -> Profile {
    Profile::pass_through()
        .may_refuse()
        .may_fail()
        .buffers()
        .detaches()
        .backpressure()
        .service_is(AutoTraits::SEND.unpin())
        .future_is(AutoTraits::SEND.unpin())
}

conformance_suite!(roomy, Subject::new("an engine with room", || Sagas(1_000)).on_tokio().profile(profile()));

conformance_suite!(narrow, Subject::new("an engine with room for two", || Sagas(2)).on_tokio().profile(profile()));
