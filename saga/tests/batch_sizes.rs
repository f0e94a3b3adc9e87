//! How many requests a commit of a journal in a file serves, told to the recorder of the process.
#![cfg(all(feature = "redb", feature = "metrics"))]

mod support;

use mainstay_saga::{
    SagaId, Timestamp,
    journal::{Batch, Claim, Embedded, Journal, NewSaga, Phase},
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use support::directory::Directory;

const NOW: Timestamp = Timestamp::from_millis(1_000);

async fn create(journal: &Embedded, number: u128) {
    let id = SagaId::from_u128(number);
    let new = NewSaga { id, saga: "order".into(), version: 1, key: number.to_string().into(), at: NOW };
    let batch = Batch { records: vec![b"record".to_vec()], nonce: 1, phase: Phase::Forward, at: NOW };
    journal.create(new, batch).await.unwrap();
    // What is answered after it was counted as well. It finds nothing, so it makes no commit.
    journal.claim(Claim { definitions: [].into(), now: NOW, at_most: 1 }).await.unwrap();
}

fn told(snapshotter: &Snapshotter) -> Vec<f64> {
    let told = snapshotter.snapshot().into_vec().into_iter().map(|(key, _, _, value)| {
        assert_eq!(key.key().name(), "mainstay_saga_append_batch_size");
        let DebugValue::Histogram(values) = value else { panic!("it is no histogram") };
        values.into_iter().map(f64::from).collect::<Vec<_>>()
    });
    told.flatten().collect()
}

/// The only test of this process, since its recorder is that of all threads.
#[tokio::test]
async fn recorder_that_is_installed_later_is_told_when_it_is_bound() {
    let directory = Directory::new("batch-sizes");
    let journal = Embedded::open(directory.file("sagas.redb")).unwrap();
    create(&journal, 1).await;
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().unwrap();
    create(&journal, 2).await;
    assert!(told(&snapshotter).is_empty());
    journal.clone().rebind_metrics();
    create(&journal, 3).await;
    assert_eq!(told(&snapshotter), [1.0]);
}
