//! A client whose quota is used up is refused as HTTP and gRPC have it, and the inner service is not asked.
#![cfg(feature = "http")]

use axum::extract::ConnectInfo;
use futures_util::FutureExt;
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use mainstay_core::http::{EmptyBody, Rejection};
use mainstay_rate_limit::{
    Config, Decision, KeyedLimiter, Limiter, Quota, Rule,
    http::{
        Bearer, ClientId, ClientKey, ClientLimiter, Fields, ForwardedFor, HttpRateLimitLayer, Identify, Peer,
        RateLimitFields, Subject, identify_fn,
    },
};
use std::{
    convert::Infallible,
    future::{Ready, pending, ready},
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, Service, ServiceExt, service_fn};

type Body = String;
type Answer = Result<Response<Body>, Infallible>;

/// Counts its calls, and answers at once.
#[derive(Clone, Default)]
struct Leaf(Arc<AtomicU32>);

impl Leaf {
    fn calls(&self) -> u32 {
        // Relaxed: one thread.
        self.0.load(Ordering::Relaxed)
    }
}

impl Service<Request<Body>> for Leaf {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.fetch_add(1, Ordering::Relaxed); // Relaxed: one thread.
        ready(Ok(Response::new(request.into_body())))
    }
}

fn per_minute(limit: u64) -> Quota {
    Quota::per_minute(limit).unwrap()
}

fn visitors(limit: u64) -> Config {
    Config::new(per_minute(limit)).name("visitors")
}

fn layer(limit: u64) -> HttpRateLimitLayer<Bearer> {
    HttpRateLimitLayer::new(visitors(limit), Bearer).unwrap()
}

fn by(client: &str) -> Request<Body> {
    Request::get("/").header("authorization", format!("Bearer {client}")).body("order".to_owned()).unwrap()
}

fn grpc(client: &str, content_type: &'static str) -> Request<Body> {
    let mut request = by(client);
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    request
}

fn ask<S>(service: &S, request: Request<Body>) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    let Ok(response) = service.clone().oneshot(request).now_or_never().expect("the leaf answers at once");
    response
}

fn field<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_client_is_told_what_is_left_and_when_to_come_back() {
    let leaf = Leaf::default();
    let service = layer(2).layer(leaf.clone());
    for (advance, status, fields, retry_after) in [
        (0, 200, r#""visitors";r=1;t=30"#, None),
        (500, 200, r#""visitors";r=0;t=60"#, None),
        (0, 429, r#""visitors";r=0;t=30"#, Some("30")),
        (29_499, 429, r#""visitors";r=0;t=1"#, Some("1")),
        (1, 200, r#""visitors";r=0;t=60"#, None),
    ] {
        tokio::time::advance(Duration::from_millis(advance)).await;
        let response = ask(&service, by("flo"));
        assert_eq!(response.status(), status);
        assert_eq!(field(&response, "ratelimit"), Some(fields));
        assert_eq!(field(&response, "ratelimit-policy"), Some(r#""visitors";q=2;w=60"#));
        assert_eq!(field(&response, "retry-after"), retry_after);
        assert_eq!(response.body(), if status == 200 { "order" } else { "" });
    }
    assert_eq!(leaf.calls(), 3, "a refused request does not reach the service");
    assert_eq!(ask(&service, by("kim")).status(), 200, "each client has a quota");
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_when_told_is_let_in() {
    let service = layer(7).layer(Leaf::default());
    for _ in 0..100 {
        let response = ask(&service, by("flo"));
        if let Some(seconds) = field(&response, "retry-after") {
            let wait = Duration::from_secs(seconds.parse().unwrap());
            tokio::time::advance(wait).await;
            assert_eq!(ask(&service, by("flo")).status(), 200);
        }
        tokio::time::advance(Duration::from_millis(377)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn clients_that_nothing_is_known_of_share_one_quota() {
    let service = layer(2).layer(Leaf::default());
    let unknown = || Request::new(Body::new());
    assert_eq!(ask(&service, unknown()).status(), 200);
    assert_eq!(ask(&service, unknown()).status(), 200);
    assert_eq!(ask(&service, unknown()).status(), 429);
    assert_eq!(ask(&service, by("flo")).status(), 200, "not with those that are known");
}

#[cfg(feature = "grpc")]
#[tokio::test(start_paused = true)]
async fn a_grpc_client_is_refused_in_trailers_with_pushback() {
    let leaf = Leaf::default();
    let service = layer(1).with_body(write_text).layer(leaf.clone());
    for content_type in ["application/grpc", "application/grpc+proto", "application/grpc; charset=utf-8"] {
        let client = content_type.replace(' ', "");
        let allowed = ask(&service, grpc(&client, content_type));
        assert_eq!((allowed.status(), allowed.headers().len()), (StatusCode::OK, 0), "there is no field for gRPC");

        tokio::time::advance(Duration::from_micros(1)).await;
        let refused = ask(&service, grpc(&client, content_type));
        assert_eq!(refused.status(), StatusCode::OK);
        assert_eq!(field(&refused, "grpc-status"), Some("8"));
        assert_eq!(field(&refused, "grpc-message"), Some("refused by `visitors`: the rate limit is reached"));
        assert_eq!(field(&refused, "grpc-retry-pushback-ms"), Some("60000"));
        assert_eq!(field(&refused, "content-type"), Some("application/grpc"));
        assert_eq!(refused.headers().len(), 4, "neither `retry-after` nor `ratelimit`");
        assert_eq!(refused.body(), "");
    }
    assert_eq!(leaf.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_only_looks_like_grpc_is_refused_over_http() {
    let service = layer(1).layer(Leaf::default());
    for content_type in ["application/json", "application/grpc-web", "application/grpcx"] {
        let allowed = ask(&service, grpc(content_type, content_type));
        assert!(field(&allowed, "ratelimit").is_some());
        let refused = ask(&service, grpc(content_type, content_type));
        assert_eq!(refused.status(), 429);
        assert!(field(&refused, "grpc-status").is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn the_fields_can_be_kept_to_refusals_or_left_out() {
    for (when, allowed, refused) in
        [(Fields::Always, true, true), (Fields::WhenRefused, false, true), (Fields::Never, false, false)]
    {
        let service = layer(1).fields(when).layer(Leaf::default());
        for (status, expected) in [(200, allowed), (429, refused)] {
            let response = ask(&service, by("flo"));
            assert_eq!(response.status(), status);
            assert_eq!(field(&response, "ratelimit").is_some(), expected, "{when:?} {status}");
            assert_eq!(field(&response, "ratelimit-policy").is_some(), expected, "{when:?} {status}");
            assert_eq!(field(&response, "retry-after").is_some(), status == 429);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn shadow_mode_refuses_nobody_and_says_nothing_of_it() {
    let layer = HttpRateLimitLayer::new(visitors(1).shadow(true), Bearer).unwrap();
    let service = layer.layer(Leaf::default());
    ask(&service, by("flo"));
    let response = ask(&service, by("flo"));
    assert_eq!((response.status(), response.headers().len()), (StatusCode::OK, 0));
    assert_eq!(layer.handle().snapshot().refused, 1);
}

#[tokio::test(start_paused = true)]
async fn two_limits_in_one_stack_both_tell() {
    let outer = HttpRateLimitLayer::new(Config::new(per_minute(9)).name("outer"), Bearer).unwrap();
    let service = outer.layer(layer(5).layer(Leaf::default()));
    let response = ask(&service, by("flo"));
    let told: Vec<_> = response.headers().get_all("ratelimit").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(told, [r#""visitors";r=4;t=12"#, r#""outer";r=8;t=7"#]);
    assert_eq!(response.headers().get_all("ratelimit-policy").iter().count(), 2);
}

#[tokio::test(start_paused = true)]
async fn several_rules_are_several_policies() {
    let rules = [Rule::sliding_log(Quota::per_second(2).unwrap()), Rule::fixed_window(Quota::per_hour(3).unwrap())];
    let layer = HttpRateLimitLayer::new(Config::from(rules).name("api"), Bearer).unwrap();
    let service = layer.layer(Leaf::default());
    let response = ask(&service, by("flo"));
    assert_eq!(field(&response, "ratelimit-policy"), Some(r#""api-1";q=2;w=1, "api-2";q=3;w=3600"#));
    assert_eq!(field(&response, "ratelimit"), Some(r#""api-1";r=1;t=1"#));
}

#[tokio::test(start_paused = true)]
async fn each_client_may_have_its_own_quota() {
    struct User {
        name: &'static str,
    }
    let (few, many) = (per_minute(1), per_minute(1_000));
    let partner = ClientId::from(ClientKey::Subject(b"partner"));
    let limiter = KeyedLimiter::with_quotas(few, move |client| if *client == partner { many } else { few }).unwrap();
    let identify = Subject::of(|user: &Arc<User>| ClientKey::Subject(user.name.as_bytes()));
    let service = HttpRateLimitLayer::with_limiter(Arc::new(limiter), identify).layer(Leaf::default());
    let by = |name| {
        let mut request = Request::new(Body::new());
        request.extensions_mut().insert(Arc::new(User { name }));
        request
    };
    let partner = ask(&service, by("partner"));
    assert_eq!(field(&partner, "ratelimit"), Some(r#""rate-limit";r=999;t=1"#));
    assert_eq!(field(&partner, "ratelimit-policy"), None, "that is not the quota of the configuration");
    let flo = ask(&service, by("flo"));
    assert_eq!(field(&flo, "ratelimit"), Some(r#""rate-limit";r=0;t=60"#));
    assert_eq!(ask(&service, by("flo")).status(), 429);
    assert_eq!(ask(&service, by("partner")).status(), 200);
}

#[tokio::test(start_paused = true)]
async fn one_quota_for_all_clients_is_possible() {
    let limiter = Limiter::new(visitors(2)).unwrap();
    let limiter: &'static Limiter = Box::leak(Box::new(limiter));
    let service = HttpRateLimitLayer::with_limiter(limiter, Bearer).layer(Leaf::default());
    assert_eq!(ask(&service, by("flo")).status(), 200);
    assert_eq!(ask(&service, by("kim")).status(), 200);
    assert_eq!(ask(&service, by("sam")).status(), 429);
}

/// One unit for each byte of the body.
fn layer_by_length(
    config: impl Into<Config>,
) -> HttpRateLimitLayer<Bearer, Arc<KeyedLimiter<ClientId>>, EmptyBody, Length> {
    HttpRateLimitLayer::new(config.into(), Bearer).unwrap().cost(length as Length)
}

type Length = fn(&Request<Body>) -> u64;

fn length(request: &Request<Body>) -> u64 {
    request.body().len() as u64
}

fn of_length(length: usize, client: &str) -> Request<Body> {
    by(client).map(|_| "x".repeat(length))
}

#[tokio::test(start_paused = true)]
async fn a_request_takes_its_cost_of_its_clients_quota_or_nothing() {
    let leaf = Leaf::default();
    let service = layer_by_length(visitors(10)).layer(leaf.clone());
    for (client, length, status, left) in
        [("flo", 6, 200, 4), ("flo", 5, 429, 4), ("kim", 5, 200, 5), ("flo", 4, 200, 0), ("flo", 1, 429, 0)]
    {
        let response = ask(&service, of_length(length, client));
        assert_eq!(response.status(), status);
        let told = field(&response, "ratelimit").unwrap();
        assert!(told.starts_with(&format!(r#""visitors";r={left};"#)), "{told}");
    }
    assert_eq!(ask(&service, of_length(0, "flo")).status(), 200, "nothing is always there");
    assert_eq!(leaf.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn all_clients_together_may_have_costs_too() {
    let limiter: &'static Limiter = Box::leak(Box::new(Limiter::new(visitors(10)).unwrap()));
    let service = HttpRateLimitLayer::with_limiter(limiter, Bearer).cost(length).layer(Leaf::default());
    assert_eq!(ask(&service, of_length(6, "flo")).status(), 200);
    assert_eq!(ask(&service, of_length(5, "kim")).status(), 429);
    assert_eq!(limiter.peek().remaining, 4);
    let never = ask(&service, of_length(11, "kim"));
    assert_eq!((never.status(), field(&never, "retry-after")), (StatusCode::TOO_MANY_REQUESTS, None));
    assert_eq!((limiter.peek().remaining, limiter.snapshot().refused), (4, 2));
}

#[tokio::test(start_paused = true)]
async fn a_cost_above_what_there_ever_is_is_refused_for_good() {
    let (leaf, layer) = (Leaf::default(), layer_by_length(visitors(10)));
    let service = layer.layer(leaf.clone());
    assert_eq!(ask(&service, of_length(1, "flo")).status(), 200);
    let response = ask(&service, of_length(11, "flo"));
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(field(&response, "retry-after"), None);
    // Waiting does not help, but the rest is there.
    assert_eq!(field(&response, "ratelimit"), Some(r#""visitors";r=9;t=6"#));
    assert_eq!((leaf.calls(), layer.handle().snapshot().refused), (1, 1));
    assert_eq!(ask(&service, of_length(9, "flo")).status(), 200, "it took nothing");
}

#[cfg(feature = "grpc")]
#[tokio::test(start_paused = true)]
async fn a_cost_above_what_there_ever_is_is_refused_without_pushback() {
    let service = layer_by_length(visitors(10)).layer(Leaf::default());
    let refused = ask(&service, grpc("flo", "application/grpc").map(|_| "x".repeat(11)));
    assert_eq!((field(&refused, "grpc-status"), field(&refused, "grpc-retry-pushback-ms")), (Some("8"), None));
}

#[tokio::test(start_paused = true)]
async fn shadow_mode_refuses_nobody_whatever_it_costs() {
    let layer = layer_by_length(visitors(10).shadow(true));
    let response = ask(&layer.layer(Leaf::default()), of_length(11, "flo"));
    assert_eq!((response.status(), response.headers().len()), (StatusCode::OK, 0));
    assert_eq!(layer.handle().snapshot().refused, 1);
}

#[tokio::test(start_paused = true)]
async fn a_cost_stays_with_other_settings_and_with_a_fresh_layer() {
    let layer = layer_by_length(visitors(10)).with_body(write_text).fields(Fields::WhenRefused);
    for layer in [layer.fresh(), layer] {
        let service = layer.layer(Leaf::default());
        assert_eq!(ask(&service, of_length(6, "flo")).headers().len(), 0);
        assert_eq!(ask(&service, of_length(5, "flo")).body(), "refused by `visitors`: the rate limit is reached");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cost_that_panics_takes_nothing_and_each_request_is_asked_for_it_once() {
    let asked = AtomicU32::new(0);
    let cost = |request: &Request<Body>| {
        asked.fetch_add(1, Ordering::Relaxed); // Relaxed: one thread.
        assert!(!request.body().is_empty(), "planted");
        1
    };
    let layer = layer(2).cost(cost);
    let service = layer.layer(Leaf::default());
    let ask = |length| catch_unwind(AssertUnwindSafe(|| ask(&service, of_length(length, "flo")).status()));
    assert!(ask(0).is_err());
    for status in [200, 200, 429] {
        assert_eq!(ask(1).unwrap(), status);
    }
    assert_eq!(asked.into_inner(), 4);
}

fn write_text(rejection: &Rejection, response: &mut Response<Body>) {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    *response.body_mut() = rejection.to_string();
}

#[tokio::test(start_paused = true)]
async fn the_body_of_a_refusal_can_be_written() {
    let service = layer(1).with_body(write_text).layer(Leaf::default());
    assert_eq!(field(&ask(&service, by("flo")), "content-type"), None, "not that of the service");
    let refused = ask(&service, by("flo"));
    assert_eq!(field(&refused, "content-type"), Some("text/plain"));
    assert_eq!(refused.body(), "refused by `visitors`: the rate limit is reached");
    assert!(field(&refused, "ratelimit").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_layer_is_one_limit_and_a_fresh_one_another() {
    let layer = layer(1);
    let first = layer.layer(Leaf::default());
    assert_eq!(ask(&first, by("flo")).status(), 200);
    assert_eq!(ask(&first.clone(), by("flo")).status(), 429);
    assert_eq!(ask(&layer.clone().layer(Leaf::default()), by("flo")).status(), 429);
    assert_eq!(ask(&layer.fresh().layer(Leaf::default()), by("flo")).status(), 200);
    assert_eq!(layer.handle().snapshot().refused, 2);
    assert_eq!(first.handle().snapshot().refused, 2);
}

#[test]
fn readiness_is_that_of_the_inner_service() {
    let (mock, handle) = gate();
    let mut service = layer(1).layer(mock);
    let mut task = task::spawn(());
    handle.allow(0);
    assert_pending!(task.enter(|cx, _| service.poll_ready(cx)));
    handle.allow(1);
    assert!(task.is_woken());
    assert_ready_ok!(task.enter(|cx, _| service.poll_ready(cx)));
    handle.fail();
    assert_eq!(assert_ready_err!(task.enter(|cx, _| service.poll_ready(cx))), "closed");
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_service_goes_on_as_it_is() {
    let failing = service_fn(async |_: Request<Body>| Err::<Response<Body>, _>(vec!["no refusal fits in here"]));
    let service = layer(1).layer(failing);
    let answer = service.clone().oneshot(by("flo")).now_or_never().unwrap();
    assert_eq!(answer.unwrap_err(), ["no refusal fits in here"]);
    let refused = service.oneshot(by("flo")).now_or_never().unwrap();
    assert_eq!(refused.unwrap().status(), 429);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_given_up_stays_charged() {
    let hanging = service_fn(|_: Request<Body>| pending::<Answer>());
    let mut service = layer(1).layer(hanging);
    let mut first = task::spawn(service.call(by("flo")));
    assert_pending!(first.poll());
    drop(first);
    let mut second = task::spawn(service.call(by("flo")));
    assert_eq!(assert_ready!(second.poll()).unwrap().status(), 429);
}

#[tokio::test(start_paused = true)]
async fn the_inner_future_wakes_the_task() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let receiver = std::sync::Mutex::new(Some(receiver));
    let mut service = layer(1).layer(service_fn(move |_: Request<Body>| {
        let receiver = receiver.lock().unwrap().take().unwrap();
        async move { Ok::<_, Infallible>(receiver.await.unwrap()) }
    }));
    let mut answer = task::spawn(service.call(by("flo")));
    assert_pending!(answer.poll());
    assert!(!answer.is_woken());
    sender.send(Response::new(Body::new())).unwrap();
    assert!(answer.is_woken());
    assert!(field(&assert_ready_ok!(answer.poll()), "ratelimit").is_some());
}

#[tokio::test(start_paused = true)]
async fn what_tells_clients_apart_is_asked_once_for_each_request() {
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    let identify = identify_fn(move |_| {
        counter.fetch_add(1, Ordering::Relaxed); // Relaxed: one thread.
        None
    });
    let layer = HttpRateLimitLayer::with_limiter(Arc::new(Limiter::new(per_minute(1)).unwrap()), Arc::new(identify));
    let service = layer.layer(Leaf::default());
    ask(&service, by("flo"));
    ask(&service, by("flo"));
    assert_eq!(asked.load(Ordering::Relaxed), 2); // Relaxed: one thread.
}

#[tokio::test(start_paused = true)]
async fn a_handler_can_write_the_fields_itself() {
    let limiter = Limiter::new(visitors(3)).unwrap();
    let config = limiter.config();
    let fields = RateLimitFields::new(&config.name, &config.rules);
    let mut response = Response::new(Body::new());
    fields.write(&limiter.check(), response.headers_mut());
    assert_eq!(field(&response, "ratelimit"), Some(r#""visitors";r=2;t=20"#));
}

/// A service whose readiness is given by hand.
fn gate() -> (Gate, Handle) {
    let state = Arc::new(std::sync::Mutex::new(State { ready: 0, failed: false, waker: None }));
    (Gate(Arc::clone(&state)), Handle(state))
}

struct State {
    ready: u32,
    failed: bool,
    waker: Option<Waker>,
}

struct Gate(Arc<std::sync::Mutex<State>>);

struct Handle(Arc<std::sync::Mutex<State>>);

impl Handle {
    fn allow(&self, ready: u32) {
        self.change(|state| state.ready = ready);
    }

    fn fail(&self) {
        self.change(|state| state.failed = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.lock().unwrap();
        change(&mut state);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Service<Request<Body>> for Gate {
    type Response = Response<Body>;
    type Error = &'static str;
    type Future = Ready<Result<Response<Body>, &'static str>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        let mut state = self.0.lock().unwrap();
        if state.failed {
            return Poll::Ready(Err("closed"));
        }
        if state.ready == 0 {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        ready(Ok(Response::new(Body::new())))
    }
}

#[tokio::test(start_paused = true)]
async fn a_made_up_entry_left_of_the_trusted_ones_gives_no_fresh_quota() {
    let identify = ForwardedFor::trusted(1).or_else(Peer::new());
    let layer = HttpRateLimitLayer::new(visitors(1), identify).unwrap();
    let service = layer.layer(Leaf::default());
    let from = |made_up: u8| {
        let list = format!("10.0.0.{made_up}, 203.0.113.9");
        let mut request = Request::get("/").header("x-forwarded-for", list).body(Body::new()).unwrap();
        request.extensions_mut().insert(SocketAddr::from(([made_up, 1, 1, 1], 1)));
        request
    };
    assert_eq!(ask(&service, from(1)).status(), 200);
    for made_up in 2..20 {
        assert_eq!(ask(&service, from(made_up)).status(), 429);
    }
    assert_eq!(layer.handle().snapshot().keys, 1);
}

#[tokio::test(start_paused = true)]
async fn policy_that_does_not_hold_any_more_is_left_out() {
    let layer = HttpRateLimitLayer::new(Quota::per_second(10).unwrap(), Bearer).unwrap();
    layer.handle().reconfigure(Quota::per_hour(10).unwrap()).unwrap();
    let response = ask(&layer.layer(Leaf::default()), by("flo"));
    let policy = response.headers().get("ratelimit-policy");
    assert!(policy.is_none(), "{policy:?}, but it is 10 per hour");
}

/// Whose rules are changed by somebody else just after a question.
struct Changing {
    limiter: Limiter,
    after: &'static str,
}

impl Changing {
    fn change(&self, question: &str) {
        if self.after == question {
            self.limiter.reconfigure(Quota::per_hour(10).unwrap()).unwrap();
        }
    }
}

impl ClientLimiter for Changing {
    fn check_client(&self, client: ClientKey<'_>, cost: u64) -> Decision {
        self.change("before");
        self.limiter.check_client(client, cost)
    }

    fn name(&self) -> &'static str {
        self.limiter.name()
    }

    fn config(&self) -> Config {
        let config = self.limiter.config();
        self.change("config");
        config
    }

    fn rules_version(&self) -> Option<u64> {
        let version = ClientLimiter::rules_version(&self.limiter);
        self.change("version");
        version
    }
}

#[tokio::test(start_paused = true)]
async fn policy_of_rules_that_are_changed_meanwhile_is_left_out() {
    for (after, holds) in [("nothing", true), ("before", false), ("config", false), ("version", false)] {
        let limiter = Limiter::new(Quota::per_second(10).unwrap()).unwrap();
        let limiter = Arc::new(Changing { limiter, after });
        let response = ask(&HttpRateLimitLayer::with_limiter(limiter, Bearer).layer(Leaf::default()), by("flo"));
        assert_eq!(field(&response, "ratelimit-policy").is_some(), holds, "{after}");
    }
}

#[tokio::test(start_paused = true)]
async fn policy_of_another_clients_quota_is_left_out() {
    let limiter =
        KeyedLimiter::with_quotas(Quota::per_minute(100).unwrap(), |_: &ClientId| Quota::per_hour(100).unwrap());
    let layer = HttpRateLimitLayer::with_limiter(Arc::new(limiter.unwrap()), Bearer);
    let response = ask(&layer.layer(Leaf::default()), by("flo"));
    let policy = response.headers().get("ratelimit-policy");
    assert!(policy.is_none(), "{policy:?}, but it is 100 per hour");
}

#[tokio::test(start_paused = true)]
async fn policies_are_left_out_of_all_rules_if_one_may_not_hold() {
    let config = Config::new(Quota::per_second(10).unwrap()).rule(Rule::fixed_window(Quota::per_hour(5).unwrap()));
    let limiter = KeyedLimiter::with_quotas(config, |_: &ClientId| Quota::per_second(1_000).unwrap()).unwrap();
    let layer = HttpRateLimitLayer::with_limiter(Arc::new(limiter), Bearer);
    let response = ask(&layer.layer(Leaf::default()), by("flo"));
    let policy = response.headers().get("ratelimit-policy").map(|value| value.to_str().unwrap().to_owned());
    assert!(policy.is_none(), "{policy:?}, but it is 1000 per second");
}

#[tokio::test(start_paused = true)]
async fn fresh_layer_names_the_policy_of_its_limiter() {
    let layer = HttpRateLimitLayer::new(Quota::per_second(10).unwrap(), Bearer).unwrap();
    layer.handle().reconfigure(Quota::per_second(20).unwrap()).unwrap();
    let fresh = layer.fresh();
    let response = ask(&fresh.layer(Leaf::default()), by("flo"));
    let policy = response.headers().get("ratelimit-policy").map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(policy.as_deref(), Some(r#""rate-limit";q=20;w=1"#));
}

#[tokio::test(start_paused = true)]
async fn clients_of_axum_without_a_proxy_are_told_apart() {
    let identify = Peer::of(|info: &ConnectInfo<SocketAddr>| Some(info.0));
    let layer = HttpRateLimitLayer::new(visitors(1), identify).unwrap();
    let service = layer.layer(Leaf::default());
    for (client, status) in [("203.0.113.1:1", 200), ("203.0.113.2:1", 200), ("203.0.113.1:2", 429)] {
        let mut request = Request::new(Body::new());
        request.extensions_mut().insert(ConnectInfo(client.parse::<SocketAddr>().unwrap()));
        assert_eq!(ask(&service, request).status(), status, "{client}");
    }
}

#[tokio::test(start_paused = true)]
async fn answer_on_the_front_page_is_the_one_that_is_given() {
    let service = HttpRateLimitLayer::new(per_minute(100), Bearer).unwrap().layer(Leaf::default());
    let answers: Vec<_> = (0..=100).map(|_| ask(&service, by("flo"))).collect();
    let refused = answers.last().unwrap();
    let mut page = include_str!("../README.md").lines();
    assert!(page.any(|line| line == "HTTP/1.1 429 Too Many Requests"));
    assert_eq!(refused.status(), 429);
    for line in page.take(3) {
        let (name, value) = line.split_once(": ").unwrap();
        assert_eq!(field(refused, name), Some(value), "{name}");
    }
}
