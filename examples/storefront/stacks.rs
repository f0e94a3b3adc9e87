//! Every client of the shop, layer by layer, with resilience on and off.
//!
//! Read each stack from the top: a request enters there, and its answer leaves there. The waits grow shorter on the way in,
//! so that whoever is further out still has time to answer when somebody further in has given up.

use crate::replicas;
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
    ServiceBuilder,
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

/// How long an open circuit waits before it lets probes through.
pub(crate) const OPEN_FOR: Duration = Duration::from_millis(500);

/// How long each client waits for an answer; shares of the customer's patience.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    pub(crate) catalog: Duration,
    pub(crate) payment: Duration,
    pub(crate) provider: Duration,
}

impl fmt::Display for Resilience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::On => "on",
        })
    }
}

impl Waits {
    pub(crate) fn within(patience: Duration) -> Self {
        Self { catalog: patience * 2 / 5, payment: patience * 2 / 5, provider: patience * 3 / 10 }
    }
}

/// gateway → payment, and the circuit in it.
pub(crate) fn payment(
    resilience: Resilience,
    peer: SocketAddr,
    waits: Waits,
) -> Result<(Upstream, Option<Arc<Circuit>>), InvalidConfig> {
    if resilience == Resilience::Off {
        return Ok((bare(peer), None));
    }
    // A rate over few calls opens within a tenth of a second at this load, and one bad call in a good time does nothing.
    let config = Config::default()
        .name("payment")
        .window(Window::Last(20))
        .minimum_calls(10)
        .failure_rate(0.5)
        .open_for(OPEN_FOR)
        .probes(2);
    // Until the body ends: a receipt that breaks off in the middle is a failure too.
    let breaker = CircuitBreakerLayer::http(config)?.until_body_end();
    let circuit = breaker.handle();
    let stack = ServiceBuilder::new()
        .map_response(|response: Response<_>| response.map(Body::new))
        // Outermost, so that a refusal costs nothing further in: no connection, no timer, no slot in payment's pool.
        .layer(breaker)
        // The one place where the client's errors get the type that all policies share.
        .map_err(timed_out_or_failed("payment", waits.payment))
        // Inside of the circuit: a call that nobody answers is a failure that it sees.
        .timeout(waits.payment)
        .service(http_to(peer));
    Ok((BoxCloneSyncService::new(stack), Some(circuit)))
}

/// gateway → catalog, which has several replicas.
pub(crate) fn catalog(resilience: Resilience, peers: &[SocketAddr], waits: Waits) -> Result<Upstream, InvalidConfig> {
    if resilience == Resilience::Off {
        return Ok(replicas::in_turn("catalog", peers.iter().map(|peer| bare(*peer))));
    }
    let breaker =
        CircuitBreakerLayer::http(Config::default().name("catalog").window(Window::Last(20)).open_for(OPEN_FOR))?;
    let replicas = peers.iter().map(|peer| {
        let stack = ServiceBuilder::new()
            .map_response(|response: Response<_>| response.map(Body::new))
            // A circuit for each replica: one for all would shut out the good ones with the bad.
            .layer(breaker.fresh())
            .map_err(timed_out_or_failed("catalog", waits.catalog))
            .timeout(waits.catalog)
            .service(http_to(*peer));
        BoxCloneSyncService::new(stack)
    });
    // Outside of the circuits: what one refuses, another replica is asked for.
    Ok(replicas::in_turn("catalog", replicas))
}

/// payment → provider.
pub(crate) fn provider(resilience: Resilience, peer: SocketAddr, waits: Waits) -> Upstream {
    if resilience == Resilience::Off {
        return bare(peer);
    }
    // No circuit here: the gateway's stops the calls before they come, and of two in a row the second would begin to
    // recover only after the first.
    let stack = ServiceBuilder::new()
        .map_response(|response: Response<_>| response.map(Body::new))
        .map_err(timed_out_or_failed("provider", waits.provider))
        .timeout(waits.provider)
        .service(http_to(peer));
    BoxCloneSyncService::new(stack)
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
