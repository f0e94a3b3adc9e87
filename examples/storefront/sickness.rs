//! Makes a service suffer from its fault, before its pool: a silent service accepts everything.

use crate::{
    faults::{Fault, Setting, Switch},
    recent::Recent,
    wire::{self, IDEMPOTENCY_KEY, TRACEPARENT},
};
use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::stream;
use http::StatusCode;
use serde_json::{Value, json};
use std::{
    future::{pending, ready},
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{sleep, sleep_until};

/// From the beginning of one pause to that of the next.
const PAUSE_EVERY: Duration = Duration::from_millis(1_500);
/// Requests whose repetitions are told apart while a service is flaky.
const REMEMBERED: usize = 65_536;

/// What ails one service, and how badly.
#[derive(Clone, Debug)]
pub(crate) struct Sickness {
    switch: Switch,
    /// How long it takes to answer while it is slow.
    slowness: Duration,
    /// How long it stands still, each time.
    pause: Duration,
    seen: Arc<Mutex<Recent<u64, u32>>>,
}

/// What happens to a request of a flaky service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    Unavailable,
    /// The connection breaks, and nothing was done.
    BreaksBefore,
    /// The connection breaks when all is done: nobody learns of it.
    BreaksAfter,
}

impl Sickness {
    /// Slow is longer than anybody waits; a pause is a nuisance only.
    pub(crate) fn of(switch: Switch, patience: Duration) -> Self {
        let seen = Arc::new(Mutex::new(Recent::of(REMEMBERED)));
        Self { switch, slowness: patience * 3 / 2, pause: pause(patience), seen }
    }

    /// Puts the routes behind the fault.
    pub(crate) fn afflict(self, routes: Router) -> Router {
        routes.layer(from_fn_with_state(self, suffer))
    }

    /// Waits for the end of a pause, if there is one now.
    async fn stand_still(&self, set: Setting) {
        let whole = set.since.elapsed().as_nanos() / PAUSE_EVERY.as_nanos();
        let pauses = u32::try_from(whole).unwrap_or(u32::MAX);
        // In the middle of each period, so that a run does not begin with a pause.
        let begins = set.since + PAUSE_EVERY * pauses + PAUSE_EVERY / 2;
        if begins.elapsed() > Duration::ZERO {
            sleep_until(begins + self.pause).await;
        }
    }

    /// What happens to this request depends on it alone, and on how often it has come, so that two shops with the same
    /// customers meet the same mishaps.
    fn mishap(&self, request: &Request) -> Option<Mishap> {
        Mishap::drawn(self.drawn(request))
    }

    /// Whether a request of a broken service comes to nothing, or to what it was sent for.
    fn breaks_before(&self, request: &Request) -> bool {
        self.drawn(request).is_multiple_of(2)
    }

    /// By the trace, which is the same in both shops whatever key is sent further in.
    fn drawn(&self, request: &Request) -> u64 {
        let header = [TRACEPARENT, IDEMPOTENCY_KEY].into_iter().find_map(|name| request.headers().get(name));
        let who = header.map_or_else(|| request.uri().path().as_bytes(), |value| value.as_bytes());
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let who = hasher.hash_one(who);
        hasher.hash_one((who, self.times_seen(who)))
    }

    fn times_seen(&self, who: u64) -> u32 {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(times) = seen.get_mut(&who) {
            *times += 1;
            return *times;
        }
        seen.insert(who, 1);
        1
    }
}

impl Mishap {
    /// One request in eight meets one.
    const fn drawn(number: u64) -> Option<Self> {
        match number % 24 {
            0 => Some(Self::Unavailable),
            1 => Some(Self::BreaksBefore),
            2 => Some(Self::BreaksAfter),
            _ => None,
        }
    }
}

/// How long a service stands still, each time: more than a look-up takes, less than its callers wait, and at most a tenth of
/// the time.
pub(crate) fn pause(patience: Duration) -> Duration {
    (patience * 3 / 10).min(PAUSE_EVERY / 10)
}

/// `GET /faults`, `POST /faults/{fault}`
pub(crate) fn controls(switch: Switch) -> Router {
    Router::new().route("/faults", get(fault)).route("/faults/{fault}", post(set_fault)).with_state(switch)
}

async fn suffer(State(sickness): State<Sickness>, request: Request, next: Next) -> Response {
    let set = sickness.switch.meet();
    match set.fault {
        Fault::Healthy => next.run(request).await,
        Fault::Pausing => {
            sickness.stand_still(set).await;
            let response = next.run(request).await;
            sickness.stand_still(set).await;
            response
        }
        Fault::Flaky => fail_at_times(sickness.mishap(&request), request, next).await,
        Fault::Slow => {
            sleep(sickness.slowness).await;
            next.run(request).await
        }
        Fault::Failing => no_answer(StatusCode::INTERNAL_SERVER_ERROR),
        // It is done, and nobody is told: whoever waits here waits until the client is gone, even if the service recovers.
        Fault::Silent => {
            next.run(request).await;
            pending().await
        }
        Fault::Broken => break_half_way(sickness.breaks_before(&request), request, next).await,
    }
}

async fn break_half_way(before: bool, request: Request, next: Next) -> Response {
    if !before {
        next.run(request).await;
    }
    no_answer(StatusCode::INTERNAL_SERVER_ERROR)
}

async fn fail_at_times(mishap: Option<Mishap>, request: Request, next: Next) -> Response {
    match mishap {
        None => next.run(request).await,
        Some(Mishap::Unavailable) => no_answer(StatusCode::SERVICE_UNAVAILABLE),
        Some(Mishap::BreaksBefore) => breaks_off(),
        Some(Mishap::BreaksAfter) => {
            next.run(request).await;
            breaks_off()
        }
    }
}

fn no_answer(status: StatusCode) -> Response {
    wire::problem(status, "out_of_order", "the service is failing", &json!({}))
}

/// A body that fails at once: the server then closes the connection before it has sent anything.
fn breaks_off() -> Response {
    let broken = Err::<Bytes, _>(io::Error::from(io::ErrorKind::ConnectionReset));
    Response::new(Body::from_stream(stream::once(ready(broken))))
}

async fn fault(State(switch): State<Switch>) -> Json<Value> {
    Json(json!({ "fault": switch.fault(), "requests": switch.requests(), "sick_calls": switch.sick_calls() }))
}

async fn set_fault(State(switch): State<Switch>, Path(name): Path<String>) -> Response {
    let Ok(fault) = name.parse() else {
        let known = Fault::ALL.map(Fault::as_str);
        return wire::problem(
            StatusCode::NOT_FOUND,
            "no_such_fault",
            "this fault is unknown",
            &json!({ "known": known }),
        );
    };
    switch.set(fault);
    self::fault(State(switch)).await.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{pool::Pool, server::Server, stacks};
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::{task::JoinSet, time::Instant};
    use tower::ServiceExt;

    const PATIENCE: Duration = Duration::from_millis(500);

    fn sick(fault: Fault, routes: Router) -> Router {
        let switch = Switch::default();
        switch.set(fault);
        Sickness::of(switch, PATIENCE).afflict(routes)
    }

    #[tokio::test(start_paused = true)]
    async fn a_pausing_service_stands_still_once_in_a_while() {
        let start = Instant::now();
        let service =
            sick(Fault::Pausing, Router::new().route("/", get(async || sleep(Duration::from_millis(10)).await)));
        let mut visits = JoinSet::new();
        for (came, answered) in [(0, 10), (739, 749), (745, 900), (751, 910), (899, 910), (901, 911), (2_300, 2_410)] {
            let service = service.clone();
            visits.spawn(async move {
                sleep_until(start + Duration::from_millis(came)).await;
                service.oneshot(Request::new(Body::empty())).await.unwrap();
                (came, answered, start.elapsed().as_millis())
            });
        }
        for (came, expected, answered) in visits.join_all().await {
            assert!((expected..=expected + 2).contains(&answered), "{came}: {answered}");
        }
    }

    #[test]
    fn one_request_in_eight_meets_a_mishap_the_same_in_every_shop() {
        let [shop, other] = [(); 2].map(|()| Sickness::of(Switch::default(), PATIENCE));
        let request = |key: u32| Request::post("/").header(IDEMPOTENCY_KEY, key).body(Body::empty()).unwrap();
        let mishaps: Vec<_> = (0..2_400).map(|key| shop.mishap(&request(key))).collect();
        for kind in [Mishap::Unavailable, Mishap::BreaksBefore, Mishap::BreaksAfter] {
            // 100 expected, with a standard deviation of 10: five of them.
            let count = mishaps.iter().filter(|mishap| **mishap == Some(kind)).count();
            assert!((50..=150).contains(&count), "{kind:?} {count}");
        }
        let reversed: Vec<_> = (0..2_400).rev().map(|key| other.mishap(&request(key))).collect();
        assert!(mishaps.iter().eq(reversed.iter().rev()), "whatever the order");

        let again: Vec<_> = (0..2_400).map(|key| shop.mishap(&request(key))).collect();
        assert_ne!(mishaps, again, "who comes again is not doomed");
    }

    /// Routes that count what is done.
    fn counting() -> (Arc<AtomicU32>, Router) {
        let done = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&done);
        // Relaxed: read when the requests have been answered, or given up.
        (done, Router::new().route("/", post(async move || count.fetch_add(1, Ordering::Relaxed).to_string())))
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_service_does_what_it_is_asked_for_and_says_nothing() {
        let (done, routes) = counting();
        let asked = sick(Fault::Silent, routes).oneshot(Request::post("/").body(Body::empty()).unwrap());
        assert!(tokio::time::timeout(PATIENCE, asked).await.is_err());
        assert_eq!(done.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_broken_service_fails_before_it_has_done_something_or_afterwards() {
        let (done, routes) = counting();
        let routes = sick(Fault::Broken, routes);
        for trace in 0..200 {
            let request = Request::post("/").header(TRACEPARENT, trace).body(Body::empty()).unwrap();
            assert_eq!(routes.clone().oneshot(request).await.unwrap().status(), 500);
        }
        // 100 expected, with a standard deviation of 7: five of them.
        assert!((65..=135).contains(&done.load(Ordering::Relaxed)), "{done:?}");
    }

    #[tokio::test]
    async fn what_breaks_off_is_no_answer_at_all_to_a_client() {
        let done = Arc::new(AtomicU32::new(0));
        let routes = Router::new().route(
            "/",
            post({
                let done = Arc::clone(&done);
                // Relaxed: read when the requests have been answered.
                async move || done.fetch_add(1, Ordering::Relaxed).to_string()
            }),
        );
        let server =
            Server::start(Server::bind(0).await.unwrap(), Pool::planned_for("test", 100), sick(Fault::Flaky, routes));
        let server = server.unwrap();
        let (http, url) = (stacks::http(), format!("http://{}/", server.address));

        let (mut broken, mut answers) = (0, [0; 2]);
        for key in 0..240 {
            let request = Request::post(&url).header(IDEMPOTENCY_KEY, key).body(Body::empty()).unwrap();
            match http.request(request).await {
                Ok(response) => answers[usize::from(response.status() == 503)] += 1,
                Err(_) => broken += 1,
            }
        }
        let [ok, unavailable] = answers;
        assert!(broken > 5 && unavailable > 2 && ok > 190, "{broken} {unavailable} {ok}");
        // Some of those whose connection broke had been served.
        let all = done.load(Ordering::Relaxed);
        assert!(all > ok && all < ok + broken, "{all}");
        server.stop().await;
    }
}
