//! Behind real sockets: an axum server, with the limit on its router and in front of it.
//!
//! In real time: virtual time would go on to the next timer while a socket is waited for. Of a quota per hour it does not matter.
#![cfg(feature = "http")]

use axum::{Router, ServiceExt, body::Body, extract::ConnectInfo, routing::get};
use http::{Request, Response};
use mainstay_core::http::Rejection;
use mainstay_rate_limit::{
    Config, Quota,
    http::{Bearer, ForwardedFor, HttpRateLimitLayer, Identify, Peer},
};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use tower::Layer;

/// So few in an hour that none comes back while a test runs.
fn visitors(limit: u64) -> Config {
    Config::new(Quota::per_hour(limit).unwrap()).name("visitors")
}

fn menu() -> Router {
    Router::new().route("/menu", get(async || "espresso"))
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A client with one connection.
struct Client(BufReader<TcpStream>);

/// Status line, fields and body, as they came.
struct Page {
    head: String,
    body: String,
}

impl Client {
    async fn connect(server: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(server).await.unwrap()))
    }

    async fn ask(&mut self, fields: &str) -> Page {
        let request = format!("GET /menu HTTP/1.1\r\nhost: shop.example\r\n{fields}\r\n");
        self.0.write_all(request.as_bytes()).await.unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.0.read_line(&mut head).await.unwrap(), 0, "{head}");
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.0.read_exact(&mut body).await.unwrap();
        Page { head, body: String::from_utf8(body).unwrap() }
    }
}

impl Page {
    fn status(&self) -> &str {
        &self.head["HTTP/1.1 ".len()..][..3]
    }

    fn has(&self, line: &str) -> bool {
        self.head.lines().any(|found| found == line)
    }

    fn begins(&self, line: &str) -> bool {
        self.head.lines().any(|found| found.starts_with(line))
    }
}

#[tokio::test]
async fn on_a_router_all_connections_are_one_limit() {
    let (listener, address) = listen().await;
    let layer = HttpRateLimitLayer::new(visitors(3), Bearer.or_else(Peer::new())).unwrap();
    let router = menu().layer(layer.clone());
    let server = tokio::spawn(axum::serve(listener, router).into_future());

    let mut clients = [Client::connect(address).await, Client::connect(address).await];
    for (client, status, left) in [(0, "200", 2), (1, "200", 1), (0, "200", 0), (1, "429", 0), (0, "429", 0)] {
        let page = clients[client].ask("authorization: Bearer flo\r\n").await;
        assert_eq!(page.status(), status, "{}", page.head);
        assert!(page.begins(&format!(r#"ratelimit: "visitors";r={left};t="#)), "{}", page.head);
        assert!(page.has(r#"ratelimit-policy: "visitors";q=3;w=3600"#), "{}", page.head);
        assert_eq!(page.begins("retry-after: 1"), status == "429", "{}", page.head);
        assert_eq!(page.body, if status == "200" { "espresso" } else { "" });
    }
    let page = clients[0].ask("authorization: Bearer kim\r\n").await;
    assert_eq!(page.status(), "200");
    assert_eq!(layer.handle().snapshot().keys, 2);
    server.abort();
}

#[tokio::test]
async fn in_front_of_a_router_clients_are_told_apart_by_their_address() {
    let (listener, address) = listen().await;
    let peer = Peer::of(|info: &ConnectInfo<SocketAddr>| Some(info.0));
    let layer = HttpRateLimitLayer::new(visitors(2), ForwardedFor::trusted(1).or_else(peer))
        .unwrap()
        .with_body(|_: &Rejection, response: &mut Response<Body>| *response.body_mut() = Body::from("come back later"));
    let service = layer.layer(menu());
    let service = ServiceExt::<Request<Body>>::into_make_service_with_connect_info::<SocketAddr>(service);
    let server = tokio::spawn(axum::serve(listener, service).into_future());

    // Without the field it is the address of the connection, whatever its port.
    for status in ["200", "200", "429"] {
        let page = Client::connect(address).await.ask("").await;
        assert_eq!(page.status(), status, "{}", page.head);
    }
    // What stands left of the trusted entry, or in an earlier line, gives no other quota.
    let mut client = Client::connect(address).await;
    for (fields, status) in [
        ("x-forwarded-for: 203.0.113.9\r\n", "200"),
        ("x-forwarded-for: 6.6.6.6, 203.0.113.9\r\n", "200"),
        ("x-forwarded-for: 7.7.7.7, 203.0.113.9\r\n", "429"),
        ("x-forwarded-for: 8.8.8.8\r\nx-forwarded-for: 203.0.113.9\r\n", "429"),
        ("x-forwarded-for: [::ffff:203.0.113.9]:99\r\n", "429"),
        ("x-forwarded-for: 203.0.113.10\r\n", "200"),
        ("x-forwarded-for: \"\\,=,;[::1\r\n", "429"),
        ("x-forwarded-for: 2001:db8::1\r\n", "200"),
        ("x-forwarded-for: 2001:db8::2\r\n", "200"),
        ("x-forwarded-for: 2001:db8::3\r\n", "429"),
    ] {
        let page = client.ask(fields).await;
        assert_eq!(page.status(), status, "{fields} {}", page.head);
        assert_eq!(page.body, if status == "200" { "espresso" } else { "come back later" });
    }
    server.abort();
}

#[cfg(feature = "grpc")]
#[tokio::test]
async fn a_grpc_request_is_refused_with_a_grpc_status() {
    let (listener, address) = listen().await;
    let layer = HttpRateLimitLayer::new(visitors(1), Bearer).unwrap();
    let server = tokio::spawn(axum::serve(listener, menu().layer(layer)).into_future());
    let mut client = Client::connect(address).await;
    assert_eq!(client.ask("").await.status(), "200");
    let page = client.ask("content-type: application/grpc\r\n").await;
    assert_eq!(page.status(), "200");
    assert!(page.has("grpc-status: 8") && page.begins("grpc-retry-pushback-ms: 3"), "{}", page.head);
    server.abort();
}
