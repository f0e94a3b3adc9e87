//! What a saga costs with its journal in memory.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mainstay_benches::saga;
use std::time::Duration;

/// Where a thousand are in flight, one iteration is all of them: compare the throughputs.
fn one_thread(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("saga");
    for case in saga::cases() {
        let mut run = case.runner();
        let sagas = if case.name().contains("in_flight") { saga::IN_FLIGHT } else { 1 };
        group.throughput(Throughput::Elements(sagas));
        group.bench_function(case.name(), |bencher| {
            bencher.iter_custom(|calls| mainstay_benches::time(&mut run, calls));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = one_thread
}
criterion_main!(benches);
