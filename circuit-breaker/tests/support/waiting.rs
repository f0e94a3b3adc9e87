//! Callers that are polled by hand, over a service that is told what to do.
#![allow(dead_code, reason = "each test file takes what it needs")]

use mainstay_circuit_breaker::{
    Circuit, CircuitBreaker, CircuitBreakerLayer, Clock, Config, OnOpen, Outcome, State, Window,
};
use mainstay_core::Error;
use std::{
    future::{Future, pending, ready},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio_test::task::{self, Spawn};
use tower::{Layer, Service};

pub(crate) type Answer = Result<(), Error<&'static str>>;
pub(crate) type Call = <CircuitBreaker<Leaf> as Service<Do>>::Future;

/// What a call of the leaf does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Do {
    Succeed,
    Fail,
    Hang,
}

/// The service behind all clients of one circuit.
#[derive(Debug, Default)]
pub(crate) struct Behind {
    pub(crate) unready: AtomicBool,
    pub(crate) broken: AtomicBool,
    pub(crate) polls: AtomicU32,
    wakers: Mutex<Vec<Waker>>,
}

impl Behind {
    pub(crate) fn make_ready(&self) {
        self.unready.store(false, SeqCst);
        let wakers = std::mem::take(&mut *self.wakers.lock().unwrap());
        wakers.into_iter().for_each(Waker::wake);
    }
}

#[derive(Clone)]
pub(crate) struct Leaf(pub(crate) Arc<Behind>);

impl Service<Do> for Leaf {
    type Response = ();
    type Error = Error<&'static str>;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.polls.fetch_add(1, SeqCst);
        if self.0.broken.load(SeqCst) {
            return Poll::Ready(Err(Error::Inner("broken")));
        }
        if self.0.unready.load(SeqCst) {
            self.0.wakers.lock().unwrap().push(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, what: Do) -> Self::Future {
        match what {
            Do::Succeed => Box::pin(ready(Ok(()))),
            Do::Fail => Box::pin(ready(Err(Error::Inner("failed")))),
            Do::Hang => Box::pin(pending()),
        }
    }
}

/// A clone of the service, in a task of its own.
pub(crate) struct Client {
    pub(crate) service: CircuitBreaker<Leaf>,
    pub(crate) task: Spawn<()>,
}

impl Client {
    pub(crate) fn poll(&mut self) -> Poll<Result<(), Error<&'static str>>> {
        let service = &mut self.service;
        self.task.enter(|cx, _| service.poll_ready(cx))
    }

    #[track_caller]
    pub(crate) fn goes_on(&mut self) {
        assert_eq!(self.poll(), Poll::Ready(Ok(())));
    }

    #[track_caller]
    pub(crate) fn waits(&mut self) {
        assert_eq!(self.poll(), Poll::Pending);
        assert!(!self.task.is_woken(), "it does not wake itself");
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.task.is_woken()
    }

    pub(crate) fn call(&mut self, what: Do) -> Spawn<Call> {
        let mut call = task::spawn(self.service.call(what));
        if what == Do::Hang {
            assert_eq!(call.poll(), Poll::Pending);
        }
        call
    }

    /// Calls, and answers at once.
    pub(crate) fn ask(&mut self, what: Do) -> Answer {
        match self.call(what).poll() {
            Poll::Ready(answer) => answer,
            Poll::Pending => panic!("the call hangs"),
        }
    }
}

pub(crate) struct World {
    pub(crate) circuit: Arc<Circuit>,
    pub(crate) behind: Arc<Behind>,
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
        Self { circuit: Arc::new(Circuit::new(config).unwrap()), behind: Arc::default() }
    }

    /// A circuit that has just opened.
    pub(crate) fn open(config: Config) -> Self {
        let world = Self::new(config);
        world.fail();
        assert_eq!(world.circuit.state(), State::Open);
        world
    }

    /// A half-open circuit with this many probes out.
    pub(crate) async fn half_open(config: Config, probes: usize) -> (Self, Vec<Spawn<Call>>) {
        let world = Self::open(config);
        advance(world.circuit.snapshot().retry_after.unwrap()).await;
        let probes = (0..probes).map(|_| {
            let mut client = world.client();
            client.goes_on();
            client.call(Do::Hang)
        });
        let probes = probes.collect();
        (world, probes)
    }

    pub(crate) fn fail(&self) {
        self.circuit.settle(self.circuit.admit(Clock).unwrap(), Outcome::Failure, Clock);
    }

    pub(crate) fn client(&self) -> Client {
        let layer = CircuitBreakerLayer::with_circuit(Arc::clone(&self.circuit));
        Client { service: layer.layer(Leaf(Arc::clone(&self.behind))), task: task::spawn(()) }
    }

    /// Clients that wait, in this order.
    pub(crate) fn waiting(&self, clients: usize) -> Vec<Client> {
        let client = |_| {
            let mut client = self.client();
            client.waits();
            client
        };
        (0..clients).map(client).collect()
    }
}

/// Which of them are woken.
pub(crate) fn woken(clients: &[Client]) -> Vec<usize> {
    (0..clients.len()).filter(|&i| clients[i].is_woken()).collect()
}

pub(crate) async fn advance(time: Duration) {
    tokio::time::advance(time).await;
}

/// One failure opens, for ten seconds; one probe closes. Callers wait.
pub(crate) fn config() -> Config {
    Config::default()
        .name("waited-for")
        .window(Window::Consecutive(1))
        .open_for(Duration::from_secs(10))
        .probes(1)
        .on_open(OnOpen::Wait)
}
