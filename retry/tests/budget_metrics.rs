//! What the budget tells a recorder.
#![cfg(feature = "metrics")]

use mainstay_retry::{Budget, BudgetConfig, Pay};
use metrics::with_local_recorder;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use std::{collections::BTreeMap, sync::Arc, thread};

/// A recorder, and the sums of what it was told.
struct Recorder {
    sink: Arc<DebuggingRecorder>,
    reader: Snapshotter,
    sums: BTreeMap<String, f64>,
}

impl Recorder {
    fn new() -> Self {
        let sink = Arc::new(DebuggingRecorder::new());
        let reader = sink.snapshotter();
        Self { sink, reader, sums: BTreeMap::new() }
    }

    fn during<R>(&self, act: impl FnOnce() -> R) -> R {
        with_local_recorder(&*self.sink, act)
    }

    /// Everything that is not zero, to a thousandth, as `name label=value …`.
    fn read(&mut self) -> Vec<(&str, f64)> {
        // Reading takes what was added since the last time.
        for (key, _, _, value) in self.reader.snapshot().into_vec() {
            let key = key.key();
            let labels = key.labels().map(|label| format!(" {}={}", label.key(), label.value()));
            let key = format!("{}{}", key.name(), labels.collect::<String>());
            *self.sums.entry(key).or_default() += match value {
                #[expect(clippy::cast_precision_loss, reason = "small counts")]
                DebugValue::Counter(count) => count as f64,
                DebugValue::Gauge(value) => value.0,
                DebugValue::Histogram(_) => panic!("there are no histograms"),
            };
        }
        let rounded = self.sums.iter().map(|(key, value)| (&**key, (value * 1_000.0).round() / 1_000.0));
        rounded.filter(|(_, value)| *value != 0.0).collect()
    }
}

fn budget(name: &'static str) -> Arc<Budget> {
    Arc::new(Budget::new(BudgetConfig::default().name(name).initial(3).ratio(0.25)).unwrap())
}

#[test]
fn the_gauge_follows_the_balance_and_the_counter_what_was_refused() {
    let mut recorder = Recorder::new();
    let budget = budget("told");
    let charge = recorder.during(|| budget.charge()).unwrap();
    assert_eq!(recorder.read(), [("mainstay_budget_balance budget=told", 2.0)]);
    recorder.during(|| drop(charge));
    assert_eq!(recorder.read(), [("mainstay_budget_balance budget=told", 3.0)]);
    recorder.during(|| {
        while let Some(charge) = budget.charge() {
            charge.spend();
        }
        assert!(budget.charge().is_none());
    });
    assert_eq!(recorder.read(), [("mainstay_budget_exhausted_total budget=told", 2.0)]);
    recorder.during(|| budget.deposit());
    assert_eq!(recorder.read(), [("mainstay_budget_exhausted_total budget=told", 2.0)], "a deposit is not told");
    recorder.during(|| budget.snapshot());
    let both = [("mainstay_budget_balance budget=told", 0.25), ("mainstay_budget_exhausted_total budget=told", 2.0)];
    assert_eq!(recorder.read(), both);
    drop(budget);
    assert_eq!(recorder.read(), [("mainstay_budget_exhausted_total budget=told", 2.0)], "what it held is taken out");
}

#[test]
fn two_budgets_of_one_name_add_up() {
    let mut recorder = Recorder::new();
    let (one, two) = (budget("twin"), budget("twin"));
    recorder.during(|| (one.snapshot(), two.snapshot()));
    assert_eq!(recorder.read(), [("mainstay_budget_balance budget=twin", 6.0)]);
    drop(one);
    assert_eq!(recorder.read(), [("mainstay_budget_balance budget=twin", 3.0)]);
}

#[test]
fn in_shadow_mode_what_would_have_been_refused_is_counted() {
    let mut recorder = Recorder::new();
    let budget = Budget::new(BudgetConfig::default().name("shadow").initial(0).shadow(true)).unwrap();
    recorder.during(|| (&budget).charge()).unwrap().spend();
    assert_eq!(recorder.read(), [("mainstay_budget_exhausted_total budget=shadow", 1.0)]);
}

#[test]
fn rebinding_moves_what_the_budget_holds() {
    let (mut old, mut new) = (Recorder::new(), Recorder::new());
    let budget = budget("moved");
    old.during(|| budget.snapshot());
    new.during(|| budget.rebind_metrics());
    assert_eq!(old.read(), []);
    assert_eq!(new.read(), [("mainstay_budget_balance budget=moved", 3.0)]);
    old.during(|| budget.charge().unwrap().spend());
    assert_eq!((old.read(), new.read()), (vec![], vec![("mainstay_budget_balance budget=moved", 2.0)]));
    drop(budget);
    assert_eq!((old.read(), new.read()), (vec![], vec![]));
}

#[test]
fn a_budget_that_met_no_recorder_is_found_by_rebinding() {
    let mut recorder = Recorder::new();
    let budget = budget("early");
    budget.charge().unwrap().spend();
    recorder.during(|| budget.snapshot());
    assert_eq!(recorder.read(), [], "its handles were made before");
    recorder.during(|| budget.rebind_metrics());
    assert_eq!(recorder.read(), [("mainstay_budget_balance budget=early", 2.0)]);
}

#[test]
fn threads_leave_what_there_is() {
    let mut recorder = Recorder::new();
    let budget = Arc::new(Budget::new(BudgetConfig::default().name("threads").initial(1_000).cap(1_000)).unwrap());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                recorder.during(|| {
                    for _ in 0..100 {
                        drop(budget.charge());
                        budget.charge().unwrap().spend();
                    }
                });
            });
        }
    });
    recorder.during(|| budget.snapshot());
    assert_eq!(recorder.read(), [("mainstay_budget_balance budget=threads", 600.0)]);
}
