//! The conformance kit over the layers of this crate.

use mainstay_conformance::{AutoTraits, Profile, Subject, conformance_suite};
use mainstay_core::{BoundaryLayer, BoxError};
use tower::ServiceBuilder;

conformance_suite!(
    boundary,
    Subject::new("the boundary of a stack", || ServiceBuilder::new().layer(BoundaryLayer).map_err(BoxError::from))
        .profile(
            Profile::pass_through()
                .service_is(AutoTraits::SEND.sync().unpin())
                .future_is(AutoTraits::SEND.sync())
                .future_overhead(16)
        ),
);

#[cfg(feature = "http")]
mod http_stack {
    use http::{Request as HttpRequest, Response};
    use mainstay_conformance::{ProbeError, Profile, Reply, Request, Subject, conformance_suite};
    use mainstay_core::{Error, http::RefusalResponseLayer};
    use tower::ServiceBuilder;

    fn respond(reply: Reply) -> Response<String> {
        let mut response = Response::default();
        response.extensions_mut().insert(reply);
        response
    }

    #[expect(clippy::needless_pass_by_value, reason = "`map_response` gives it away")]
    fn reply(response: Response<String>) -> Reply {
        *response.extensions().get().expect("nothing was refused, so the reply is there")
    }

    conformance_suite!(
        refusal_response,
        Subject::new("refusals to responses", || {
            ServiceBuilder::new()
                .map_response(reply)
                .map_request(HttpRequest::new)
                .layer(RefusalResponseLayer::new())
                .map_err(Error::<ProbeError>::Inner)
                .map_response(respond)
                .map_request(HttpRequest::<Request>::into_body)
        })
        .profile(Profile::pass_through().future_overhead(96)),
    );
}
