//! A hostile reader's tests: each says what the documents promise, or what a user would expect, and each fails.
//! `cargo test -p mainstay-retry --all-features --test hostile`
#![cfg(all(feature = "http", feature = "grpc", feature = "serde"))]
#![allow(missing_docs, clippy::all, clippy::pedantic)]

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Empty, Full};
use mainstay_core::{
    Attempt, Class, Deadline, Error, Failure, Idempotent, Meta, Reason, Refused, TimedOut, classify_fn,
};
use mainstay_retry::*;
use std::{
    convert::Infallible,
    future::{Future, Ready, pending, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant as StdInstant},
};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
type Err_ = Error<&'static str>;

fn noop() -> Context<'static> {
    Context::from_waker(Waker::noop())
}
fn at_once() -> Config {
    Config::default().backoff(Backoff::constant(Duration::ZERO))
}
fn budget(config: BudgetConfig) -> Arc<Budget> {
    Arc::new(Budget::new(config).unwrap())
}

// ---------- 1. budget: one success through hedge and retry of one budget

#[tokio::test(start_paused = true)]
async fn a_success_through_a_retry_over_a_hedge_of_one_budget_earns_once() {
    let b = budget(BudgetConfig::default().initial(0).ratio(0.1));
    let mut stack = ServiceBuilder::new()
        .layer(RetryLayer::new(Config::default()).unwrap().idempotent().budget(Arc::clone(&b)))
        .layer(HedgeLayer::new(HedgeConfig::default()).unwrap().idempotent().budget(Arc::clone(&b)))
        .service_fn(async |n: u32| Ok::<_, Err_>(n));
    for _ in 0..10 {
        stack.ready().await.unwrap().call(1).await.unwrap();
    }
    assert_eq!(b.snapshot().balance, 1.0, "ten successes at 0.1 are one token");
}

// ---------- 2. R2 in the hedge

#[tokio::test(start_paused = true)]
async fn hedge_an_ignored_error_after_a_timeout_leaves_unknown() {
    let hedging = Hedging::new(HedgeConfig::default().delay(Duration::MAX)).unwrap();
    let classify = classify_fn(|result: Result<&u32, &Err_>| match result {
        Ok(_) => Class::Success,
        Err(Error::Inner("cancelled")) => Class::Ignored,
        Err(_) => Class::Failure(Failure::Transient),
    });
    let answer = hedging
        .call_with(classify, NoBudget, |attempt| {
            ready(if attempt.is_first() {
                Err::<u32, Err_>(TimedOut::new("t", SECOND).into())
            } else {
                Err(Error::Inner("cancelled"))
            })
        })
        .await;
    assert!(matches!(answer, Err(Error::TimedOut(_))), "unknown before failed: {answer:?}");
}

// ---------- 3. hedge below it an open circuit

#[tokio::test(start_paused = true)]
async fn hedge_does_not_ask_at_once_who_refused_with_a_time_to_come_back() {
    let hedging = Hedging::new(HedgeConfig::default().delay(50 * MS)).unwrap();
    let calls = AtomicU32::new(0);
    let _ = hedging
        .call(|_| {
            calls.fetch_add(1, Relaxed);
            ready(Err::<u32, Err_>(Refused::new(Reason::CircuitOpen, "c").with_retry_after(5 * SECOND).into()))
        })
        .await;
    assert_eq!(calls.load(Relaxed), 1, "it named five seconds");
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_below_a_hedge_does_not_drain_the_shared_budget() {
    let b = budget(BudgetConfig::default());
    let circuit =
        mainstay_circuit_breaker::CircuitBreakerLayer::new(mainstay_circuit_breaker::Config::default()).unwrap();
    circuit.handle().isolate();
    let mut stack = ServiceBuilder::new()
        .layer(HedgeLayer::new(HedgeConfig::default().delay(50 * MS)).unwrap().idempotent().budget(Arc::clone(&b)))
        .layer(circuit)
        .service_fn(async |n: u32| Ok::<_, Err_>(n));
    for _ in 0..10 {
        let _ = stack.ready().await.unwrap().call(1).await;
    }
    assert_eq!(b.snapshot().balance, 10.0, "nothing was sent to the service, yet the budget is spent");
}

// ---------- 4. hedging of keyed POSTs

#[tokio::test(start_paused = true)]
async fn hedge_a_conflict_with_its_own_first_attempt_is_no_answer() {
    // draft-ietf-httpapi-idempotency-key-header, 2.6: 409 while the original request is still being processed.
    let busy = AtomicBool::new(false);
    let server = service_fn(async |request: Request<ReplayBody<Full<Bytes>>>| {
        let _ = http_body_util::BodyExt::collect(request.into_body()).await;
        if busy.swap(true, Relaxed) {
            return Ok::<_, Error<Infallible>>(Response::builder().status(409).body("in progress").unwrap());
        }
        tokio::time::sleep(SECOND).await;
        Ok(Response::new("paid"))
    });
    let request = Request::post("/charge").header("idempotency-key", "7").body(Full::from("x")).unwrap();
    let answer = HedgeLayer::http(HedgeConfig::default().delay(50 * MS)).unwrap().layer(server).oneshot(request).await;
    assert_eq!(answer.unwrap().into_body(), "paid");
}

// ---------- 5. bodies

/// A body whose frames come from a closure.
struct Frames<F>(F);
impl<F: FnMut() -> Option<Result<Frame<Bytes>, &'static str>> + Unpin> Body for Frames<F> {
    type Data = Bytes;
    type Error = &'static str;
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready((self.0)())
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_retry_whose_body_is_gone() {
    let server = service_fn(async |request: Request<ReplayBody<Full<Bytes>>>| {
        let _ = http_body_util::BodyExt::collect(request.into_body()).await;
        Ok::<_, Error<Infallible>>(Response::builder().status(503).header("retry-after", "30").body(()).unwrap())
    });
    let b = budget(BudgetConfig::default());
    let upload = Request::put("/").body(Full::from(vec![0; 100_000])).unwrap();
    let start = Instant::now();
    let layer = RetryLayer::http(Config::default()).unwrap().budget(Arc::clone(&b));
    let answer = layer.layer(server).oneshot(upload).await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(start.elapsed(), Duration::ZERO, "the body is above the cap and can never be sent again");
}

#[test]
fn an_endless_body_of_empty_frames_takes_no_memory_without_end() {
    let request = Request::put("/").body(Frames(|| Some(Ok(Frame::data(Bytes::new()))))).unwrap();
    let (first, kept) = HttpRepeat::new().cap(1_000).first(request);
    let mut body = first.into_body();
    let info = allocation_counter::measure(|| {
        for _ in 0..1_000_000 {
            assert!(Pin::new(&mut body).poll_frame(&mut noop()).is_ready());
        }
    });
    drop(kept);
    assert!(info.bytes_max < 1_000_000, "cap is 1,000 bytes, kept are {}", info.bytes_max);
}

struct PanicsInEnd {
    frames: u32,
    armed: Arc<AtomicBool>,
}
impl Body for PanicsInEnd {
    type Data = Bytes;
    type Error = &'static str;
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        self.frames += 1;
        Poll::Ready(match self.frames {
            1 => Some(Ok(Frame::data(Bytes::from_static(b"amount=1")))),
            2 => Some(Ok(Frame::data(Bytes::from_static(b"00")))),
            _ => None,
        })
    }
    fn is_end_stream(&self) -> bool {
        assert!(!(self.frames == 2 && self.armed.swap(false, Relaxed)), "panic in is_end_stream");
        false
    }
    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[test]
fn a_body_that_panics_in_the_middle_of_a_frame_is_not_sent_again_without_it() {
    let request = Request::put("/").body(PanicsInEnd { frames: 0, armed: Arc::new(AtomicBool::new(true)) }).unwrap();
    let (first, kept) = HttpRepeat::new().first(request);
    let mut kept = kept.unwrap();
    let mut body = first.into_body();
    let _ =
        catch_unwind(AssertUnwindSafe(
            || {
                while let Poll::Ready(Some(_)) = Pin::new(&mut body).poll_frame(&mut noop()) {}
            },
        ))
        .unwrap_err();
    drop(body);
    let Some(second) = HttpRepeat::new().again(&mut kept, Attempt::FIRST.next()) else { return };
    let mut body = second.into_body();
    let mut all = Vec::new();
    while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut noop()) {
        all.extend(frame.into_data().unwrap());
    }
    assert_eq!(String::from_utf8(all).unwrap(), "amount=100", "a frame is lost");
}

// ---------- 6. deadlines

/// Fails at once; every readiness after the first is pending until `open`.
#[derive(Clone)]
struct Gate {
    open: Arc<AtomicBool>,
    polls: Arc<AtomicU32>,
    waker: Arc<Mutex<Option<Waker>>>,
    calls: Arc<Mutex<Vec<Instant>>>,
}
impl Gate {
    fn new() -> Self {
        Self { open: Arc::default(), polls: Arc::default(), waker: Arc::default(), calls: Arc::default() }
    }
    fn open(&self) {
        self.open.store(true, Relaxed);
        self.waker.lock().unwrap().take().unwrap().wake();
    }
}
impl Service<Job> for Gate {
    type Response = u32;
    type Error = Err_;
    type Future = Ready<Result<u32, Err_>>;
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Err_>> {
        if self.polls.fetch_add(1, Relaxed) == 0 || self.open.load(Relaxed) {
            return Poll::Ready(Ok(()));
        }
        *self.waker.lock().unwrap() = Some(cx.waker().clone());
        Poll::Pending
    }
    fn call(&mut self, _: Job) -> Self::Future {
        self.calls.lock().unwrap().push(Instant::now());
        ready(Err(Error::Inner("reset")))
    }
}

#[derive(Clone, Copy)]
struct Job(Option<Deadline>);
#[derive(Clone, Copy)]
struct Jobs;
impl Repeat<Job> for Jobs {
    type Request = Job;
    type Kept = Job;
    type Seen = Job;
    fn first(&self, job: Job) -> (Job, Option<Job>) {
        (job, Some(job))
    }
    fn again(&self, job: &mut Job, _: Attempt) -> Option<Job> {
        Some(*job)
    }
    fn is_idempotent(&self, _: &Job) -> bool {
        true
    }
    fn deadline(&self, job: &Job) -> Option<Deadline> {
        job.0
    }
    fn seen<'a>(&self, job: &'a Job) -> &'a Job {
        job
    }
}

#[tokio::test(start_paused = true)]
async fn retry_no_attempt_starts_after_the_deadline_less_than_a_millisecond_late() {
    let gate = Gate::new();
    let start = Instant::now();
    let limit = Duration::from_micros(10_200);
    let layer = RetryLayer::new(at_once().deadline(limit)).unwrap().repeat(Jobs);
    let mut call = tokio_test::task::spawn(layer.layer(gate.clone()).oneshot(Job(None)));
    assert!(call.poll().is_pending());
    tokio::time::advance(Duration::from_micros(10_500)).await;
    gate.open();
    let _ = call.poll();
    let late: Vec<_> = gate.calls.lock().unwrap().iter().map(|at| *at - start).filter(|at| *at >= limit).collect();
    assert!(late.is_empty(), "deadline {limit:?}, started at {late:?}");
}

#[tokio::test(start_paused = true)]
async fn retry_no_attempt_starts_after_the_deadline_when_tokio_has_no_budget_left() {
    let gate = Gate::new();
    let start = Instant::now();
    let layer = RetryLayer::new(at_once().deadline(SECOND)).unwrap().repeat(Jobs);
    let mut call = Box::pin(layer.layer(gate.clone()).oneshot(Job(None)));
    assert!(call.as_mut().poll(&mut noop()).is_pending());
    tokio::time::advance(3 * SECOND).await;
    gate.open();
    // Other work of the same task has used up the budget, as in a `join!` or a `select!`.
    std::future::poll_fn(|cx| {
        while tokio::task::coop::has_budget_remaining() {
            let _ = std::task::ready!(pin!(tokio::task::coop::consume_budget()).poll(cx));
        }
        let _ = call.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
    let late: Vec<_> = gate.calls.lock().unwrap().iter().map(|at| *at - start).filter(|at| *at >= SECOND).collect();
    assert!(late.is_empty(), "deadline 1 s, started at {late:?}");
}

/// The first attempt hangs; the readiness of later ones is that of the gate.
#[derive(Clone)]
struct Hangs(Gate);
impl Service<Job> for Hangs {
    type Response = u32;
    type Error = Err_;
    type Future = Pin<Box<dyn Future<Output = Result<u32, Err_>>>>;
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Err_>> {
        self.0.poll_ready(cx)
    }
    fn call(&mut self, job: Job) -> Self::Future {
        drop(self.0.call(job));
        Box::pin(pending())
    }
}

#[tokio::test(start_paused = true)]
async fn hedge_none_starts_after_the_deadline_less_than_a_millisecond_late() {
    let gate = Gate::new();
    let start = Instant::now();
    let limit = Duration::from_micros(10_200);
    let job = Job(Some(Deadline::at((start + limit).into_std())));
    let layer = HedgeLayer::new(HedgeConfig::default().delay(MS)).unwrap().repeat(Jobs);
    let mut call = tokio_test::task::spawn(layer.layer(Hangs(gate.clone())).oneshot(job));
    assert!(call.poll().is_pending());
    tokio::time::advance(2 * MS).await;
    assert!(call.poll().is_pending());
    tokio::time::advance(Duration::from_micros(8_500)).await;
    gate.open();
    let _ = call.poll();
    let late: Vec<_> = gate.calls.lock().unwrap().iter().map(|at| *at - start).filter(|at| *at >= limit).collect();
    assert!(late.is_empty(), "deadline {limit:?}, started at {late:?}");
}

#[tokio::test(start_paused = true)]
async fn retry_nobody_sleeps_past_the_deadline() {
    let start = Instant::now();
    let backoff = Backoff::constant(Duration::from_micros(10_100)).jitter(Jitter::None);
    let limit = Duration::from_micros(10_200);
    let retries = Retries::new(Config::default().deadline(limit).backoff(backoff)).unwrap();
    let _ = retries.call_idempotent(|_| ready(Err::<(), Err_>(Error::Inner("x")))).await;
    assert!(start.elapsed() < limit, "answered after {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn no_attempt_of_a_request_whose_deadline_has_passed_starts() {
    let gate = Gate::new();
    let job = Job(Some(Deadline::at(Instant::now().into_std())));
    let layer = RetryLayer::new(at_once()).unwrap().repeat(Jobs);
    let _ = layer.layer(gate.clone()).oneshot(job).await;
    assert_eq!(gate.calls.lock().unwrap().len(), 0, "README: \"No attempt starts at it or later\"");
}

fn last_moment() -> StdInstant {
    let mut moment = Instant::now().into_std();
    for secs in (0..63).rev().map(|bit| 1_u64 << bit) {
        moment = moment.checked_add(Duration::from_secs(secs)).unwrap_or(moment);
    }
    for nanos in (0..30).rev().map(|bit| 1_u64 << bit) {
        moment = moment.checked_add(Duration::from_nanos(nanos)).unwrap_or(moment);
    }
    moment
}

#[tokio::test(start_paused = true)]
async fn retry_the_last_moment_as_a_deadline_panics_nowhere() {
    let gate = Gate::new();
    let layer = RetryLayer::new(at_once()).unwrap().repeat(Jobs);
    let mut call = Box::pin(layer.layer(gate.clone()).oneshot(Job(Some(Deadline::at(last_moment())))));
    let polled = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(&mut noop()).is_pending()));
    assert!(polled.is_ok_and(|pending| pending));
}

// ---------- 7. fairness

#[tokio::test]
async fn retry_lets_others_have_their_turn_between_attempts_that_need_not_wait() {
    let calls = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&calls);
    let leaf = service_fn(move |_: u32| {
        count.fetch_add(1, Relaxed);
        ready(Err::<u32, Err_>(Error::Inner("reset")))
    });
    let layer = RetryLayer::new(at_once().max_attempts(100_000)).unwrap().idempotent();
    let mut call = Box::pin(layer.layer(leaf).oneshot(1));
    let _ = call.as_mut().poll(&mut noop());
    assert!(calls.load(Relaxed) < 100_000, "all {} attempts ran in a single poll", calls.load(Relaxed));
}

#[tokio::test]
async fn retries_let_others_have_their_turn_between_attempts_that_need_not_wait() {
    let calls = AtomicU32::new(0);
    let retries = Retries::new(at_once().max_attempts(100_000)).unwrap();
    let mut call = Box::pin(retries.call_idempotent(|_| {
        calls.fetch_add(1, Relaxed);
        ready(Err::<u32, Err_>(Error::Inner("reset")))
    }));
    let _ = call.as_mut().poll(&mut noop());
    assert!(calls.load(Relaxed) < 100_000, "all {} attempts ran in a single poll", calls.load(Relaxed));
}

// ---------- 8. permits that live in responses

/// A pool whose permits go home when the response is dropped, as with "permits to the end of an HTTP body".
struct Pool {
    slots: Arc<tokio::sync::Semaphore>,
    acquire: Option<Pin<Box<dyn Future<Output = tokio::sync::OwnedSemaphorePermit> + Send>>>,
    permit: Option<tokio::sync::OwnedSemaphorePermit>,
    calls: Arc<AtomicU32>,
}
impl Clone for Pool {
    fn clone(&self) -> Self {
        Self { slots: Arc::clone(&self.slots), acquire: None, permit: None, calls: Arc::clone(&self.calls) }
    }
}
type Held = Response<tokio::sync::OwnedSemaphorePermit>;
impl<B> Service<Request<B>> for Pool {
    type Response = Held;
    type Error = Err_;
    type Future = Ready<Result<Held, Err_>>;
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Err_>> {
        let slots = Arc::clone(&self.slots);
        let acquire = self.acquire.get_or_insert_with(|| Box::pin(async move { slots.acquire_owned().await.unwrap() }));
        let permit = std::task::ready!(acquire.as_mut().poll(cx));
        (self.acquire, self.permit) = (None, Some(permit));
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, _: Request<B>) -> Self::Future {
        let status = if self.calls.fetch_add(1, Relaxed) == 0 { 500 } else { 200 };
        ready(Ok(Response::builder().status(status).body(self.permit.take().unwrap()).unwrap()))
    }
}
fn pool() -> Pool {
    Pool { slots: Arc::new(tokio::sync::Semaphore::new(1)), acquire: None, permit: None, calls: Arc::default() }
}
fn get() -> Request<Empty<Bytes>> {
    Request::get("/").body(Empty::new()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn retry_does_not_wait_for_the_permit_that_its_own_failed_response_holds() {
    let call = RetryLayer::http(Config::default()).unwrap().layer(pool()).oneshot(get());
    let answer = tokio::time::timeout(3600 * SECOND, call).await;
    assert!(answer.is_ok(), "waits for itself, for ever");
}

#[tokio::test(start_paused = true)]
async fn hedge_does_not_wait_for_the_permit_that_its_own_failed_response_holds() {
    let call = HedgeLayer::http(HedgeConfig::default().delay(MS)).unwrap().layer(pool()).oneshot(get());
    let answer = tokio::time::timeout(3600 * SECOND, call).await;
    assert!(answer.is_ok(), "waits for itself, for ever");
}

#[tokio::test(start_paused = true)]
async fn hedge_an_answered_future_holds_no_failed_response() {
    let pool = Pool { slots: Arc::new(tokio::sync::Semaphore::new(2)), ..pool() };
    let slots = Arc::clone(&pool.slots);
    let mut service = HedgeLayer::http(HedgeConfig::default().delay(MS)).unwrap().layer(pool);
    let mut call = Box::pin(ServiceExt::<Request<Empty<Bytes>>>::ready(&mut service).await.unwrap().call(get()));
    let Poll::Ready(Ok(answer)) = call.as_mut().poll(&mut noop()) else { panic!("both answer at once") };
    assert_eq!(answer.status(), 200);
    assert_eq!(slots.available_permits(), 1, "the 500 of the first attempt is still held");
}

// ---------- 9. gRPC

async fn grpc(status: &'static str, pushback: &'static str) -> (u32, Duration) {
    let calls = AtomicU32::new(0);
    let start = Instant::now();
    let server = service_fn(async |_: Request<ReplayBody<Empty<Bytes>>>| {
        calls.fetch_add(1, Relaxed);
        let head = Response::builder().header("grpc-status", status).header("grpc-retry-pushback-ms", pushback);
        Ok::<_, Error<Infallible>>(head.body(()).unwrap())
    });
    let mut request = Request::post("/s/m").body(Empty::new()).unwrap();
    request.set_meta(Idempotent);
    let layer = RetryLayer::grpc(at_once()).unwrap();
    layer.layer(server).oneshot(request).await.unwrap();
    (calls.load(Relaxed), start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_negative_pushback_means_stop_with_every_status() {
    for status in ["14", "8", "13", "2", "4", "15"] {
        assert_eq!(grpc(status, "-1").await.0, 1, "status {status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pushback_is_obeyed_with_every_status() {
    for status in ["14", "8", "13", "2", "4", "15"] {
        assert_eq!(grpc(status, "1500").await, (3, 3 * SECOND), "status {status}");
    }
}

// ---------- 10. keys

#[tokio::test(start_paused = true)]
async fn an_empty_key_is_no_key() {
    let calls = AtomicU32::new(0);
    let server = service_fn(async |_: Request<ReplayBody<Empty<Bytes>>>| {
        calls.fetch_add(1, Relaxed);
        Ok::<_, Error<Infallible>>(Response::builder().status(500).body(()).unwrap())
    });
    let request = Request::post("/charge").header("idempotency-key", "").body(Empty::new()).unwrap();
    RetryLayer::http(at_once()).unwrap().layer(server).oneshot(request).await.unwrap();
    assert_eq!(calls.load(Relaxed), 1, "a POST with nothing as its key was executed more than once");
}

// ---------- 11. attempts through both layers

#[tokio::test(start_paused = true)]
async fn attempts_of_a_retry_over_a_hedge_are_told_apart() {
    let seen = Mutex::new(Vec::new());
    let server = service_fn(async |request: Request<ReplayBody<ReplayBody<Empty<Bytes>>>>| {
        let attempt: Attempt = request.meta().unwrap();
        seen.lock().unwrap().push(attempt.number());
        tokio::time::sleep(10 * MS).await;
        Ok::<_, Error<Infallible>>(
            Response::builder().status(501 - (attempt.number() as u16 > 0) as u16).body(()).unwrap(),
        )
    });
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::http(at_once()).unwrap())
        .layer(HedgeLayer::http(HedgeConfig::default().delay(Duration::MAX)).unwrap())
        .service(server);
    stack.oneshot(get()).await.unwrap();
    let mut seen = seen.lock().unwrap().clone();
    let all = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), all, "{all} attempts, but only the numbers {seen:?}");
}

// ---------- 12. panics

#[derive(Clone)]
struct PanicsInSecondCall(Arc<AtomicU32>);
impl Service<u32> for PanicsInSecondCall {
    type Response = u32;
    type Error = Err_;
    type Future = Pin<Box<dyn Future<Output = Result<u32, Err_>>>>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Err_>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, _: u32) -> Self::Future {
        // The request is on its way by now.
        assert_eq!(self.0.fetch_add(1, Relaxed), 0, "panic in call");
        Box::pin(ready(Err(Error::Inner("reset"))))
    }
}

#[tokio::test(start_paused = true)]
async fn hedge_what_reached_call_stays_paid_even_if_it_panics() {
    let b = budget(BudgetConfig::default());
    let layer = HedgeLayer::new(HedgeConfig::default().delay(MS)).unwrap().idempotent().budget(Arc::clone(&b));
    let mut call = Box::pin(layer.layer(PanicsInSecondCall(Arc::default())).oneshot(1));
    catch_unwind(AssertUnwindSafe(|| assert!(call.as_mut().poll(&mut noop()).is_pending()))).unwrap_err();
    drop(call);
    assert_eq!(b.snapshot().given_back, 0);
}

// ---------- 13. defaults

#[tokio::test(start_paused = true)]
async fn by_default_an_open_circuit_answers_fast() {
    use mainstay_circuit_breaker as cb;
    let circuit = cb::CircuitBreakerLayer::new(cb::Config::default().window(cb::Window::Consecutive(1))).unwrap();
    let mut stack = ServiceBuilder::new()
        .layer(RetryLayer::new(Config::default().seed(1)).unwrap())
        .layer(circuit)
        .service_fn(async |_: u32| Err::<u32, Err_>(Error::Inner("down")));
    stack.ready().await.unwrap().call(1).await.unwrap_err();
    let start = Instant::now();
    let _ = stack.ready().await.unwrap().call(1).await;
    assert!(start.elapsed() < 10 * SECOND, "a call that is refused at once takes {:?}", start.elapsed());
}

// ---------- 14. builders

#[tokio::test(start_paused = true)]
async fn a_mark_survives_another_repeat() {
    let calls = AtomicU32::new(0);
    let layer = RetryLayer::http(at_once()).unwrap().idempotent().repeat(HttpRepeat::new().cap(1 << 20));
    let leaf = service_fn(async |_: Request<ReplayBody<Empty<Bytes>>>| {
        calls.fetch_add(1, Relaxed);
        Ok::<_, Error<Infallible>>(Response::builder().status(500).body(()).unwrap())
    });
    let request = Request::post("/").body(Empty::new()).unwrap();
    let _ = layer.layer(leaf).oneshot(request).await;
    assert_eq!(calls.load(Relaxed), 3, "it was declared idempotent, then only the cap was raised");
}

#[test]
fn constant_waits_are_of_the_same_length() {
    let waits: Vec<_> = Backoff::constant(SECOND).delays_seeded(1).take(3).collect();
    assert_eq!(waits, [SECOND; 3], "\"Waits of the same length\"");
}

// ---------- 15. cores with hostile clocks

#[test]
fn one_moment_far_in_the_future_does_not_blind_the_latencies() {
    let now = Instant::now().into_std();
    let latencies = Latencies::new(Percentile::new(0.9).minimum_samples(10), now).unwrap();
    latencies.record(MS, now + 365 * 24 * 3600 * SECOND);
    for n in 0..100_000_u32 {
        latencies.record(10 * MS, now + n * MS);
    }
    // Ten windows later, for ten windows.
    for n in 0..10_000_u32 {
        latencies.record(100 * MS, now + 400 * SECOND + n * 30 * MS);
    }
    let delay = latencies.delay(now + 700 * SECOND);
    assert!(delay.is_some_and(|delay| delay.as_millis() == 100), "all calls of ten windows took 100 ms: {delay:?}");
}

#[test]
fn hedging_does_not_flap_under_steady_traffic() {
    let now = Instant::now().into_std();
    let latencies = Latencies::new(Percentile::default(), now).unwrap();
    let (mut changes, mut was) = (0, false);
    for n in 0..1_200_u32 {
        let at = now + n * 500 * MS;
        latencies.record(10 * MS, at);
        let is = latencies.delay(at).is_some();
        changes += u32::from(is != was);
        was = is;
    }
    assert!(changes <= 1, "two calls per second for ten minutes: hedging went on or off {changes} times");
}

#[test]
fn a_reserve_switched_off_and_on_by_a_clock_that_went_back_gains_nothing_twice() {
    let now = Instant::now().into_std();
    let on = BudgetConfig::default().initial(0).cap(1_000).ratio(0.0).reserve_rate(1.0);
    let b = Budget::new_at(on, now).unwrap();
    b.reconfigure_at(on.reserve_rate(0.0), now + 100 * SECOND).unwrap();
    b.reconfigure_at(on, now + 50 * SECOND).unwrap();
    let balance = b.snapshot_at(now + 110 * SECOND).balance;
    assert!(balance <= 110.0, "110 seconds at one a second are {balance}");
}

#[test]
fn a_token_of_one_budget_is_no_money_in_another() {
    let now = Instant::now().into_std();
    let rich = Budget::new_at(BudgetConfig::default(), now).unwrap();
    let poor = Budget::new_at(BudgetConfig::default().initial(0), now).unwrap();
    poor.give_back(rich.withdraw(now).unwrap());
    assert!(poor.withdraw(now).is_none(), "withdrawn 1 - given back 1, initial 0: made from nothing");
}

// ---------- 16. cost

#[tokio::test]
async fn an_http_call_with_a_body_that_succeeds_at_once_allocates_nothing_by_the_layer() {
    let leaf = || {
        service_fn(|request: Request<ReplayBody<Full<Bytes>>>| {
            let mut body = request.into_body();
            while let Poll::Ready(Some(_)) = Pin::new(&mut body).poll_frame(&mut noop()) {}
            ready(Ok::<_, Error<Infallible>>(Response::new(())))
        })
    };
    let mut service = RetryLayer::http(Config::default()).unwrap().layer(leaf());
    let request = Request::put("/").body(Full::from("hello")).unwrap();
    let info = allocation_counter::measure(|| {
        let mut call = pin!(service.call(request));
        assert!(call.as_mut().poll(&mut noop()).is_ready());
    });
    assert_eq!(info.count_total, 0, "README: \"A call that succeeds at once ... allocates nothing\"");
}

// ---------- 18. more

#[tokio::test(start_paused = true)]
async fn retry_a_conflict_with_its_own_unknown_attempt_is_not_the_answer() {
    let server = service_fn(async |request: Request<ReplayBody<Empty<Bytes>>>| {
        let attempt: Attempt = request.meta().unwrap();
        match attempt.number() {
            1 => Err::<Response<()>, Error<Infallible>>(TimedOut::new("t", SECOND).into()),
            _ => Ok(Response::builder().status(409).body(()).unwrap()),
        }
    });
    let request = Request::post("/charge").header("idempotency-key", "7").body(Empty::new()).unwrap();
    let answer = RetryLayer::http(at_once()).unwrap().layer(server).oneshot(request).await;
    assert!(matches!(answer, Err(Error::TimedOut(_))), "\"still in progress\" is given as the outcome: {answer:?}");
}

#[tokio::test(start_paused = true)]
async fn as_many_calls_as_permits_do_not_wait_for_each_other_for_ever() {
    // A pool of four; the service answers 500 once to each of four calls, then 200.
    #[derive(Clone)]
    struct Four(Pool);
    impl Service<Request<ReplayBody<Empty<Bytes>>>> for Four {
        type Response = Held;
        type Error = Err_;
        type Future = Ready<Result<Held, Err_>>;
        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Err_>> {
            Service::<Request<ReplayBody<Empty<Bytes>>>>::poll_ready(&mut self.0, cx)
        }
        fn call(&mut self, _: Request<ReplayBody<Empty<Bytes>>>) -> Self::Future {
            let status = if self.0.calls.fetch_add(1, Relaxed) < 4 { 500 } else { 200 };
            ready(Ok(Response::builder().status(status).body(self.0.permit.take().unwrap()).unwrap()))
        }
    }
    let four = Four(Pool { slots: Arc::new(tokio::sync::Semaphore::new(4)), ..pool() });
    let slots = Arc::clone(&four.0.slots);
    let stack = RetryLayer::http(Config::default()).unwrap().layer(four);
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let stack = stack.clone();
            tokio::spawn(async move { stack.oneshot(get()).await.map(|held| held.status()) })
        })
        .collect();
    tokio::time::sleep(3600 * SECOND).await;
    let done = calls.iter().filter(|call| call.is_finished()).count();
    assert_eq!((done, slots.available_permits()), (4, 4), "after an hour");
}

#[test]
fn a_recording_holds_no_more_memory_than_its_cap() {
    let request =
        Request::put("/").body(Frames(|| Some(Ok(Frame::data(Bytes::from(vec![0; 1 << 16]).slice(..1)))))).unwrap();
    let (first, kept) = HttpRepeat::new().cap(1_000).first(request);
    let mut body = first.into_body();
    let info = allocation_counter::measure(|| {
        for _ in 0..1_000 {
            assert!(Pin::new(&mut body).poll_frame(&mut noop()).is_ready());
        }
    });
    drop(kept);
    assert!(info.bytes_max < 1_000_000, "cap is 1,000 bytes, held are {}", info.bytes_max);
}

#[tokio::test]
async fn a_get_that_succeeds_at_once_allocates_nothing_by_the_layer() {
    let leaf = service_fn(|_: Request<ReplayBody<Empty<Bytes>>>| ready(Ok::<_, Error<Infallible>>(Response::new(()))));
    let mut service = RetryLayer::http(Config::default()).unwrap().layer(leaf);
    let request = Request::get("http://shop/menu").header("accept", "text/html").body(Empty::new()).unwrap();
    let info = allocation_counter::measure(|| {
        let mut call = pin!(service.call(request));
        assert!(call.as_mut().poll(&mut noop()).is_ready());
    });
    assert_eq!(info.count_total, 0, "README, Cost: \"A call that succeeds at once ... allocates nothing\"");
}

/// Ready once, then broken.
#[derive(Clone)]
struct Breaks(Arc<AtomicU32>);
impl Service<u32> for Breaks {
    type Response = u32;
    type Error = Err_;
    type Future = Ready<Result<u32, Err_>>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Err_>> {
        Poll::Ready(if self.0.fetch_add(1, Relaxed) == 0 { Ok(()) } else { Err(Error::Inner("broken")) })
    }
    fn call(&mut self, _: u32) -> Self::Future {
        ready(Err(Refused::new(Reason::CircuitOpen, "c").into()))
    }
}

#[test]
fn a_retry_that_does_not_come_about_for_want_of_readiness_is_counted() {
    let recorder = metrics_util::debugging::DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let mut call =
            pin!(RetryLayer::new(at_once().name("unready")).unwrap().layer(Breaks(Arc::default())).oneshot(1));
        assert!(call.as_mut().poll(&mut noop()).is_ready());
    });
    let counted = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .any(|(_, _, _, value)| matches!(value, metrics_util::debugging::DebugValue::Counter(n) if n > 0));
    assert!(counted, "README: `mainstay_retries_given_up_total` counts those that did not come about");
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_and_never_called_again_is_still_refused() {
    let answer = RetryLayer::new(at_once()).unwrap().layer(Breaks(Arc::default())).oneshot(1).await;
    assert!(matches!(answer, Err(Error::Refused(_))), "its only attempt was refused: {answer:?}");
}

#[tokio::test]
async fn a_timeout_around_a_call_can_end_it() {
    let calls = AtomicU32::new(0);
    let retries = Retries::new(at_once().max_attempts(u32::MAX)).unwrap();
    let start = StdInstant::now();
    let call = retries.call(|_| {
        // So that the test ends.
        let refuse = start.elapsed() < 300 * MS;
        calls.fetch_add(1, Relaxed);
        ready(if refuse { Err::<u32, Err_>(Refused::new(Reason::CircuitOpen, "c").into()) } else { Ok(1) })
    });
    let answer = tokio::time::timeout(20 * MS, call).await;
    assert!(
        answer.is_err(),
        "{} attempts in one poll of {:?}, and the timeout of 20 ms never fired",
        calls.load(Relaxed),
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn hedge_an_ignored_error_waits_for_the_attempt_that_still_runs() {
    let hedging = Hedging::new(HedgeConfig::default().delay(10 * MS)).unwrap();
    let classify = classify_fn(|result: Result<&u32, &Err_>| match result {
        Ok(_) => Class::Success,
        Err(_) => Class::Ignored,
    });
    let answer = hedging
        .call_with(classify, NoBudget, async |attempt: Attempt| {
            if !attempt.is_first() {
                return Err(Error::Inner("cancelled by the other side"));
            }
            tokio::time::sleep(20 * MS).await;
            Ok(1)
        })
        .await;
    assert_eq!(answer, Ok(1), "issue 6: an error waits for the others still running");
}

#[tokio::test(start_paused = true)]
async fn the_hedges_of_a_service_that_fails_wait_for_something() {
    // By default, with no budget: how many requests does one call of the documented stack make, and how fast?
    let times = Mutex::new(Vec::new());
    let start = Instant::now();
    let server = service_fn(async |_: Request<ReplayBody<ReplayBody<Empty<Bytes>>>>| {
        times.lock().unwrap().push(start.elapsed());
        Ok::<_, Error<Infallible>>(Response::builder().status(500).body(()).unwrap())
    });
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::http(Config::default()).unwrap())
        .layer(HedgeLayer::http(HedgeConfig::default()).unwrap())
        .service(server);
    stack.oneshot(get()).await.unwrap();
    let times = times.lock().unwrap();
    assert!(times.len() <= 3, "`max_attempts` is 3, sent were {}, at {times:?}", times.len());
}

#[tokio::test(start_paused = true)]
async fn attempts_that_a_timeout_cut_short_do_not_draw_the_percentile_down() {
    // One request in five is slow, whoever is asked; a timeout per attempt stands below, as the README has it.
    let hedging = Hedging::new(HedgeConfig::default()).unwrap();
    for n in 0..2_000_u32 {
        let _ = hedging
            .call(async |_| {
                if n % 5 == 0 {
                    tokio::time::sleep(SECOND).await;
                    return Err::<u32, Err_>(TimedOut::new("attempt", SECOND).into());
                }
                tokio::time::sleep(10 * MS).await;
                Ok(n)
            })
            .await;
    }
    let snapshot = hedging.snapshot();
    assert!(
        snapshot.delay.unwrap() >= SECOND,
        "of five calls one takes longer than 1 s, and the 95th percentile is {:?}; hedged were {} of 2,000",
        snapshot.delay,
        snapshot.started
    );
}

#[tokio::test(start_paused = true)]
async fn hedge_does_not_ask_again_in_vain_when_the_deadline_has_passed() {
    let b = budget(BudgetConfig::default());
    let hedging = Hedging::new(HedgeConfig::default().delay(50 * MS)).unwrap();
    let calls = AtomicU32::new(0);
    let _ = hedging
        .call_with(mainstay_core::AnyError, &*b, |_| {
            calls.fetch_add(1, Relaxed);
            ready(Err::<u32, Err_>(Refused::new(Reason::DeadlinePassed, "timeout").into()))
        })
        .await;
    assert_eq!((calls.load(Relaxed), b.snapshot().withdrawn), (1, 0), "retry knows that this is in vain");
}

#[tokio::test(start_paused = true)]
async fn hedge_a_body_that_was_under_way_when_the_time_came_is_hedged_once_it_is_free() {
    let calls = AtomicU32::new(0);
    let server = service_fn(async |request: Request<ReplayBody<Full<Bytes>>>| {
        let is_first = calls.fetch_add(1, Relaxed) == 0;
        if is_first {
            // The connection takes the body only now.
            tokio::time::sleep(60 * MS).await;
        }
        let _ = http_body_util::BodyExt::collect(request.into_body()).await;
        if is_first {
            tokio::time::sleep(60 * SECOND).await;
        }
        Ok::<_, Error<Infallible>>(Response::new(()))
    });
    let start = Instant::now();
    let put = Request::put("/").body(Full::from("x")).unwrap();
    let layer = HedgeLayer::http(HedgeConfig::default().delay(50 * MS).max_hedges(3)).unwrap();
    layer.layer(server).oneshot(put).await.unwrap();
    assert!(
        start.elapsed() < SECOND,
        "three hedges allowed, {} sent, answered after {:?}",
        calls.load(Relaxed) - 1,
        start.elapsed()
    );
}
