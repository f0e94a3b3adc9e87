//! The storm of retries that outlives its cause, and how the budget ends it.
//!
//! A simulation of events that drives the cores as they are shipped. 50 clients call one service at 80 % of what its 10
//! workers can do. For 10 s each piece of work takes ten times as long; calls time out after 1 s, but their work stays in
//! the queue and is done for nobody. Then the service is as fast as before. Clients that retry without a budget send it four
//! times the load from then on, for ever.
//!
//! `cargo test --test retry_storm -- --nocapture --test-threads 1` prints a table.

use mainstay_circuit_breaker::{Circuit, Config as CircuitConfig, Outcome, Permit, Window};
use mainstay_retry::{Backoff, Budget, BudgetConfig, Config, Course, Policy};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    thread,
    time::{Duration, Instant},
};

const CLIENTS: usize = 50;
const CALLS_PER_SECOND: f64 = 800.0;
const WORKERS: usize = 10;
const WORK: f64 = 0.010;
const TIMEOUT: Duration = Duration::from_secs(1);
const SLOW: std::ops::Range<Duration> = Duration::from_secs(10)..Duration::from_secs(20);
const TIMES_SLOWER: f64 = 10.0;
/// Forty-five seconds after the cause is gone, and a minute more in which is measured.
const LAST_MINUTE: std::ops::Range<usize> = 65..125;
const END: Duration = Duration::from_secs(LAST_MINUTE.end as u64);
const SEEDS: u64 = 10;

/// What the clients do.
#[derive(Clone, Copy)]
struct Clients {
    max_attempts: u32,
    /// One each.
    budget: Option<BudgetConfig>,
    /// Whether a call earns when it is sent, not when it ends well.
    earns_per_call: bool,
    has_breaker: bool,
}

const RETRIES: Clients = Clients { max_attempts: 4, budget: None, earns_per_call: false, has_breaker: false };

/// One call and what it still may do.
struct Call {
    client: usize,
    course: Course,
}

/// One attempt in the queue of the service, or past it.
struct Sent {
    call: usize,
    /// Whether its client still waits.
    is_awaited: bool,
    permit: Option<Permit>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival,
    Retry { call: usize },
    Done { sent: usize },
}

/// What happened in each second.
#[derive(Clone, Copy, Default)]
struct Second {
    calls: u32,
    attempts: u32,
    good: u32,
}

struct Simulation {
    clients: Clients,
    policy: Policy,
    budgets: Vec<Budget>,
    circuits: Vec<Circuit>,
    rng: SmallRng,
    start: Instant,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, usize, Event)>>,
    /// In the order of their moments, since all attempts have the same time.
    timeouts: VecDeque<(Duration, usize)>,
    /// How many events there were; those of one moment come in the order they were made in.
    made: usize,
    calls: Vec<Call>,
    sent: Vec<Sent>,
    queue: VecDeque<usize>,
    busy: usize,
    seconds: Vec<Second>,
}

impl Simulation {
    fn new(clients: Clients, seed: u64) -> Self {
        let start = tokio::time::Instant::now().into_std();
        let backoff = Backoff::exponential(Duration::from_millis(100)).cap(Duration::from_secs(2));
        let policy = Policy::new(Config::default().max_attempts(clients.max_attempts).backoff(backoff)).unwrap();
        let circuit = CircuitConfig::default()
            .window(Window::Within(Duration::from_secs(10)))
            .open_for(Duration::from_secs(5))
            .probes(5);
        let circuits = if clients.has_breaker { CLIENTS } else { 0 };
        Self {
            clients,
            policy,
            budgets: clients
                .budget
                .map_or(vec![], |config| (0..CLIENTS).map(|_| Budget::new_at(config, start).unwrap()).collect()),
            circuits: (0..circuits).map(|_| Circuit::new_at(circuit.clone(), start).unwrap()).collect(),
            rng: SmallRng::seed_from_u64(seed),
            start,
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            timeouts: VecDeque::new(),
            made: 0,
            calls: vec![],
            sent: vec![],
            queue: VecDeque::new(),
            busy: 0,
            seconds: vec![Second::default(); LAST_MINUTE.end],
        }
    }

    fn run(mut self) -> Self {
        self.arrive_later();
        loop {
            // There always is a next arrival.
            let next = self.events.peek().map_or(END, |Reverse((at, ..))| *at);
            if let Some((at, sent)) = self.timeouts.pop_front_if(|(at, _)| *at <= next) {
                self.now = at;
                self.time_out(sent);
            } else if next < END {
                self.happen();
            } else {
                return self;
            }
        }
    }

    fn happen(&mut self) {
        let Some(Reverse((now, _, event))) = self.events.pop() else { return };
        self.now = now;
        match event {
            Event::Arrival => self.arrive(),
            Event::Retry { call } => self.send(call),
            Event::Done { sent } => self.finish(sent),
        }
    }

    fn after(&mut self, wait: Duration, event: Event) {
        self.made += 1;
        self.events.push(Reverse((self.now + wait, self.made, event)));
    }

    /// A time of this mean, without memory.
    fn exponential(&mut self, mean: f64) -> Duration {
        Duration::from_secs_f64(-mean * (1.0 - self.rng.random::<f64>()).ln())
    }

    fn moment(&self) -> Instant {
        self.start + self.now
    }

    fn second(&mut self) -> &mut Second {
        &mut self.seconds[usize::try_from(self.now.as_secs()).unwrap()]
    }

    fn arrive_later(&mut self) {
        let wait = self.exponential(1.0 / CALLS_PER_SECOND);
        self.after(wait, Event::Arrival);
    }

    fn arrive(&mut self) {
        self.arrive_later();
        self.second().calls += 1;
        let client = self.rng.random_range(0..CLIENTS);
        if self.clients.earns_per_call {
            self.budgets[client].deposit();
        }
        let mut course = Course::new(self.policy, Some(self.rng.random()));
        course.start(self.moment());
        self.calls.push(Call { client, course });
        self.send(self.calls.len() - 1);
    }

    /// Makes an attempt; one that the breaker refuses ends the call.
    fn send(&mut self, call: usize) {
        let client = self.calls[call].client;
        let permit = match self.circuits.get(client).map(|circuit| circuit.admit(self.moment())) {
            Some(Err(_)) => return,
            Some(Ok(permit)) => Some(permit),
            None => None,
        };
        self.second().attempts += 1;
        self.sent.push(Sent { call, is_awaited: true, permit });
        let sent = self.sent.len() - 1;
        self.queue.push_back(sent);
        self.timeouts.push_back((self.now + TIMEOUT, sent));
        self.work();
    }

    fn work(&mut self) {
        while self.busy < WORKERS {
            let Some(sent) = self.queue.pop_front() else { return };
            self.busy += 1;
            let mean = if SLOW.contains(&self.now) { WORK * TIMES_SLOWER } else { WORK };
            let time = self.exponential(mean);
            self.after(time, Event::Done { sent });
        }
    }

    fn finish(&mut self, sent: usize) {
        self.busy -= 1;
        if self.settle(sent, Outcome::Success) {
            self.second().good += 1;
            if !self.clients.earns_per_call {
                let client = self.client_of(sent);
                self.budgets.get(client).inspect(|budget| budget.deposit());
            }
        }
        self.work();
    }

    fn time_out(&mut self, sent: usize) {
        if self.settle(sent, Outcome::Failure) {
            self.retry(self.sent[sent].call);
        }
    }

    /// Ends an attempt, unless its client has gone; then it is nobody's any more.
    fn settle(&mut self, sent: usize, outcome: Outcome) -> bool {
        let now = self.moment();
        let client = self.client_of(sent);
        let attempt = &mut self.sent[sent];
        if let Some(permit) = attempt.permit.take() {
            self.circuits[client].settle(permit, outcome, now);
        }
        std::mem::replace(&mut attempt.is_awaited, false)
    }

    fn client_of(&self, sent: usize) -> usize {
        self.calls[self.sent[sent].call].client
    }

    /// Plans another attempt, if the policy allows it and the budget pays.
    fn retry(&mut self, call: usize) {
        let now = self.moment();
        let Call { client, course } = &mut self.calls[call];
        let Some(wait) = course.next(None, None, now) else { return };
        if let Some(budget) = self.budgets.get(*client) {
            let Some(_spent) = budget.withdraw(now) else { return };
        }
        self.after(wait, Event::Retry { call });
    }

    fn sum(&self, seconds: std::ops::Range<usize>) -> Second {
        self.seconds[seconds].iter().fold(Second::default(), |sum, second| Second {
            calls: sum.calls + second.calls,
            attempts: sum.attempts + second.attempts,
            good: sum.good + second.good,
        })
    }

    /// How long after the cause was gone five seconds in a row were nearly as good as they should be.
    fn recovered(&self) -> Option<usize> {
        let gone = usize::try_from(SLOW.end.as_secs()).unwrap();
        (gone..LAST_MINUTE.end - 4).find(|&second| self.sum(second..second + 5).goodput() >= 0.95).map(|at| at - gone)
    }
}

impl Second {
    fn goodput(self) -> f64 {
        f64::from(self.good) / f64::from(self.calls)
    }

    fn amplification(self) -> f64 {
        f64::from(self.attempts) / f64::from(self.calls)
    }
}

/// Runs a storm for each seed, prints a line of the table, and checks what holds for everyone: before it all is well.
fn storms(name: &str, clients: Clients, seeds: u64) -> Vec<Simulation> {
    // Two threads and not one each: a run keeps what its calls were.
    let half = |first| (first..seeds).step_by(2).map(|seed| Simulation::new(clients, seed).run()).collect::<Vec<_>>();
    let runs = thread::scope(|scope| {
        let odd = scope.spawn(|| half(1));
        let even = half(0);
        even.into_iter().chain(odd.join().unwrap()).collect::<Vec<_>>()
    });
    let mean =
        |of: &dyn Fn(&Simulation) -> f64| runs.iter().map(of).sum::<f64>() / f64::from(u32::try_from(seeds).unwrap());
    let recovered: Vec<_> = runs.iter().filter_map(Simulation::recovered).collect();
    let after = recovered.iter().min().zip(recovered.iter().max());
    println!(
        "{name:36} good before {:.3}, in the last minute {:.3}, attempts per call {:.2}, recovered {} of {seeds}{}",
        mean(&|run| run.sum(0..10).goodput()),
        mean(&|run| run.sum(LAST_MINUTE).goodput()),
        mean(&|run| run.sum(LAST_MINUTE).amplification()),
        recovered.len(),
        after.map_or(String::new(), |(first, last)| format!(", after {first} to {last} s")),
    );
    for (seed, run) in runs.iter().enumerate() {
        // From the second second on: what comes in the first one is answered a little later.
        let before = run.sum(1..10);
        assert!(before.goodput() > 0.995, "{name}, seed {seed}: {}", before.goodput());
    }
    runs
}

fn assert_collapse(name: &str, runs: &[Simulation]) {
    for (seed, run) in runs.iter().enumerate() {
        let good = run.sum(LAST_MINUTE).goodput();
        assert!(good < 0.05 && run.recovered().is_none(), "{name}, seed {seed}: {good}");
    }
}

fn assert_recovery(name: &str, runs: &[Simulation]) {
    for (seed, run) in runs.iter().enumerate() {
        let good = run.sum(LAST_MINUTE).goodput();
        assert!(good > 0.98 && run.recovered().is_some(), "{name}, seed {seed}: {good}");
    }
}

/// The bound of the budget, over the whole run and where all is well.
fn assert_bound(runs: &[Simulation], config: BudgetConfig) {
    for run in runs {
        for steady in [run.sum(0..10), run.sum(LAST_MINUTE)] {
            assert!(steady.amplification() <= 1.0 + config.ratio, "{}", steady.amplification());
        }
        let all = run.sum(0..LAST_MINUTE.end);
        let retries = f64::from(all.attempts) - f64::from(all.calls);
        let initial = f64::from(config.initial) * f64::from(u32::try_from(CLIENTS).unwrap());
        assert!(retries <= initial + config.ratio * f64::from(all.good), "{retries} {}", all.good);
        let withdrawn: u64 = run.budgets.iter().map(|budget| budget.snapshot_at(run.moment()).withdrawn).sum();
        assert!(retries > 0.0 && withdrawn > 400, "the first tokens were used: {withdrawn}");
    }
}

#[test]
fn without_retries_the_service_recovers() {
    let name = "no retry";
    let runs = storms(name, Clients { max_attempts: 1, ..RETRIES }, 3);
    assert_recovery(name, &runs);
    let all = |run: &Simulation| run.sum(0..LAST_MINUTE.end);
    assert!(runs.iter().all(|run| all(run).attempts == all(run).calls));
}

#[test]
fn three_retries_without_a_budget_keep_it_down_for_ever() {
    let name = "3 retries";
    let runs = storms(name, RETRIES, SEEDS);
    assert_collapse(name, &runs);
    assert!(runs.iter().all(|run| run.sum(LAST_MINUTE).amplification() > 3.5));
}

#[test]
fn with_the_budget_it_recovers() {
    let name = "3 retries, budget";
    let config = BudgetConfig::default();
    let runs = storms(name, Clients { budget: Some(config), ..RETRIES }, SEEDS);
    assert_recovery(name, &runs);
    assert_bound(&runs, config);
}

#[test]
fn with_budget_and_breaker_it_recovers_soon() {
    let name = "3 retries, budget, breaker";
    let runs = storms(name, Clients { budget: Some(BudgetConfig::default()), has_breaker: true, ..RETRIES }, SEEDS);
    assert_recovery(name, &runs);
    assert!(runs.iter().all(|run| run.recovered() < Some(20)));
}

#[test]
fn with_the_breaker_alone_it_recovers_too() {
    let name = "3 retries, breaker";
    let runs = storms(name, Clients { has_breaker: true, ..RETRIES }, 3);
    assert_recovery(name, &runs);
}

/// Why a success earns and a call does not, and why there is no reserve unless it is asked for.
#[test]
fn a_budget_that_calls_and_time_fill_does_not_help() {
    let name = "3 retries, 0.2 per call, 10/s each";
    let config = BudgetConfig::default().ratio(0.2).initial(100).cap(100).reserve_rate(10.0);
    let runs = storms(name, Clients { budget: Some(config), earns_per_call: true, ..RETRIES }, 3);
    assert_collapse(name, &runs);
}
