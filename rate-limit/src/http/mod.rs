//! In front of an HTTP or gRPC server: a quota for each client, and responses that say how much of it is left.
//!
//! - [`HttpRateLimitLayer`] is the layer. It answers refused requests itself, so the error of the service below can be any
//!   type: it goes in front of an axum router or on it, and in front of a tonic server.
//! - What implements [`Identify`] tells clients apart: by [`Peer`], [`ForwardedFor`], [`Forwarded`], [`Bearer`], [`Header`],
//!   [`Subject`], or a closure through [`identify_fn`].
//! - [`RateLimitFields`] writes `RateLimit` and `RateLimit-Policy` for handlers that have a limiter of their own.
//!
//! # Examples
//!
//! An axum router behind one proxy. Clients are told apart by what authentication has found, else by their address:
//!
//! ```
//! use axum::{Router, body::Body, extract::ConnectInfo, routing::get};
//! use http::{Request, Response};
//! use mainstay_core::http::Rejection;
//! use mainstay_rate_limit::{Config, Quota, Rule};
//! use mainstay_rate_limit::http::{ClientKey, ForwardedFor, HttpRateLimitLayer, Identify, Peer, Subject};
//! use std::net::SocketAddr;
//! use tower::ServiceExt;
//!
//! /// Set by a layer further out that has checked a token.
//! #[derive(Clone)]
//! struct User {
//!     id: u64,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let identify = Subject::of(|user: &User| ClientKey::Number(user.id.into()))
//!     .or_else(ForwardedFor::trusted(1))
//!     .or_else(Peer::of(|info: &ConnectInfo<SocketAddr>| Some(info.0)));
//!
//! let rule = Rule::sliding_counter(Quota::per_minute(2)?);
//! let layer = HttpRateLimitLayer::new(Config::new(rule).name("visitors"), identify)?
//!     .with_body(|_: &Rejection, response: &mut Response<Body>| *response.body_mut() = "come back later".into());
//! let router = Router::new().route("/menu", get(async || "espresso")).layer(layer);
//!
//! let ask = |user: u64| {
//!     let request = Request::get("/menu").extension(User { id: user }).body(Body::empty()).unwrap();
//!     router.clone().oneshot(request)
//! };
//! let Ok(response) = ask(7).await;
//! assert_eq!(response.status(), 200);
//! assert_eq!(response.headers()["ratelimit-policy"], r#""visitors";q=2;w=60"#);
//! assert!(response.headers()["ratelimit"].to_str()?.starts_with(r#""visitors";r=1;t="#));
//!
//! ask(7).await?;
//! let Ok(response) = ask(7).await;
//! assert_eq!(response.status(), 429);
//! assert!(response.headers().contains_key("retry-after"));
//!
//! let Ok(response) = ask(8).await;
//! assert_eq!(response.status(), 200, "another client");
//! # Ok(())
//! # }
//! ```
//!
//! A limit that is kept elsewhere, behind a [`Limit`](crate::Limit), is asked by a middleware: the layer decides without waiting,
//! so that it needs no clone of the service below. Everything else is the same:
//!
//! ```
//! use axum::{Router, body::Body, extract::Request, middleware::{Next, from_fn}, response::Response, routing::get};
//! use mainstay_core::http::{EmptyBody, Protocol, Rejection};
//! use mainstay_rate_limit::{CostTooLarge, Decision, Limit, Quota};
//! use mainstay_rate_limit::http::{Bearer, ClientKey, Head, Identify, RateLimitFields};
//! use std::{future::Future, pin::Pin, sync::{Arc, atomic::{AtomicU64, Ordering}}, time::Duration};
//! use tower::ServiceExt;
//!
//! /// In place of a connection to a store. It is asked once for each decision.
//! #[derive(Clone, Default)]
//! struct Store(Arc<AtomicU64>);
//!
//! impl Limit<ClientKey<'_>> for Store {
//!     type Decide = Pin<Box<dyn Future<Output = Result<Decision, CostTooLarge>> + Send>>;
//!
//!     fn decide(&self, _client: &ClientKey<'_>, cost: u64) -> Self::Decide {
//!         let taken = Arc::clone(&self.0);
//!         Box::pin(async move {
//!             tokio::task::yield_now().await;
//!             let taken = taken.fetch_add(cost, Ordering::Relaxed) + cost;
//!             let minute = Duration::from_mins(1);
//!             Ok(match 2_u64.checked_sub(taken) {
//!                 Some(left) => Decision::new(true, 2, left).reset_after(minute),
//!                 None => Decision::new(false, 2, 0).retry_after(minute).reset_after(minute),
//!             })
//!         })
//!     }
//! }
//!
//! async fn limit(store: Store, fields: RateLimitFields, request: Request, next: Next) -> Response {
//!     let client = Bearer.identify(Head::from(&request)).unwrap_or(ClientKey::Unknown);
//!     let asked = store.decide(&client, 1);
//!     let decision = asked.await.expect("one unit is never too large");
//!     let mut response = match decision.refused("visitors") {
//!         Some(refused) => Protocol::of(request.headers()).respond(&Rejection::from(refused), &EmptyBody),
//!         None => next.run(request).await,
//!     };
//!     fields.write(&decision, response.headers_mut());
//!     response
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (store, fields) = (Store::default(), RateLimitFields::new("visitors", &[Quota::per_minute(2)?.into()]));
//! let router = Router::new()
//!     .route("/menu", get(async || "espresso"))
//!     .layer(from_fn(move |request, next| limit(store.clone(), fields.clone(), request, next)));
//!
//! for (status, left) in [(200, 1), (200, 0), (429, 0)] {
//!     let Ok(response) = router.clone().oneshot(Request::get("/menu").body(Body::empty())?).await;
//!     assert_eq!(response.status(), status);
//!     assert_eq!(response.headers()["ratelimit"], format!(r#""visitors";r={left};t=60"#));
//! }
//! # Ok(())
//! # }
//! ```

mod address;
mod bearer;
mod fields;
mod forwarded;
mod forwarded_for;
mod future;
mod header;
mod hops;
mod id;
mod identify;
mod key;
mod layer;
mod limiter;
mod peer;
mod service;
mod subject;

pub use self::{
    bearer::Bearer,
    fields::{Fields, RateLimitFields},
    forwarded::Forwarded,
    forwarded_for::ForwardedFor,
    future::HttpResponseFuture,
    header::Header,
    id::{ClientId, Digest},
    identify::{Head, Identify, IdentifyFn, OrElse, identify_fn},
    key::{ClientKey, Network},
    layer::HttpRateLimitLayer,
    limiter::ClientLimiter,
    peer::Peer,
    service::HttpRateLimit,
    subject::Subject,
};
