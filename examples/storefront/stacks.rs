//! Every client of the shop, layer by layer, with resilience on and off.
//!
//! Read each stack from the top: a request enters there, and its answer leaves there. The waits grow shorter on the way in,
//! so that whoever is further out still has time to answer when somebody further in has given up. For a customer with a
//! patience of 500 ms the gateway takes 400 in all; orders gives each attempt 200, and payment gives the provider 150.

use crate::{experiment::Plan, replicas, stale, traffic::Traffic};
use axum::body::Body;
use http::{
    Request, Response, Uri,
    header::{CONNECTION, HOST},
    request::Parts,
    uri::{Authority, Scheme},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use mainstay::{
    Attempt, BoxError, Error, InvalidConfig,
    circuit_breaker::{Circuit, CircuitBreakerLayer, Config, Window},
    fallback::FallbackLayer,
    retry::{self, Backoff, Budget, BudgetConfig, HedgeConfig, HedgeLayer, Percentile, RetryLayer, SpendOnly},
    timeout::{DeadlineToHeaderLayer, TimeoutLayer},
};
use serde::{Deserialize, Serialize};
use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};
use tower::{
    ServiceBuilder, ServiceExt, service_fn,
    util::{BoxCloneSyncService, MapRequest},
};

/// A client with everything around it. Its errors say what is known: refused, timed out, or failed.
pub(crate) type Upstream = BoxCloneSyncService<Request<Body>, Response<Body>, Error<BoxError>>;

/// HTTP/1.1 over TCP, with kept connections.
pub(crate) type Http = Client<HttpConnector, Body>;

/// Whether the shop defends itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Resilience {
    Off,
    On,
}

/// How long clients and circuits wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// For a whole call of the gateway, or of orders to payment, with all its attempts.
    pub(crate) total: Duration,
    /// For an attempt.
    pub(crate) catalog: Duration,
    pub(crate) payment: Duration,
    pub(crate) provider: Duration,
    /// The first and the longest wait before a retry.
    pub(crate) backoff: [Duration; 2],
    /// After which an answer is so late that the other replica is asked as well.
    pub(crate) hedge: Duration,
    /// The retries and hedges that a budget holds at most.
    pub(crate) tokens: u32,
    /// From when on a call to payment is slow.
    pub(crate) slow: Duration,
    /// How long an open circuit refuses before it lets probes through.
    pub(crate) open_for: Duration,
}

/// The circuits between orders and payment.
#[derive(Clone, Debug)]
pub(crate) struct Circuits {
    /// The one that decides.
    pub(crate) payment: Arc<Circuit>,
    /// The one that shows what would be if calls voted at their end only; it refuses nothing.
    pub(crate) shadow: Arc<Circuit>,
}

impl fmt::Display for Resilience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::On => "on",
        })
    }
}

impl Times {
    /// The clients' waits are shares of the customer's patience: whoever is further out waits longer. A budget holds what one
    /// second of good answers earns. The open time is a share of the run, as the phases of the outage are: half a second in
    /// one of twenty.
    pub(crate) fn of(plan: &Plan) -> Self {
        let payment = plan.patience * 2 / 5;
        Self {
            total: plan.patience * 4 / 5,
            catalog: plan.patience * 2 / 5,
            payment,
            provider: plan.patience * 3 / 10,
            backoff: [plan.patience / 50, plan.patience * 2 / 25],
            // A look-up takes 4 to 13 ms, whatever the patience.
            hedge: Duration::from_millis(25),
            tokens: (plan.rate / 5).max(10),
            // A good call takes some 30 ms, whatever the patience.
            slow: (payment / 2).max(Duration::from_millis(50)),
            open_for: (plan.duration / 40).clamp(Duration::from_millis(250), Duration::from_secs(5)),
        }
    }

    /// Seven of the last ten calls open a circuit: within a fraction of a second at this load. What fails now and then is for
    /// the retries.
    fn circuit(self, name: &'static str) -> Config {
        Config::default()
            .name(name)
            .window(Window::Last(10))
            .minimum_calls(5)
            .failure_rate(0.7)
            .open_for(self.open_for)
            .probes(2)
    }

    /// Five good answers pay for one retry or hedge: in the long run, whatever happens, a service gets a fifth more than it is
    /// asked for, and no more. That is enough for a service that fails one call in eight.
    fn budget(self, name: &'static str) -> BudgetConfig {
        BudgetConfig::default().name(name).ratio(0.2).initial(10).cap(self.tokens)
    }

    /// What fails at once is sent again. What has taken until the provider was given up is not: it would hold a place in the
    /// gateway's pool for as long once more, and there would not be time for a whole attempt.
    fn retry(self, name: &'static str, max_attempts: u32) -> retry::Config {
        let [first, longest] = self.backoff;
        let backoff = Backoff::exponential(first).cap(longest);
        retry::Config::default().name(name).max_attempts(max_attempts).backoff(backoff).deadline(self.provider)
    }

    /// Nine of ten answers are in by then, however the machine is; but not before the floor, since below it a hedge costs more
    /// than it gains. A replica that pauses for a tenth of the time delays one call in twenty. Only what is late is hedged: what
    /// fails here has failed at both replicas already, and the budget would be spent when the next pause comes.
    fn hedge(self, name: &'static str) -> HedgeConfig {
        let delay = Percentile::new(0.9).floor(self.hedge).minimum_samples(50);
        HedgeConfig::default().name(name).delay(delay).on_failure(false)
    }

    /// A call to payment that is slow counts as failed, and does so while it is still in flight: the circuit does not wait
    /// for the calls that a silent provider leaves without an answer.
    fn payment_circuit(self) -> Config {
        self.circuit("payment").slow_is_failure(self.slow).slow_in_flight(true)
    }

    /// The same rules, but a call votes when it has ended; and the circuit only watches.
    fn shadow_circuit(self) -> Config {
        self.payment_circuit().name("payment-shadow").slow_in_flight(false).shadow(true)
    }
}

/// gateway → orders.
pub(crate) fn orders(resilience: Resilience, peer: SocketAddr, times: Times) -> Result<Upstream, InvalidConfig> {
    if resilience == Resilience::Off {
        return Ok(bare(peer));
    }
    let budget = Arc::new(Budget::new(times.budget("orders"))?);
    let stack = ServiceBuilder::new()
        .map_response(|response: Response<_>| response.map(Body::new))
        // A customer waits no longer; the order goes on.
        .layer(TimeoutLayer::http(timeout("orders", times.total))?)
        // The same key is the same order, so it does no harm to ask again when the connection breaks. An answer is final.
        .layer(RetryLayer::http(times.retry("orders", 3))?.only_if(broke_off).budget(budget))
        .map_request(|request: Request<_>| request.map(Body::new))
        .layer(DeadlineToHeaderLayer::new())
        .service(bare(peer));
    Ok(BoxCloneSyncService::new(stack))
}

/// orders → users, inventory or notifications. What fails there is tried again by the saga, which knows how often.
pub(crate) fn participant(
    resilience: Resilience,
    name: &'static str,
    peer: SocketAddr,
    times: Times,
) -> Result<Upstream, InvalidConfig> {
    if resilience == Resilience::Off {
        return Ok(bare(peer));
    }
    let stack = ServiceBuilder::new()
        .map_response(|response: Response<_>| response.map(Body::new))
        .layer(TimeoutLayer::http(timeout(name, times.payment))?)
        .layer(DeadlineToHeaderLayer::new())
        .service(bare(peer));
    Ok(BoxCloneSyncService::new(stack))
}

/// orders → payment, what it counts, and the circuits in it.
pub(crate) fn payment(
    resilience: Resilience,
    peer: SocketAddr,
    times: Times,
) -> Result<(Upstream, Traffic, Option<Circuits>), InvalidConfig> {
    let mut traffic = Traffic::default();
    if resilience == Resilience::Off {
        return Ok((counted(bare(peer), &traffic), traffic, None));
    }
    let budget = Arc::new(Budget::new(times.budget("payment"))?);
    traffic.budget = Some(Arc::clone(&budget));
    // Until the body ends: a receipt that breaks off in the middle is a failure too.
    let breaker = CircuitBreakerLayer::http(times.payment_circuit())?.until_body_end();
    let shadow = CircuitBreakerLayer::http(times.shadow_circuit())?.until_body_end();
    let circuits = Circuits { payment: breaker.handle(), shadow: shadow.handle() };
    // In the metrics from now on, not only from the first transition.
    circuits.payment.rebind_metrics();
    circuits.shadow.rebind_metrics();
    let stack = ServiceBuilder::new()
        .map_request(traffic.enters())
        .map_response(|response: Response<_>| response.map(Body::new))
        // Outermost: one deadline for all attempts together, which each of them is given, too.
        .layer(TimeoutLayer::http(timeout("payment-total", times.total))?)
        // Each charge has its key, so what failed may be sent again although it may have been paid; without a key only what was
        // refused is. Outside of the circuit, which sees each attempt, and stops the retries, too.
        .layer(RetryLayer::http(times.retry("payment", 3))?.only_if(was_sent).budget(budget))
        .map_request(|request: Request<_>| request.map(Body::new))
        .map_request(traffic.leaves())
        // A refusal costs nothing further in: no connection, no timer, no slot in payment's pool.
        .layer(breaker)
        // Only to compare, and to be left out where the stack is copied. Inside of the other it sees the calls that are
        // admitted, to their real ends, and no refusal. The comparison is fair, since the calls by which the other opens are
        // all in flight then or have ended: the shadow misses none of them, it only hears of them later.
        .layer(shadow)
        // Inside of the circuit: an attempt that nobody answers is a failure that it sees.
        .layer(TimeoutLayer::http(timeout("payment", times.payment))?)
        // As far in as can be, so that payment is told what is really left.
        .layer(DeadlineToHeaderLayer::new())
        .service(bare(peer));
    Ok((seen_to_its_end(BoxCloneSyncService::new(stack)), traffic, Some(circuits)))
}

/// gateway → catalog, which has several replicas; and what it counts.
pub(crate) fn catalog(
    resilience: Resilience,
    peers: &[SocketAddr],
    times: Times,
) -> Result<(Upstream, Traffic), InvalidConfig> {
    let mut traffic = Traffic::default();
    if resilience == Resilience::Off {
        let replicas = replicas::in_turn("catalog", peers.iter().map(|peer| bare(*peer)));
        let stack = ServiceBuilder::new().map_request(replicas::take_turns()).service(replicas);
        return Ok((counted(BoxCloneSyncService::new(stack), &traffic), traffic));
    }
    // One for retries and hedges: to the catalog both are load that nobody asked for.
    let budget = Arc::new(Budget::new(times.budget("catalog"))?);
    let hedge = HedgeLayer::http(times.hedge("catalog"))?.budget(Arc::clone(&budget));
    traffic.hedging = Some(hedge.handle());
    traffic.budget = Some(Arc::clone(&budget));
    let stack = ServiceBuilder::new()
        .map_request(traffic.enters())
        // Outermost, so that it answers whatever goes wrong further in, and however late that is known: an old price is better
        // than none.
        .layer(
            FallbackLayer::service(stale::price_list())
                .keep(|request: &Request<_>| Some(stale::head(request)))
                .http()
                .name("stale"),
        )
        // One deadline for all attempts together, which leaves time for that.
        .layer(TimeoutLayer::http(timeout("catalog-total", times.total))?)
        .map_request(replicas::take_turns())
        // Outside of the retry: if one replica stands still, and with it all that is tried there, the other is asked as well.
        .layer(hedge)
        .map_request(|request: Request<_>| replicas::pass_turn(request.map(Body::new)))
        // What failed at one replica is sent to the other. Outside of the circuits, which see each attempt. The same budget, which
        // a good answer must fill only once: the hedge does that.
        .layer(RetryLayer::http(times.retry("catalog", 2))?.only_if(was_sent).budget(SpendOnly(budget)))
        .map_request(|request: Request<_>| replicas::pass_turn(request.map(Body::new)))
        .map_request(traffic.leaves())
        .service(replicas(peers, times)?);
    Ok((seen_to_its_end(BoxCloneSyncService::new(stack)), traffic))
}

/// The replicas of the catalog.
fn replicas(peers: &[SocketAddr], times: Times) -> Result<Upstream, InvalidConfig> {
    let breaker = CircuitBreakerLayer::http(times.circuit("catalog"))?;
    let attempt = TimeoutLayer::http(timeout("catalog", times.catalog))?;
    let replicas = peers.iter().map(|peer| {
        // A circuit for each replica: one for all would shut out the good ones with the bad.
        let breaker = breaker.fresh();
        breaker.handle().rebind_metrics();
        let stack = ServiceBuilder::new()
            .map_response(|response: Response<_>| response.map(Body::new))
            .layer(breaker)
            .layer(attempt)
            .layer(DeadlineToHeaderLayer::new())
            .service(bare(*peer));
        BoxCloneSyncService::new(stack)
    });
    // Outside of the circuits: what one refuses, another replica is asked for at once, and for nothing.
    Ok(replicas::in_turn("catalog", replicas))
}

/// payment → provider.
pub(crate) fn provider(resilience: Resilience, peer: SocketAddr, times: Times) -> Result<Upstream, InvalidConfig> {
    if resilience == Resilience::Off {
        return Ok(bare(peer));
    }
    // No circuit here: that of orders stops the calls before they come, and of two in a row the second would begin to
    // recover only after the first. No retry either: two in a row would multiply, and that of orders sees more of what goes
    // wrong.
    let stack = ServiceBuilder::new()
        .map_response(|response: Response<_>| response.map(Body::new))
        // Not longer than orders waits, as its request says.
        .layer(TimeoutLayer::http(timeout("provider", times.provider))?)
        .service(bare(peer));
    Ok(BoxCloneSyncService::new(stack))
}

/// A call that goes on when its customer has left, so that its circuit learns how it ended. To a circuit a call that is
/// dropped says nothing, and if it hears nothing else, that the service is silent: a row of customers who hang up would
/// close the shop. The total timeout in the stack bounds how long a call goes on.
///
/// What is dropped further in is meant to say nothing: a request whose hedge has won may have been answered a moment later.
/// But an attempt that is cut by the total timeout is a failure that its circuit sees, since its own timeout keeps the same
/// deadline and comes first.
fn seen_to_its_end(upstream: Upstream) -> Upstream {
    BoxCloneSyncService::new(service_fn(move |request| {
        let call = tokio::spawn(upstream.clone().oneshot(request));
        async move { call.await.unwrap_or_else(|panicked| Err(Error::Inner(panicked.into()))) }
    }))
}

/// What a circuit refuses could be sent again, since it was certainly not executed. But the circuit would refuse it again, and
/// the budget would be spent when the service is well: better that the customer is told when to come back.
fn was_sent<T>(_: &Parts, ended: Result<&T, &Error<BoxError>>, _: Attempt) -> bool {
    !matches!(ended, Err(Error::Refused(_)))
}

/// There is no answer, and nobody knows what became of the request.
fn broke_off<T>(_: &Parts, ended: Result<&T, &Error<BoxError>>, _: Attempt) -> bool {
    matches!(ended, Err(Error::Inner(_)))
}

/// A stack without resilience: each call is one attempt.
fn counted(upstream: Upstream, traffic: &Traffic) -> Upstream {
    let stack = ServiceBuilder::new().map_request(traffic.enters()).map_request(traffic.leaves()).service(upstream);
    BoxCloneSyncService::new(stack)
}

fn timeout(name: &'static str, time: Duration) -> mainstay::timeout::Config {
    mainstay::timeout::Config::default().name(name).timeout(time)
}

/// A client without any defence: it waits as long as its caller does. The one place where its errors get the type that all
/// policies share.
fn bare(peer: SocketAddr) -> Upstream {
    let stack = ServiceBuilder::new()
        .map_response(|response: Response<_>| response.map(Body::new))
        .map_err(|error| Error::Inner(BoxError::from(error)))
        .service(http_to(peer));
    BoxCloneSyncService::new(stack)
}

/// The client at the bottom of every stack: sends requests to one peer, whatever host they were meant for.
fn http_to(peer: SocketAddr) -> MapRequest<Http, impl Fn(Request<Body>) -> Request<Body> + Clone> {
    let authority = Authority::try_from(peer.to_string()).expect("an address is an authority");
    MapRequest::new(http(), move |request| addressed(request, authority.clone()))
}

/// A client with connections of its own, so that no service borrows another's.
pub(crate) fn http() -> Http {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

fn addressed(mut request: Request<Body>, authority: Authority) -> Request<Body> {
    let mut uri = std::mem::take(request.uri_mut()).into_parts();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Some(authority);
    *request.uri_mut() = Uri::from_parts(uri).expect("scheme, authority and path are there");
    // What belongs to the connection that the request came by.
    request.headers_mut().remove(HOST);
    request.headers_mut().remove(CONNECTION);
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        faults::{Fault, Switch},
        pool::Pool,
        server::Server,
        services,
        sickness::{self, Sickness},
        wire::IDEMPOTENCY_KEY,
    };
    use axum::{Router, routing::any};
    use http::{HeaderMap, StatusCode};
    use mainstay::circuit_breaker::{Outcome, State};
    use std::{
        collections::VecDeque,
        sync::atomic::{AtomicUsize, Ordering},
    };
    use tokio::{task::JoinSet, time::Instant};

    const PLAN: Plan = Plan { rate: 100, ..Plan::DEFAULT };

    async fn send(upstream: &Upstream, request: http::request::Builder) -> Option<Response<Body>> {
        let answer = upstream.clone().oneshot(request.body(Body::empty()).unwrap()).await;
        answer.ok().filter(|response| response.status().is_success())
    }

    async fn look(catalog: &Upstream) -> bool {
        send(catalog, Request::get("/products/7")).await.is_some()
    }

    async fn serve(routes: Router) -> Server {
        Server::start(Server::bind(0).await.unwrap(), Pool::planned_for("test", 100), routes).unwrap()
    }

    /// Fails every other request.
    fn alternating() -> Router {
        let count = Arc::new(AtomicUsize::new(0));
        // Relaxed: the requests come one after the other.
        let status = move || if count.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) { 500 } else { 200 };
        Router::new().route("/{*path}", any(async move || StatusCode::from_u16(status()).unwrap()))
    }

    /// Answers with the time that it is given, in milliseconds.
    async fn time_given(headers: HeaderMap) -> String {
        headers["x-request-timeout-ms"].to_str().unwrap().to_owned()
    }

    /// Calls that nobody answers come every 10 ms after ten good ones; each is given up by payment. When the circuit opens.
    fn opens_after(config: Config) -> Duration {
        const STEP: Duration = Duration::from_millis(10);
        let times = Times::of(&PLAN);
        let start = Instant::now().into_std();
        let circuit = Circuit::new_at(config, start).unwrap();
        for _ in 0..10 {
            circuit.settle(circuit.admit(start).unwrap(), Outcome::Success, start);
        }
        let mut calls = VecDeque::new();
        for waited in (0..100).map(|step| STEP * step) {
            let now = start + waited;
            while calls.front().is_some_and(|(begun, _)| now - *begun >= times.provider) {
                let (_, permit) = calls.pop_front().unwrap();
                circuit.settle(permit, Outcome::Failure, now);
            }
            if let Ok(permit) = circuit.admit(now) {
                calls.push_back((now, permit));
            }
            if circuit.state() == State::Open {
                return waited;
            }
        }
        panic!("it never opened");
    }

    #[test]
    fn silence_opens_the_circuit_when_seven_calls_are_slow_and_its_shadow_when_they_have_ended() {
        let times = Times::of(&PLAN);
        let (circuit, shadow) = (opens_after(times.payment_circuit()), opens_after(times.shadow_circuit()));
        let seventh_begins = Duration::from_millis(60);
        assert!(circuit > seventh_begins + times.slow, "{circuit:?}");
        assert!(circuit <= seventh_begins + times.slow * 11 / 10, "at most a tenth later: {circuit:?}");
        assert_eq!(shadow, seventh_begins + times.provider);
    }

    #[test]
    fn a_good_call_is_never_slow_and_a_slow_one_not_yet_given_up() {
        for patience in [200, 500, 5_000].map(Duration::from_millis) {
            let times = Times::of(&Plan { patience, ..PLAN });
            assert!(times.slow >= Duration::from_millis(50) && times.slow < times.provider, "{times:?}");
        }
    }

    #[test]
    fn the_waits_nest_and_no_attempt_is_cut_short() {
        for patience in [200, 500, 5_000].map(Duration::from_millis) {
            let times = Times::of(&Plan { patience, ..PLAN });
            assert!(
                times.provider < times.payment && times.payment < times.total && times.total < patience,
                "{times:?}"
            );
            // The last attempt begins before the provider would be given up.
            assert!(times.provider + times.payment.max(times.catalog) < times.total, "{times:?}");
            assert!(times.hedge < sickness::pause(patience), "{times:?}");
        }
    }

    #[tokio::test]
    async fn what_is_sent_again_is_paid_from_a_budget() {
        let server = serve(alternating()).await;
        let times = Times::of(&PLAN);
        let (catalog, to_catalog) = catalog(Resilience::On, &[server.address; 2], times).unwrap();
        let (payment, to_payment, _) = payment(Resilience::On, server.address, times).unwrap();
        for number in 0..100 {
            send(&catalog, Request::get("/products/0")).await;
            send(&payment, Request::post("/charges").header(IDEMPOTENCY_KEY, number)).await;
        }
        for sent in [to_catalog.sent(), to_payment.sent()] {
            // Ten to begin with, and one for each five good answers.
            let again = u64::try_from(sent.retries).unwrap() + sent.hedges;
            assert!((10..=10 + 20).contains(&again) && sent.not_paid > 0, "{sent:?}");
        }
        server.stop().await;
    }

    #[tokio::test]
    async fn hedges_are_paid_from_the_same_budget() {
        let switch = Switch::default();
        let routes = Router::new().route("/{*path}", any(async || ()));
        let server = serve(Sickness::of(switch.clone(), PLAN.patience / 8).afflict(routes)).await;
        let (catalog, traffic) = catalog(Resilience::On, &[server.address; 2], Times::of(&PLAN)).unwrap();
        for _ in 0..60 {
            assert!(look(&catalog).await);
        }

        // All are slow now, for longer than the hedge waits; ten of them were saved and as many earned.
        switch.set(Fault::Slow);
        let mut calls = JoinSet::new();
        for _ in 0..40 {
            let catalog = catalog.clone();
            calls.spawn(async move { look(&catalog).await });
        }
        assert!(calls.join_all().await.into_iter().all(|served| served));
        let sent = traffic.sent();
        assert!((10..=30).contains(&sent.hedges) && sent.not_paid > 5, "{sent:?}");
        server.stop().await;
    }

    #[tokio::test]
    async fn without_a_key_a_charge_is_sent_once_and_what_the_circuit_refuses_too() {
        let server = serve(alternating()).await;
        let (payment, traffic, circuits) = payment(Resilience::On, server.address, Times::of(&PLAN)).unwrap();
        assert!(send(&payment, Request::post("/charges")).await.is_none());
        assert_eq!(traffic.sent().attempts, 1);

        circuits.unwrap().payment.isolate();
        assert!(send(&payment, Request::post("/charges").header(IDEMPOTENCY_KEY, "key")).await.is_none());
        assert_eq!(traffic.sent().attempts, 2);
        server.stop().await;
    }

    #[tokio::test]
    async fn each_attempt_is_told_how_long_its_answer_is_waited_for() {
        let server = serve(Router::new().route("/{*path}", any(time_given))).await;
        let times = Times::of(&PLAN);
        let (catalog, _) = catalog(Resilience::On, &[server.address], times).unwrap();
        let (payment, ..) = payment(Resilience::On, server.address, times).unwrap();
        for (upstream, wait) in [(catalog, times.catalog), (payment, times.payment)] {
            let body = send(&upstream, Request::get("/products/7")).await.unwrap().into_body();
            let given = axum::body::to_bytes(body, 100).await.unwrap();
            let given = Duration::from_millis(std::str::from_utf8(&given).unwrap().parse().unwrap());
            assert!(given <= wait && given > wait / 2, "{given:?}");
        }
        server.stop().await;
    }

    #[tokio::test]
    async fn a_dead_replica_costs_nobody_an_answer() {
        let healthy = serve(services::catalog::routes("alive")).await;
        let dead = Server::bind(0).await.unwrap().local_addr().unwrap(); // nobody listens any more

        for (resilience, lost) in [(Resilience::Off, 20), (Resilience::On, 0)] {
            let catalog = catalog(resilience, &[healthy.address, dead], Times::of(&PLAN)).unwrap().0;
            let mut failures = 0;
            for _ in 0..40 {
                failures += u32::from(!look(&catalog).await);
            }
            assert_eq!(failures, lost, "resilience {resilience}");
        }
        healthy.stop().await;
    }
}
