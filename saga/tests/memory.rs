//! The journal in memory keeps what it says, and no more.

use allocation_counter::measure;
use mainstay_saga::{
    SagaId, Timestamp,
    journal::{Batch, Created, Filter, Grant, Journal, JournalError, Memory, NewSaga, Phase},
};
use tokio_test::block_on;

const fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn new_saga(number: u64) -> NewSaga {
    let id = SagaId::from_u128(u128::from(number));
    NewSaga { id, saga: "order".into(), version: 1, key: number.to_string().into(), at: at(number) }
}

fn batch(number: u64, phase: Phase) -> Batch {
    Batch { records: vec![vec![7; 100]; 2], nonce: number, phase, at: at(number) }
}

async fn run(journal: &Memory, number: u64) -> Result<Grant, JournalError> {
    let Created::New(grant) = journal.create(new_saga(number), batch(1, Phase::Forward)).await? else {
        panic!("saga {number} is there already")
    };
    let grant = journal.append(grant, batch(2, Phase::Backward)).await?;
    journal.append(grant, batch(3, Phase::Compensated)).await
}

async fn run_all(journal: &Memory, numbers: std::ops::Range<u64>) {
    for number in numbers {
        run(journal, number).await.unwrap();
    }
}

#[test]
fn a_finished_saga_leaves_no_memory_behind() {
    for keep in [0, 16, 1_024] {
        let journal = Memory::with_ended(keep);
        block_on(run_all(&journal, 0..15_000));
        let info = measure(|| block_on(run_all(&journal, 15_000..25_000)));
        assert!(info.count_total > 10_000, "with {keep} kept, nothing was measured");
        // A node of the map more or less.
        assert!(
            info.bytes_current.abs() < 4_096,
            "10,000 sagas, of which {keep} are kept, leave {} bytes",
            info.bytes_current
        );
    }
}

#[test]
fn a_burst_leaves_no_memory_behind() {
    let journal = Memory::with_ended(0);
    let burst = |numbers: std::ops::Range<u64>| async {
        let mut grants = Vec::new();
        for number in numbers {
            let created = journal.create(new_saga(number), batch(1, Phase::Forward)).await.unwrap();
            let Created::New(grant) = created else { panic!("saga {number} is there already") };
            journal.release(grant, Some(at(number))).await.unwrap();
            grants.push(grant);
        }
        for grant in grants {
            journal.append(grant, batch(2, Phase::Completed)).await.unwrap();
        }
    };
    block_on(burst(0..10));
    let info = measure(|| block_on(burst(10..20_010)));
    assert!(info.bytes_max > 4_000_000, "a burst of 20,000 sagas takes {} bytes", info.bytes_max);
    assert!(info.bytes_current < 16_384, "a burst of 20,000 sagas leaves {} bytes", info.bytes_current);
}

#[tokio::test]
async fn the_last_that_ended_are_found_by_their_keys() {
    let journal = Memory::with_ended(3);
    run_all(&journal, 0..5).await;
    let kept: Vec<_> = journal.list(Filter::default(), None, 10).await.unwrap();
    assert_eq!(kept.iter().map(|summary| summary.id.to_u128()).collect::<Vec<_>>(), [2, 3, 4]);
    for number in 2..5 {
        let id = new_saga(number).id;
        let again = NewSaga { id: SagaId::from_u128(100), ..new_saga(number) };
        assert_eq!(journal.create(again, batch(9, Phase::Forward)).await.unwrap(), Created::Existing(id));
        assert_eq!(journal.load(id).await.unwrap().len(), 6);
    }
    let again = NewSaga { id: SagaId::from_u128(100), ..new_saga(1) };
    assert!(matches!(journal.create(again, batch(9, Phase::Forward)).await.unwrap(), Created::New(_)));
}

#[tokio::test]
async fn a_purge_makes_room_among_those_that_are_kept() {
    let journal = Memory::with_ended(3);
    // The first to end says that it ended last.
    let Created::New(grant) = journal.create(new_saga(100), batch(1, Phase::Forward)).await.unwrap() else {
        panic!("it is empty")
    };
    journal.append(grant, Batch { at: at(2_000), ..batch(2, Phase::Completed) }).await.unwrap();
    run_all(&journal, 0..2).await;
    assert_eq!(journal.purge(at(1_000), 2).await.unwrap(), 2);
    run_all(&journal, 3..5).await;
    let kept = journal.list(Filter::default(), None, 10).await.unwrap();
    assert_eq!(kept.iter().map(|summary| summary.id.to_u128()).collect::<Vec<_>>(), [3, 4, 100]);
}

#[tokio::test]
async fn clones_are_one_journal() {
    let journal = Memory::new();
    run(&journal.clone(), 1).await.unwrap();
    assert_eq!(journal.load(SagaId::from_u128(1)).await.unwrap().len(), 6);
}

#[tokio::test]
async fn nothing_is_done_before_the_first_poll() {
    let journal = Memory::new();
    drop(journal.create(new_saga(1), batch(1, Phase::Forward)));
    assert_eq!(journal.find(SagaId::from_u128(1)).await.unwrap(), None);
}

#[tokio::test]
async fn all_may_be_kept() {
    let journal = Memory::with_ended(usize::MAX);
    run_all(&journal, 0..2_000).await;
    assert_eq!(journal.list(Filter::default(), None, usize::MAX).await.unwrap().len(), 2_000);
}
