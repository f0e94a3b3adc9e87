//! What the journal in a file has answered outlives `kill -9`.
//!
//! A child process writes as fast as it can and says what was answered; the parent kills it at some moment, opens the file, and
//! looks for all that was said. The next child goes on with the same file. `MAINSTAY_SAGA_KILLS` sets how often, and
//! `MAINSTAY_SAGA_SEED` repeats the moments of another run, as far as a moment can be repeated.

#![cfg(all(unix, feature = "redb"))]

mod support;

use futures_util::future::join_all;
use mainstay_saga::{
    SagaId, Timestamp,
    journal::{
        Batch, Claim, Created, Embedded, Filter, Grant, Journal, JournalError, NewSaga, OpenError, Phase, Stored,
    },
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    hint::spin_loop,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{ChildStdout, Command, Stdio},
};
use support::directory::Directory;

/// How often a child is killed, if nothing else is said.
const KILLS: u32 = 200;
/// After so many, the file is a new one.
const KILLS_OF_ONE_FILE: u32 = 10;
/// How many children are killed before they have answered anything, and how many after, at least.
const KILLS_OF_EACH_KIND: u32 = 15;
/// How many sagas a child writes at the same time.
const SAGAS: usize = 8;
/// The longest that a child may live, in answers.
const ANSWERS: u32 = 40;
/// Tells a child which file it is to write.
const FILE: &str = "MAINSTAY_SAGA_KILL_FILE";

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const FOREVER: Timestamp = Timestamp::from_millis(u64::MAX);

/// The random half of an id.
fn half(id: SagaId) -> u64 {
    let bytes = id.to_u128().to_le_bytes();
    u64::from_le_bytes(*bytes.first_chunk().unwrap())
}

/// The records of a saga are a function of its id, so that whoever reads them knows what they have to be.
fn record(id: SagaId, seq: u64) -> Vec<u8> {
    let number = (half(id) ^ seq).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    number.to_le_bytes().repeat(usize::from(number.to_le_bytes()[7] / 4))
}

/// How many records follow this many, in one batch.
fn length(id: SagaId, seq: u64) -> u64 {
    1 + (half(id) ^ seq.wrapping_mul(0x9E37_79B9)) % 4
}

/// After how many records it ends.
fn whole(id: SagaId) -> u64 {
    4 + half(id) % 40
}

fn batch(id: SagaId, seq: u64) -> Batch {
    let after = seq + length(id, seq);
    let records = (seq + 1..=after).map(|seq| record(id, seq)).collect();
    let phase = if after >= whole(id) { Phase::Completed } else { Phase::Forward };
    Batch { records, nonce: seq, phase, at: NOW }
}

fn claim(at_most: usize) -> Claim {
    Claim { definitions: [("order".into(), 1)].into(), now: FOREVER, at_most }
}

/// Says that the saga has so many records, and its owner such an epoch.
fn say(Grant { id, epoch, seq }: Grant) {
    // In one write: what the parent reads is a line or nothing.
    io::stdout().write_all(format!("answered {id} {epoch} {seq}\n").as_bytes()).unwrap();
}

/// Writes one saga to its end, with a pause now and then.
async fn write(journal: &Embedded, mut grant: Grant) -> Result<(), JournalError> {
    say(grant);
    while grant.seq < whole(grant.id) {
        grant = journal.append(grant, batch(grant.id, grant.seq)).await?;
        say(grant);
        if grant.seq.is_multiple_of(5) {
            journal.release(grant, Some(NOW)).await?;
            grant = journal.claim_one(grant.id).await?.grant;
            say(grant);
        }
    }
    Ok(())
}

/// Goes on with what there is, and begins what there is not.
async fn work(journal: &Embedded) -> Result<(), JournalError> {
    loop {
        let mut grants: Vec<_> = journal.claim(claim(SAGAS)).await?.iter().map(|claimed| claimed.grant).collect();
        while grants.len() < SAGAS {
            let id = SagaId::new(NOW);
            let new = NewSaga { id, saga: "order".into(), version: 1, key: id.to_string().into(), at: NOW };
            match journal.create(new, batch(id, 0)).await? {
                Created::New(grant) => grants.push(grant),
                Created::Existing(other) => panic!("{id} is {other}"),
            }
        }
        for written in join_all(grants.into_iter().map(|grant| write(journal, grant))).await {
            written?;
        }
    }
}

/// What a child does: it is this file, run again.
#[test]
#[ignore = "is run, and killed, by the other test"]
fn child() {
    let Some(file) = env::var_os(FILE) else { return };
    let journal = Embedded::open(file).unwrap();
    // On a line of its own, after what the test harness has written.
    io::stdout().write_all(b"\nopen\n").unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(work(&journal)).unwrap();
}

/// What a child has said before it was killed: the last epoch and number of records of each saga.
type Answers = BTreeMap<SagaId, (u64, u64)>;

/// What is heard of a child.
struct Listener<'a> {
    said: BufReader<ChildStdout>,
    answered: Answers,
    file: &'a Path,
    /// Whether this process was told that the file is in use.
    refused: bool,
}

/// Runs a child, and kills it after so many answers and a little.
fn run_and_kill(file: &Path, answers: u32, spins: u32) -> Listener<'_> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["child", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(FILE, file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    let mut listener = Listener { said, answered: Answers::new(), file, refused: false };
    let mut left = answers;
    while left > 0 && listener.hear() {
        left -= 1;
    }
    (0..spins).for_each(|_| spin_loop());
    child.kill().unwrap();
    // What it said before it died counts.
    while listener.hear() {}
    let status = child.wait().unwrap();
    assert!(!status.success() && status.code().is_none(), "the child ended by itself: {status}");
    listener
}

impl Listener<'_> {
    /// Reads what is said next; `false` if nothing more will be.
    fn hear(&mut self) -> bool {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        if !line.ends_with('\n') {
            return false;
        }
        if line == "open\n" {
            // Unless it has been killed by now.
            if let Err(error) = Embedded::open(self.file) {
                assert!(matches!(&error, OpenError::InUse { path } if path == self.file), "{error}");
                self.refused = true;
            }
        }
        if let Some(answer) = line.strip_prefix("answered ") {
            let words: Vec<_> = answer.split_whitespace().collect();
            let [id, epoch, seq] = *words else { panic!("{line:?}") };
            self.answered.insert(id.parse().unwrap(), (epoch.parse().unwrap(), seq.parse().unwrap()));
        }
        true
    }
}

/// Checks that a saga is what it has to be, and gives back how many records it has.
fn check_records(id: SagaId, stored: &[Stored]) -> u64 {
    let mut epoch = 1;
    for (at, stored) in (1..).zip(stored) {
        assert_eq!(stored.seq, at, "{id} has a gap");
        assert_eq!(stored.bytes, record(id, at), "record {at} of {id} has changed");
        assert!(stored.epoch >= epoch, "{id} has record {at} of an older epoch than that before it");
        epoch = stored.epoch;
    }
    let seq = stored.len() as u64;
    let mut whole = 0;
    while whole < seq {
        whole += length(id, whole);
    }
    assert_eq!(whole, seq, "{id} has a part of a batch");
    seq
}

/// Opens the file as after a crash, and looks for all that was answered.
async fn check(file: &Path, answered: &Answers) {
    let journal = Embedded::open(file).unwrap();
    let all = journal.list(Filter::default(), None, usize::MAX).await.unwrap();
    let mut running = BTreeSet::new();
    let mut seen = Answers::new();
    for summary in all {
        let seq = check_records(summary.id, &journal.load(summary.id).await.unwrap());
        assert_eq!(summary.seq, seq, "{summary:?} has {seq} records");
        assert_eq!(summary.phase.is_ended(), seq >= whole(summary.id), "{summary:?}");
        if summary.phase.is_running() {
            running.insert(summary.id);
        }
        seen.insert(summary.id, (summary.epoch, seq));
    }
    for (id, (epoch, seq)) in answered {
        let Some((seen_epoch, seen_seq)) = seen.get(id) else { panic!("saga {id} is gone") };
        assert!(seen_seq >= seq, "saga {id} had {seq} records, and has {seen_seq}");
        assert!(seen_epoch >= epoch, "saga {id} had epoch {epoch}, and has {seen_epoch}");
    }
    let claimed = journal.claim(claim(usize::MAX)).await.unwrap();
    let claimed: BTreeSet<_> = claimed.iter().map(|claimed| claimed.grant.id).collect();
    assert_eq!(claimed, running, "who runs is not who is claimed");
    for (id, (epoch, seq)) in seen {
        let late = Grant { id, epoch, seq };
        let late = journal.append(late, batch(id, seq)).await;
        assert!(late.is_err(), "an owner that was killed has added to {id}");
    }
    journal.close().await;
}

#[tokio::test]
async fn what_was_answered_outlives_the_process() {
    let kills = env::var("MAINSTAY_SAGA_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let seed = env::var("MAINSTAY_SAGA_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("MAINSTAY_SAGA_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let directory = Directory::new("kill");
    let mut answered = Answers::new();
    let (mut answers, mut refused) = (0, 0);
    for kill in 0..kills {
        let file = directory.file(&format!("{}.redb", kill / KILLS_OF_ONE_FILE));
        if kill % KILLS_OF_ONE_FILE == 0 {
            answered.clear();
        }
        let said = run_and_kill(&file, random.random_range(0..ANSWERS), random.random_range(0..1_000_000));
        answers += said.answered.len();
        refused += u32::from(said.refused);
        answered.extend(said.answered);
        check(&file, &answered).await;
    }
    assert!(refused > kills / 4, "of {kills} children, {refused} had the file for themselves");
    // Children that were killed before they did anything would prove nothing.
    assert!(answers / SAGAS > kills as usize / 4, "in {kills} kills there were answers of {answers} sagas");
}

#[tokio::test]
async fn who_is_killed_while_it_makes_the_file_spoils_nothing() {
    let mut random = StdRng::from_rng(&mut rand::rng());
    let directory = Directory::new("kill-new");
    // How many were killed before they had answered anything, and after: how long a process takes to begin is not known here.
    let (mut early, mut late) = (0, 0);
    while early < KILLS_OF_EACH_KIND || late < KILLS_OF_EACH_KIND {
        assert!(early + late < 20 * KILLS_OF_EACH_KIND, "{early} early, {late} late");
        let file = directory.file(&format!("{}.redb", early + late));
        // From before the process has begun to after it has opened the file.
        let said = run_and_kill(&file, random.random_range(0..3), random.random_range(0..3_000_000));
        *(if said.answered.is_empty() { &mut early } else { &mut late }) += 1;
        check(&file, &said.answered).await;
    }
}
