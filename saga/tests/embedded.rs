//! The file of the embedded journal: opening, closing, damage, and how many commits it takes.

#![cfg(feature = "redb")]

mod support;

use futures_util::future::join_all;
use mainstay_saga::{
    SagaId, Timestamp,
    journal::{
        Batch, Claim, Created, Embedded, EmbeddedConfig, Filter, Grant, Journal, JournalError, NewSaga, OpenError,
        Phase,
    },
};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::{fs, path::Path, sync::Arc, thread};
use support::directory::Directory;
use tokio_test::{assert_pending, task::spawn};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

// The tables as they are in the file.
const HEADS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("heads");
const BATCHES: TableDefinition<'_, (u128, u64), &[u8]> = TableDefinition::new("batches");
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");

fn new_saga(number: u128) -> NewSaga {
    let id = SagaId::from_u128(number);
    NewSaga { id, saga: "order".into(), version: 1, key: number.to_string().into(), at: NOW }
}

fn batch(nonce: u64) -> Batch {
    Batch { records: vec![b"one".to_vec(), b"two".to_vec()], nonce, phase: Phase::Forward, at: NOW }
}

async fn create(journal: &Embedded, number: u128) -> Grant {
    match journal.create(new_saga(number), batch(1)).await.unwrap() {
        Created::New(grant) => grant,
        Created::Existing(id) => panic!("{id} is there"),
    }
}

fn claim() -> Claim {
    Claim { definitions: [("order".into(), 1)].into(), now: NOW, at_most: usize::MAX }
}

/// Changes the file behind the journal's back.
fn tamper(file: &Path, tamper: impl FnOnce(&redb::WriteTransaction)) {
    let database = Database::open(file).unwrap();
    let transaction = database.begin_write().unwrap();
    tamper(&transaction);
    transaction.commit().unwrap();
}

fn commits(file: &Path) -> u64 {
    let database = Database::open(file).unwrap();
    let about = database.begin_read().unwrap().open_table(ABOUT).unwrap();
    about.get("commits").unwrap().map_or(0, |commits| commits.value())
}

#[tokio::test]
async fn a_second_open_is_told_which_file_is_in_use() {
    let directory = Directory::new("second");
    let file = directory.file("sagas.redb");
    let journal = Embedded::open(&file).unwrap();
    let error = Embedded::open(&file).unwrap_err();
    assert!(matches!(&error, OpenError::InUse { path } if *path == file), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!("the journal {} is already open, here or in another process", file.display())
    );
    // The first one is none the worse.
    create(&journal, 1).await;
}

#[test]
fn of_many_who_make_the_file_one_has_it() {
    const RIVALS: usize = 8;
    for _ in 0..10 {
        let directory = Directory::new("rivals");
        let file = directory.file("sagas.redb");
        let opened: Vec<_> = thread::scope(|scope| {
            let rivals: Vec<_> = (0..RIVALS).map(|_| scope.spawn(|| Embedded::open(&file))).collect();
            rivals.into_iter().map(|rival| rival.join().unwrap()).collect()
        });
        let refused = opened.iter().filter(|opened| matches!(opened, Err(OpenError::InUse { .. }))).count();
        assert_eq!(refused, RIVALS - 1, "{opened:?}");
        drop(opened);
        let left: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [file]);
    }
}

#[tokio::test]
async fn an_empty_file_is_a_journal_without_sagas() {
    let directory = Directory::new("empty");
    let file = directory.file("sagas.redb");
    fs::write(&file, []).unwrap();
    let journal = Embedded::open(&file).unwrap();
    create(&journal, 1).await;
}

#[test]
fn a_file_of_something_else_is_refused_and_left_as_it_is() {
    let directory = Directory::new("else");
    let text = directory.file("text");
    fs::write(&text, "no journal, and longer than the first page of one: ".repeat(1_000)).unwrap();
    let before = fs::read(&text).unwrap();
    let error = Embedded::open(&text).unwrap_err();
    assert!(matches!(&error, OpenError::NotAJournal { path } if *path == text), "{error:?}");
    assert_eq!(fs::read(&text).unwrap(), before);

    let other = directory.file("other.redb");
    let database = Database::create(&other).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(TableDefinition::<u64, u64>::new("heads")).unwrap().insert(1, 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = Embedded::open(&other).unwrap_err();
    assert!(matches!(&error, OpenError::NotAJournal { path } if *path == other), "{error:?}");
    let tables = Database::open(&other).unwrap().begin_read().unwrap().list_tables().unwrap().count();
    assert_eq!(tables, 1, "tables were added to a file of something else");
}

#[test]
fn a_later_form_is_refused_by_its_number() {
    let directory = Directory::new("later");
    let file = directory.file("sagas.redb");
    drop(Embedded::open(&file).unwrap());
    tamper(&file, |transaction| {
        transaction.open_table(ABOUT).unwrap().insert("form", 7).unwrap();
    });
    let error = Embedded::open(&file).unwrap_err();
    assert!(matches!(&error, OpenError::Format { path, found: 7 } if *path == file), "{error:?}");
}

#[test]
fn a_missing_directory_is_named() {
    let directory = Directory::new("missing");
    let file = directory.file("no/such/directory/sagas.redb");
    let error = Embedded::open(&file).unwrap_err();
    assert!(matches!(&error, OpenError::Failed { path, .. } if *path == file), "{error:?}");
    assert!(error.to_string().contains("no/such/directory/sagas.redb"), "{error}");
}

#[test]
fn settings_that_cannot_work_are_refused_before_the_file_is_made() {
    let directory = Directory::new("settings");
    let file = directory.file("sagas.redb");
    let config = EmbeddedConfig::default();
    for (config, setting) in [
        (config.queue(0), "queue"),
        (config.queue(usize::MAX), "queue"),
        (config.cache(0), "cache"),
        (config.cache(usize::MAX), "cache"),
    ] {
        let error = Embedded::open_with(&file, config).unwrap_err();
        assert!(matches!(&error, OpenError::InvalidConfig(error) if error.field() == setting), "{error:?}");
    }
    assert!(!file.exists());
}

#[tokio::test]
async fn closing_does_what_was_asked_before_and_nothing_after() {
    let directory = Directory::new("close");
    let file = directory.file("sagas.redb");
    let journal = Embedded::open(&file).unwrap();
    let mut asked: Vec<_> = (0..100).map(|number| spawn(journal.create(new_saga(number), batch(1)))).collect();
    for create in &mut asked {
        // It may have been answered by now.
        let _ = create.poll();
    }
    let clone = journal.clone();
    clone.close().await;
    for error in [
        clone.append(Grant { id: SagaId::from_u128(1), epoch: 1, seq: 2 }, batch(2)).await.map(drop),
        clone.load(SagaId::from_u128(1)).await.map(drop),
    ] {
        assert!(matches!(error, Err(JournalError::Closed)), "{error:?}");
    }
    // Closed twice is closed.
    clone.close().await;

    let again = Embedded::open(&file).unwrap();
    let kept = again.list(Filter::default(), None, 1_000).await.unwrap();
    assert_eq!(kept.len(), 100);
}

#[tokio::test]
async fn dropping_the_last_clone_closes_the_file() {
    let directory = Directory::new("drop");
    let file = directory.file("sagas.redb");
    let journal = Embedded::open(&file).unwrap();
    let clone = journal.clone();
    // Asked for, and never waited for.
    assert_pending!(spawn(journal.create(new_saga(1), batch(1))).poll());
    drop(journal);
    assert!(matches!(Embedded::open(&file), Err(OpenError::InUse { .. })));
    drop(clone);
    let again = Embedded::open(&file).unwrap();
    assert_eq!(again.load(SagaId::from_u128(1)).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_waits_together_is_one_commit() {
    const SAGAS: u128 = 1_000;
    let directory = Directory::new("group");
    let file = directory.file("sagas.redb");
    let journal = Embedded::open(&file).unwrap();
    let grants = join_all((0..SAGAS).map(|number| create(&journal, number))).await;
    let appends = grants.into_iter().map(|grant| journal.append(grant, batch(2)));
    assert!(join_all(appends).await.iter().all(Result::is_ok));
    journal.close().await;
    // The first of each thousand may have been alone.
    let commits = commits(&file);
    assert!((2..=8).contains(&commits), "{commits} commits for {SAGAS} sagas of two batches");
}

#[tokio::test]
async fn what_changes_nothing_is_no_commit() {
    let directory = Directory::new("nothing");
    let file = directory.file("sagas.redb");
    let journal = Embedded::open(&file).unwrap();
    let grant = create(&journal, 1).await;
    for _ in 0..10 {
        assert_eq!(journal.claim(claim()).await.unwrap(), []);
        assert_eq!(journal.purge(NOW, 10).await.unwrap(), 0);
        assert!(journal.append(Grant { seq: 9, ..grant }, batch(2)).await.is_err());
        assert!(journal.create(new_saga(1), batch(1)).await.is_ok());
    }
    journal.close().await;
    assert_eq!(commits(&file), 1);
}

#[tokio::test]
async fn a_bad_request_fails_alone_among_those_that_wait_with_it() {
    let directory = Directory::new("alone");
    let journal = Embedded::open(directory.file("sagas.redb")).unwrap();
    let grants = join_all((0..20).map(|number| create(&journal, number))).await;
    let appends = grants.iter().map(|grant| {
        let is_bad = grant.id.to_u128().is_multiple_of(3);
        journal.append(Grant { seq: if is_bad { 1 } else { 2 }, ..*grant }, batch(2))
    });
    for (grant, appended) in grants.iter().zip(join_all(appends).await) {
        let is_bad = grant.id.to_u128().is_multiple_of(3);
        assert_eq!(appended.is_err(), is_bad, "{appended:?}");
        assert_eq!(journal.load(grant.id).await.unwrap().len(), if is_bad { 2 } else { 4 });
    }
}

/// A file with three sagas that run, of which the second is to be damaged.
async fn with_three(file: &Path) -> Vec<Grant> {
    let journal = Embedded::open(file).unwrap();
    let mut grants = Vec::new();
    for number in 1..=3 {
        grants.push(journal.append(create(&journal, number).await, batch(2)).await.unwrap());
    }
    grants
}

/// The rows of a table that belong to the second.
const SECOND: SagaId = SagaId::from_u128(2);

fn is_corrupt<T>(result: &Result<T, JournalError>) -> bool {
    matches!(result, Err(JournalError::Corrupt(_)))
}

#[tokio::test]
async fn a_saga_whose_head_is_damaged_delays_no_other() {
    let directory = Directory::new("head");
    let file = directory.file("sagas.redb");
    let grants = with_three(&file).await;
    tamper(&file, |transaction| {
        transaction.open_table(HEADS).unwrap().insert(SECOND.to_u128(), &b"\x01damaged"[..]).unwrap();
    });
    let journal = Embedded::open(&file).unwrap();
    let claimed: Vec<_> = journal.claim(claim()).await.unwrap().iter().map(|claimed| claimed.grant.id).collect();
    assert_eq!(claimed, [grants[0].id, grants[2].id]);
    let listed = journal.list(Filter::default(), None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|summary| summary.id).collect::<Vec<_>>(), claimed);
    let running = Filter { phases: vec![Phase::Forward], ..Filter::default() };
    assert_eq!(journal.list(running, None, 10).await.unwrap(), listed);

    assert!(is_corrupt(&journal.find(SECOND).await));
    assert!(is_corrupt(&journal.load(SECOND).await));
    assert!(is_corrupt(&journal.claim_one(SECOND).await));
    assert!(is_corrupt(&journal.append(grants[1], batch(3)).await));
    assert!(is_corrupt(&journal.release(grants[1], None).await));
    // Its key is taken, its bytes are kept.
    let again = NewSaga { id: SagaId::from_u128(9), ..new_saga(2) };
    assert_eq!(journal.create(again, batch(1)).await.unwrap(), Created::Existing(SECOND));
    create(&journal, 10).await;
    journal.close().await;
    let database = Database::open(&file).unwrap();
    let heads = database.begin_read().unwrap().open_table(HEADS).unwrap();
    assert_eq!(heads.get(SECOND.to_u128()).unwrap().unwrap().value(), b"\x01damaged");
}

#[tokio::test]
async fn records_that_are_damaged_are_of_their_saga_alone() {
    type Tamper = fn(&mut redb::Table<'_, (u128, u64), &'static [u8]>);
    let tampers: [(&str, Tamper); 6] = [
        ("a row is moved", |batches| {
            let row = batches.remove((2, 3)).unwrap().unwrap().value().to_vec();
            batches.insert((2, 4), &*row).unwrap();
        }),
        ("a row is gone", |batches| {
            batches.remove((2, 1)).unwrap();
        }),
        ("the last row is gone", |batches| {
            batches.remove((2, 3)).unwrap();
        }),
        ("a row is cut", |batches| {
            let row = batches.get((2, 1)).unwrap().unwrap().value().to_vec();
            batches.insert((2, 1), &row[..row.len() - 1]).unwrap();
        }),
        ("a row is of a later form", |batches| {
            let row = batches.get((2, 1)).unwrap().unwrap().value().to_vec();
            batches.insert((2, 1), &*[&[9], &row[1..]].concat()).unwrap();
        }),
        ("a row is added", |batches| {
            batches.insert((2, 4), &b"more"[..]).unwrap();
        }),
    ];
    for (what, change) in tampers {
        let directory = Directory::new("records");
        let file = directory.file("sagas.redb");
        with_three(&file).await;
        tamper(&file, |transaction| change(&mut transaction.open_table(BATCHES).unwrap()));
        let journal = Embedded::open(&file).unwrap();
        let loaded = journal.load(SECOND).await;
        assert!(is_corrupt(&loaded), "{what}: {loaded:?}");
        for other in [1, 3] {
            assert_eq!(journal.load(SagaId::from_u128(other)).await.unwrap().len(), 4, "{what}");
        }
        assert_eq!(journal.claim(claim()).await.unwrap().len(), 3, "{what}");
    }
}

#[tokio::test]
async fn a_damaged_head_is_forgotten_with_its_saga() {
    let directory = Directory::new("forget");
    let file = directory.file("sagas.redb");
    let journal = Embedded::open(&file).unwrap();
    let grant = create(&journal, 2).await;
    journal.append(grant, Batch { phase: Phase::Completed, ..batch(2) }).await.unwrap();
    journal.close().await;
    tamper(&file, |transaction| {
        transaction.open_table(HEADS).unwrap().insert(SECOND.to_u128(), &b"\x01damaged"[..]).unwrap();
    });
    let journal = Embedded::open(&file).unwrap();
    assert_eq!(journal.purge(Timestamp::from_millis(u64::MAX), 10).await.unwrap(), 1);
    assert_eq!(journal.find(SECOND).await.unwrap(), None);
    assert_eq!(journal.purge(Timestamp::from_millis(u64::MAX), 10).await.unwrap(), 0);
    // Nobody can know any more whose key it was; it is found to be nobody's.
    assert_eq!(create(&journal, 2).await.seq, 2);
}

#[tokio::test]
async fn it_is_used_behind_a_pointer_too() {
    let directory = Directory::new("arc");
    let journal: Arc<dyn Journal> = Arc::new(Embedded::open(directory.file("sagas.redb")).unwrap());
    assert!(matches!(journal.create(new_saga(1), batch(1)).await, Ok(Created::New(_))));
}

#[cfg(feature = "serde")]
#[test]
fn settings_are_read_from_files() {
    let config: EmbeddedConfig = toml::from_str("queue = 7\nquick_repair = true").unwrap();
    assert_eq!(config, EmbeddedConfig::default().queue(7).quick_repair(true));
    assert!(toml::from_str::<EmbeddedConfig>("queues = 7").is_err());
}
