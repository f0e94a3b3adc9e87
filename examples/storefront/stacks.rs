//! Every client of the shop, layer by layer, with resilience on and off.
//!
//! Read each stack from the top: a request enters there, and its answer leaves there. The waits grow shorter on the way in,
//! so that whoever is further out still has time to answer when somebody further in has given up.

use crate::{experiment::Plan, replicas};
use axum::body::Body;
use http::{
    Request, Response, Uri,
    header::{CONNECTION, HOST},
    uri::{Authority, Scheme},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use mainstay::{
    BoxError, Error, InvalidConfig, TimedOut,
    circuit_breaker::{Circuit, CircuitBreakerLayer, Config, Window},
};
use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};
use tower::{
    ServiceBuilder, ServiceExt, service_fn,
    timeout::error::Elapsed,
    util::{BoxCloneSyncService, MapRequest},
};

/// A client with everything around it. Its errors say what is known: refused, timed out, or failed.
pub(crate) type Upstream = BoxCloneSyncService<Request<Body>, Response<Body>, Error<BoxError>>;

/// HTTP/1.1 over TCP, with kept connections.
pub(crate) type Http = Client<HttpConnector, Body>;

/// Whether the shop defends itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resilience {
    Off,
    On,
}

/// How long clients and circuits wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) catalog: Duration,
    pub(crate) payment: Duration,
    pub(crate) provider: Duration,
    /// From when on a call to payment is slow.
    pub(crate) slow: Duration,
    /// How long an open circuit refuses before it lets probes through.
    pub(crate) open_for: Duration,
}

/// The circuits between gateway and payment.
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
    /// The clients' waits are shares of the customer's patience. The open time is a share of the run, as the phases of the
    /// outage are: half a second in one of twenty.
    pub(crate) fn of(plan: &Plan) -> Self {
        let payment = plan.patience * 2 / 5;
        Self {
            catalog: plan.patience * 2 / 5,
            payment,
            provider: plan.patience * 3 / 10,
            // A good call takes some 30 ms, whatever the patience.
            slow: (payment / 2).max(Duration::from_millis(50)),
            open_for: (plan.duration / 40).clamp(Duration::from_millis(250), Duration::from_secs(5)),
        }
    }

    /// Half of the last ten calls open a circuit: within a fraction of a second at this load, and a single bad call in a
    /// good time does nothing.
    fn circuit(self, name: &'static str) -> Config {
        Config::default()
            .name(name)
            .window(Window::Last(10))
            .minimum_calls(5)
            .failure_rate(0.5)
            .open_for(self.open_for)
            .probes(2)
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

/// gateway → payment, and the circuits in it.
pub(crate) fn payment(
    resilience: Resilience,
    peer: SocketAddr,
    times: Times,
) -> Result<(Upstream, Option<Circuits>), InvalidConfig> {
    if resilience == Resilience::Off {
        return Ok((bare(peer), None));
    }
    // Until the body ends: a receipt that breaks off in the middle is a failure too.
    let breaker = CircuitBreakerLayer::http(times.payment_circuit())?.until_body_end();
    let shadow = CircuitBreakerLayer::http(times.shadow_circuit())?.until_body_end();
    let circuits = Circuits { payment: breaker.handle(), shadow: shadow.handle() };
    // In the metrics from now on, not only from the first transition.
    circuits.payment.rebind_metrics();
    circuits.shadow.rebind_metrics();
    let stack = ServiceBuilder::new()
        .map_response(|response: Response<_>| response.map(Body::new))
        // Outermost, so that a refusal costs nothing further in: no connection, no timer, no slot in payment's pool.
        .layer(breaker)
        // Only to compare, and to be left out where the stack is copied. Inside of the other it sees the calls that are
        // admitted, to their real ends, and no refusal. The comparison is fair, since the calls by which the other opens are
        // all in flight then or have ended: the shadow misses none of them, it only hears of them later.
        .layer(shadow)
        // The one place where the client's errors get the type that all policies share.
        .map_err(timed_out_or_failed("payment", times.payment))
        // Inside of the circuit: a call that nobody answers is a failure that it sees.
        .timeout(times.payment)
        .service(http_to(peer));
    Ok((seen_to_its_end(BoxCloneSyncService::new(stack)), Some(circuits)))
}

/// gateway → catalog, which has several replicas.
pub(crate) fn catalog(resilience: Resilience, peers: &[SocketAddr], times: Times) -> Result<Upstream, InvalidConfig> {
    if resilience == Resilience::Off {
        return Ok(replicas::in_turn("catalog", peers.iter().map(|peer| bare(*peer))));
    }
    let breaker = CircuitBreakerLayer::http(times.circuit("catalog"))?;
    let replicas = peers.iter().map(|peer| {
        // A circuit for each replica: one for all would shut out the good ones with the bad.
        let breaker = breaker.fresh();
        breaker.handle().rebind_metrics();
        let stack = ServiceBuilder::new()
            .map_response(|response: Response<_>| response.map(Body::new))
            .layer(breaker)
            .map_err(timed_out_or_failed("catalog", times.catalog))
            .timeout(times.catalog)
            .service(http_to(*peer));
        BoxCloneSyncService::new(stack)
    });
    // Outside of the circuits: what one refuses, another replica is asked for.
    Ok(seen_to_its_end(replicas::in_turn("catalog", replicas)))
}

/// payment → provider.
pub(crate) fn provider(resilience: Resilience, peer: SocketAddr, times: Times) -> Upstream {
    if resilience == Resilience::Off {
        return bare(peer);
    }
    // No circuit here: the gateway's stops the calls before they come, and of two in a row the second would begin to
    // recover only after the first.
    let stack = ServiceBuilder::new()
        .map_response(|response: Response<_>| response.map(Body::new))
        .map_err(timed_out_or_failed("provider", times.provider))
        .timeout(times.provider)
        .service(http_to(peer));
    BoxCloneSyncService::new(stack)
}

/// A call that goes on when its customer has left, so that its circuit learns how it ended. To a circuit a call that is
/// dropped says nothing, and if it hears nothing else, that the service is silent: a row of customers who hang up would
/// close the shop. The timeout in the stack bounds how long a call goes on.
fn seen_to_its_end(upstream: Upstream) -> Upstream {
    BoxCloneSyncService::new(service_fn(move |request| {
        let call = tokio::spawn(upstream.clone().oneshot(request));
        async move { call.await.unwrap_or_else(|panicked| Err(Error::Inner(panicked.into()))) }
    }))
}

/// A client without any defence: it waits as long as its caller does.
fn bare(peer: SocketAddr) -> Upstream {
    let stack = ServiceBuilder::new()
        .map_response(|response: Response<_>| response.map(Body::new))
        .map_err(|error| Error::Inner(BoxError::from(error)))
        .service(http_to(peer));
    BoxCloneSyncService::new(stack)
}

/// tower's timeout has its own error in a box; everything else in the box is the client's.
fn timed_out_or_failed(policy: &'static str, wait: Duration) -> impl Fn(BoxError) -> Error<BoxError> + Clone {
    move |error| if error.is::<Elapsed>() { TimedOut::new(policy, wait).into() } else { Error::Inner(error) }
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
    use crate::{pool::Pool, server::Server, services};
    use mainstay::circuit_breaker::{Outcome, State};
    use std::collections::VecDeque;
    use tokio::time::Instant;

    const PLAN: Plan =
        Plan { duration: Duration::from_secs(20), rate: 100, seed: 7, patience: Duration::from_millis(500) };

    async fn look(catalog: &Upstream) -> bool {
        let request = Request::get("/products/7").body(Body::empty()).unwrap();
        catalog.clone().oneshot(request).await.is_ok_and(|response| response.status().is_success())
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
    fn silence_opens_the_circuit_when_five_calls_are_slow_and_its_shadow_when_they_have_ended() {
        let times = Times::of(&PLAN);
        let (circuit, shadow) = (opens_after(times.payment_circuit()), opens_after(times.shadow_circuit()));
        let fifth_begins = Duration::from_millis(40);
        assert!(circuit > fifth_begins + times.slow, "{circuit:?}");
        assert!(circuit <= fifth_begins + times.slow * 11 / 10, "at most a tenth later: {circuit:?}");
        assert_eq!(shadow, fifth_begins + times.provider);
    }

    #[test]
    fn a_good_call_is_never_slow_and_a_slow_one_not_yet_given_up() {
        for patience in [200, 500, 5_000].map(Duration::from_millis) {
            let times = Times::of(&Plan { patience, ..PLAN });
            assert!(times.slow >= Duration::from_millis(50) && times.slow < times.provider, "{times:?}");
        }
    }

    #[tokio::test]
    async fn a_dead_replica_costs_a_few_calls_and_no_more() {
        let healthy = services::catalog::routes("alive");
        let healthy = Server::start(Server::bind(0).await.unwrap(), Pool::planned_for("alive", 100), healthy).unwrap();
        let dead = Server::bind(0).await.unwrap().local_addr().unwrap(); // nobody listens any more

        for (resilience, lost) in [(Resilience::Off, 20), (Resilience::On, 5)] {
            let catalog = catalog(resilience, &[healthy.address, dead], Times::of(&PLAN)).unwrap();
            let mut failures = 0;
            for _ in 0..40 {
                failures += u32::from(!look(&catalog).await);
            }
            assert_eq!(failures, lost, "resilience {resilience}");
        }
        healthy.stop().await;
    }
}
