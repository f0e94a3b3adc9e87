//! What can be wrong with the provider, and the script of the outage.

use serde::Serialize;
use std::{
    fmt,
    ops::Range,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// How the provider is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    #[default]
    Healthy,
    /// Answers, but later than a customer waits.
    Slow,
    /// Answers 500 at once.
    Failing,
    /// Accepts the request and never answers.
    Silent,
}

/// The provider's fault, set from outside, and how many requests met one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Switch {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    fault: watch::Sender<Fault>,
    /// A counter that nobody decides by, hence relaxed.
    sick_calls: AtomicU64,
}

/// One part of the script.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Phase {
    pub(crate) fault: Fault,
    pub(crate) from: Duration,
    pub(crate) until: Duration,
}

/// The whole script: sick in three ways, the last of which comes when the shop has recovered from the others.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) phases: [Phase; 6],
}

impl Fault {
    pub(crate) const ALL: [Self; 4] = [Self::Healthy, Self::Slow, Self::Failing, Self::Silent];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Slow => "slow",
            Self::Failing => "failing",
            Self::Silent => "silent",
        }
    }
}

impl Switch {
    pub(crate) fn set(&self, fault: Fault) {
        self.state.fault.send_replace(fault);
    }

    pub(crate) fn fault(&self) -> Fault {
        *self.state.fault.borrow()
    }

    /// A request reaches the provider: counts it if the provider is sick, and says how it is.
    pub(crate) fn meet(&self) -> Fault {
        let fault = self.fault();
        if fault != Fault::Healthy {
            self.state.sick_calls.fetch_add(1, Ordering::Relaxed);
        }
        fault
    }

    /// Requests that reached the provider while it was sick.
    pub(crate) fn sick_calls(&self) -> u64 {
        self.state.sick_calls.load(Ordering::Relaxed)
    }
}

impl Script {
    /// Where each phase ends, in hundredths of the run. Both healthy phases after a sick one are long enough for a recovery
    /// in the shortest run: the silence begins with closed circuits, and the end is good.
    const ENDS: [(Fault, u32); 6] = [
        (Fault::Healthy, 10),
        (Fault::Slow, 25),
        (Fault::Failing, 40),
        (Fault::Healthy, 55),
        (Fault::Silent, 75),
        (Fault::Healthy, 100),
    ];

    pub(crate) fn over(duration: Duration) -> Self {
        let mut from = Duration::ZERO;
        let phases = Self::ENDS.map(|(fault, hundredths)| {
            let until = duration * hundredths / 100;
            Phase { fault, from: std::mem::replace(&mut from, until), until }
        });
        Self { phases }
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

    /// The fault at a moment of the run.
    pub(crate) fn fault_at(&self, at: Duration) -> Fault {
        self.phases.iter().find(|phase| at < phase.until).map_or(Fault::Healthy, |phase| phase.fault)
    }

    /// Sets the switch as the script says, counted from `start`.
    pub(crate) async fn play(&self, switch: Switch, start: Instant) {
        for phase in &self.phases {
            sleep_until(start + phase.from).await;
            switch.set(phase.fault);
        }
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
        assert_eq!(phases[5].until, duration);
        assert!(phases.windows(2).all(|pair| pair[0].until == pair[1].from && pair[0].from < pair[0].until));
        assert_eq!((phases[0].fault, phases[5].fault), (Fault::Healthy, Fault::Healthy));
    }

    #[test]
    fn circuits_recover_before_the_silence_and_before_the_end_even_in_the_shortest_run() {
        let shortest = Duration::from_secs(4);
        let plan = Plan { duration: shortest, rate: 120, seed: 7, patience: Duration::from_millis(500) };
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

    #[tokio::test(start_paused = true)]
    async fn the_switch_follows_the_script() {
        let script = Script::over(Duration::from_secs(20));
        let (switch, start) = (Switch::default(), Instant::now());
        let playing = tokio::spawn({
            let (script, switch) = (script.clone(), switch.clone());
            async move { script.play(switch, start).await }
        });
        for (second, fault) in [
            (1, Fault::Healthy),
            (4, Fault::Slow),
            (7, Fault::Failing),
            (10, Fault::Healthy),
            (12, Fault::Silent),
            (16, Fault::Healthy),
        ] {
            sleep_until(start + Duration::from_secs(second)).await;
            assert_eq!(switch.meet(), fault);
            assert_eq!(script.fault_at(Duration::from_secs(second)), fault);
        }
        assert_eq!(switch.sick_calls(), 3);
        playing.await.unwrap();
    }

    #[test]
    fn faults_are_read_as_they_are_written() {
        for fault in Fault::ALL {
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
        assert_eq!("tired".parse::<Fault>(), Err(()));
    }
}
