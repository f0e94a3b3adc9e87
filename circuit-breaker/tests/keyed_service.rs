//! The circuit breaker with a circuit per key around a service: readiness, cancelled calls, panics, sharing.

use allocation_counter::measure;
use mainstay_circuit_breaker::{
    ByRef, ByValue, Circuits, Config, KeyedCircuit, KeyedCircuitBreaker, KeyedCircuitBreakerLayer, KeyedConfig,
    KeyedResponseFuture, KeyedSnapshot, State, Window,
};
use mainstay_core::{AnyError, Class, Error, Reason, classify_fn, lift};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::{
    cell::Cell,
    convert::Infallible,
    future::{Future, Ready, ready},
    panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, Service};

type Failed = Error<&'static str>;
type Answer = Result<(), Failed>;
type Hosts = Arc<Circuits<String>>;

assert_impl_all!(Circuits<String>: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe);
assert_not_impl_any!(Circuits<String>: Clone);
assert_not_impl_any!(Circuits<Rc<str>>: Send, Sync);
assert_impl_all!(KeyedCircuit<String>: Send, Sync, Unpin, Clone);
assert_impl_all!(KeyedConfig: Send, Sync, Unpin, Clone, PartialEq, Default);
assert_impl_all!(KeyedSnapshot: Send, Sync, Unpin, Clone, PartialEq);
assert_impl_all!(KeyedCircuitBreakerLayer<ByRef<fn(), str>, Hosts>: Send, Sync, Unpin, Clone);
assert_impl_all!(KeyedCircuitBreaker<(), ByValue<fn()>, Hosts>: Send, Sync, Unpin, Clone);
assert_impl_all!(KeyedResponseFuture<Ready<Answer>, String, AnyError>: Send, Sync, Unpin);

/// Where to panic, or how to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Succeed,
    Fail,
    PanicInKey,
    PanicInCall,
    PanicInPoll,
    /// Pending so often, and then a success.
    After(u32),
}

struct Order {
    host: &'static str,
    end: End,
}

/// A service whose readiness is a real token: taken in `poll_ready`, spent in `call`, given back when dropped, absent in
/// clones.
struct Leaf {
    pool: Rc<Pool>,
    token: Option<Token>,
}

struct Pool {
    free: Cell<usize>,
    calls: Cell<usize>,
    fails: Cell<bool>,
    panics: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

struct Token(Rc<Pool>);

struct Work(End);

impl Pool {
    fn of(free: usize) -> Rc<Self> {
        Rc::new(Self {
            free: Cell::new(free),
            calls: Cell::default(),
            fails: Cell::default(),
            panics: Cell::default(),
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
        assert!(!self.pool.panics.take(), "bang");
        if self.pool.fails.take() {
            return Poll::Ready(Err(Error::Inner("not ready")));
        }
        if self.token.is_none() {
            if self.pool.free.get() == 0 {
                self.pool.waker.set(Some(cx.waker().clone()));
                return Poll::Pending;
            }
            self.pool.free.update(|free| free - 1);
            self.token = Some(Token(Rc::clone(&self.pool)));
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, order: Order) -> Work {
        drop(self.token.take().expect("called without a token of its own"));
        self.pool.calls.update(|calls| calls + 1);
        assert_ne!(order.end, End::PanicInCall, "bang");
        Work(order.end)
    }
}

impl Future for Work {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Answer> {
        match self.0 {
            End::After(more @ 1..) => {
                self.0 = End::After(more - 1);
                Poll::Pending
            }
            End::Succeed | End::After(0) => Poll::Ready(Ok(())),
            End::Fail => Poll::Ready(Err(Error::Inner("failed"))),
            _ => panic!("bang"),
        }
    }
}

fn host(order: &Order) -> &str {
    assert_ne!(order.end, End::PanicInKey, "bang");
    order.host
}

type HostOf = fn(&Order) -> &str;
type Layered = KeyedCircuitBreakerLayer<ByRef<HostOf, str>, Hosts>;
type Keyed = KeyedCircuitBreaker<Leaf, ByRef<HostOf, str>, Hosts>;

/// The second failure in a row opens, for ten seconds; one probe closes.
fn config() -> Config {
    Config::default().name("hosts").window(Window::Consecutive(2)).open_for(Duration::from_secs(10)).probes(1)
}

fn layer(config: impl Into<KeyedConfig>) -> Layered {
    KeyedCircuitBreakerLayer::new(config, host as HostOf).unwrap()
}

fn over(pool: &Rc<Pool>, layer: &Layered) -> Keyed {
    layer.layer(Leaf { pool: Rc::clone(pool), token: None })
}

fn service() -> Keyed {
    over(&Pool::of(1), &layer(config()))
}

fn poll(service: &mut Keyed) -> Poll<Answer> {
    task::spawn(()).enter(|cx, _| service.poll_ready(cx))
}

fn ask(service: &mut Keyed, host: &'static str, end: End) -> Answer {
    assert_ready_ok!(poll(service));
    assert_ready!(task::spawn(service.call(Order { host, end })).poll())
}

fn open(service: &mut Keyed, host: &'static str) {
    (0..2).for_each(|_| assert_eq!(ask(service, host, End::Fail), Err(Error::Inner("failed"))));
    assert_eq!(service.handle().peek(host).unwrap().state(), State::Open);
}

fn is_refused(answer: &Answer) -> bool {
    matches!(answer, Err(Error::Refused(refused)) if refused.reason() == Reason::CircuitOpen && refused.by() == "hosts")
}

/// Failed votes and abandoned calls of a host.
fn counted(service: &Keyed, host: &str) -> (u64, u64) {
    let seen = service.handle().peek(host).unwrap().snapshot();
    (seen.votes.failed, seen.abandoned)
}

fn panics<R>(act: impl FnOnce() -> R) -> bool {
    catch_unwind(AssertUnwindSafe(|| drop(act()))).is_err()
}

#[tokio::test(start_paused = true)]
async fn one_host_is_refused_and_the_others_are_served() {
    let mut service = service();
    open(&mut service, "bad");
    assert!(is_refused(&ask(&mut service, "bad", End::Succeed)));
    assert_eq!(ask(&mut service, "good", End::Succeed), Ok(()));
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(ask(&mut service, "bad", End::Succeed), Ok(()), "the probe");
    assert_eq!(service.handle().peek("bad").unwrap().state(), State::Closed);
}

// ===== readiness =====

#[tokio::test(start_paused = true)]
async fn each_call_spends_a_token_of_the_very_value_that_was_polled() {
    let pool = Pool::of(2);
    let mut one = over(&pool, &layer(config()));
    let mut two = one.clone();
    for _ in 0..100 {
        assert_ready_ok!(poll(&mut one));
        let mut moved = one;
        one = moved.clone();
        assert_eq!(ask(&mut two, "a", End::Succeed), Ok(()));
        let call = moved.call(Order { host: "b", end: End::Succeed });
        assert_eq!(assert_ready!(task::spawn(call).poll()), Ok(()));
        assert_eq!(pool.free.get(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn waits_for_the_inner_service_and_is_woken_by_it() {
    let pool = Pool::of(0);
    let mut service = over(&pool, &layer(config()));
    let mut task = task::spawn(());
    for _ in 0..10 {
        assert_pending!(task.enter(|cx, _| service.poll_ready(cx)));
        assert!(!task.is_woken());
    }
    pool.give();
    assert!(task.is_woken());
    assert_ready_ok!(task.enter(|cx, _| service.poll_ready(cx)));
    assert!(service.handle().is_empty(), "readiness makes no circuit");
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_leaves_the_inner_readiness_reserved() {
    let pool = Pool::of(1);
    let mut service = over(&pool, &layer(config()));
    open(&mut service, "bad");
    for _ in 0..10 {
        assert!(is_refused(&ask(&mut service, "bad", End::Succeed)));
        assert_eq!((pool.free.get(), pool.calls.get()), (0, 2));
    }
    assert_eq!(ask(&mut service, "good", End::Succeed), Ok(()), "on the token of the first");
    assert_eq!((pool.free.get(), pool.calls.get()), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_call_without_readiness_panics() {
    let mut service = service();
    let call = |service: &mut Keyed| panics(|| service.call(Order { host: "a", end: End::Succeed }));
    assert!(call(&mut service), "never polled");
    assert_eq!(ask(&mut service, "a", End::Succeed), Ok(()));
    assert!(call(&mut service), "readiness was spent");
    assert_ready_ok!(poll(&mut service));
    assert!(call(&mut service.clone()), "a clone is not ready");
    service.get_ref().pool.fails.set(true);
    assert_eq!(assert_ready_err!(poll(&mut service)), Error::Inner("not ready"));
    assert!(call(&mut service), "it failed to be ready");
    assert_eq!(counted(&service, "a"), (0, 0), "which counts for no key");

    let pool = Pool::of(1);
    let mut service = over(&pool, &layer(config()));
    assert_ready_ok!(poll(&mut service));
    service.get_mut().token = None;
    pool.free.set(0);
    assert_pending!(poll(&mut service));
    assert!(call(&mut service), "it has gone back to pending");
}

// ===== unguarded =====

#[tokio::test(start_paused = true)]
async fn a_call_without_room_is_made_and_counted_and_votes_nowhere() {
    let layer = layer(KeyedConfig::from(config()).max_keys(1));
    let mut service = over(&Pool::of(1), &layer);
    open(&mut service, "bad");
    for _ in 0..5 {
        assert_eq!(ask(&mut service, "another", End::Fail), Err(Error::Inner("failed")));
        assert!(is_refused(&ask(&mut service, "bad", End::Succeed)));
    }
    assert_eq!(service.handle().snapshot().unguarded, 5);
    assert!(panics(|| ask(&mut service, "another", End::PanicInPoll)));
    assert!(panics(|| ask(&mut service, "another", End::PanicInCall)));
    assert_eq!(ask(&mut service, "another", End::Succeed), Ok(()));
    assert_eq!((service.handle().snapshot().unguarded, service.handle().len()), (8, 1));
}

// ===== how calls end =====

#[tokio::test(start_paused = true)]
async fn a_call_dropped_after_any_number_of_polls_is_abandoned() {
    for polls in 0..=5 {
        let mut service = service();
        assert_ready_ok!(poll(&mut service));
        let mut call = task::spawn(service.call(Order { host: "a", end: End::After(5) }));
        for _ in 0..polls {
            assert_pending!(call.poll());
        }
        drop(call);
        assert_eq!(counted(&service, "a"), (0, 1), "dropped after {polls} polls");
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_dropped_returns_its_slot() {
    let mut service = service();
    open(&mut service, "a");
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_ready_ok!(poll(&mut service));
    let probe = service.call(Order { host: "a", end: End::After(1) });
    assert!(is_refused(&ask(&mut service.clone(), "a", End::Succeed)));
    drop(probe);
    assert_eq!(ask(&mut service, "a", End::Succeed), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_call_in_flight_keeps_its_circuit() {
    let layer = layer(KeyedConfig::from(config()).max_keys(1));
    let mut service = over(&Pool::of(2), &layer);
    assert_ready_ok!(poll(&mut service));
    let mut call = task::spawn(service.call(Order { host: "a", end: End::After(1) }));
    assert_pending!(call.poll());
    tokio::time::advance(Duration::from_hours(1)).await;
    assert_eq!(ask(&mut service, "b", End::Succeed), Ok(()));
    assert_eq!(service.handle().snapshot().unguarded, 1);
    assert_ready_ok!(call.poll());
    drop(call);
    // Its use was seen by the hand at the first attempt.
    assert_eq!(ask(&mut service, "b", End::Succeed), Ok(()));
    assert_eq!((service.handle().snapshot().unguarded, service.handle().snapshot().evicted), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_panic_anywhere_leaves_everything_working() {
    for (end, votes) in [(End::PanicInCall, 1), (End::PanicInPoll, 1), (End::PanicInKey, 0)] {
        let mut service = service();
        assert_eq!(ask(&mut service, "a", End::Succeed), Ok(()));
        assert!(panics(|| ask(&mut service, "a", end)), "{end:?}");
        assert_eq!(counted(&service, "a"), (votes, 0), "{end:?}");
        assert!(panics(|| service.call(Order { host: "a", end: End::Succeed })), "readiness was spent");
        assert_eq!(ask(&mut service, "a", End::Succeed), Ok(()));
        assert_eq!((service.handle().len(), counted(&service, "a")), (1, (0, 0)));
    }
    let mut service = service();
    assert_ready_ok!(poll(&mut service));
    service.get_ref().pool.panics.set(true);
    assert!(panics(|| poll(&mut service)));
    assert!(panics(|| service.call(Order { host: "a", end: End::Succeed })), "it is not known to be ready any more");
    assert!(service.handle().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_plain_call_is_guarded_by_the_circuit_of_its_key() {
    let circuits = Circuits::<String>::new(config()).unwrap();
    let fail = || lift(ready(Err::<(), _>("failed")));
    for _ in 0..2 {
        assert_eq!(circuits.call("a", fail).await, Err(Error::Inner("failed")));
    }
    assert!(is_refused(&circuits.call("a", fail).await));
    let fine = classify_fn(|_: Result<&(), &Failed>| Class::Success);
    for _ in 0..9 {
        assert_eq!(circuits.call_classified("b", fine, fail).await, Err(Error::Inner("failed")));
    }
    drop(circuits.call("c", fail));
    assert_eq!(circuits.len(), 2, "it was not polled");
}

// ===== sharing =====

#[tokio::test(start_paused = true)]
async fn clones_and_services_of_one_layer_share_and_a_fresh_one_does_not() {
    let (layer, pool) = (layer(config()), Pool::of(3));
    open(&mut over(&pool, &layer), "bad");
    for service in [&mut over(&pool, &layer.clone()), &mut over(&pool, &layer).clone()] {
        assert!(is_refused(&ask(service, "bad", End::Succeed)));
    }
    assert_eq!(ask(&mut over(&pool, &layer.fresh()), "bad", End::Succeed), Ok(()));

    let fixed: &'static Circuits<String> = Box::leak(Box::new(Circuits::new(config()).unwrap()));
    let mut service = KeyedCircuitBreakerLayer::with_circuits(ByRef::<_, str>::new(host as HostOf), fixed)
        .layer(Leaf { pool, token: None });
    assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
    let call = service.call(Order { host: "a", end: End::Succeed });
    assert_eq!(assert_ready!(task::spawn(call).poll()), Ok(()));
    assert_eq!(fixed.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_computed_key_and_another_classifier_will_do() {
    let layer = KeyedCircuitBreakerLayer::by_value(config(), |number: &u32| number % 10).unwrap();
    let odd = classify_fn(|result: Result<&u32, &Error<Infallible>>| match result {
        Ok(number) if number % 2 == 0 => Class::Success,
        _ => Class::Failure(mainstay_core::Failure::Transient),
    });
    let mut service = layer.classify(odd).layer(tower::service_fn(|number: u32| ready(Ok(number))));
    let cx = &mut Context::from_waker(Waker::noop());
    for number in 0..100 {
        assert!(service.poll_ready(cx).is_ready());
        let answer = assert_ready!(task::spawn(service.call(number)).poll());
        assert_eq!(answer.is_err(), number >= 20 && number % 2 == 1, "{number}");
    }
    assert_eq!(service.handle().len(), 10);
}

// ===== cost =====

#[test]
fn no_call_of_a_known_key_allocates_accepted_or_refused_nor_does_a_clone() {
    let layer = layer(config());
    let cx = &mut Context::from_waker(Waker::noop());
    let mut calls = || {
        let mut service = layer.layer(tower::service_fn(|order: Order| {
            ready(if order.end == End::Fail { Err::<(), Failed>(Error::Inner("failed")) } else { Ok(()) })
        }));
        for _ in 0..100 {
            for (host, end) in [("good", End::Succeed), ("bad", End::Fail)] {
                assert!(service.poll_ready(cx).is_ready());
                assert!(pin!(service.call(Order { host, end })).poll(cx).is_ready());
            }
            drop(service.clone());
        }
    };
    calls();
    assert_eq!(measure(calls).count_total, 0);
}

#[test]
fn debug_shows_no_request() {
    let layer = KeyedCircuitBreakerLayer::new(config(), |secret: &String| secret.as_str()).unwrap();
    let mut service = layer.layer(tower::service_fn(async |secret: String| Ok::<_, Error<()>>(secret)));
    assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
    let future = service.call("hunter2".to_owned());
    for text in [format!("{layer:?}"), format!("{:?}", layer.layer(())), format!("{future:?}")] {
        assert!(text.contains("hosts") && !text.contains("hunter2"), "{text}");
    }
}

// ===== HTTP =====

#[cfg(feature = "http")]
mod over_http {
    use super::*;
    use http::{Request, Response};
    use tower::{ServiceExt, service_fn};

    #[tokio::test(start_paused = true)]
    async fn the_key_is_the_authority_and_the_status_is_read() {
        let layer = KeyedCircuitBreakerLayer::http(config()).unwrap();
        let leaf = service_fn(|request: Request<()>| {
            let status = if request.uri().path() == "/broken" { 503 } else { 200 };
            ready(Ok::<_, Error<Infallible>>(Response::builder().status(status).body(()).unwrap()))
        });
        let ask = async |uri: &str| layer.layer(leaf).oneshot(Request::get(uri).body(()).unwrap()).await.is_ok();
        assert!(ask("http://a.example/broken").await);
        assert!(ask("http://A.EXAMPLE/broken").await);
        assert!(!ask("http://a.example/fine").await, "the same host");
        assert!(ask("http://a.example:81/fine").await, "another port");
        assert!(ask("http://b.example/fine").await);
        assert_eq!(layer.handle().len(), 3);

        assert!(ask("/broken").await && ask("/broken").await && ask("/broken").await, "no host, no circuit");
        let long = format!("http://{}.example/", "a".repeat(250));
        assert!(ask(&long).await);
        assert_eq!((layer.handle().len(), layer.handle().snapshot().unguarded), (3, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_keeps_nothing_but_the_authority() {
        let layer = KeyedCircuitBreakerLayer::http(config()).unwrap();
        let leaf = service_fn(|_: Request<()>| ready(Ok::<_, Error<Infallible>>(Response::new(()))));
        let uri = format!("http://a.example/{}", "x".repeat(60_000));
        let mut answered = false;
        let cx = &mut Context::from_waker(Waker::noop());
        let info = measure(|| {
            let mut service = layer.layer(leaf);
            assert!(Service::<Request<()>>::poll_ready(&mut service, cx).is_ready());
            let call = service.call(Request::get(&uri).body(()).unwrap());
            answered = pin!(call).poll(cx).is_ready();
        });
        assert!(answered && info.bytes_current < 10_000, "{} bytes are kept", info.bytes_current);
        assert_eq!(layer.handle().handles().next().unwrap().key().as_str(), "a.example");
    }
}
