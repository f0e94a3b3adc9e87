//! Nothing is executed twice that is not idempotent: every method, every phase a call can fail in, with and without a key,
//! against a real server that counts.
#![cfg(feature = "http")]

use axum::{Router, body::Bytes, extract::State, http::StatusCode, serve::Listener};
use http::{Method, Request, Response, Uri, uri::Authority};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, Error as ClientError},
    rt::TokioExecutor,
};
use mainstay_core::{Attempt, Error, Meta, Reason, Refused, TimedOut};
use mainstay_retry::{Backoff, Config, ReplayBody, RetryLayer};
use std::{
    net::SocketAddr,
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tower::{Layer, ServiceExt, service_fn};

/// Where the first attempt fails. The second does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// By a policy further in.
    Refused,
    /// Nobody listens.
    Unconnected,
    /// The connection is cut before the request is read.
    CutBefore,
    /// The request is executed, and the connection is cut.
    CutAfter,
    /// The request is executed, and the answer is 503.
    Unavailable,
    /// The request is executed, and nobody waits for the answer.
    TimedOut,
}

const PHASES: [Phase; 6] =
    [Phase::Refused, Phase::Unconnected, Phase::CutBefore, Phase::CutAfter, Phase::Unavailable, Phase::TimedOut];

impl Phase {
    const fn executes(self) -> bool {
        matches!(self, Self::CutAfter | Self::Unavailable | Self::TimedOut)
    }
}

const METHODS: [(Method, bool); 8] = [
    (Method::GET, true),
    (Method::HEAD, true),
    (Method::OPTIONS, true),
    (Method::TRACE, true),
    (Method::PUT, true),
    (Method::DELETE, true),
    (Method::POST, false),
    (Method::PATCH, false),
];

/// What the server has seen, and what it does with the first request.
struct Kitchen {
    phase: Phase,
    executed: AtomicUsize,
    is_busy: Notify,
}

async fn execute(State(kitchen): State<Arc<Kitchen>>, method: Method, body: Bytes) -> StatusCode {
    assert_eq!(body, body_of(&method), "every attempt has the whole body");
    if kitchen.executed.fetch_add(1, Ordering::Relaxed) > 0 {
        return StatusCode::OK;
    }
    match kitchen.phase {
        // Ends the task of the connection, without a word in the log.
        Phase::CutAfter => resume_unwind(Box::new(())),
        Phase::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Phase::TimedOut => {
            kitchen.is_busy.notify_one();
            std::future::pending().await
        }
        Phase::Refused | Phase::Unconnected | Phase::CutBefore => StatusCode::OK,
    }
}

fn body_of(method: &Method) -> Bytes {
    match *method {
        Method::PUT | Method::POST | Method::PATCH => Bytes::from_static(b"one flat white"),
        _ => Bytes::new(),
    }
}

/// Cuts the first connections.
struct Cuts {
    listener: TcpListener,
    left: usize,
}

impl Listener for Cuts {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            if self.left == 0 {
                return (stream, address);
            }
            self.left -= 1;
            drop(stream);
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

async fn listen() -> (TcpListener, Authority) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string().parse().unwrap();
    (listener, authority)
}

type Answer = Result<StatusCode, Error<ClientError>>;

/// The answer of one call, and how often it was executed.
async fn call(phase: Phase, method: Method, key: bool) -> (Answer, usize) {
    let kitchen = Arc::new(Kitchen { phase, executed: AtomicUsize::new(0), is_busy: Notify::new() });
    let (listener, alive) = listen().await;
    let (nobody, dead) = listen().await;
    drop(nobody);
    let listener = Cuts { listener, left: usize::from(phase == Phase::CutBefore) };
    let router = Router::new().fallback(execute).with_state(Arc::clone(&kitchen));
    let server = tokio::spawn(axum::serve(listener, router).into_future());

    let client = Client::builder(TokioExecutor::new()).build_http::<ReplayBody<Full<Bytes>>>();
    let leaf = service_fn(async |mut request: Request<ReplayBody<Full<Bytes>>>| {
        let attempt: Attempt = request.meta().expect("every attempt says which it is");
        if phase == Phase::Refused && attempt.is_first() {
            return Err(Refused::new(Reason::CircuitOpen, "test").into());
        }
        let authority = if phase == Phase::Unconnected && attempt.is_first() { &dead } else { &alive };
        let path = request.uri().path();
        *request.uri_mut() =
            Uri::builder().scheme("http").authority(authority.clone()).path_and_query(path).build().unwrap();
        tokio::select! {
            answer = client.request(request) => answer.map_err(Error::Inner),
            () = kitchen.is_busy.notified() => Err(TimedOut::new("test", Duration::ZERO).into()),
        }
    });

    let config = Config::default().backoff(Backoff::constant(Duration::ZERO));
    let mut request = Request::builder().method(&method).uri("/orders");
    if key {
        request = request.header("idempotency-key", "7f3e");
    }
    let request = request.body(Full::new(body_of(&method))).unwrap();
    let answer = RetryLayer::http(config).unwrap().layer(leaf).oneshot(request).await;
    let answer = answer.map(|response: Response<_>| response.status());
    server.abort();
    (answer, kitchen.executed.load(Ordering::Relaxed))
}

#[tokio::test]
async fn nothing_is_executed_twice_unless_it_is_idempotent() {
    for (method, is_idempotent) in METHODS {
        for phase in PHASES {
            for key in [false, true] {
                let (answer, executed) = call(phase, method.clone(), key).await;
                let context = format!("{method} {phase:?} key {key}: {answer:?}, executed {executed}");
                if is_idempotent || key || phase == Phase::Refused {
                    assert!(matches!(answer, Ok(StatusCode::OK)), "{context}");
                    assert_eq!(executed, 1 + usize::from(phase.executes()), "{context}");
                    continue;
                }
                match phase {
                    Phase::Unavailable => assert!(matches!(answer, Ok(StatusCode::SERVICE_UNAVAILABLE)), "{context}"),
                    Phase::TimedOut => assert!(matches!(answer, Err(Error::TimedOut(_))), "{context}"),
                    _ => assert!(matches!(answer, Err(Error::Inner(_))), "{context}"),
                }
                assert_eq!(executed, usize::from(phase.executes()), "{context}");
            }
        }
    }
}
