//! What each call allocates. `cargo test --release -- --nocapture` prints the table.

use mainstay_peers::{attempts, cases, rate_limit};

const CALLS: u64 = 1_000;

#[test]
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn ours_allocate_nothing() {
    let beside = cases().into_iter().chain(attempts::cases()).chain(rate_limit::cases()).map(|case| {
        // A request or response of HTTP is made for each call, and clones its headers.
        let is_free = case.name().contains("mainstay") && !case.name().starts_with("http");
        (case, is_free)
    });
    // Whoever keeps a request of HTTP copies its headers and shares its body.
    let alone =
        mainstay_benches::attempts::cases().into_iter().chain(mainstay_benches::rate_limit::cases()).map(|case| {
            let is_free = !case.name().contains("_http");
            (case, is_free)
        });
    for (case, must_be_free) in beside.chain(alone) {
        let mut run = case.runner();
        // Whoever makes something at the first call has made it.
        run(2 * CALLS);
        let counted = allocation_counter::measure(|| run(CALLS));
        let per_call = |total: u64| total as f64 / CALLS as f64;
        println!("{:45} {:7.2} {:9.1} B", case.name(), per_call(counted.count_total), per_call(counted.bytes_total));
        assert!(counted.count_total == 0 || !must_be_free, "{} allocates", case.name());
    }
}
