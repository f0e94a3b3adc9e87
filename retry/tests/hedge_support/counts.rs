//! How often each event of a hedge was counted.

use metrics_util::debugging::{DebugValue, Snapshotter};
use std::collections::BTreeMap;

pub(crate) fn counts(snapshotter: &Snapshotter) -> BTreeMap<String, u64> {
    let hedges = |(key, _, _, value): (metrics_util::CompositeKey, _, _, DebugValue)| {
        let DebugValue::Counter(count) = value else { return None };
        let labels: Vec<_> = key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        (key.key().name() == "mainstay_hedges_total").then(|| (labels.join(","), count))
    };
    snapshotter.snapshot().into_vec().into_iter().filter_map(hedges).collect()
}
