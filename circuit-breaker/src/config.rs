//! What can be set, and what is refused.

use mainstay_core::{InvalidConfig, window};
use std::{borrow::Cow, time::Duration};

/// The settings of a circuit; plain data, checked once when a circuit is made of it.
///
/// # Defaults
///
/// | setting | default | allowed |
/// | --- | --- | --- |
/// | [`name`](Self::name) | `"circuit-breaker"` | 1 to 128 bytes |
/// | [`window`](Self::window) | [`Window::Last(100)`](Window::Last) | as [`Window`] says |
/// | [`failure_rate`](Self::failure_rate) | 0.5 | above 0, up to 1 |
/// | [`minimum_calls`](Self::minimum_calls) | 20 | at least 1 |
/// | [`slow`](Self::slow) | off | as [`Slow`] says, with a rate window |
/// | [`slow_in_flight`](Self::slow_in_flight) | off | only with `slow` |
/// | [`overload`](Self::overload) | off | above 0, up to 1 h |
/// | [`open_for`](Self::open_for) | [`OpenFor::Fixed`] 30 s | as [`OpenFor`] says |
/// | [`jitter`](Self::jitter) | 0 | 0 to 1 |
/// | [`on_open`](Self::on_open) | [`OnOpen::Refuse`] | |
/// | [`probes`](Self::probes) | 3 | 1 to 1,000 |
/// | [`probe_deadline`](Self::probe_deadline) | 30 s | above 0, up to 24 h |
/// | [`gradual`](Self::gradual) | off | as [`Gradual`] says, not with [`OnOpen::Wait`] |
/// | [`shadow`](Self::shadow) | off | |
/// | [`seed`](Self::seed) | random | |
///
/// # Examples
///
/// ```
/// use mainstay_circuit_breaker::{Circuit, Config, Window};
/// use std::time::Duration;
///
/// let config = Config::default().name("payments").window(Window::Consecutive(5)).open_for(Duration::from_secs(60));
/// assert!(Circuit::new(config).is_ok());
///
/// let error = Circuit::new(Config::default().failure_rate(50.0)).unwrap_err();
/// assert_eq!(error.to_string(), "`failure_rate` is 50.0, allowed is above 0.0, up to 1.0");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
#[must_use]
pub struct Config {
    /// What refusals, logs and metrics call the circuit.
    ///
    /// Circuits of equal names share one string, which is kept for the life of the process.
    pub name: Cow<'static, str>,
    /// The calls by which the service is judged.
    pub window: Window,
    /// From which share of failed calls on the circuit opens; also among probes.
    #[cfg_attr(feature = "serde", serde(with = "mainstay_core::config::rate"))]
    pub failure_rate: f64,
    /// How many calls must be in the window before a rate says anything.
    ///
    /// A [`Window::Last`] that holds fewer is judged when it is full. [`Window::Consecutive`] does not look at it.
    pub minimum_calls: u32,
    /// Which calls are slow, and how they open the circuit.
    pub slow: Option<Slow>,
    /// Lets calls vote as slow while they are still in flight, so that a service that answers nothing opens the circuit.
    ///
    /// Calls are counted by when they started, in ten buckets. Whenever a call is admitted or settled, those that are still
    /// unsettled at 100 to 110 % of `slow.longer_than` vote as slow, once. They do not vote again when they end, so a failure
    /// that comes after that is lost.
    pub slow_in_flight: bool,
    /// Lets a service that is overloaded and says for how long open the circuit at once, for at most this time.
    ///
    /// The circuit then stays open as long as the service asked, and no shorter by jitter; `open_for` does not count. Off by
    /// default, because one client's 429 shuts all out: it is meant for a service that speaks of itself, not of a caller.
    /// One that asks for less than `open_for` each time is called that much more often while it is sick.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde::optional_duration"))]
    pub overload: Option<Duration>,
    /// How long the circuit stays open before it lets probes through.
    pub open_for: OpenFor,
    /// By which share of itself an open time may be shortened at random, so that many clients do not probe together.
    #[cfg_attr(feature = "serde", serde(with = "mainstay_core::config::rate"))]
    pub jitter: f64,
    /// What a service does while the circuit lets no call through: refuse it, or let its caller wait.
    ///
    /// When it is changed, those who wait are woken and do what it then says.
    pub on_open: OnOpen,
    /// How many calls a half-open circuit lets through and is then judged by.
    pub probes: u32,
    /// How long a probe may be silent; after that it counts as failed.
    ///
    /// Each probe has the deadline that was set when it was sent.
    #[cfg_attr(feature = "serde", serde(with = "mainstay_core::config::duration"))]
    pub probe_deadline: Duration,
    /// Lets calls back in by and by after the probes succeeded, and not all at once.
    pub gradual: Option<Gradual>,
    /// Runs the whole machine and refuses nothing: what would have been refused is counted, and does not vote.
    pub shadow: bool,
    /// The seed of the jitter and of the shares of [`gradual`](Self::gradual); `None` takes a random one.
    pub seed: Option<u64>,
}

/// The calls by which a closed circuit judges its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// Opens at this many failures in a row; at least 1. Counts nothing while all is well, and is the fastest.
    Consecutive(u32),
    /// The rate over this many last calls; 1 to 1,000,000, one byte each.
    Last(u32),
    /// The rate over the calls of this time; 10 ms to 24 h. In ten buckets: a call counts for 90 to 100 % of the time.
    Within(Duration),
}

/// Which calls are slow, and how they open the circuit.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Slow {
    /// A call that took longer than this was slow; above 0.
    #[cfg_attr(feature = "serde", serde(with = "mainstay_core::config::duration"))]
    pub longer_than: Duration,
    /// The rate in which slow calls count.
    pub rate: SlowRate,
}

/// The rate in which slow calls count; in files `0.5`, `"50%"` or `"with_failures"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SlowRate {
    /// In a rate of their own, from which on the circuit opens; above 0, up to 1.
    ///
    /// A failure that was slow counts in both rates, a success that was slow in this one only.
    Own(f64),
    /// As failed, in the failure rate: [`Config::failure_rate`] then judges the calls that were slow or failed together.
    WithFailures,
}

/// The stages by which calls come back after the probes succeeded.
///
/// In each stage a share of the calls is admitted, chosen at random, and the first one for certain. A stage lasts at least
/// its time, until one of its calls has voted and the votes are good. If they are bad, the circuit opens again. After the
/// last stage it closes.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Gradual {
    /// The share of each stage; 1 to 16 of them, ascending, above 0 and below 1.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde::shares"))]
    pub shares: Vec<f64>,
    /// How long each stage lasts at least; above 0, up to 24 h.
    #[cfg_attr(feature = "serde", serde(with = "mainstay_core::config::duration"))]
    pub stage: Duration,
}

/// How long a circuit stays open. What no clock can count to is "for ever", until an operator resets it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OpenFor {
    /// Each time the same; above 0.
    Fixed(Duration),
    /// `first`, and with each re-opening `factor` times as long, up to `max`. Closing starts over.
    Growing {
        /// The first open time; above 0.
        first: Duration,
        /// The growth; 1 to 1,000.
        factor: f64,
        /// The longest open time; at least `first`.
        max: Duration,
    },
}

/// What a service does while its circuit lets no call through.
///
/// It is about [`CircuitBreaker`](crate::CircuitBreaker) only. [`Circuit::call`](crate::Circuit::call) and
/// [`Guard::admit`](crate::Guard::admit) refuse either way, and [`Guard::wait`](crate::Guard::wait) waits either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum OnOpen {
    /// `poll_ready` is ready at once, and `call` refuses: callers hear no without delay.
    #[default]
    Refuse,
    /// `poll_ready` is pending until the circuit lets a call through: a balancer sends the call elsewhere.
    Wait,
}

impl From<Duration> for OpenFor {
    fn from(time: Duration) -> Self {
        Self::Fixed(time)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: Cow::Borrowed("circuit-breaker"),
            window: Window::Last(100),
            failure_rate: 0.5,
            minimum_calls: 20,
            slow: None,
            slow_in_flight: false,
            overload: None,
            open_for: OpenFor::Fixed(Duration::from_secs(30)),
            jitter: 0.0,
            on_open: OnOpen::Refuse,
            probes: 3,
            probe_deadline: Duration::from_secs(30),
            gradual: None,
            shadow: false,
            seed: None,
        }
    }
}

impl Config {
    /// Sets [`name`](Self#structfield.name).
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets [`window`](Self#structfield.window).
    pub const fn window(mut self, window: Window) -> Self {
        self.window = window;
        self
    }

    /// Sets [`failure_rate`](Self#structfield.failure_rate).
    pub const fn failure_rate(mut self, rate: f64) -> Self {
        self.failure_rate = rate;
        self
    }

    /// Sets [`minimum_calls`](Self#structfield.minimum_calls).
    pub const fn minimum_calls(mut self, calls: u32) -> Self {
        self.minimum_calls = calls;
        self
    }

    /// Sets [`slow`](Self#structfield.slow): calls that take longer than `longer_than` open the circuit from `rate` on.
    pub const fn slow(mut self, longer_than: Duration, rate: f64) -> Self {
        self.slow = Some(Slow { longer_than, rate: SlowRate::Own(rate) });
        self
    }

    /// Sets [`slow`](Self#structfield.slow): calls that take longer than `longer_than` count as failed.
    ///
    /// ```
    /// use mainstay_circuit_breaker::{Circuit, Config, Outcome, State};
    /// use std::time::Duration;
    ///
    /// let config = Config::default().failure_rate(0.5).minimum_calls(2).slow_is_failure(Duration::from_secs(1));
    /// let now = tokio::time::Instant::now().into_std();
    /// let circuit = Circuit::new_at(config, now)?;
    ///
    /// let (one, another) = (circuit.admit(now).unwrap(), circuit.admit(now).unwrap());
    /// circuit.settle(one, Outcome::Success, now);
    /// circuit.settle(another, Outcome::Success, now + Duration::from_secs(2));
    ///
    /// assert_eq!(circuit.state(), State::Open, "one of two took too long");
    /// # Ok::<(), mainstay_core::InvalidConfig>(())
    /// ```
    pub const fn slow_is_failure(mut self, longer_than: Duration) -> Self {
        self.slow = Some(Slow { longer_than, rate: SlowRate::WithFailures });
        self
    }

    /// Sets [`slow_in_flight`](Self#structfield.slow_in_flight).
    ///
    /// ```
    /// use mainstay_circuit_breaker::{Circuit, Config, State};
    /// use std::time::Duration;
    ///
    /// let config = Config::default().minimum_calls(5).slow(Duration::from_secs(1), 0.5).slow_in_flight(true);
    /// let now = tokio::time::Instant::now().into_std();
    /// let circuit = Circuit::new_at(config, now)?;
    ///
    /// let silent: Vec<_> = (0..5).map(|_| circuit.admit(now).expect("the circuit is closed")).collect();
    /// assert!(circuit.admit(now + Duration::from_secs(2)).is_err(), "five of five have taken too long already");
    /// assert_eq!(circuit.state(), State::Open);
    /// # drop(silent);
    /// # Ok::<(), mainstay_core::InvalidConfig>(())
    /// ```
    pub const fn slow_in_flight(mut self, in_flight: bool) -> Self {
        self.slow_in_flight = in_flight;
        self
    }

    /// Sets [`overload`](Self#structfield.overload): opens at once for the time that an overloaded service asks for, but at
    /// most for `cap`.
    ///
    /// ```
    /// use mainstay_circuit_breaker::{Circuit, Config, Outcome};
    /// use std::time::Duration;
    ///
    /// let now = tokio::time::Instant::now().into_std();
    /// let circuit = Circuit::new_at(Config::default().open_on_overload(Duration::from_secs(60)), now)?;
    ///
    /// let permit = circuit.admit(now).expect("the circuit is closed");
    /// circuit.settle(permit, Outcome::Overloaded(Some(Duration::from_secs(7))), now);
    ///
    /// assert_eq!(circuit.admit(now).unwrap_err().retry_after(), Some(Duration::from_secs(7)));
    /// # Ok::<(), mainstay_core::InvalidConfig>(())
    /// ```
    pub const fn open_on_overload(mut self, cap: Duration) -> Self {
        self.overload = Some(cap);
        self
    }

    /// Sets [`open_for`](Self#structfield.open_for): a `Duration`, or an [`OpenFor`].
    pub fn open_for(mut self, time: impl Into<OpenFor>) -> Self {
        self.open_for = time.into();
        self
    }

    /// Sets [`jitter`](Self#structfield.jitter).
    pub const fn jitter(mut self, share: f64) -> Self {
        self.jitter = share;
        self
    }

    /// Sets [`on_open`](Self#structfield.on_open).
    pub const fn on_open(mut self, on_open: OnOpen) -> Self {
        self.on_open = on_open;
        self
    }

    /// Sets [`probes`](Self#structfield.probes).
    pub const fn probes(mut self, probes: u32) -> Self {
        self.probes = probes;
        self
    }

    /// Sets [`probe_deadline`](Self#structfield.probe_deadline).
    pub const fn probe_deadline(mut self, deadline: Duration) -> Self {
        self.probe_deadline = deadline;
        self
    }

    /// Sets [`gradual`](Self#structfield.gradual): lets back in these shares of the calls, one after the other, each for
    /// `stage`.
    ///
    /// ```
    /// use mainstay_circuit_breaker::{Circuit, Config, Outcome, State, Window};
    /// use std::time::Duration;
    ///
    /// const MINUTE: Duration = Duration::from_secs(60);
    /// let config = Config::default().window(Window::Consecutive(1)).probes(1).gradual([0.1, 0.5], MINUTE);
    /// let mut now = tokio::time::Instant::now().into_std();
    /// let circuit = Circuit::new_at(config, now)?;
    /// circuit.settle(circuit.admit(now).unwrap(), Outcome::Failure, now);
    ///
    /// // One call a minute: the probe, and the first call of each stage.
    /// for _ in 0..3 {
    ///     now += MINUTE;
    ///     circuit.settle(circuit.admit(now).expect("the first call is always admitted"), Outcome::Success, now);
    ///     assert_eq!(circuit.state(), State::Recovering);
    /// }
    /// assert_eq!(circuit.snapshot_at(now + MINUTE).state, State::Closed);
    /// # Ok::<(), mainstay_core::InvalidConfig>(())
    /// ```
    pub fn gradual(mut self, shares: impl Into<Vec<f64>>, stage: Duration) -> Self {
        self.gradual = Some(Gradual { shares: shares.into(), stage });
        self
    }

    /// Sets [`shadow`](Self#structfield.shadow).
    pub const fn shadow(mut self, shadow: bool) -> Self {
        self.shadow = shadow;
        self
    }

    /// Sets [`seed`](Self#structfield.seed).
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Checks every setting.
    pub(crate) fn check(&self) -> Result<(), InvalidConfig> {
        if !(1..=128).contains(&self.name.len()) {
            return Err(InvalidConfig::new("name", &self.name, "1 to 128 bytes"));
        }
        self.window.check()?;
        InvalidConfig::check_rate("failure_rate", self.failure_rate)?;
        InvalidConfig::check("minimum_calls", self.minimum_calls, 1..=u32::MAX)?;
        if let Some(slow) = self.slow {
            slow.check(self.window)?;
        } else if self.slow_in_flight {
            return Err(InvalidConfig::new("slow_in_flight", true, "only with `slow`"));
        }
        if let Some(cap) = self.overload {
            check_above_zero("overload", cap)?;
            InvalidConfig::check("overload", cap, Duration::ZERO..=MAX_OVERLOAD)?;
        }
        self.open_for.check()?;
        InvalidConfig::check("jitter", self.jitter, 0.0..=1.0)?;
        InvalidConfig::check("probes", self.probes, 1..=1_000)?;
        check_above_zero("probe_deadline", self.probe_deadline)?;
        InvalidConfig::check("probe_deadline", self.probe_deadline, Duration::ZERO..=MAX_PROBE_DEADLINE)?;
        match &self.gradual {
            Some(gradual) if self.on_open == OnOpen::Wait => {
                // A service that is ready by chance would be called without it.
                Err(InvalidConfig::new("gradual", gradual.shares.len(), "only with `on_open` refuse"))
            }
            Some(gradual) => gradual.check(),
            None => Ok(()),
        }
    }
}

impl Window {
    fn check(self) -> Result<(), InvalidConfig> {
        type Span = window::TimeSpan<window::Counts>;
        match self {
            Self::Consecutive(failures) => InvalidConfig::check("window.consecutive", failures, 1..=u32::MAX),
            Self::Last(calls) => InvalidConfig::check("window.last", calls, 1..=window::LastCalls::MAX),
            Self::Within(span) => InvalidConfig::check("window.within", span, Span::MIN..=Span::MAX),
        }
    }

    /// Whether what one remembers serves the other; a row of failures is the same row, whatever length opens.
    pub(crate) fn has_shape_of(self, other: Self) -> bool {
        self == other || matches!((self, other), (Self::Consecutive(_), Self::Consecutive(_)))
    }
}

impl Slow {
    fn check(self, window: Window) -> Result<(), InvalidConfig> {
        if let Window::Consecutive(_) = window {
            return Err(InvalidConfig::new("slow", self, "only with the windows that have rates, `Last` and `Within`"));
        }
        check_above_zero("slow.longer_than", self.longer_than)?;
        match self.rate {
            SlowRate::Own(rate) => InvalidConfig::check_rate("slow.rate", rate),
            SlowRate::WithFailures => Ok(()),
        }
    }
}

impl Gradual {
    fn check(&self) -> Result<(), InvalidConfig> {
        let mut last = 0.0;
        // `NaN` is not above anything.
        let ascend = self.shares.iter().all(|&share| share > std::mem::replace(&mut last, share) && share < 1.0);
        if !ascend || !(1..=16).contains(&self.shares.len()) {
            let allowed = "1 to 16 shares, ascending, above 0.0 and below 1.0";
            return Err(InvalidConfig::new("gradual.shares", &self.shares, allowed));
        }
        check_above_zero("gradual.stage", self.stage)?;
        InvalidConfig::check("gradual.stage", self.stage, Duration::ZERO..=MAX_STAGE)
    }
}

impl OpenFor {
    fn check(self) -> Result<(), InvalidConfig> {
        match self {
            Self::Fixed(time) => check_above_zero("open_for", time),
            Self::Growing { first, factor, max } => {
                check_above_zero("open_for.first", first)?;
                InvalidConfig::check("open_for.factor", factor, 1.0..=1_000.0)?;
                InvalidConfig::check("open_for.max", max, first..=Duration::MAX)
            }
        }
    }

    /// The open time after this many re-openings in a row: `min(first · factor^reopenings, max)`.
    pub(crate) fn after(self, reopenings: u32) -> Duration {
        match self {
            Self::Fixed(time) => time,
            Self::Growing { first, factor, max } => {
                // A float does not hold every duration; with no growth there is nothing to round.
                if reopenings == 0 || factor <= 1.0 {
                    return first;
                }
                let growth = factor.powi(i32::try_from(reopenings).unwrap_or(i32::MAX));
                Duration::try_from_secs_f64(first.as_secs_f64() * growth).map_or(max, |time| time.min(max))
            }
        }
    }
}

/// Longer ones would be as good as none, and a permit that is lost would keep its slot.
const MAX_PROBE_DEADLINE: Duration = Duration::from_hours(24);

/// Longer ones would never be seen to end.
const MAX_STAGE: Duration = Duration::from_hours(24);

/// A service that asks for more is a service that is gone.
const MAX_OVERLOAD: Duration = Duration::from_hours(1);

fn check_above_zero(field: &'static str, time: Duration) -> Result<(), InvalidConfig> {
    if time.is_zero() {
        return Err(InvalidConfig::new(field, time, "above 0"));
    }
    Ok(())
}
