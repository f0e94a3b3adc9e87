//! The journal that fails does so when and how it is told.

#![cfg(feature = "testkit")]

mod support;

use mainstay_saga::{
    SagaId, Timestamp,
    journal::{Batch, Created, Grant, Journal, JournalError, Memory, NewSaga, Phase},
    testkit::{Fault, FaultyJournal},
};
use tokio_test::{assert_pending, assert_ready, task::spawn};

const NOW: Timestamp = Timestamp::from_millis(1_000);

fn new_saga() -> NewSaga {
    NewSaga { id: SagaId::from_u128(1), saga: "order".into(), version: 1, key: "4711".into(), at: NOW }
}

fn batch(nonce: u64) -> Batch {
    Batch { records: vec![b"record".to_vec()], nonce, phase: Phase::Forward, at: NOW }
}

/// A journal with a saga of one record, written by the first write.
async fn with_a_saga() -> (FaultyJournal<Memory>, Grant) {
    let journal = FaultyJournal::new(Memory::new());
    let Created::New(grant) = journal.create(new_saga(), batch(1)).await.unwrap() else { panic!("it is empty") };
    (journal, grant)
}

async fn records(journal: &FaultyJournal<Memory>) -> usize {
    journal.get_ref().load(SagaId::from_u128(1)).await.unwrap().len()
}

#[tokio::test]
async fn only_the_write_that_was_named_fails() {
    let (journal, grant) = with_a_saga().await;
    journal.fail(3, Fault::Fails);
    let grant = journal.append(grant, batch(2)).await.unwrap();
    assert!(matches!(journal.append(grant, batch(3)).await, Err(JournalError::Transient(_))));
    assert_eq!((records(&journal).await, journal.writes()), (2, 3));
    journal.append(grant, batch(3)).await.unwrap();
    assert_eq!((records(&journal).await, journal.writes()), (3, 4));
}

#[tokio::test]
async fn full_writes_nothing() {
    let (journal, grant) = with_a_saga().await;
    journal.fail(2, Fault::Full);
    assert!(matches!(journal.append(grant, batch(2)).await, Err(JournalError::Full)));
    assert_eq!(records(&journal).await, 1);
}

#[tokio::test]
async fn a_lost_answer_is_of_something_done() {
    let (journal, grant) = with_a_saga().await;
    journal.fail(2, Fault::LosesAnswer);
    assert!(matches!(journal.append(grant, batch(2)).await, Err(JournalError::Ambiguous(_))));
    assert_eq!(records(&journal).await, 2);
    assert_eq!(journal.append(grant, batch(2)).await.unwrap(), Grant { seq: 2, ..grant });
    assert_eq!(records(&journal).await, 2);
}

#[tokio::test]
async fn an_answer_that_would_be_an_error_is_not_lost() {
    let (journal, grant) = with_a_saga().await;
    journal.fail(2, Fault::LosesAnswer);
    let refused = journal.append(Grant { seq: 7, ..grant }, batch(2)).await;
    assert!(matches!(refused, Err(JournalError::Conflict { seq: 1 })));
}

#[tokio::test]
async fn the_dead_write_nothing_and_answer_nothing() {
    for (fault, expected) in [(Fault::DiesBefore, 1), (Fault::DiesAfter, 2)] {
        let (journal, grant) = with_a_saga().await;
        journal.fail(2, fault);
        let mut died = spawn(journal.died());
        assert_pending!(died.poll());

        let mut append = spawn(journal.append(grant, batch(2)));
        assert_pending!(append.poll());
        assert!(journal.is_cut_off());
        assert!(died.is_woken());
        assert_ready!(died.poll());
        assert_pending!(spawn(journal.load(grant.id)).poll());
        assert_pending!(spawn(journal.claim_one(grant.id)).poll());
        assert_pending!(spawn(journal.append(grant, batch(3))).poll());
        assert!(!append.is_woken());
        assert_eq!(records(&journal).await, expected, "{fault:?}");
    }
}

#[tokio::test]
async fn what_is_under_way_when_the_process_dies_is_not_answered() {
    let (journal, grant) = with_a_saga().await;
    let mut append = spawn(journal.append(grant, batch(2)));
    journal.clone().cut_off();
    assert_pending!(append.poll());
    assert_eq!(records(&journal).await, 1);
}

#[cfg(feature = "redb")]
#[tokio::test]
async fn what_is_done_after_the_process_has_died_is_not_answered() {
    let directory = support::directory::Directory::new("faulty");
    let file = mainstay_saga::journal::Embedded::open(directory.file("sagas.redb")).unwrap();
    let journal = FaultyJournal::new(file);
    let mut create = spawn(journal.create(new_saga(), batch(1)));
    assert_pending!(create.poll());
    journal.cut_off();
    // The file goes on, and does what it was asked before this.
    journal.get_ref().purge(NOW, 0).await.unwrap();
    assert!(journal.get_ref().find(SagaId::from_u128(1)).await.unwrap().is_some());
    assert_pending!(create.poll());
}

#[tokio::test]
async fn creations_are_writes_too() {
    let journal = FaultyJournal::new(Memory::new());
    journal.fail(1, Fault::LosesAnswer);
    assert!(matches!(journal.create(new_saga(), batch(1)).await, Err(JournalError::Ambiguous(_))));
    assert!(matches!(journal.create(new_saga(), batch(1)).await, Ok(Created::New(_))));
    assert_eq!((records(&journal).await, journal.writes()), (1, 2));
}
