//! The contract of tower, and what a refusal means: the conformance kit over each form of the layer.

use mainstay_conformance::{AutoTraits, ProbeError, Profile, Request, Subject, conformance_suite};
use mainstay_core::{Deadline, Error};
use mainstay_timeout::{Config, TimeoutLayer, deadline_fn};
use std::time::Duration;
use tower::ServiceBuilder;

/// The step of the kit is a second, so that calls end in time and too late.
fn config() -> Config {
    Config::default().timeout(Duration::from_secs(2))
}

fn profile() -> Profile {
    Profile::pass_through()
        .may_fail()
        .service_is(AutoTraits::SEND.sync().unpin())
        .future_is(AutoTraits::SEND.sync())
        .future_overhead(192)
}

conformance_suite!(
    fixed,
    Subject::new("a timeout", || {
        ServiceBuilder::new()
            .layer(TimeoutLayer::new(config()).expect("the configuration is valid"))
            .map_err(Error::<ProbeError>::Inner as fn(_) -> _)
    })
    .on_tokio()
    .profile(profile()),
);

/// What is due with this request: nothing, at once, within the time, or after it.
fn due(request: &Request) -> Option<Deadline> {
    let now = tokio::time::Instant::now().into_std();
    let wait = [None, Some(0), Some(1), Some(9)][request.id() as usize % 4];
    wait.map(|secs| Deadline::after(now, Duration::from_secs(secs)))
}

conformance_suite!(
    deadlines,
    Subject::new("a timeout that heeds deadlines", || {
        let deadlines = deadline_fn(due, |_: &mut Request, _| {});
        ServiceBuilder::new()
            .layer(TimeoutLayer::with_deadlines(config(), deadlines).expect("the configuration is valid"))
            .map_err(Error::<ProbeError>::Inner as fn(_) -> _)
    })
    .on_tokio()
    .profile(profile().may_refuse()),
);

conformance_suite!(
    only_deadlines,
    Subject::new("only deadlines", || {
        let deadlines = deadline_fn(due, |_: &mut Request, _| {});
        ServiceBuilder::new()
            .layer(TimeoutLayer::with_deadlines(Config::default(), deadlines).expect("the configuration is valid"))
            .map_err(Error::<ProbeError>::Inner as fn(_) -> _)
    })
    .on_tokio()
    .profile(profile().may_refuse()),
);

#[cfg(feature = "http")]
mod http_stack {
    use super::{config, due};
    use http::{Request as HttpRequest, Response};
    use mainstay_conformance::{ProbeError, Profile, Reply, Request, Subject, conformance_suite};
    use mainstay_core::{Error, Meta};
    use mainstay_timeout::{DeadlineFromHeaderLayer, DeadlineToHeaderLayer, TimeoutLayer};
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

    fn request(inner: Request) -> HttpRequest<Request> {
        let due = due(&inner);
        let builder = HttpRequest::builder().header("x-request-timeout-ms", "1500");
        let mut request = builder.body(inner).expect("the parts are valid");
        if let Some(due) = due {
            request.set_meta(due);
        }
        request
    }

    conformance_suite!(
        headers,
        Subject::new("deadlines over HTTP, from and to headers", || {
            ServiceBuilder::new()
                .map_response(reply)
                .map_request(request)
                .layer(DeadlineFromHeaderLayer)
                .layer(TimeoutLayer::http(config()).expect("the configuration is valid"))
                .layer(DeadlineToHeaderLayer::new())
                .map_err(Error::<ProbeError>::Inner)
                .map_response(respond)
                .map_request(HttpRequest::<Request>::into_body)
        })
        .on_tokio()
        .profile(Profile::pass_through().may_fail().may_refuse().future_overhead(256)),
    );
}
