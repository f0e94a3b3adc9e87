//! What the tests of the synchronous core share.
#![allow(dead_code, reason = "each test file takes what it needs")]

use mainstay_circuit_breaker::{Circuit, Config, Outcome, Permit, Snapshot, State, Window};
use mainstay_core::{Refused, window::Counts};
use std::time::{Duration, Instant};

/// Any moment will do: only differences count.
pub(crate) fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A circuit and the time it is told.
pub(crate) struct Driver {
    pub(crate) circuit: Circuit,
    pub(crate) now: Instant,
}

impl Driver {
    pub(crate) fn new(config: Config) -> Self {
        let now = start();
        let circuit = Circuit::new_at(config, now).expect("the test means a valid configuration");
        Self { circuit, now }
    }

    /// A circuit that has just opened.
    pub(crate) fn open(config: Config) -> Self {
        let driver = Self::new(config);
        driver.fail_until_open();
        driver
    }

    /// A circuit that is half-open with its first probe out.
    pub(crate) fn half_open(config: Config) -> (Self, Permit) {
        let mut driver = Self::open(config);
        let probe = driver.first_probe();
        (driver, probe)
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    pub(crate) fn admit(&self) -> Result<Permit, Refused> {
        self.circuit.admit(self.now)
    }

    pub(crate) fn take(&self) -> Permit {
        self.admit().expect("the call is admitted")
    }

    pub(crate) fn settle(&self, permit: Permit, outcome: Outcome) {
        self.circuit.settle(permit, outcome, self.now);
    }

    /// A call that takes no time.
    pub(crate) fn call(&self, outcome: Outcome) {
        self.settle(self.take(), outcome);
    }

    pub(crate) fn calls(&self, calls: u32, outcome: Outcome) {
        for _ in 0..calls {
            self.call(outcome);
        }
    }

    /// A call that takes `time`.
    pub(crate) fn call_of(&mut self, time: Duration, outcome: Outcome) {
        let permit = self.take();
        self.wait(time);
        self.settle(permit, outcome);
    }

    /// How many failures it took to open.
    pub(crate) fn fail_until_open(&self) -> u32 {
        let mut failures = 0;
        while self.state() != State::Open {
            self.call(Outcome::Failure);
            failures += 1;
        }
        failures
    }

    /// Waits to the end of the opening, not longer, and takes the first probe.
    pub(crate) fn first_probe(&mut self) -> Permit {
        self.wait(self.retry_after().expect("the circuit is open, and for a time that ends"));
        let probe = self.take();
        assert!(probe.is_probe(), "the first call after the open time is a probe");
        probe
    }

    /// Waits for the end of the opening and lets every probe succeed.
    pub(crate) fn close(&mut self) {
        let probe = self.first_probe();
        self.settle(probe, Outcome::Success);
        while self.state() == State::HalfOpen {
            self.call(Outcome::Success);
        }
        assert_eq!(self.state(), State::Closed);
    }

    pub(crate) fn state(&self) -> State {
        self.circuit.state()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.circuit.snapshot_at(self.now)
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.snapshot().retry_after
    }

    pub(crate) fn reconfigure(&self, config: Config) {
        self.circuit.reconfigure_at(config, self.now).expect("the test means a valid configuration");
    }
}

pub(crate) const NANO: Duration = Duration::from_nanos(1);

pub(crate) fn just_under(time: Duration) -> Duration {
    time.saturating_sub(NANO)
}

/// Opens at the first failure.
pub(crate) fn fragile() -> Config {
    Config::default().window(Window::Consecutive(1)).probes(1)
}

/// Opens at the fifth failure, in each kind of window.
pub(crate) fn five() -> [Config; 4] {
    let config = Config::default().failure_rate(1.0).minimum_calls(5);
    [Window::Consecutive(5), Window::Last(5), Window::Last(100), Window::Within(secs(10))]
        .map(|window| config.clone().window(window))
}

/// Every sequence of `length` things out of `choices`.
pub(crate) fn sequences<T: Copy>(choices: &[T], length: usize) -> Vec<Vec<T>> {
    (0..length).fold(vec![Vec::new()], |sequences, _| {
        let longer = |sequence: &Vec<T>| {
            let sequence = sequence.clone();
            choices.iter().map(move |&choice| [sequence.as_slice(), &[choice]].concat()).collect::<Vec<_>>()
        };
        sequences.iter().flat_map(longer).collect()
    })
}

pub(crate) fn counts(calls: u64, failed: u64, slow: u64) -> Counts {
    Counts { calls, failed, slow }
}
