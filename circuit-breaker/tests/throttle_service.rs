//! The throttle around a service: readiness, cancelled calls, panics, sharing, what is seen and what is allocated.

use allocation_counter::measure;
use mainstay_circuit_breaker::{
    Outcome, Throttle, ThrottleConfig, ThrottleGuard, ThrottleLayer, ThrottlePermit, ThrottleService, ThrottleSnapshot,
};
use mainstay_core::{AnyError, Class, Classify, Error, Reason, Refused, classify_fn, lift};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::{
    cell::Cell,
    convert::Infallible,
    future::{Future, ready},
    panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, Service};

type Failed = Error<&'static str>;
type Answer = Result<(), Failed>;
type Throttled<C = AnyError> = ThrottleService<Leaf, Arc<Throttle>, C>;

assert_impl_all!(Throttle: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe);
assert_not_impl_any!(Throttle: Clone);
assert_impl_all!(ThrottlePermit: Send, Sync, Unpin);
assert_not_impl_any!(ThrottlePermit: Clone);
assert_impl_all!(ThrottleConfig: Send, Sync, Unpin, Clone, PartialEq, Default);
assert_impl_all!(ThrottleSnapshot: Send, Sync, Unpin, Clone, PartialEq);
assert_impl_all!(ThrottleGuard<Arc<Throttle>>: Send, Sync, Unpin);
assert_not_impl_any!(ThrottleGuard<Rc<Throttle>>: Send, Sync);
assert_impl_all!(ThrottleLayer: Send, Sync, Unpin, Clone);
assert_impl_all!(ThrottleService<(), Arc<Throttle>, AnyError>: Send, Sync, Unpin, Clone);

/// Where to panic, or how to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Succeed,
    Fail,
    PanicInCall,
    PanicInPoll,
    /// Pending so often, and then a success.
    After(u32),
    Refuse,
}

/// A service whose readiness is a real token: taken in `poll_ready`, spent in `call`, given back when dropped, absent in
/// clones.
struct Leaf {
    pool: Rc<Pool>,
    token: Option<Token>,
}

struct Pool {
    free: Cell<usize>,
    polls: Cell<usize>,
    calls: Cell<usize>,
    /// What the next `poll_ready` does.
    unready: Cell<Option<Order>>,
    waker: Cell<Option<Waker>>,
}

struct Token(Rc<Pool>);

struct Work(Order);

impl Pool {
    fn of(free: usize) -> Rc<Self> {
        Rc::new(Self {
            free: Cell::new(free),
            polls: Cell::default(),
            calls: Cell::default(),
            unready: Cell::default(),
            waker: Cell::default(),
        })
    }

    fn give(&self) {
        self.free.update(|free| free + 1);
        self.waker.take().into_iter().for_each(Waker::wake);
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.0.give();
    }
}

impl Clone for Leaf {
    fn clone(&self) -> Self {
        Self { pool: Rc::clone(&self.pool), token: None }
    }
}

impl Service<Order> for Leaf {
    type Response = ();
    type Error = Failed;
    type Future = Work;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        let pool = &self.pool;
        pool.polls.update(|polls| polls + 1);
        match pool.unready.take() {
            Some(Order::Fail) => return Poll::Ready(Err(Error::Inner("not ready"))),
            Some(Order::Refuse) => return Poll::Ready(Err(Refused::new(Reason::BulkheadFull, "within").into())),
            Some(_) => panic!("bang"),
            None => {}
        }
        if self.token.is_none() {
            if pool.free.get() == 0 {
                pool.waker.set(Some(cx.waker().clone()));
                return Poll::Pending;
            }
            pool.free.update(|free| free - 1);
            self.token = Some(Token(Rc::clone(pool)));
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, order: Order) -> Work {
        drop(self.token.take().expect("called without a token of its own"));
        self.pool.calls.update(|calls| calls + 1);
        assert_ne!(order, Order::PanicInCall, "bang");
        Work(order)
    }
}

impl Future for Work {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Answer> {
        match self.0 {
            Order::Succeed | Order::After(0) => Poll::Ready(Ok(())),
            Order::After(more) => {
                self.0 = Order::After(more - 1);
                Poll::Pending
            }
            Order::Fail => Poll::Ready(Err(Error::Inner("failed"))),
            Order::Refuse => Poll::Ready(Err(Refused::new(Reason::BulkheadFull, "within").into())),
            Order::PanicInCall | Order::PanicInPoll => panic!("bang"),
        }
    }
}

fn config() -> ThrottleConfig {
    ThrottleConfig::default().name("leaf").seed(3)
}

fn over(pool: &Rc<Pool>, layer: &ThrottleLayer) -> Throttled {
    layer.layer(Leaf { pool: Rc::clone(pool), token: None })
}

fn service() -> Throttled {
    over(&Pool::of(1), &ThrottleLayer::new(config()).unwrap())
}

/// All but one call of very many are refused.
fn refusing() -> ThrottleLayer {
    let layer = ThrottleLayer::new(config().minimum_calls(1).max_rejection(1.0)).unwrap();
    for _ in 0..1_000_000 {
        if let Ok(guard) = ThrottleGuard::admit(&*layer.handle()) {
            guard.settle(Outcome::Failure);
        }
    }
    layer
}

fn poll<C: Classify<(), Failed> + Clone>(service: &mut Throttled<C>) -> Poll<Answer> {
    task::spawn(()).enter(|cx, _| service.poll_ready(cx))
}

fn ask(service: &mut Throttled, order: Order) -> Answer {
    assert_ready_ok!(poll(service));
    assert_ready!(task::spawn(service.call(order)).poll())
}

/// Requests and accepts.
fn counted(throttle: &Throttle) -> (u64, u64) {
    let snapshot = throttle.snapshot();
    (snapshot.requests, snapshot.accepts)
}

fn panics<R>(act: impl FnOnce() -> R) -> bool {
    catch_unwind(AssertUnwindSafe(|| drop(act()))).is_err()
}

fn is_throttled(answer: &Answer) -> bool {
    matches!(answer, Err(Error::Refused(refused)) if refused.reason() == Reason::Throttled && refused.by() == "leaf")
}

// ===== readiness =====

#[tokio::test(start_paused = true)]
async fn each_call_spends_a_token_of_the_very_value_that_was_polled() {
    let pool = Pool::of(2);
    let mut one = over(&pool, &ThrottleLayer::new(config()).unwrap());
    let mut two = one.clone();
    for _ in 0..100 {
        assert_ready_ok!(poll(&mut one));
        let mut moved = one;
        one = moved.clone();
        assert_eq!(ask(&mut two, Order::Succeed), Ok(()));
        assert_eq!(assert_ready!(task::spawn(moved.call(Order::Succeed)).poll()), Ok(()));
        assert_eq!(pool.free.get(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn waits_for_the_inner_service_and_is_woken_by_it() {
    let pool = Pool::of(0);
    let mut service = over(&pool, &ThrottleLayer::new(config()).unwrap());
    let mut task = task::spawn(());
    for _ in 0..10 {
        assert_pending!(task.enter(|cx, _| service.poll_ready(cx)));
        assert!(!task.is_woken());
    }
    pool.give();
    assert!(task.is_woken());
    assert_ready_ok!(task.enter(|cx, _| service.poll_ready(cx)));
    assert_eq!(assert_ready!(task::spawn(service.call(Order::Succeed)).poll()), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_leaves_the_inner_readiness_reserved() {
    let (pool, layer) = (Pool::of(1), refusing());
    let mut service = over(&pool, &layer);
    for _ in 0..100 {
        assert!(is_throttled(&ask(&mut service, Order::Succeed)));
        assert_eq!((pool.free.get(), pool.calls.get()), (0, 0));
    }
    layer.handle().reconfigure(config().minimum_calls(u32::MAX)).unwrap();
    assert_eq!(ask(&mut service, Order::Succeed), Ok(()), "on the token of the first");
    assert_ready_ok!(poll(&mut service));
    drop(service);
    assert_eq!((pool.free.get(), pool.calls.get()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn readiness_costs_nothing_and_counts_nothing() {
    let mut service = service();
    for _ in 0..1_000 {
        assert_ready_ok!(poll(&mut service));
    }
    assert_eq!(counted(&service.handle()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_without_readiness_panics_and_counts_nothing() {
    let mut service = service();
    assert!(panics(|| service.call(Order::Succeed)), "never polled");
    assert_eq!(ask(&mut service, Order::Succeed), Ok(()));
    assert!(panics(|| service.call(Order::Succeed)), "readiness was spent");
    assert_ready_ok!(poll(&mut service));
    assert!(panics(|| service.clone().call(Order::Succeed)), "a clone is not ready");
    service.get_ref().pool.unready.set(Some(Order::Fail));
    assert_ready_err!(poll(&mut service));
    assert!(panics(|| service.call(Order::Succeed)), "it failed to be ready");
    assert_eq!(counted(&service.handle()), (2, 1), "the second is the failed readiness");

    // A service that was ready, and is not any more.
    let pool = Pool::of(1);
    let mut service = over(&pool, &ThrottleLayer::new(config()).unwrap());
    assert_ready_ok!(poll(&mut service));
    service.get_mut().token = None;
    pool.free.set(0);
    assert_pending!(poll(&mut service));
    assert!(panics(|| service.call(Order::Succeed)), "it has gone back to pending");
}

#[tokio::test(start_paused = true)]
async fn an_error_of_readiness_is_passed_on_and_is_a_request_without_accept() {
    let mut service = service();
    service.get_ref().pool.unready.set(Some(Order::Fail));
    assert_eq!(assert_ready_err!(poll(&mut service)), Error::Inner("not ready"));
    assert_eq!(counted(&service.handle()), (1, 0));
    service.get_ref().pool.unready.set(Some(Order::Refuse));
    assert!(matches!(assert_ready_err!(poll(&mut service)), Error::Refused(_)));
    assert_eq!(counted(&service.handle()), (1, 0), "a refusal from further in says nothing");
}

// ===== how calls end =====

#[tokio::test(start_paused = true)]
async fn each_end_is_counted_before_it_is_answered() {
    for (order, expected) in
        [(Order::Succeed, (1, 1)), (Order::Fail, (1, 0)), (Order::Refuse, (0, 0)), (Order::After(0), (1, 1))]
    {
        let mut service = service();
        assert_ready_ok!(poll(&mut service));
        let mut call = task::spawn(service.call(order));
        assert_eq!(counted(&service.handle()), (1, 0), "counted when it is admitted");
        let _ = assert_ready!(call.poll());
        assert_eq!(counted(&service.handle()), expected, "{order:?}");
        drop(call);
        assert_eq!(counted(&service.handle()), expected, "{order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_after_any_number_of_polls_is_taken_back() {
    for polls in 0..=5 {
        let mut service = service();
        assert_ready_ok!(poll(&mut service));
        let mut call = task::spawn(service.call(Order::After(5)));
        for _ in 0..polls {
            assert_pending!(call.poll());
        }
        assert_eq!(counted(&service.handle()), (1, 0));
        drop(call);
        assert_eq!(counted(&service.handle()), (0, 0), "dropped after {polls} polls");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_anywhere_is_a_request_without_accept_and_the_service_works_on() {
    for order in [Order::PanicInCall, Order::PanicInPoll] {
        let mut service = service();
        assert!(panics(|| ask(&mut service, order)));
        assert_eq!(counted(&service.handle()), (1, 0), "{order:?}");
        assert!(panics(|| service.call(Order::Succeed)), "readiness was spent");
        assert_eq!(ask(&mut service, Order::Succeed), Ok(()));
        assert_eq!(counted(&service.handle()), (2, 1), "{order:?}");
    }
    let mut service = service();
    assert_ready_ok!(poll(&mut service));
    service.get_ref().pool.unready.set(Some(Order::PanicInPoll));
    assert!(panics(|| poll(&mut service)));
    assert_eq!(counted(&service.handle()), (1, 0), "in poll_ready");
    assert!(panics(|| service.call(Order::Succeed)), "it is not known to be ready any more");
}

#[tokio::test(start_paused = true)]
async fn a_classifier_that_panics_leaves_an_abandoned_call() {
    let classify = classify_fn(|_: Result<&(), &Failed>| -> Class { panic!("bang") });
    let mut service = ThrottleService::new(
        Leaf { pool: Pool::of(1), token: None },
        Arc::new(Throttle::new(config()).unwrap()),
        classify,
    );
    assert_ready_ok!(poll(&mut service));
    let call = service.call(Order::Succeed);
    assert!(panics(|| task::spawn(call).poll()));
    assert_eq!(counted(&service.handle()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_refused_future_answers_once() {
    let mut service = over(&Pool::of(1), &refusing());
    assert_ready_ok!(poll(&mut service));
    let mut call = task::spawn(service.call(Order::Succeed));
    assert!(is_throttled(&assert_ready!(call.poll())));
    assert!(panics(|| call.poll()));
}

// ===== without tower =====

#[tokio::test(start_paused = true)]
async fn a_plain_call_is_counted_when_it_is_first_polled() {
    let throttle = Throttle::new(config()).unwrap();
    let never = || std::future::pending::<Result<(), Error<Infallible>>>();
    drop(throttle.call(never));
    assert_eq!(counted(&throttle), (0, 0));
    let mut call = task::spawn(throttle.call(never));
    assert_pending!(call.poll());
    assert_eq!(counted(&throttle), (1, 0));
    drop(call);
    assert_eq!(counted(&throttle), (0, 0));

    assert!(throttle.call(|| lift(ready(Err::<(), _>("failed")))).await.is_err());
    let fine = classify_fn(|_: Result<&(), &Failed>| Class::Success);
    assert!(throttle.call_classified(fine, || lift(ready(Err::<(), _>("failed")))).await.is_err());
    assert_eq!(counted(&throttle), (2, 1));
    let bang = || -> std::future::Ready<Answer> { panic!("bang") };
    assert!(panics(|| pin!(throttle.call(bang)).poll(&mut Context::from_waker(Waker::noop()))));
    assert_eq!(counted(&throttle), (3, 1));
}

// ===== sharing =====

#[tokio::test(start_paused = true)]
async fn clones_and_services_of_one_layer_share_and_a_fresh_one_does_not() {
    let layer = ThrottleLayer::new(config()).unwrap();
    let fresh = layer.fresh();
    let pool = Pool::of(9);
    let mut services = [over(&pool, &layer), over(&pool, &layer.clone()), over(&pool, &layer).clone()];
    for service in &mut services {
        assert_eq!(ask(service, Order::Succeed), Ok(()));
    }
    assert_eq!(counted(&layer.handle()), (3, 3));
    assert_eq!(ask(&mut over(&pool, &fresh), Order::Fail), Err(Error::Inner("failed")));
    assert_eq!((counted(&layer.handle()), counted(&fresh.handle())), ((3, 3), (1, 0)));

    let fixed: &'static Throttle = Box::leak(Box::new(Throttle::new(config()).unwrap()));
    let mut service = ThrottleLayer::with_throttle(fixed).layer(Leaf { pool, token: None });
    assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
    assert_eq!(assert_ready!(task::spawn(service.call(Order::Succeed)).poll()), Ok(()));
    assert_eq!(counted(fixed), (1, 1));
}

#[test]
fn debug_names_the_throttle_and_shows_no_request() {
    let layer = ThrottleLayer::new(config()).unwrap();
    let mut service = layer.layer(tower::service_fn(async |secret: &'static str| Ok::<_, Error<()>>(secret)));
    assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
    let future = service.call("hunter2");
    for text in [format!("{layer:?}"), format!("{:?}", layer.layer(())), format!("{future:?}")] {
        assert!(text.contains("leaf") && !text.contains("hunter2"), "{text}");
    }
}

// ===== cost =====

#[test]
fn no_call_allocates_accepted_or_refused() {
    const CALLS: u32 = 1_000;
    let cx = &mut Context::from_waker(Waker::noop());
    for layer in [ThrottleLayer::new(config()).unwrap(), refusing()] {
        let mut service = layer.layer(tower::service_fn(|n: u32| ready(Ok::<_, Error<()>>(n))));
        let mut calls = || {
            for n in 0..CALLS {
                assert!(service.poll_ready(cx).is_ready());
                assert!(pin!(service.call(n)).poll(cx).is_ready());
                let throttle = layer.handle();
                if let Ok(guard) = ThrottleGuard::admit(&*throttle) {
                    drop(guard);
                }
                drop(layer.clone());
            }
        };
        calls();
        assert_eq!(measure(calls).count_total, 0);
    }
}

// ===== bodies =====

#[cfg(feature = "http")]
mod bodies {
    use super::*;
    use http::{Request, Response};
    use http_body_util::BodyExt;
    use tower::{ServiceExt, service_fn};

    #[tokio::test(start_paused = true)]
    async fn http_reads_the_status() {
        let layer = ThrottleLayer::http(config()).unwrap();
        for status in [200, 404, 429, 503] {
            let leaf = service_fn(move |_: Request<()>| {
                let response = Response::builder().status(status).body(String::new()).unwrap();
                ready(Ok::<_, Error<Infallible>>(response))
            });
            assert!(layer.layer(leaf).oneshot(Request::new(())).await.is_ok());
        }
        assert_eq!(counted(&layer.handle()), (4, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_settled_at_its_end_and_taken_back_if_it_is_left_in_the_middle() {
        use http_body_util::StreamBody;
        let layer = ThrottleLayer::http(config()).unwrap().until_body_end();
        let throttle = layer.handle();
        let leaf = || {
            service_fn(|_: Request<()>| {
                let frames = ["one", "two"].map(|part| Ok::<_, Infallible>(http_body::Frame::data(part.as_bytes())));
                let body = StreamBody::new(futures_util::stream::iter(frames));
                ready(Ok::<_, Error<Infallible>>(Response::new(body)))
            })
        };
        let response = layer.layer(leaf()).oneshot(Request::new(())).await.unwrap();
        assert_eq!(counted(&throttle), (1, 0));
        response.into_body().collect().await.unwrap();
        assert_eq!(counted(&throttle), (1, 1));

        let mut body = layer.layer(leaf()).oneshot(Request::new(())).await.unwrap().into_body();
        assert!(body.frame().await.is_some());
        assert_eq!(counted(&throttle), (2, 1));
        drop(body);
        assert_eq!(counted(&throttle), (1, 1));

        drop(layer.layer(leaf()).oneshot(Request::new(())).await.unwrap());
        assert_eq!(counted(&throttle), (2, 2), "judged by the head");
        assert_eq!(counted(&layer.fresh().handle()), (0, 0));
    }

    #[cfg(feature = "grpc")]
    #[tokio::test(start_paused = true)]
    async fn grpc_reads_the_trailers() {
        use http_body_util::Empty;
        let layer = ThrottleLayer::grpc(config()).unwrap();
        let leaf = |status: &'static str| {
            service_fn(move |_: Request<()>| {
                let mut trailers = http::HeaderMap::new();
                trailers.insert("grpc-status", http::HeaderValue::from_static(status));
                let body = Empty::<&[u8]>::new().with_trailers(ready(Some(Ok::<_, Infallible>(trailers))));
                ready(Ok::<_, Error<Infallible>>(Response::new(body)))
            })
        };
        for status in ["0", "14", "8"] {
            let response = layer.layer(leaf(status)).oneshot(Request::new(())).await.unwrap();
            response.into_body().collect().await.unwrap();
        }
        assert_eq!(counted(&layer.handle()), (3, 1));
    }
}

// ===== seen from outside =====

#[cfg(feature = "metrics")]
#[test]
fn refusals_are_counted_under_the_configured_name_and_follow_the_recorder() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};
    let throttle = Throttle::new(config().name("measured").minimum_calls(1).max_rejection(1.0)).unwrap();
    // No recorder yet; the handle that is made here leads nowhere.
    let refuse = |times: u64| {
        let before = throttle.snapshot().refused;
        while throttle.snapshot().refused < before + times {
            if let Ok(guard) = ThrottleGuard::admit(&throttle) {
                guard.settle(Outcome::Failure);
            }
        }
    };
    refuse(5);
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        throttle.rebind_metrics();
        refuse(7);
    });
    let series = snapshotter.snapshot().into_vec();
    let [(key, _, _, DebugValue::Counter(7))] = &series[..] else { panic!("{series:?}") };
    assert_eq!(key.key().name(), "mainstay_throttle_refused_total");
    assert_eq!(
        key.key().labels().map(|label| (label.key(), label.value())).collect::<Vec<_>>(),
        [("throttle", "measured")]
    );
}
