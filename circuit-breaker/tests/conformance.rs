//! The contract of tower, and what a refusal means: the conformance kit over each form of the layer.

use mainstay_circuit_breaker::{
    CircuitBreakerLayer, Config, KeyedCircuitBreakerLayer, KeyedConfig, OnOpen, OpenFor, ThrottleConfig, ThrottleLayer,
    Window,
};
use mainstay_conformance::{AutoTraits, Clause, ProbeError, Profile, Request, Subject, conformance_suite};
use mainstay_core::Error;
use std::time::Duration;
use tower::{
    ServiceBuilder,
    layer::util::{Identity, Stack},
    util::MapErrLayer,
};

type Lift = MapErrLayer<fn(ProbeError) -> Error<ProbeError>>;
type Breaker = ServiceBuilder<Stack<Lift, Stack<CircuitBreakerLayer, Identity>>>;

/// The breaker with its leaf's errors lifted, as a user would build it.
fn breaker(config: &Config) -> Breaker {
    let layer = CircuitBreakerLayer::new(config.clone()).expect("the configuration is valid");
    let lift: fn(ProbeError) -> Error<ProbeError> = Error::Inner;
    ServiceBuilder::new().layer(layer).map_err(lift)
}

fn subject(name: &str, config: Config) -> Subject<Breaker> {
    let profile = Profile::pass_through()
        .may_refuse()
        .service_is(AutoTraits::SEND.sync().unpin())
        .future_is(AutoTraits::SEND.sync())
        .future_overhead(64);
    Subject::new(name, move || breaker(&config)).on_tokio().profile(profile)
}

/// Opens at the first failure, so that most runs of the kit see every state.
fn nervous() -> Config {
    Config::default().window(Window::Consecutive(1)).open_for(Duration::from_secs(1)).probes(1)
}

conformance_suite!(opens_at_once, subject("a circuit that opens at the first failure", nervous()));

conformance_suite!(stays_closed, subject("a circuit that stays closed", Config::default()));

conformance_suite!(
    counts_and_times,
    subject(
        "a circuit with every rule on",
        Config::default()
            .window(Window::Within(Duration::from_secs(60)))
            .minimum_calls(1)
            .slow(Duration::from_millis(500), 0.5)
            .open_for(OpenFor::Growing { first: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(4) })
            .probes(2)
            .probe_deadline(Duration::from_secs(2))
            .seed(7),
    )
);

conformance_suite!(shadow, subject("a circuit in shadow mode", nervous().shadow(true)));

conformance_suite!(
    gradual,
    subject("a circuit that lets calls back by stages", nervous().gradual([0.25, 0.5], Duration::from_secs(1)).seed(7)),
);

conformance_suite!(
    in_flight,
    subject(
        "a circuit that sees slow calls in flight",
        Config::default()
            .window(Window::Last(4))
            .minimum_calls(1)
            .slow(Duration::from_millis(500), 0.5)
            .slow_in_flight(true)
            .open_for(Duration::from_secs(1))
            .probes(1),
    ),
);

/// A circuit that is waited for.
fn waiting(name: &str, config: Config) -> Subject<Breaker> {
    let profile = Profile::pass_through()
        .may_refuse()
        .backpressure()
        .future_overhead(64)
        .deviates(Clause::ReadinessStays, "so that a balancer takes another endpoint when the circuit has opened");
    Subject::new(name, move || breaker(&config)).on_tokio().profile(profile)
}

conformance_suite!(waits, waiting("a circuit that is waited for", nervous().on_open(OnOpen::Wait)));

conformance_suite!(
    waits_for_two_probes,
    waiting(
        "a circuit that is waited for, with two probes and a deadline",
        nervous().on_open(OnOpen::Wait).probes(2).probe_deadline(Duration::from_secs(2)),
    ),
);

conformance_suite!(
    keyed,
    Subject::new("a circuit for each of two keys", || {
        let layer = KeyedCircuitBreakerLayer::by_value(nervous(), |request: &Request| request.id() % 2);
        let lift: fn(ProbeError) -> Error<ProbeError> = Error::Inner;
        ServiceBuilder::new().layer(layer.expect("the configuration is valid")).map_err(lift)
    })
    .on_tokio()
    .profile(Profile::pass_through().may_refuse().future_overhead(64)),
);

// The second key finds no room, so its calls are unguarded.
conformance_suite!(
    keyed_and_full,
    Subject::new("more keys than circuits", || {
        let config = KeyedConfig::from(nervous()).max_keys(1);
        let layer = KeyedCircuitBreakerLayer::by_value(config, |request: &Request| request.id() % 3);
        let lift: fn(ProbeError) -> Error<ProbeError> = Error::Inner;
        ServiceBuilder::new().layer(layer.expect("the configuration is valid")).map_err(lift)
    })
    .on_tokio()
    .profile(Profile::pass_through().may_refuse().future_overhead(64)),
);

conformance_suite!(
    throttle,
    Subject::new("a throttle that refuses soon", || {
        let config = ThrottleConfig::default().minimum_calls(1).multiplier(1.0).max_rejection(0.5).seed(3);
        let lift: fn(ProbeError) -> Error<ProbeError> = Error::Inner;
        ServiceBuilder::new().layer(ThrottleLayer::new(config).expect("the configuration is valid")).map_err(lift)
    })
    .on_tokio()
    .profile(Profile::pass_through().may_refuse().future_overhead(64).step(Duration::from_secs(60))),
);

#[cfg(feature = "http")]
mod http_stack {
    use super::nervous;
    use http::{Request as HttpRequest, Response};
    use http_body_util::Empty;
    use mainstay_circuit_breaker::CircuitBreakerLayer;
    use mainstay_conformance::{ProbeError, Profile, Reply, Request, Subject, conformance_suite};
    use mainstay_core::Error;
    use tower::ServiceBuilder;

    type Body = Empty<&'static [u8]>;

    fn respond(reply: Reply) -> Response<Body> {
        let mut response = Response::new(Body::new());
        response.extensions_mut().insert(reply);
        response
    }

    fn reply<B>(response: Response<B>) -> Reply {
        let (head, body) = response.into_parts();
        // Nobody reads it, so with a body that settles the head decides.
        drop(body);
        *head.extensions.get().expect("every response carries its reply")
    }

    fn profile() -> Profile {
        Profile::pass_through().may_refuse().future_overhead(256)
    }

    conformance_suite!(
        head,
        Subject::new("the constructor for HTTP", || {
            ServiceBuilder::new()
                .map_response(reply)
                .map_request(HttpRequest::new)
                .layer(CircuitBreakerLayer::http(nervous()).expect("the configuration is valid"))
                .map_err(Error::<ProbeError>::Inner)
                .map_response(respond)
                .map_request(HttpRequest::<Request>::into_body)
        })
        .on_tokio()
        .profile(profile()),
    );

    conformance_suite!(
        body,
        Subject::new("settled at the end of the body", || {
            ServiceBuilder::new()
                .map_response(reply)
                .map_request(HttpRequest::new)
                .layer(CircuitBreakerLayer::http(nervous()).expect("the configuration is valid").until_body_end())
                .map_err(Error::<ProbeError>::Inner)
                .map_response(respond)
                .map_request(HttpRequest::<Request>::into_body)
        })
        .on_tokio()
        .profile(profile()),
    );
}
