//! What each saga allocates, and what of it stays. `cargo test --release -- --nocapture` prints the table.

use mainstay_benches::saga::IN_FLIGHT;
use mainstay_peers::saga;

/// More than the journal in memory keeps for those who ask again.
const WARM_UP: u64 = 3_000;
const CALLS: u64 = 4_000;

/// What a saga of ours may leave: a node of a map more or less, shared by all.
const CRUMB: f64 = 8.0;

#[test]
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn ours_leave_nothing_behind() {
    for case in saga::cases() {
        let at_once = if case.name().contains("in_flight") { IN_FLIGHT } else { 1 };
        let mut run = case.runner();
        run(WARM_UP / at_once);
        let counted = allocation_counter::measure(|| run(CALLS / at_once));
        let per_call = |total: f64| total / CALLS as f64;
        let (count, bytes) = (per_call(counted.count_total as f64), per_call(counted.bytes_total as f64));
        let kept = per_call(counted.bytes_current as f64);
        println!("{:30} {count:7.2} {bytes:9.1} B, of which {kept:8.1} B stay", case.name());
        let is_ours = !case.name().ends_with("steno");
        assert!(kept < CRUMB || !is_ours, "{} leaves {kept} bytes", case.name());
    }
}
