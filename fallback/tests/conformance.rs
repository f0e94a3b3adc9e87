//! The contract of tower, and what a refusal means: the conformance kit over each form of the layer.

use mainstay_conformance::{AutoTraits, Probe, ProbeError, Profile, Reply, Request, Subject, conformance_suite};
use mainstay_core::Error;
use mainstay_fallback::FallbackLayer;
use tower::{Layer, ServiceBuilder, ServiceExt, layer::layer_fn, service_fn, util::MapErr};

type E = Error<ProbeError>;

fn profile() -> Profile {
    Profile::pass_through()
        .may_answer_without_inner()
        .service_is(AutoTraits::SEND.sync().unpin())
        .future_is(AutoTraits::SEND.sync())
}

conformance_suite!(
    value,
    Subject::new("a value", || {
        ServiceBuilder::new().layer(FallbackLayer::value(Reply::made_up())).map_err(Error::Inner as fn(ProbeError) -> E)
    })
    .profile(profile().future_overhead(32)),
);

conformance_suite!(
    function,
    Subject::new("a function", || {
        let layer = FallbackLayer::function(|failed: Result<Reply, E>| failed.or_else(|_| Ok(Reply::made_up())));
        ServiceBuilder::new().layer(layer).map_err(Error::Inner as fn(ProbeError) -> E)
    })
    .profile(profile().future_overhead(24)),
);

conformance_suite!(
    function_that_fails,
    Subject::new("a function that returns the error", || {
        let layer = FallbackLayer::function(|failed: Result<Reply, E>| failed);
        ServiceBuilder::new().layer(layer).map_err(Error::Inner as fn(ProbeError) -> E)
    })
    .profile(Profile::pass_through()),
);

conformance_suite!(
    other_that_answers,
    Subject::new("a service that answers", || {
        let other = service_fn(async |_: Request| Ok::<_, E>(Reply::made_up()));
        ServiceBuilder::new().layer(FallbackLayer::service(other)).map_err(Error::Inner as fn(ProbeError) -> E)
    })
    .profile(Profile::pass_through().may_answer_without_inner()),
);

fn lifted(probe: Probe) -> MapErr<Probe, fn(ProbeError) -> E> {
    probe.map_err(Error::Inner)
}

// The other service is a clone of the first: with tokens, readiness, errors and panics of its own.
conformance_suite!(
    the_same_again,
    Subject::new("another like the first", || {
        layer_fn(|probe: Probe| FallbackLayer::service(lifted(probe.clone())).layer(lifted(probe)))
    })
    .profile(Profile::pass_through().max_inner_calls(2)),
);

#[cfg(feature = "http")]
mod http_stack {
    use super::profile;
    use http::{Request as HttpRequest, Response};
    use mainstay_conformance::{ProbeError, Reply, Request, Subject, conformance_suite};
    use mainstay_core::Error;
    use mainstay_fallback::FallbackLayer;
    use tower::ServiceBuilder;

    fn respond(reply: Reply) -> Response<()> {
        let mut response = Response::new(());
        response.extensions_mut().insert(reply);
        response
    }

    #[expect(clippy::needless_pass_by_value, reason = "`map_response` gives it away")]
    fn reply(response: Response<()>) -> Reply {
        *response.extensions().get().expect("every response carries its reply")
    }

    conformance_suite!(
        statuses,
        Subject::new("for HTTP", || {
            let layer = FallbackLayer::on_error(|_: Error<ProbeError>| respond(Reply::made_up())).http();
            ServiceBuilder::new()
                .map_response(reply)
                .map_request(HttpRequest::new)
                .layer(layer)
                .map_err(Error::<ProbeError>::Inner)
                .map_response(respond)
                .map_request(HttpRequest::<Request>::into_body)
        })
        .profile(
            profile()
                .service_is(mainstay_conformance::AutoTraits::SEND)
                .future_is(mainstay_conformance::AutoTraits::SEND)
        ),
    );
}
