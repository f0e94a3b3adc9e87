//! The contract of tower, and what a refusal means: the conformance kit over each form of the layer.

use mainstay_conformance::{AutoTraits, ProbeError, Profile, Request, Subject, conformance_suite};
use mainstay_core::{Attempt, BoundaryLayer, BoxError, Error};
use mainstay_retry::{Backoff, Budget, BudgetConfig, Config, Jitter, RetryLayer, repeat_fn};
use std::{sync::Arc, time::Duration};
use tower::{
    ServiceBuilder,
    layer::util::{Identity, Stack},
    util::MapErrLayer,
};

type Lift = MapErrLayer<fn(ProbeError) -> Error<ProbeError>>;
type Stacked<L> = ServiceBuilder<Stack<Lift, Stack<L, Identity>>>;

/// The layer with its leaf's errors lifted, as a user would build it.
fn stack<L>(layer: L) -> Stacked<L> {
    let lift: fn(ProbeError) -> Error<ProbeError> = Error::Inner;
    ServiceBuilder::new().layer(layer).map_err(lift)
}

fn retry(config: Config) -> RetryLayer {
    RetryLayer::new(config).expect("the configuration is valid")
}

/// The kit moves the time by this much.
const STEP: Duration = Duration::from_secs(1);

fn profile() -> Profile {
    Profile::pass_through()
        .max_inner_calls(3)
        .service_is(AutoTraits::SEND.sync().unpin())
        .future_is(AutoTraits::SEND.sync())
        .future_overhead(320)
        .step(STEP)
}

fn at_once() -> Config {
    Config::default().backoff(Backoff::constant(Duration::ZERO))
}

fn with_waits() -> Config {
    Config::default().backoff(Backoff::exponential(STEP).jitter(Jitter::None))
}

conformance_suite!(
    sends_refused_calls_again,
    Subject::new("retries of what was refused", || stack(retry(with_waits()))).on_tokio().profile(profile()),
);

conformance_suite!(
    at_once_again,
    Subject::new("retries that do not wait", || stack(retry(at_once()).idempotent())).on_tokio().profile(profile()),
);

conformance_suite!(
    waits,
    Subject::new("retries that wait", || stack(retry(with_waits()).idempotent())).on_tokio().profile(profile()),
);

conformance_suite!(
    with_a_deadline,
    Subject::new("retries within a deadline", || { stack(retry(with_waits().deadline(2 * STEP)).idempotent()) })
        .on_tokio()
        .profile(profile()),
);

conformance_suite!(
    seeded,
    Subject::new("retries with a seed", || {
        stack(retry(Config::default().backoff(Backoff::exponential(STEP)).seed(7)).idempotent())
    })
    .on_tokio()
    .profile(profile()),
);

conformance_suite!(
    paid_for,
    Subject::new("retries with a small budget", || {
        let budget = BudgetConfig::default().initial(2).cap(2);
        let budget = Arc::new(Budget::new(budget).expect("the configuration is valid"));
        stack(retry(with_waits()).idempotent().budget(budget))
    })
    .on_tokio()
    .profile(profile()),
);

conformance_suite!(
    made_by_a_closure,
    Subject::new("requests made by a closure", || {
        let repeat = repeat_fn(|request: &Request, attempt: Attempt| (attempt.number() < 3).then(|| request.clone()));
        stack(retry(at_once()).repeat(repeat).idempotent())
    })
    .on_tokio()
    .profile(profile()),
);

conformance_suite!(
    boxed,
    Subject::new("boxed errors above a boundary", || {
        ServiceBuilder::new()
            .layer(retry(at_once()).idempotent().above_boundary())
            .layer(BoundaryLayer::new())
            .map_err(BoxError::from)
    })
    .on_tokio()
    .profile(profile()),
);

#[cfg(feature = "http")]
mod http_stack {
    use super::{at_once, profile, with_waits};
    use http::{Request as HttpRequest, Response};
    use http_body_util::Empty;
    use mainstay_conformance::{ProbeError, Reply, Request, Subject, conformance_suite};
    use mainstay_core::Error;
    use mainstay_retry::{ReplayBody, RetryLayer};
    use std::sync::{Arc, Mutex};
    use tower::ServiceBuilder;

    type Body = Empty<&'static [u8]>;

    /// The request travels in the extensions, which have to be `Clone` and `Sync`.
    fn wrap(request: Request) -> HttpRequest<Body> {
        let mut wrapped = HttpRequest::put("/").body(Body::new()).expect("the request is valid");
        wrapped.extensions_mut().insert(Arc::new(Mutex::new(request)));
        wrapped
    }

    #[expect(clippy::needless_pass_by_value, reason = "`map_request` gives it away")]
    fn unwrap(request: HttpRequest<ReplayBody<Body>>) -> Request {
        let inner: &Arc<Mutex<Request>> = request.extensions().get().expect("every attempt carries it");
        inner.lock().expect("nothing panics under it").clone()
    }

    fn respond(reply: Reply) -> Response<Body> {
        let mut response = Response::new(Body::new());
        response.extensions_mut().insert(reply);
        response
    }

    #[expect(clippy::needless_pass_by_value, reason = "`map_response` gives it away")]
    fn reply(response: Response<Body>) -> Reply {
        *response.extensions().get().expect("every response carries its reply")
    }

    conformance_suite!(
        at_once_again,
        Subject::new("the constructor for HTTP, without waits", || {
            ServiceBuilder::new()
                .map_response(reply)
                .map_request(wrap)
                .layer(RetryLayer::http(at_once()).expect("the configuration is valid"))
                .map_err(Error::<ProbeError>::Inner)
                .map_response(respond)
                .map_request(unwrap)
        })
        .on_tokio()
        .profile(profile().future_overhead(1024)),
    );

    conformance_suite!(
        waits,
        Subject::new("the constructor for HTTP, with waits", || {
            ServiceBuilder::new()
                .map_response(reply)
                .map_request(wrap)
                .layer(RetryLayer::http(with_waits()).expect("the configuration is valid"))
                .map_err(Error::<ProbeError>::Inner)
                .map_response(respond)
                .map_request(unwrap)
        })
        .on_tokio()
        .profile(profile().future_overhead(1024)),
    );
}
