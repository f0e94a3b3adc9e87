//! The same customers and the same outage, with resilience off and on.

use crate::{
    faults::{Fault, Script},
    interrupt::Interrupt,
    load::{self, Arrival, Errand},
    measure::{self, Bucket, Numbers, Opened, Record, Stale, Tally},
    progress::Progress,
    shop::{Seen, Shop},
    stacks::Resilience,
};
use mainstay::{
    BoxError,
    circuit_breaker::{Circuit, State},
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::{fmt, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, interval},
};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) duration: Duration,
    pub(crate) rate: u32,
    pub(crate) seed: u64,
    pub(crate) patience: Duration,
}

/// A plan, with all that both runs share.
#[derive(Debug)]
pub(crate) struct Experiment {
    plan: Plan,
    script: Script,
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
    /// Of the payment circuit; none with resilience off.
    pub(crate) states: States,
    pub(crate) opened: Opened,
}

/// Both runs; the second is missing if Ctrl-C came in the first.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    pub(crate) plan: Plan,
    pub(crate) script: Script,
    pub(crate) off: Run,
    pub(crate) on: Option<Run>,
}

impl Run {
    /// Those who came while the provider had, for the first time, this fault.
    pub(crate) fn phase(&self, fault: Fault) -> Option<&Bucket> {
        self.phases.iter().find(|(known, _)| *known == fault).map(|(_, bucket)| bucket)
    }

    /// Requests that reached the replicas of the catalog, for each customer who looked at a product.
    pub(crate) fn catalog_amplification(&self) -> Option<f64> {
        measure::ratio(self.seen.at_catalog, self.browse.offered())
    }

    /// Requests that reached the provider, for each customer who checked out.
    pub(crate) fn provider_amplification(&self) -> Option<f64> {
        measure::ratio(self.seen.at_provider, self.checkout.offered())
    }

    /// Amounts that were taken from customers who were not told so.
    pub(crate) fn not_told(&self) -> usize {
        self.seen.books.captured.saturating_sub(self.checkout.ok)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { duration, rate, seed, patience } = self;
        let [duration, patience] = [duration, patience].map(|time| humantime::format_duration(*time));
        write!(
            f,
            "{duration} with resilience off, then {duration} with it on: {rate} customers per second, patience {patience}, \
             seed {seed}"
        )
    }
}

impl Experiment {
    pub(crate) fn new(plan: Plan) -> Result<Self, BoxError> {
        Ok(Self {
            plan,
            script: Script::over(plan.duration),
            arrivals: load::arrivals(plan.seed, plan.rate, plan.duration),
            metrics: PrometheusBuilder::new().install_recorder()?,
        })
    }

    /// Off, then on, each with a shop of its own.
    pub(crate) async fn compare(self, interrupt: &mut Interrupt) -> Result<Comparison, BoxError> {
        let progress = Progress::over(2 * self.plan.duration);
        let off = self.run(Resilience::Off, &progress, interrupt).await?;
        let on = if interrupt.has_come() { None } else { Some(self.run(Resilience::On, &progress, interrupt).await?) };
        progress.finish();
        Ok(Comparison { plan: self.plan, script: self.script, off, on })
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

        let records = self.collect(records, resilience, start, progress, interrupt).await;
        background.shutdown().await;
        let states = match watched {
            Some((payment, shadow)) => [payment.end().await, shadow.end().await],
            None => [Vec::new(), Vec::new()],
        };
        let seen = shop.seen();
        shop.close().await;
        Ok(self.result(records, seen, states, interrupt.has_come()))
    }

    /// What became of the customers, until all are accounted for, or until Ctrl-C.
    async fn collect(
        &self,
        mut from: mpsc::UnboundedReceiver<Record>,
        resilience: Resilience,
        start: Instant,
        progress: &Progress,
        interrupt: &mut Interrupt,
    ) -> Vec<Record> {
        let mut records = Vec::with_capacity(self.arrivals.len());
        let mut tick = interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                record = from.recv() => match record {
                    Some(record) => records.push(record),
                    None => return records,
                },
                _ = tick.tick() => {
                    let at = start.elapsed();
                    progress.show(resilience, at, self.plan.duration, self.script.fault_at(at), &records);
                }
                () = interrupt.come() => return records,
            }
        }
    }

    fn phases(&self, records: &[Record]) -> Vec<(Fault, Bucket)> {
        let phases = self.script.phases.iter();
        phases.map(|phase| (phase.fault, Bucket::of(records, phase.from..phase.until))).collect()
    }

    fn result(&self, mut records: Vec<Record>, seen: Seen, [states, shadow]: [States; 2], cut: bool) -> Run {
        let opened = |states: &States| measure::opened_after(states, &self.script.silence());
        records.sort_by_key(|record| record.at);
        let recovery = if cut { None } else { measure::recovery(&records, self.script.recovery(), self.plan.duration) };
        let errand = |errand| Tally::of(records.iter().filter(|record| record.errand == errand));
        Run {
            numbers: Numbers::of(&records, seen.sick_calls, recovery),
            browse: errand(Errand::Browse),
            checkout: errand(Errand::Checkout),
            browse_p99: measure::p99(&records, Errand::Browse),
            phases: self.phases(&records),
            stale: Stale::of(&records),
            seen,
            opened: Opened { after: opened(&states), settled_only: opened(&shadow) },
            states,
            records,
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
