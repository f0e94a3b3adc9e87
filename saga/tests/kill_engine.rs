//! Sagas outlive `kill -9` of the process that runs them: whatever was started ends, all of it or nothing.
//!
//! A child process runs sagas over a journal in a file, and its steps write what they do to a ledger, as services of others would
//! keep it. The parent kills it at some moment, again and again, and lets the last child finish. `MAINSTAY_SAGA_KILLS` sets how
//! often, and `MAINSTAY_SAGA_SEED` repeats the moments of another run, as far as a moment can be repeated.

#![cfg(all(feature = "redb", feature = "testkit"))]

mod support;

use mainstay_retry::Backoff;
use mainstay_saga::{
    Config, Draft, Effect, Engine, Out, Outcome, Record, Saga, SagaId, Step, StepCx, StepError, UndoCx, UndoError,
    journal::{Embedded, Filter, Journal, Phase},
    testkit::check,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fs::{self, File, OpenOptions},
    hash::{DefaultHasher, Hash, Hasher},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};
use support::directory::Directory;

/// How often a child is killed, if nothing else is said.
const KILLS: u32 = 200;
/// After so many, the file is a new one.
const KILLS_OF_ONE_FILE: u32 = 20;
/// How many sagas a child has at the same time.
const AT_ONCE: u32 = 8;
/// The longest that a child may live, in lines.
const LINES: u32 = 40;
/// Tells a child where it is to work.
const PLACE: &str = "MAINSTAY_SAGA_KILL_PLACE";
/// Tells it which child it is; the last one finishes.
const ROUND: &str = "MAINSTAY_SAGA_KILL_ROUND";

/// What the services of others have written down.
struct Ledger(File);

impl Ledger {
    fn write(&self, what: &str, key: &str) {
        // One write of one line, which either is there when the process dies or is not.
        (&self.0).write_all(format!("{what} {key}\n").as_bytes()).unwrap();
    }
}

/// Chance that is the same after a crash.
fn chance(key: &str, attempt: u32) -> u64 {
    let mut hasher = DefaultHasher::new();
    (key, attempt).hash(&mut hasher);
    hasher.finish() % 100
}

async fn act(cx: StepCx<Ledger>, number: u32) -> Result<u32, StepError> {
    match chance(cx.key(), cx.attempt()) {
        // A service that honours the key says no to the key once and for all.
        0..5 if !["confirm", "mail"].contains(&cx.step()) && !cx.maybe_done() => return Err(StepError::rejected("no")),
        5..15 => return Err(StepError::not_executed("busy")),
        15..20 => return Err(StepError::unknown("lost")),
        20..60 => tokio::time::sleep(Duration::from_millis(1)).await,
        _ => {}
    }
    cx.app().write("do", cx.key());
    match chance(cx.key(), cx.attempt() + 1_000) {
        0..10 => return Err(StepError::unknown("the answer was lost")),
        10..40 => tokio::time::sleep(Duration::from_millis(1)).await,
        _ => {}
    }
    Ok(number + 1)
}

async fn undo(cx: UndoCx<Ledger>, _: u32, _: Effect<u32>) -> Result<(), UndoError> {
    if chance(cx.key(), cx.attempt()) < 20 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    cx.app().write("undo", cx.do_key());
    if chance(cx.key(), cx.attempt() + 1_000) < 20 {
        return Err(UndoError::try_again("the answer was lost"));
    }
    Ok(())
}

const STEPS: [&str; 5] = ["reserve", "charge", "label", "confirm", "mail"];

fn order<'s>(mut s: Draft<'s, Ledger>, number: Out<'s, u32>) -> Out<'s, u32> {
    let often = |name| Step::named(name).attempts(1_000).backoff(Backoff::constant(Duration::from_millis(1)));
    let undone = |name| often(name).undo_attempts(1_000).undo_backoff(Backoff::constant(Duration::from_millis(1)));
    let reserved = s.step(undone("reserve"), number, act, undo);
    s.step(undone("label"), number, act, undo);
    let charged = s.step(undone("charge"), reserved, act, undo);
    let (mut s, confirmed) = s.pivot(often("confirm"), charged, act);
    s.retriable(Step::named("mail").backoff(Backoff::constant(Duration::from_millis(1))), confirmed, act);
    confirmed
}

fn orders() -> Saga<Ledger, u32, u32> {
    Saga::define("order", 1, order).unwrap()
}

struct Place(PathBuf);

impl Place {
    fn journal(&self) -> PathBuf {
        self.0.join("journal.redb")
    }

    fn ledger(&self) -> PathBuf {
        self.0.join("ledger")
    }
}

/// The child: not a test, but what the parent runs.
#[test]
fn child() {
    let (Ok(place), Ok(round)) = (env::var(PLACE), env::var(ROUND)) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(work(&Place(place.into()), &round));
}

async fn work(place: &Place, round: &str) {
    let ledger = OpenOptions::new().create(true).append(true).open(place.ledger()).unwrap();
    let journal = Embedded::open(place.journal()).unwrap();
    let config = Config::default().poll_interval(Duration::from_millis(10)).idle_after(Duration::from_millis(1));
    let builder = Engine::builder(Arc::new(Ledger(ledger)), journal.clone()).register(&orders()).config(config);
    let engine = builder.start().await.unwrap();
    if round == "last" {
        while running(&journal).await > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        return;
    }
    let tasks = (0..AT_ONCE).map(|lane| tokio::spawn(lane_of_sagas(engine.clone(), format!("{round}-{lane}"))));
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

async fn lane_of_sagas(engine: Engine<Ledger>, lane: String) {
    let orders = orders();
    for turn in 0..u32::MAX {
        let key = format!("{lane}-{turn}");
        let handle = engine.start(&orders, &key, turn).await.unwrap();
        println!("started {key} {}", handle.id());
        let ended = match handle.outcome().await.unwrap() {
            Outcome::Completed(_) => "completed",
            Outcome::Compensated(_) => "compensated",
            other => panic!("{other:?}"),
        };
        println!("ended {} {ended}", handle.id());
    }
}

async fn running(journal: &Embedded) -> usize {
    let filter = Filter { phases: vec![Phase::Forward, Phase::Backward], ..Filter::default() };
    journal.list(filter, None, 10).await.unwrap().len()
}

/// What the children have said: the keys that were started, and the sagas that have ended.
#[derive(Default)]
struct Said {
    started: BTreeMap<String, SagaId>,
    ended: BTreeMap<SagaId, String>,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["started", key, id] => drop(self.started.insert(key.to_owned(), id.parse().unwrap())),
            ["ended", id, how] => drop(self.ended.insert(id.parse().unwrap(), how.to_owned())),
            _ => {}
        }
    }
}

fn spawn(place: &Path, round: &str) -> std::process::Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture", "--test-threads", "1"]);
    command.env(PLACE, place).env(ROUND, round).stdout(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn sagas_outlive_the_process() {
    if env::var(PLACE).is_ok() {
        return;
    }
    let number = |name, default| env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let seed = number("MAINSTAY_SAGA_SEED", 8_u64);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut left = u32::try_from(number("MAINSTAY_SAGA_KILLS", u64::from(KILLS))).unwrap();
    while left > 0 {
        let kills = left.min(KILLS_OF_ONE_FILE);
        left -= kills;
        one_file(kills, &mut rng);
    }
}

fn one_file(kills: u32, rng: &mut StdRng) {
    let directory = Directory::new("kill-engine");
    let mut said = Said::default();
    for round in 0..kills {
        let mut child = spawn(directory.path(), &round.to_string());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..rng.random_range(0..LINES) {
            said.hear(&lines.next().expect("the child runs for ever").unwrap());
        }
        child.kill().unwrap();
        // What it said before it died counts, down to the last whole line.
        lines.map_while(Result::ok).for_each(|line| said.hear(&line));
        child.wait().unwrap();
    }
    assert!(spawn(directory.path(), "last").wait().unwrap().success());
    let place = Place(directory.path().to_owned());
    tokio_test::block_on(verify(&place, &said));
}

/// Each saga that anybody heard of is there and has ended, and the ledger agrees with the journal.
async fn verify(place: &Place, said: &Said) {
    let ledger = fs::read_to_string(place.ledger()).unwrap();
    let standing = standing(&ledger);
    let journal = Embedded::open(place.journal()).unwrap();
    let summaries = journal.list(Filter::default(), None, usize::MAX).await.unwrap();
    let known: BTreeMap<_, _> = summaries.iter().map(|summary| (summary.key.to_string(), summary.id)).collect();
    assert_eq!(known.len(), summaries.len(), "one key is one saga");
    for (key, id) in &said.started {
        assert_eq!(known.get(key), Some(id), "what was acknowledged is there");
    }
    let (mut completed, mut compensated) = (0, 0);
    for summary in &summaries {
        let stored = journal.load(summary.id).await.unwrap();
        let decode = |bytes: &[u8]| Record::decode(bytes).unwrap();
        let records: Vec<_> = stored.iter().map(|stored| (stored.epoch, decode(&stored.bytes))).collect();
        check(orders().graph(), &records).unwrap_or_else(|violation| panic!("{violation}\n{records:#?}"));
        let stands = |step: &&str| standing.contains(&format!("{}-{step}-do", summary.id));
        let stand: Vec<_> = STEPS.iter().filter(|step| stands(step)).collect();
        let ended = match summary.phase {
            Phase::Completed => {
                assert_eq!(stand.len(), STEPS.len(), "{}: only {stand:?}", summary.id);
                completed += 1;
                "completed"
            }
            Phase::Compensated => {
                assert!(stand.is_empty(), "{}: still {stand:?}", summary.id);
                compensated += 1;
                "compensated"
            }
            other => panic!("{} is {other:?}: {records:#?}", summary.id),
        };
        if let Some(heard) = said.ended.get(&summary.id) {
            assert_eq!(heard, ended, "an outcome that was heard stays");
        }
    }
    println!("{completed} completed, {compensated} compensated, {} said to have ended", said.ended.len());
    assert!(completed > compensated && !said.started.is_empty());
}

/// The keys of what was done and not undone since.
fn standing(ledger: &str) -> BTreeSet<String> {
    let mut standing = BTreeSet::new();
    for line in ledger.lines() {
        match line.split_once(' ') {
            Some(("do", key)) => drop(standing.insert(key.to_owned())),
            Some(("undo", key)) => drop(standing.remove(key)),
            _ => {}
        }
    }
    standing
}
