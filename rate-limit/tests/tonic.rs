//! A tonic server behind the layer, over a real socket, and a tonic client.
//!
//! In real time: virtual time would go on to the next timer while a socket is waited for. Of a quota per hour it does not matter.
#![cfg(feature = "grpc")]

use bytes::{Buf, BufMut};
use http::uri::PathAndQuery;
use mainstay_rate_limit::{
    Config, Quota,
    http::{Bearer, HttpRateLimitLayer, Identify, Peer},
};
use std::{
    convert::Infallible,
    future::{Future, ready},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};
use tokio::net::TcpListener;
use tonic::{
    Code, Request, Response, Status,
    body::Body,
    client,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::{self, NamedService},
    transport::{
        Channel, Endpoint, Server,
        server::{TcpConnectInfo, TcpIncoming},
    },
};
use tower::{Service, service_fn};

/// A message is one number, so no code has to be generated.
#[derive(Clone, Copy, Debug, Default)]
struct Number;

impl Codec for Number {
    type Encode = u64;
    type Decode = u64;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Number {
    type Item = u64;
    type Error = Status;

    fn encode(&mut self, number: u64, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_u64(number);
        Ok(())
    }
}

impl Decoder for Number {
    type Item = u64;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<u64>, Status> {
        Ok(buffer.has_remaining().then(|| buffer.get_u64()))
    }
}

/// Doubles a number, and counts how often it was asked.
#[derive(Clone, Debug, Default)]
struct Doubler(Arc<AtomicU64>);

impl NamedService for Doubler {
    const NAME: &'static str = "shop.Doubler";
}

impl Service<http::Request<Body>> for Doubler {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        // Relaxed: read when all calls have been answered.
        self.0.fetch_add(1, Ordering::Relaxed);
        let double = |number: Request<u64>| ready(Ok(Response::new(number.into_inner() * 2)));
        Box::pin(async move { Ok(server::Grpc::new(Number).unary(service_fn(double), request).await) })
    }
}

async fn connect(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

async fn double(channel: &Channel, number: u64, user: Option<&str>) -> Result<Response<u64>, Status> {
    let mut client = client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let mut request = Request::new(number);
    if let Some(user) = user {
        request.metadata_mut().insert("authorization", format!("Bearer {user}").parse().unwrap());
    }
    client.unary(request, PathAndQuery::from_static("/shop.Doubler/Double"), Number).await
}

#[tokio::test]
async fn a_tonic_client_is_told_when_to_come_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // The error of tonic's router is `Infallible`, and stays so.
    let peer = Peer::of(TcpConnectInfo::remote_addr);
    let config = Config::new(Quota::per_hour(2).unwrap()).name("doubles");
    let layer = HttpRateLimitLayer::new(config, Bearer.or_else(peer)).unwrap();
    let doubler = Doubler::default();
    let router = Server::builder().layer(layer.clone()).add_service(doubler.clone());
    let server = tokio::spawn(router.serve_with_incoming(TcpIncoming::from(listener)));

    // Two connections are one client.
    let channels = [connect(address).await, connect(address).await];
    for user in [Some("flo"), Some("kim"), None] {
        for (number, channel) in [1, 2].into_iter().zip(&channels) {
            let response = double(channel, number, user).await.unwrap();
            assert!(response.metadata().get("ratelimit").is_none(), "gRPC has no such field");
            assert_eq!(response.into_inner(), number * 2);
        }
        for channel in &channels {
            let status = double(channel, 3, user).await.unwrap_err();
            assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
            let pushback = status.metadata().get("grpc-retry-pushback-ms").unwrap().to_str().unwrap();
            let pushback: u64 = pushback.parse().unwrap();
            assert!((1_700_000..=1_800_000).contains(&pushback), "half an hour brings one unit: {pushback}");
        }
    }
    assert_eq!(doubler.0.load(Ordering::Relaxed), 6);
    assert_eq!((layer.handle().snapshot().keys, layer.handle().snapshot().refused), (3, 6));
    server.abort();
}
