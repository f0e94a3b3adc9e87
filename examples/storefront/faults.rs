//! What can be wrong with a service, and the script of what goes wrong when.

use serde::Serialize;
use std::{
    fmt,
    ops::Range,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// How a service is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    #[default]
    Healthy,
    /// Stands still for a moment every now and then, as if it collected garbage.
    Pausing,
    /// Answers one request in eight with 503, or breaks the connection before or after it has done what it was asked for.
    Flaky,
    /// Answers, but later than a customer waits.
    Slow,
    /// Answers 500 at once.
    Failing,
    /// Does what it was asked for, and never answers.
    Silent,
    /// Answers 500 at once, when it has done what it was asked for, or before.
    Broken,
}

/// The fault of one service, set from outside, and how many requests came.
#[derive(Clone, Debug)]
pub(crate) struct Switch {
    state: Arc<State>,
}

/// A fault, and since when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) fault: Fault,
    pub(crate) since: Instant,
}

#[derive(Debug)]
struct State {
    setting: watch::Sender<Setting>,
    /// Counters that nobody decides by, hence relaxed.
    requests: AtomicUsize,
    sick_calls: AtomicU64,
}

/// The switches of the shop that the script sets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Switches {
    pub(crate) provider: Switch,
    /// One for each replica.
    pub(crate) catalog: [Switch; 2],
    /// Of what sells reserved pieces.
    pub(crate) confirmations: Switch,
}

/// One part of the provider's script.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Phase {
    pub(crate) fault: Fault,
    pub(crate) from: Duration,
    pub(crate) until: Duration,
}

/// The whole script. The provider is flaky, then sick in three ways, the last of which comes when the shop has recovered from
/// the others. One replica of the catalog pauses all the while, and for a short time both fail.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) phases: [Phase; 7],
    /// While both replicas of the catalog fail.
    pub(crate) catalog_outage: Range<Duration>,
    /// While the inventory breaks half-way when it confirms a reservation.
    pub(crate) confirm_outage: Range<Duration>,
}

impl Fault {
    pub(crate) const ALL: [Self; 7] =
        [Self::Healthy, Self::Pausing, Self::Flaky, Self::Slow, Self::Failing, Self::Silent, Self::Broken];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Pausing => "pausing",
            Self::Flaky => "flaky",
            Self::Slow => "slow",
            Self::Failing => "failing",
            Self::Silent => "silent",
            Self::Broken => "broken",
        }
    }

    /// Whether nobody is served in time. A pause or a mishap now and then is no sickness.
    const fn is_sickness(self) -> bool {
        matches!(self, Self::Slow | Self::Failing | Self::Silent | Self::Broken)
    }
}

impl Default for Switch {
    fn default() -> Self {
        let setting = watch::Sender::new(Setting { fault: Fault::Healthy, since: Instant::now() });
        Self { state: Arc::new(State { setting, requests: AtomicUsize::new(0), sick_calls: AtomicU64::new(0) }) }
    }
}

impl Switches {
    /// Nothing is wrong any more.
    pub(crate) fn heal(&self) {
        for switch in self.catalog.iter().chain([&self.provider, &self.confirmations]) {
            switch.set(Fault::Healthy);
        }
    }
}

impl Switch {
    pub(crate) fn set(&self, fault: Fault) {
        self.state.setting.send_replace(Setting { fault, since: Instant::now() });
    }

    pub(crate) fn fault(&self) -> Fault {
        self.state.setting.borrow().fault
    }

    /// A request reaches the service: counts it, and says how the service is.
    pub(crate) fn meet(&self) -> Setting {
        let setting = *self.state.setting.borrow();
        // Relaxed: see the counters.
        self.state.requests.fetch_add(1, Ordering::Relaxed);
        if setting.fault.is_sickness() {
            self.state.sick_calls.fetch_add(1, Ordering::Relaxed);
        }
        setting
    }

    /// Requests that reached the service.
    pub(crate) fn requests(&self) -> usize {
        // Relaxed: see the counters.
        self.state.requests.load(Ordering::Relaxed)
    }

    /// Requests that reached the service while it was sick.
    pub(crate) fn sick_calls(&self) -> u64 {
        // Relaxed: see the counters.
        self.state.sick_calls.load(Ordering::Relaxed)
    }
}

impl Script {
    /// Where each phase of the provider ends, in hundredths of the run. Both healthy phases after a sick one are long enough
    /// for a recovery in the shortest run: the silence begins with closed circuits, and the end is good.
    const ENDS: [(Fault, u32); 7] = [
        (Fault::Healthy, 6),
        (Fault::Flaky, 22),
        (Fault::Slow, 36),
        (Fault::Failing, 50),
        (Fault::Healthy, 63),
        (Fault::Silent, 80),
        (Fault::Healthy, 100),
    ];
    /// When both replicas of the catalog fail, in hundredths of the run: while the provider is well.
    const CATALOG_OUTAGE: Range<u32> = 54..60;
    /// When the inventory breaks, in hundredths of the run: while orders are paid.
    const CONFIRM_OUTAGE: Range<u32> = 58..62;

    pub(crate) fn over(duration: Duration) -> Self {
        let at = |hundredths| duration * hundredths / 100;
        let mut from = Duration::ZERO;
        let phases = Self::ENDS.map(|(fault, end)| {
            let until = at(end);
            Phase { fault, from: std::mem::replace(&mut from, until), until }
        });
        let span = |Range { start, end }| at(start)..at(end);
        Self { phases, catalog_outage: span(Self::CATALOG_OUTAGE), confirm_outage: span(Self::CONFIRM_OUTAGE) }
    }

    /// When the orders service is killed, if it is: while money is taken and nobody is told.
    pub(crate) fn kill(&self) -> Duration {
        let silence = self.silence();
        (silence.start + silence.end) / 2
    }

    /// While the provider is silent.
    pub(crate) fn silence(&self) -> Range<Duration> {
        let silent = self.phases.iter().find(|phase| phase.fault == Fault::Silent);
        silent.map_or(Duration::ZERO..Duration::ZERO, |phase| phase.from..phase.until)
    }

    /// When the provider is healthy again, for good.
    pub(crate) fn recovery(&self) -> Duration {
        self.phases[self.phases.len() - 1].from
    }

    /// The provider's fault at a moment of the run.
    pub(crate) fn fault_at(&self, at: Duration) -> Fault {
        self.phases.iter().find(|phase| at < phase.until).map_or(Fault::Healthy, |phase| phase.fault)
    }

    /// Sets the switches as the script says, counted from `start`.
    pub(crate) async fn play(&self, switches: Switches, start: Instant) {
        let provider = async {
            for phase in &self.phases {
                sleep_until(start + phase.from).await;
                switches.provider.set(phase.fault);
            }
        };
        let catalog = async {
            let outage = &self.catalog_outage;
            let [first, second] = &switches.catalog;
            second.set(Fault::Pausing);
            sleep_until(start + outage.start).await;
            first.set(Fault::Failing);
            second.set(Fault::Failing);
            sleep_until(start + outage.end).await;
            first.set(Fault::Healthy);
            second.set(Fault::Pausing);
        };
        let confirmations = async {
            sleep_until(start + self.confirm_outage.start).await;
            switches.confirmations.set(Fault::Broken);
            sleep_until(start + self.confirm_outage.end).await;
            switches.confirmations.set(Fault::Healthy);
        };
        tokio::join!(provider, catalog, confirmations);
    }
}

impl FromStr for Fault {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|fault| fault.as_str() == text).ok_or(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{experiment::Plan, stacks::Times};

    #[test]
    fn the_phases_follow_each_other_without_a_gap_and_fill_the_run() {
        let duration = Duration::from_secs(20);
        let phases = Script::over(duration).phases;

        assert_eq!(phases[0].from, Duration::ZERO);
        assert_eq!(phases[6].until, duration);
        assert!(phases.windows(2).all(|pair| pair[0].until == pair[1].from && pair[0].from < pair[0].until));
        assert_eq!((phases[0].fault, phases[6].fault), (Fault::Healthy, Fault::Healthy));
    }

    #[test]
    fn circuits_recover_before_the_silence_and_before_the_end_even_in_the_shortest_run() {
        let shortest = Duration::from_secs(4);
        let plan = Plan { duration: shortest, rate: 120, ..Plan::DEFAULT };
        let script = Script::over(shortest);
        let silence = script.silence();
        let before = script.phases.iter().find(|phase| phase.until == silence.start).unwrap();
        assert_eq!((before.fault, script.fault_at(silence.start)), (Fault::Healthy, Fault::Silent));

        // One open time, which begins at the latest when a probe that was out is given up, and the time of two good probes.
        let times = Times::of(&plan);
        let recovery = times.open_for + times.provider + Duration::from_millis(100);
        assert!(before.until > before.from + recovery);
        assert!(shortest > script.recovery() + recovery);
    }

    #[test]
    fn the_catalog_fails_while_the_provider_is_well() {
        let script = Script::over(Duration::from_secs(20));
        let Range { start, end } = script.catalog_outage;
        assert!(start < end && script.fault_at(start) == Fault::Healthy && script.fault_at(end) == Fault::Healthy);
    }

    #[test]
    fn the_inventory_breaks_while_orders_are_paid_and_is_well_before_the_silence() {
        let script = Script::over(Duration::from_secs(20));
        let Range { start, end } = script.confirm_outage;
        assert!(start < end && script.fault_at(start) == Fault::Healthy && end < script.silence().start);
        assert!(script.silence().contains(&script.kill()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_switches_follow_the_script() {
        use Fault::{Failing, Flaky, Healthy, Pausing, Silent, Slow};

        let script = Script::over(Duration::from_secs(20));
        let (switches, start) = (Switches::default(), Instant::now());
        let playing = tokio::spawn({
            let (script, switches) = (script.clone(), switches.clone());
            async move { script.play(switches, start).await }
        });
        for (second, fault, catalog) in [
            (1, Healthy, [Healthy, Pausing]),
            (3, Flaky, [Healthy, Pausing]),
            (5, Slow, [Healthy, Pausing]),
            (8, Failing, [Healthy, Pausing]),
            (11, Healthy, [Failing, Failing]),
            (14, Silent, [Healthy, Pausing]),
            (17, Healthy, [Healthy, Pausing]),
        ] {
            sleep_until(start + Duration::from_secs(second)).await;
            assert_eq!(switches.provider.meet().fault, fault);
            assert_eq!(script.fault_at(Duration::from_secs(second)), fault);
            assert_eq!(switches.catalog.each_ref().map(Switch::fault), catalog);
        }
        assert_eq!((switches.provider.requests(), switches.provider.sick_calls()), (7, 3));
        playing.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_inventory_breaks_and_is_well_again_by_the_script() {
        let (switches, start) = (Switches::default(), Instant::now());
        let script = Script::over(Duration::from_secs(20));
        let Range { start: breaks, end } = script.confirm_outage.clone();
        let set = switches.clone();
        let playing = tokio::spawn(async move { script.play(set, start).await });
        for (at, fault) in [(Duration::ZERO, Fault::Healthy), (breaks, Fault::Broken), (end, Fault::Healthy)] {
            sleep_until(start + at + Duration::from_millis(1)).await;
            assert_eq!(switches.confirmations.fault(), fault, "{at:?}");
        }
        playing.await.unwrap();
    }

    #[test]
    fn nothing_is_wrong_any_more_with_what_is_healed() {
        let switches = Switches::default();
        let Switches { provider, catalog: [first, second], confirmations } = &switches;
        let all = [provider, first, second, confirmations];
        for switch in all {
            switch.set(Fault::Broken);
        }
        switches.heal();
        assert_eq!(all.map(Switch::fault), [Fault::Healthy; 4]);
    }

    #[test]
    fn faults_are_read_as_they_are_written() {
        for fault in Fault::ALL {
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
        assert_eq!("tired".parse::<Fault>(), Err(()));
    }
}
