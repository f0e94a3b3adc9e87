//! Any number of callers and any events: never are more let through than there are slots, and nobody is left behind.
//!
//! A client is polled only when it is new or was woken, as an executor does, so a wakeup that is lost leaves it behind.

#[path = "support/waiting.rs"]
mod support;

use mainstay_circuit_breaker::{Circuit, Config, Guard, Outcome, State};
use proptest::prelude::*;
use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    task::Poll,
    time::Duration,
};
use support::{Call, Client, Do, World, advance};
use tokio::time::Instant;
use tokio_test::task::{self, Spawn};
use tower::Service;

const CLIENTS: usize = 6;
/// As documented.
const LEASE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
enum Event {
    /// The executor polls those that are woken or new, from this one on.
    Run(usize),
    Poll(usize),
    Call(usize, Do),
    /// Drops the client, woken or not, and puts a new one in its place.
    Replace(usize),
    Abandon,
    /// A call from elsewhere, that is not told of its end: settled so, or never.
    Barge(Option<bool>),
    Settle(bool),
    Wait(u64),
    Unready(bool),
    Reset,
    Isolate,
    Disable,
    Reconfigure(u64, u32),
}

fn event() -> impl Strategy<Value = Event> {
    let what = prop_oneof![3 => Just(Do::Hang), 1 => Just(Do::Succeed), 2 => Just(Do::Fail)];
    prop_oneof![
        6 => (0..CLIENTS).prop_map(Event::Run),
        2 => (0..CLIENTS).prop_map(Event::Poll),
        6 => (0..CLIENTS, what).prop_map(|(client, what)| Event::Call(client, what)),
        2 => (0..CLIENTS).prop_map(Event::Replace),
        3 => Just(Event::Abandon),
        2 => any::<Option<bool>>().prop_map(Event::Barge),
        2 => any::<bool>().prop_map(Event::Settle),
        5 => prop_oneof![0..1_500_u64, Just(1_000), Just(2_000), 0..6_000_u64].prop_map(Event::Wait),
        1 => any::<bool>().prop_map(Event::Unready),
        1 => Just(Event::Reset),
        1 => Just(Event::Isolate),
        1 => Just(Event::Disable),
        1 => (1..6_000_u64, 1..4_u32).prop_map(|(open_for, probes)| Event::Reconfigure(open_for, probes)),
    ]
}

fn config(open_for: u64, probes: u32) -> Config {
    support::config()
        .open_for(Duration::from_millis(open_for))
        .probes(probes)
        .failure_rate(1.0)
        .probe_deadline(Duration::from_secs(3))
}

/// A client and what is known of it.
struct Known {
    client: Client,
    new: bool,
    /// Since when it was found ready, if it has not called since.
    ready: Option<Instant>,
    /// Until when it keeps others from being let through.
    lease: Option<Instant>,
}

struct Run {
    world: World,
    known: Vec<Known>,
    calls: Vec<Spawn<Call>>,
    guards: Vec<Guard<Arc<Circuit>>>,
    probes: u32,
}

impl Run {
    fn new() -> Self {
        let mut run = Self {
            world: World::open(config(2_000, 2)),
            known: Vec::new(),
            calls: Vec::new(),
            guards: Vec::new(),
            probes: 2,
        };
        run.known = (0..CLIENTS).map(|_| run.newcomer()).collect();
        run
    }

    fn newcomer(&self) -> Known {
        Known { client: self.world.client(), new: true, ready: None, lease: None }
    }

    /// How many calls there is room for; `None` is any number.
    fn room(&self) -> Option<u32> {
        let seen = self.world.circuit.snapshot();
        match seen.state {
            State::Open if seen.retry_after.is_none() => Some(self.probes),
            State::HalfOpen => Some(self.probes.saturating_sub(seen.probes + u32::try_from(seen.votes.calls).unwrap())),
            State::Open | State::Isolated => Some(0),
            _ => None,
        }
    }

    fn poll(&mut self, i: usize) {
        let now = Instant::now();
        let others = self.known.iter().enumerate().filter(|(j, known)| *j != i && known.lease.is_some_and(|l| now < l));
        let others = u32::try_from(others.count()).unwrap();
        let has_lease = self.known[i].lease.is_some_and(|lease| now < lease);
        let room = self.room();
        self.known[i].new = false;
        match self.known[i].client.poll() {
            Poll::Ready(answer) => {
                answer.unwrap();
                if let Some(free) = room {
                    assert!(free > 0, "no slot is free");
                    assert!(has_lease || others < free, "{others} are let through to {free} slots, and one more");
                }
                let known = &mut self.known[i];
                known.ready.get_or_insert(now);
                if !has_lease {
                    known.lease = room.map(|_| now + LEASE);
                }
            }
            Poll::Pending => {
                assert!(room.is_some() || self.world.behind.unready.load(SeqCst), "nothing to wait for");
                (self.known[i].ready, self.known[i].lease) = (None, None);
            }
        }
    }

    /// Polls those that want to be polled until none does.
    fn run(&mut self, first: usize) {
        for _ in 0..100 {
            let wants = |i: &usize| self.known[*i].new || self.known[*i].client.is_woken();
            match (0..CLIENTS).map(|i| (first + i) % CLIENTS).find(wants) {
                Some(i) => self.poll(i),
                None => return,
            }
        }
        panic!("they wake one another for ever");
    }

    fn call(&mut self, i: usize, what: Do) {
        if self.known[i].ready.take().is_some() {
            self.known[i].lease = None;
            let mut call = task::spawn(self.known[i].client.service.call(what));
            // A refused one is ready at once.
            let _ = call.poll();
            if what == Do::Hang {
                self.calls.push(call);
            }
            self.known[i].new = true;
        }
    }

    async fn act(&mut self, event: Event) {
        let circuit = Arc::clone(&self.world.circuit);
        match event {
            Event::Run(first) => self.run(first),
            Event::Poll(i) => self.poll(i),
            Event::Call(i, what) => self.call(i, what),
            Event::Replace(i) => self.known[i] = self.newcomer(),
            Event::Abandon => drop(self.calls.pop()),
            Event::Barge(end) => {
                if let Ok(guard) = Guard::admit(circuit) {
                    match end {
                        Some(true) => self.guards.push(guard),
                        Some(false) => guard.settle(Outcome::Ignored),
                        None => std::mem::forget(guard),
                    }
                }
            }
            Event::Settle(good) => {
                if let Some(guard) = self.guards.pop() {
                    guard.settle(if good { Outcome::Success } else { Outcome::Failure });
                }
            }
            Event::Wait(millis) => advance(Duration::from_millis(millis)).await,
            Event::Unready(true) => self.world.behind.unready.store(true, SeqCst),
            Event::Unready(false) => self.world.behind.make_ready(),
            Event::Reset => circuit.reset(),
            Event::Isolate => circuit.isolate(),
            Event::Disable => circuit.disable(),
            Event::Reconfigure(open_for, probes) => {
                self.probes = probes;
                circuit.reconfigure(config(open_for, probes)).unwrap();
            }
        }
        if self.room().is_none() {
            self.known.iter_mut().for_each(|known| known.lease = None);
        }
    }

    /// Lets all clients make one more call, but for one that is not polled any more. Nothing but their calls and time
    /// happens to the circuit.
    async fn finish(&mut self, deaf: Option<usize>) {
        self.world.behind.make_ready();
        if self.world.circuit.state() == State::Isolated {
            self.world.circuit.reset();
        }
        let mut left: Vec<_> = (0..CLIENTS).filter(|&i| Some(i) != deaf).collect();
        for _ in 0..1_000 {
            while let Some(&i) = left.iter().find(|&&i| {
                let known = &self.known[i];
                known.new || known.ready.is_some() || known.client.is_woken()
            }) {
                if self.known[i].ready.is_none() || self.known[i].client.is_woken() {
                    self.poll(i);
                }
                if self.known[i].ready.is_some() {
                    let refused = self.world.circuit.snapshot().refused;
                    self.call(i, Do::Succeed);
                    if self.world.circuit.snapshot().refused == refused {
                        left.retain(|&j| j != i);
                    }
                }
            }
            if left.is_empty() {
                return;
            }
            advance(Duration::from_millis(100)).await;
        }
        panic!("{left:?} are left behind");
    }
}

fn on_paused_time<R>(what: impl AsyncFnOnce() -> R) -> R {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(what())
}

/// A few hundred cases, or as many as `PROPTEST_CASES` says.
fn cases() -> ProptestConfig {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { config.cases } else { 500 };
    ProptestConfig { cases, ..config }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn no_more_are_let_through_than_there_are_slots_and_nobody_is_left_behind(
        events in prop::collection::vec(event(), 0..60),
        deaf in prop::option::of(0..CLIENTS),
    ) {
        on_paused_time(async || {
            let mut run = Run::new();
            for event in events {
                run.act(event).await;
            }
            run.finish(deaf).await;
        });
    }

    #[test]
    fn those_who_wait_for_slots_get_them_in_the_order_in_which_they_came(
        leaves in prop::collection::vec(any::<bool>(), 1..20),
        probes in 1..4_usize,
    ) {
        on_paused_time(async || {
            let config = support::config().probes(u32::try_from(probes).unwrap());
            let (world, mut out) = World::half_open(config, probes).await;
            let mut clients: Vec<_> = world.waiting(leaves.len()).into_iter().enumerate().collect();
            for (i, _) in leaves.iter().enumerate().filter(|(_, leaves)| **leaves) {
                clients.retain(|(j, _)| *j != i);
            }
            while !clients.is_empty() {
                drop(out.remove(0));
                let woken: Vec<_> = clients.iter().filter(|(_, client)| client.is_woken()).map(|(i, _)| *i).collect();
                assert_eq!(woken, [clients[0].0]);
                let (_, mut first) = clients.remove(0);
                first.goes_on();
                out.push(first.call(Do::Hang));
            }
        });
    }
}
