//! How many sagas a second are durable: the embedded journal beside the disk, and beside its database alone.
//!
//! `cargo bench -p mainstay-benches --bench saga_journal -- [rounds [directory]]`; `--test` makes one short round. Blocks of each kind
//! take turns, so that what else the disk has to do is the same for all.

use mainstay_benches::saga::{IN_FLIGHT, Sagas, completing};
use mainstay_circuit_breaker::Clock;
use mainstay_core::Now;
use mainstay_saga::{journal::Embedded, testkit::RawCommits};
use std::{
    env,
    error::Error,
    fs::{File, create_dir, remove_dir_all},
    io::{Seek, Write},
    path::{Path, PathBuf},
    process,
    time::Duration,
};
use tokio::runtime::{Builder, Runtime};

/// Start, and one for each of three steps.
const COMMITS: f64 = 4.0;

/// One thing that is repeated: how many are done in one go, and how.
type Kind = (&'static str, u32, Box<dyn FnMut() -> Result<(), Box<dyn Error + Send + Sync>>>);

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let arguments: Vec<_> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let is_test = arguments.iter().any(|argument| argument == "--test");
    let mut arguments = arguments.into_iter().filter(|argument| !argument.starts_with("--"));
    let rounds = if is_test { 1 } else { arguments.next().map_or(Ok(20), |rounds| rounds.parse())? };
    let block = Duration::from_millis(if is_test { 1 } else { 300 });
    let directory = arguments.next().map_or_else(env::temp_dir, PathBuf::from);
    let directory = directory.join(format!("mainstay-saga-bench-{}", process::id()));
    create_dir(&directory)?;
    let measured = measure(&directory, rounds, block);
    remove_dir_all(&directory)?;
    measured
}

fn measure(directory: &Path, rounds: u32, block: Duration) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut kinds = kinds(directory)?;
    let mut rates = vec![Vec::new(); kinds.len()];
    for _ in 0..rounds {
        for ((_, at_once, act), rates) in kinds.iter_mut().zip(&mut rates) {
            rates.push(rate(block, *at_once, act)?);
        }
    }
    println!("{:>12} {:>12}  a second, the median and the highest of {rounds} blocks", "median", "highest");
    for ((name, ..), rates) in kinds.iter().zip(&rates) {
        let highest = rates.iter().copied().fold(0.0, f64::max);
        println!("{:12.0} {highest:12.0}  {name}", median(rates.clone()));
    }
    let [_, raw, alone, together] = &rates[..] else { return Ok(()) };
    let ratio = |of: &[f64], to: &[f64]| median(of.iter().zip(to).map(|(of, to)| of / to).collect());
    println!("one at a time: {:.0} % of the raw commits, divided by {COMMITS}", 100.0 * COMMITS * ratio(alone, raw));
    println!("{IN_FLIGHT} in flight: {:.0} times as many as one at a time", ratio(together, alone));
    Ok(())
}

fn kinds(directory: &Path) -> Result<[Kind; 4], Box<dyn Error + Send + Sync>> {
    let mut file = File::create(directory.join("page"))?;
    let fsync = move || {
        file.rewind()?;
        file.write_all(&[0; 4_096])?;
        Ok(file.sync_data()?)
    };
    let mut raw = RawCommits::open(directory.join("raw.redb"))?;
    let (alone, mut one) = sagas(&directory.join("alone.redb"))?;
    let (together, mut many) = sagas(&directory.join("together.redb"))?;
    let one = move || {
        alone.block_on(one.complete());
        Ok(())
    };
    let many = move || {
        together.block_on(many.complete_together(IN_FLIGHT));
        Ok(())
    };
    Ok([
        ("fsyncs of one page", 1, Box::new(fsync)),
        ("raw commits of the database", 1, Box::new(move || raw.commit())),
        ("sagas, one at a time", 1, Box::new(one)),
        ("sagas, 1,000 in flight", u32::try_from(IN_FLIGHT)?, Box::new(many)),
    ])
}

fn sagas(path: &Path) -> Result<(Runtime, Sagas), Box<dyn Error + Send + Sync>> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let journal = Embedded::open(path)?;
    let sagas = runtime.block_on(Sagas::new(completing(), journal));
    Ok((runtime, sagas))
}

/// How many a second.
fn rate<E>(block: Duration, at_once: u32, mut act: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    let start = Clock.now();
    let mut done = 0.0;
    loop {
        act()?;
        done += f64::from(at_once);
        let taken = Clock.now().duration_since(start);
        if taken >= block {
            return Ok(done / taken.as_secs_f64());
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
