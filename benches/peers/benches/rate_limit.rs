//! The rate limiter beside other crates.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mainstay_peers::rate_limit::{cases, shared_cases};
use std::time::Duration;

fn one_thread(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rate_limit");
    for case in cases() {
        let mut run = case.runner();
        group.bench_function(case.name(), |bencher| {
            bencher.iter_custom(|calls| mainstay_benches::time(&mut run, calls));
        });
    }
    group.finish();
}

/// One iteration is one call on each thread, and one element is one call: compare the throughputs.
fn threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rate_limit/threads");
    for case in shared_cases() {
        for threads in [1, 2] {
            group.throughput(Throughput::Elements(threads as u64));
            group.bench_function(BenchmarkId::new(case.name(), threads), |bencher| {
                bencher.iter_custom(|calls| case.time(threads, calls));
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(50)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = one_thread, threads
}
criterion_main!(benches);
