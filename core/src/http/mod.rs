//! Over HTTP: what responses say about the service, refusals as responses, and bodies that report their end.
//!
//! - [`HttpStatus`] and, under the feature `grpc`, `GrpcStatus` classify responses; as [`ClassifyBody`] they do it when the
//!   body has ended.
//! - [`SettleBody`] is the body that tells a policy so.
//! - [`RefusalResponseLayer`] is the top of a stack: its refusals and timeouts become responses.
//! - Every `http::Request` carries metadata ([`Meta`](crate::Meta)) in its extensions.
//!
//! # Examples
//!
//! A stack on an axum `Router`, which runs once the route is found, and the same stack in front of one, which runs before:
//!
//! ```
//! use axum::{Router, body::Body, routing::get};
//! use http::{HeaderValue, Request, Response};
//! use mainstay_core::{Error, http::{RefusalResponseLayer, Rejection}};
//! # use mainstay_core::{Reason, Refused};
//! use std::convert::Infallible;
//! use tower::{ServiceBuilder, ServiceExt};
//! # use std::{future::{Ready, ready}, task::{Context, Poll}};
//! # use tower::{Layer, Service};
//! #
//! # /// Refuses the path `/busy`.
//! # #[derive(Clone)]
//! # struct RefuseBusy;
//! # #[derive(Clone)]
//! # struct RefusesBusy<S>(S);
//! # impl<S> Layer<S> for RefuseBusy {
//! #     type Service = RefusesBusy<S>;
//! #     fn layer(&self, inner: S) -> RefusesBusy<S> {
//! #         RefusesBusy(inner)
//! #     }
//! # }
//! # impl<S, B> Service<Request<B>> for RefusesBusy<S>
//! # where
//! #     S: Service<Request<B>>,
//! #     S::Error: mainstay_core::Refusable,
//! # {
//! #     type Response = S::Response;
//! #     type Error = S::Error;
//! #     type Future = futures_util::future::Either<S::Future, Ready<Result<S::Response, S::Error>>>;
//! #     fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
//! #         self.0.poll_ready(cx)
//! #     }
//! #     fn call(&mut self, request: Request<B>) -> Self::Future {
//! #         if request.uri().path() == "/busy" {
//! #             let refused = Refused::new(Reason::BulkheadFull, "kitchen");
//! #             return futures_util::future::Either::Right(ready(Err(refused.into())));
//! #         }
//! #         futures_util::future::Either::Left(self.0.call(request))
//! #     }
//! # }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), http::Error> {
//! let answers = RefusalResponseLayer::new().with_body(|rejection: &Rejection, response: &mut Response<Body>| {
//!     response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
//!     *response.body_mut() = format!(r#"{{"status": {}}}"#, rejection.status().as_u16()).into();
//! });
//! let stack = ServiceBuilder::new()
//!     .layer(answers)
//!     .layer(RefuseBusy) // every policy of the stack: breaker, bulkhead, rate limit
//!     .map_err(Error::<Infallible>::Inner); // a router does not fail
//!
//! let router = || Router::new().route("/menu", get(async || "espresso")).route("/busy", get(async || "never seen"));
//! let on_it = router().layer(stack.clone());
//! let in_front = stack.service(router());
//!
//! let menu = Request::get("/menu").body(Body::empty())?;
//! let Ok(response) = on_it.clone().oneshot(menu).await;
//! assert_eq!(response.status(), 200);
//!
//! let Ok(response) = on_it.oneshot(Request::get("/busy").body(Body::empty())?).await;
//! assert_eq!(response.status(), 503);
//! assert_eq!(response.headers()["content-type"], "application/json");
//!
//! let Ok(response) = in_front.oneshot(Request::get("/busy").body(Body::empty())?).await;
//! assert_eq!(response.status(), 503);
//! # Ok(())
//! # }
//! ```

mod body;
mod classify;
#[cfg(feature = "grpc")]
mod grpc;
#[cfg(feature = "grpc")]
mod grpc_rejection;
mod meta;
mod protocol;
mod refusal;
mod rejection;
mod retry_after;

pub use self::{
    body::{End, Settle, SettleBody},
    classify::{ClassifyBody, HttpStatus, http_class},
    protocol::Protocol,
    refusal::{Answer, EmptyBody, RefusalResponse, RefusalResponseFuture, RefusalResponseLayer},
    rejection::Rejection,
    retry_after::retry_after,
};

#[cfg(feature = "grpc")]
#[cfg_attr(docsrs, doc(cfg(feature = "grpc")))]
pub use self::grpc::{GrpcStatus, grpc_class};
