//! What each call allocates. `cargo test --release -- --nocapture` prints the table.

use mainstay_peers::{attempts, cases};

const CALLS: u64 = 1_000;

#[test]
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn ours_allocate_nothing() {
    for case in cases().into_iter().chain(attempts::cases()) {
        let mut run = case.runner();
        // Whoever makes something at the first call has made it.
        run(2 * CALLS);
        let counted = allocation_counter::measure(|| run(CALLS));
        let per_call = |total: u64| total as f64 / CALLS as f64;
        println!("{:45} {:7.2} {:9.1} B", case.name(), per_call(counted.count_total), per_call(counted.bytes_total));
        assert!(counted.count_total == 0 || !case.name().contains("mainstay"), "{} allocates", case.name());
    }
}
