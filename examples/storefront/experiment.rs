//! The same customers and the same outage, with resilience off and on.

use crate::{
    abuser,
    audit::Audit,
    books::Balance,
    faults::{Fault, Script},
    interrupt::Interrupt,
    load::{self, Arrival, Errand},
    measure::{self, Abuse, Bucket, Looked, Numbers, Opened, Record, Stale, Tally},
    progress::Progress,
    shop::{Seen, Shop},
    stacks::Resilience,
};
use mainstay::{
    BoxError,
    circuit_breaker::{Circuit, State},
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use std::{fmt, ops::Range, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, interval},
};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) duration: Duration,
    pub(crate) rate: u32,
    pub(crate) seed: u64,
    pub(crate) patience: Duration,
    /// So many requests of one client, in any window of this length.
    pub(crate) limit: u32,
    pub(crate) window: Duration,
    /// Whether the orders service is a process of its own, and killed.
    pub(crate) kill_orders: bool,
}

/// A plan, with all that both runs share.
#[derive(Debug)]
pub(crate) struct Experiment {
    plan: Plan,
    script: Script,
    /// When the abuser is there.
    stays: Vec<Range<Duration>>,
    arrivals: Vec<Arrival>,
    metrics: PrometheusHandle,
}

/// The states of a circuit, each with the moment at which it began.
type States = Vec<(Duration, State)>;

/// What happened in one run.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) records: Vec<Record>,
    pub(crate) numbers: Numbers,
    /// How it went for those who looked at products, and for those who checked out.
    pub(crate) browse: Tally,
    pub(crate) checkout: Tally,
    pub(crate) browse_p99: Option<Duration>,
    /// The customers of each phase of the script.
    pub(crate) phases: Vec<(Fault, Bucket)>,
    pub(crate) stale: Stale,
    pub(crate) seen: Seen,
    pub(crate) abuse: Abuse,
    /// Customers, not requests of the abuser, whom the limit refused.
    pub(crate) limited: usize,
    /// How it went for those who looked at products while the abuser was there, and while it was not; until it comes no more.
    pub(crate) beside_abuser: Looked,
    pub(crate) without_abuser: Looked,
    /// Of the payment circuit; none with resilience off.
    pub(crate) states: States,
    pub(crate) opened: Opened,
    /// None if Ctrl-C came.
    pub(crate) audit: Option<Audit>,
    /// Where the journal is, if the books do not balance and it was kept.
    pub(crate) kept: Option<PathBuf>,
}

/// Both runs; the second is missing if Ctrl-C came in the first.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    pub(crate) plan: Plan,
    pub(crate) script: Script,
    /// When the abuser was there.
    pub(crate) stays: Vec<Range<Duration>>,
    pub(crate) off: Run,
    pub(crate) on: Option<Run>,
}

impl Run {
    /// Those who came while the provider had, for the first time, this fault.
    pub(crate) fn phase(&self, fault: Fault) -> Option<&Bucket> {
        self.phases.iter().find(|(known, _)| *known == fault).map(|(_, bucket)| bucket)
    }

    /// Requests that reached the replicas of the catalog, for each customer who looked at a product, and for each request of
    /// the abuser's that came past the limit.
    pub(crate) fn catalog_amplification(&self) -> Option<f64> {
        measure::ratio(self.seen.at_catalog, self.browse.offered() + self.abuse.admitted())
    }

    /// Requests that reached the provider, for each customer who checked out.
    pub(crate) fn provider_amplification(&self) -> Option<f64> {
        measure::ratio(self.seen.at_provider, self.checkout.offered())
    }

    /// Amounts that were taken from customers who were not told so.
    pub(crate) fn not_told(&self) -> usize {
        let Balance { captured, refunded, .. } = self.seen.books;
        captured.saturating_sub(refunded + self.checkout.ok)
    }
}

#[cfg(test)]
impl Plan {
    /// What is asked for by default.
    pub(crate) const DEFAULT: Self = Self {
        duration: Duration::from_secs(20),
        rate: 300,
        seed: 7,
        patience: Duration::from_millis(500),
        limit: 100,
        window: Duration::from_mins(1),
        kill_orders: false,
    };
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { duration, rate, seed, patience, limit, window, .. } = self;
        let [duration, patience, window] = [duration, patience, window].map(|time| humantime::format_duration(*time));
        write!(
            f,
            "{duration} with resilience off, then {duration} with it on: {rate} customers per second, patience {patience}, \
             {limit} requests of one client in {window}, seed {seed}"
        )
    }
}

impl Experiment {
    pub(crate) fn new(plan: Plan) -> Result<Self, BoxError> {
        let Plan { duration, rate, seed, .. } = plan;
        let script = Script::over(duration);
        let stays = abuser::stays(&script);
        let abuse = abuser::requests(seed, rate, &stays);
        Ok(Self {
            plan,
            script,
            stays,
            arrivals: load::arrivals(load::customers(seed, rate, duration), abuse),
            metrics: PrometheusBuilder::new().install_recorder()?,
        })
    }

    /// Off, then on, each with a shop of its own.
    pub(crate) async fn compare(self, interrupt: &mut Interrupt) -> Result<Comparison, BoxError> {
        let progress = Progress::over(2 * self.plan.duration);
        let off = self.run(Resilience::Off, &progress, interrupt).await?;
        let on = if interrupt.has_come() { None } else { Some(self.run(Resilience::On, &progress, interrupt).await?) };
        progress.finish();
        Ok(Comparison { plan: self.plan, script: self.script, stays: self.stays, off, on })
    }

    async fn run(
        &self,
        resilience: Resilience,
        progress: &Progress,
        interrupt: &mut Interrupt,
    ) -> Result<Run, BoxError> {
        let shop = Shop::open_anywhere(resilience, &self.plan, self.metrics.clone()).await?;
        let start = Instant::now();

        // Dropped at the end, and with it whatever still runs.
        let mut background = JoinSet::new();
        let (script, switches) = (self.script.clone(), shop.switches.clone());
        background.spawn(async move { script.play(switches, start).await });
        let (sender, records) = mpsc::unbounded_channel();
        background.spawn(load::generate(self.arrivals.clone(), shop.gateway, self.plan.patience, start, sender));
        let watched = shop
            .circuits
            .clone()
            .map(|circuits| (Watch::over(circuits.payment, start), Watch::over(circuits.shadow, start)));

        let (orders, kill) = (Arc::clone(&shop.orders), start + self.script.kill());
        let mut killing = JoinSet::new();
        killing.spawn(async move { orders.kill_at(kill).await });
        let records = self.collect(records, resilience, start, progress, interrupt).await;
        background.shutdown().await;
        let states = match watched {
            Some((payment, shadow)) => [payment.end().await, shadow.end().await],
            None => [Vec::new(), Vec::new()],
        };
        let audit = tokio::select! {
            biased;
            () = interrupt.come() => None,
            audit = Self::settle(&shop, &mut killing) => Some(audit?),
        };
        killing.shutdown().await;
        let seen = shop.seen();
        // With resilience off they hardly ever balance, and nobody wonders why.
        let failed = resilience == Resilience::On && audit.as_ref().is_some_and(|audit| !audit.ok);
        let kept = shop.close(failed).await;
        Ok(Run { audit, kept, ..self.result(records, seen, states, interrupt.has_come()) })
    }

    /// The books, when the orders service is back and all orders have come to their ends.
    async fn settle(shop: &Shop, killing: &mut JoinSet<Result<(), BoxError>>) -> Result<Audit, BoxError> {
        while let Some(killed) = killing.join_next().await {
            killed??;
        }
        Ok(shop.settle().await)
    }

    /// What became of the customers, and of the abuser's requests, until all are accounted for, or until Ctrl-C.
    async fn collect(
        &self,
        mut from: mpsc::UnboundedReceiver<Record>,
        resilience: Resilience,
        start: Instant,
        progress: &Progress,
        interrupt: &mut Interrupt,
    ) -> [Vec<Record>; 2] {
        let (mut records, mut abuse) = (Vec::new(), Vec::new());
        let mut tick = interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                record = from.recv() => match record {
                    Some(record) if record.errand == Errand::Scrape => abuse.push(record),
                    Some(record) => records.push(record),
                    None => return [records, abuse],
                },
                _ = tick.tick() => {
                    let at = start.elapsed();
                    progress.show(resilience, at, self.plan.duration, self.script.fault_at(at), &records);
                }
                () = interrupt.come() => return [records, abuse],
            }
        }
    }

    fn phases(&self, records: &[Record]) -> Vec<(Fault, Bucket)> {
        let phases = self.script.phases.iter();
        phases.map(|phase| (phase.fault, Bucket::of(records, phase.from..phase.until))).collect()
    }

    fn result(&self, records: [Vec<Record>; 2], seen: Seen, [states, shadow]: [States; 2], cut: bool) -> Run {
        let opened = |states: &States| measure::opened_after(states, &self.script.silence());
        let [records, abuse] = records.map(|mut records| {
            records.sort_by_key(|record| record.at);
            records
        });
        let recovery = if cut { None } else { measure::recovery(&records, self.script.recovery(), self.plan.duration) };
        let compared = &records[..records.partition_point(|record| record.at < self.script.recovery())];
        let errand = |errand| Tally::of(records.iter().filter(|record| record.errand == errand));
        Run {
            numbers: Numbers::of(&records, seen.sick_calls, recovery),
            browse: errand(Errand::Browse),
            checkout: errand(Errand::Checkout),
            browse_p99: measure::p99(&records, Errand::Browse),
            phases: self.phases(&records),
            stale: Stale::of(&records),
            abuse: Abuse::of(abuse),
            limited: measure::limited(&records),
            beside_abuser: Looked::beside(compared, &self.stays, true, self.plan.patience),
            without_abuser: Looked::beside(compared, &self.stays, false, self.plan.patience),
            seen,
            opened: Opened { after: opened(&states), settled_only: opened(&shadow) },
            states,
            records,
            audit: None,
            kept: None,
        }
    }
}

/// Writes down the states of a circuit while it is there.
struct Watch {
    stop: oneshot::Sender<()>,
    states: tokio::task::JoinHandle<States>,
}

impl Watch {
    fn over(circuit: Arc<Circuit>, start: Instant) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let states = tokio::spawn(async move {
            let mut latest = circuit.watch();
            let mut states = vec![(Duration::ZERO, latest.borrow_and_update().state)];
            loop {
                tokio::select! {
                    changed = latest.changed() => match changed {
                        Ok(()) => states.push((start.elapsed(), latest.borrow_and_update().state)),
                        Err(_) => return states,
                    },
                    _ = &mut stopped => return states,
                }
            }
        });
        Self { stop, states }
    }

    async fn end(self) -> States {
        drop(self.stop);
        self.states.await.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{measure::Outcome, report};

    const SECOND: Duration = Duration::from_secs(1);

    fn record(at: Duration, errand: Errand, outcome: Outcome) -> Record {
        let limited = errand == Errand::Scrape;
        Record { at, errand, outcome, stale: false, limited, waited: Duration::from_millis(20) }
    }

    #[test]
    fn those_beside_the_abuser_are_told_from_those_without_it_down_to_the_table() {
        let plan = Plan::DEFAULT;
        let script = Script::over(plan.duration);
        let stays = abuser::stays(&script);
        let [there, away, afterwards] = [stays[0].start, stays[0].end, script.recovery() + SECOND];
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let experiment =
            Experiment { plan, script: script.clone(), stays: stays.clone(), arrivals: Vec::new(), metrics };

        // In each run one who comes beside the abuser is served and one is not; all others are served.
        let customers =
            [(there, Outcome::Ok), (there, Outcome::Failed), (away, Outcome::Ok), (afterwards, Outcome::Failed)];
        let customers = customers.map(|(at, outcome)| record(at, Errand::Browse, outcome)).to_vec();
        let mut abuse = vec![record(there, Errand::Scrape, Outcome::Refused); 4];
        abuse[0].limited = false;
        let books = Balance { captured: 4, refunded: 1, ..Balance::default() };
        let seen = Seen { at_catalog: 10, books, ..Seen::default() };
        let run = || experiment.result([customers.clone(), abuse.clone()], seen, <[States; 2]>::default(), false);
        let (off, on) = (run(), run());
        assert_eq!((on.abuse.limited, on.limited, on.records.len()), (3, 0, 4));
        assert_eq!(on.catalog_amplification(), Some(2.0), "for four customers and what came past the limit");
        assert_eq!(on.not_told(), 3, "what was given back need not be told");

        let table = report::table(&Comparison { plan, script, stays, off, on: Some(on) });
        let line = |name: &str| {
            let values = table.lines().find_map(|line| line.trim_start().strip_prefix(name)).expect(name);
            values.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("goodput of the catalog beside the abuser  "), "50.0 % 50.0 %");
        assert_eq!(line("without it  "), "100.0 % 100.0 %");
        assert_eq!(line("p99 until the catalog served, beside the abuser  "), "500 ms 500 ms");
        assert_eq!(line("p99 without it  "), "20 ms 20 ms");
    }
}
