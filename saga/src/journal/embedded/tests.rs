//! What the disk does, and how rows are written: both are private.

use super::{Embedded, EmbeddedConfig, row};
use crate::{
    SagaId, Timestamp,
    journal::{Batch, Claim, Created, Grant, Journal, JournalError, NewSaga, Phase, Stored, head::Head},
};
use proptest::{collection::vec, prelude::*};
use redb::{Database, StorageBackend};
use std::{
    io::{self, Error, ErrorKind},
    sync::{Arc, Mutex},
};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// A disk in memory, with what goes wrong with it. Clones are the same disk.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<Sectors>>);

#[derive(Debug, Default)]
struct Sectors {
    bytes: Vec<u8>,
    syncs: u64,
    trouble: Trouble,
}

#[derive(Debug, Clone, Copy, Default)]
enum Trouble {
    #[default]
    None,
    /// No more than so many bytes.
    Room(usize),
    /// What a sync says, after everything was written.
    Sync(ErrorKind),
    /// What a write says.
    Write(ErrorKind),
    Panic,
}

impl Disk {
    fn with<T>(&self, act: impl FnOnce(&mut Sectors) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn trouble(&self, trouble: Trouble) {
        self.with(|sectors| sectors.trouble = trouble);
    }

    fn size(&self) -> usize {
        self.with(|sectors| sectors.bytes.len())
    }

    fn open(&self) -> Embedded {
        let disk = self.clone();
        let opener = move || Database::builder().create_with_backend(disk.clone());
        Embedded::start("a disk in memory".into(), EmbeddedConfig::default(), Box::new(opener)).unwrap()
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.size() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap();
        self.with(|sectors| out.copy_from_slice(&sectors.bytes[from..from + out.len()]));
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).unwrap();
        self.with(|sectors| match sectors.trouble {
            Trouble::Room(room) if len > room => Err(ErrorKind::StorageFull.into()),
            _ => {
                sectors.bytes.resize(len, 0);
                Ok(())
            }
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|sectors| {
            sectors.syncs += 1;
            if let Trouble::Sync(kind) = sectors.trouble { Err(Error::from(kind)) } else { Ok(()) }
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap();
        self.with(|sectors| match sectors.trouble {
            Trouble::Write(kind) => Err(kind.into()),
            Trouble::Panic => panic!("on purpose"),
            _ => {
                sectors.bytes[from..from + data.len()].copy_from_slice(data);
                Ok(())
            }
        })
    }
}

fn new_saga(number: u128) -> NewSaga {
    let id = SagaId::from_u128(number);
    NewSaga { id, saga: "order".into(), version: 1, key: number.to_string().into(), at: NOW }
}

fn batch(nonce: u64) -> Batch {
    Batch { records: vec![vec![7; 2_000]; 2], nonce, phase: Phase::Forward, at: NOW }
}

async fn create(journal: &Embedded, number: u128) -> Result<Grant, JournalError> {
    match journal.create(new_saga(number), batch(1)).await? {
        Created::New(grant) => Ok(grant),
        Created::Existing(id) => panic!("{id} is there"),
    }
}

fn claim() -> Claim {
    Claim { definitions: [("order".into(), 1)].into(), now: NOW, at_most: usize::MAX }
}

async fn claimed(journal: &Embedded) -> Result<usize, JournalError> {
    Ok(journal.claim(claim()).await?.len())
}

#[tokio::test]
async fn a_commit_is_one_sync() {
    let disk = Disk::default();
    let journal = disk.open();
    let mut grant = create(&journal, 1).await.unwrap();
    let mut nonces = 2..;
    let (mut size, mut syncs, mut commits) = (0, 0, 0);
    while commits < 20 {
        // A file that grows takes a sync for that too: count from there on.
        if size != disk.size() {
            (size, syncs, commits) = (disk.size(), disk.with(|sectors| sectors.syncs), 0);
        }
        let batch = Batch { records: vec![vec![7]], ..batch(nonces.next().unwrap()) };
        grant = journal.append(grant, batch).await.unwrap();
        commits += 1;
    }
    assert_eq!(disk.with(|sectors| sectors.syncs) - syncs, commits);
}

#[tokio::test]
async fn a_full_disk_refuses_loses_nothing_and_works_again_when_there_is_room() {
    let disk = Disk::default();
    let journal = disk.open();
    disk.trouble(Trouble::Room(disk.size() + 200_000));
    let mut grants = Vec::new();
    let refused = loop {
        match create(&journal, grants.len() as u128).await {
            Ok(grant) => grants.push(grant),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, JournalError::Full), "{refused}");
    assert!(grants.len() > 3, "the disk was full from the beginning");
    // What was answered is there, and belongs to whom it belongs; what was not is not there.
    for grant in &grants {
        assert_eq!(journal.load(grant.id).await.unwrap().len(), 2);
    }
    assert_eq!(claimed(&journal).await.unwrap(), 0);
    assert_eq!(journal.find(SagaId::from_u128(grants.len() as u128)).await.unwrap(), None);
    for _ in 0..3 {
        assert!(matches!(create(&journal, 1_000).await, Err(JournalError::Full)));
    }

    disk.trouble(Trouble::None);
    create(&journal, 1_000).await.unwrap();
    for grant in &grants {
        journal.append(*grant, batch(2)).await.unwrap();
    }
    assert_eq!(claimed(&journal).await.unwrap(), 0);
    drop(journal);
    let journal = disk.open();
    for grant in &grants {
        assert_eq!(journal.load(grant.id).await.unwrap().len(), 4);
    }
    assert_eq!(claimed(&journal).await.unwrap(), grants.len() + 1);
}

#[tokio::test]
async fn who_could_not_release_is_still_the_owner() {
    let disk = Disk::default();
    let journal = disk.open();
    let grant = create(&journal, 1).await.unwrap();
    disk.trouble(Trouble::Write(ErrorKind::StorageFull));
    assert!(journal.release(grant, Some(NOW)).await.is_err());
    disk.trouble(Trouble::None);
    assert_eq!(claimed(&journal).await.unwrap(), 0);
    journal.append(grant, batch(2)).await.unwrap();
}

#[tokio::test]
async fn who_could_not_claim_owns_nothing() {
    let disk = Disk::default();
    let journal = disk.open();
    for number in 0..5 {
        let grant = create(&journal, number).await.unwrap();
        journal.release(grant, Some(NOW)).await.unwrap();
    }
    disk.trouble(Trouble::Write(ErrorKind::StorageFull));
    let refused = claimed(&journal).await;
    assert!(refused.is_err(), "{refused:?} are claimed");
    disk.trouble(Trouble::None);
    assert_eq!(claimed(&journal).await.unwrap(), 5);
}

#[tokio::test]
async fn a_disk_that_is_full_when_it_has_to_be_durable_is_not_believed() {
    let disk = Disk::default();
    let journal = disk.open();
    let grant = create(&journal, 1).await.unwrap();
    disk.trouble(Trouble::Sync(ErrorKind::StorageFull));
    let lost = journal.append(grant, batch(2)).await;
    assert!(matches!(lost, Err(JournalError::Ambiguous(_))), "{lost:?}");
    disk.trouble(Trouble::None);
    // All of the commit was written and is seen, and yet nobody knows whether it is on the disk.
    let unsure = journal.append(grant, batch(2)).await;
    assert!(matches!(unsure, Err(JournalError::Ambiguous(_))), "{unsure:?}");
    assert!(matches!(journal.append(grant, batch(2)).await, Err(JournalError::Closed)));
}

#[tokio::test]
async fn a_disk_that_fails_closes_the_journal() {
    for trouble in [Trouble::Sync(ErrorKind::Other), Trouble::Write(ErrorKind::Other), Trouble::Panic] {
        let disk = Disk::default();
        let journal = disk.open();
        let grant = create(&journal, 1).await.unwrap();
        disk.trouble(trouble);
        let lost = journal.append(grant, batch(2)).await;
        assert!(matches!(lost, Err(JournalError::Ambiguous(_))), "{trouble:?}: {lost:?}");
        disk.trouble(Trouble::None);
        let closed = journal.append(grant, batch(2)).await;
        assert!(matches!(closed, Err(JournalError::Closed)), "{trouble:?}: {closed:?}");
        assert!(matches!(journal.load(grant.id).await, Err(JournalError::Closed)), "{trouble:?}");
        drop(journal);

        let journal = disk.open();
        let before = journal.load(grant.id).await.unwrap().len();
        assert!([2, 4].contains(&before), "{trouble:?}: {before} records");
        assert_eq!(journal.append(grant, batch(2)).await.unwrap().seq, 4, "{trouble:?}");
        assert_eq!(journal.load(grant.id).await.unwrap().len(), 4, "{trouble:?}");
    }
}

#[cfg(feature = "metrics")]
mod sizes {
    //! The thread that writes is run in that of the test, where a recorder can be installed for it alone.

    use super::{
        super::{
            change::Change,
            metrics::BatchSizes,
            owners::Owners,
            store::{self, Opener, Store},
            writer::{Asked, Message, Writer},
        },
        *,
    };
    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};
    use std::{path::Path, sync::RwLock};
    use tokio::sync::{mpsc, oneshot};

    type Reply = oneshot::Receiver<Result<(), JournalError>>;

    /// Makes these sagas, so many at most in one commit.
    fn write(disk: &Disk, sizes: &BatchSizes, numbers: &[u128], most: usize) -> Vec<Reply> {
        let trouble = disk.with(|sectors| std::mem::take(&mut sectors.trouble));
        let file = disk.clone();
        let opener: Opener = Box::new(move || Database::builder().create_with_backend(file.clone()));
        let (database, commits) = store::open(Path::new("a disk in memory"), &opener).unwrap();
        let (writes, queue) = mpsc::channel(100);
        let ask = |&number: &u128| {
            let (reply, answer) = oneshot::channel();
            let act = move |change: &mut Change<'_>| {
                let created = change.create(&new_saga(number), &batch(1))?;
                Ok(created.map(|created| {
                    created.receive();
                }))
            };
            assert!(writes.try_send(Message::Job(Asked::boxed(act, reply))).is_ok());
            answer
        };
        let answers = numbers.iter().map(ask).collect();
        drop(writes);
        disk.trouble(trouble);
        let store = Arc::new(RwLock::new(Store::Open(database)));
        let (owners, sizes) = (Owners::default(), sizes.clone());
        Writer { store, opener, owners, commits, quick_repair: false, most, sizes }.run(queue);
        answers
    }

    fn told(recorder: &DebuggingRecorder) -> Vec<f64> {
        let told = recorder.snapshotter().snapshot().into_vec().into_iter().map(|(key, _, _, value)| {
            assert_eq!((key.key().name(), key.key().labels().count()), ("mainstay_saga_append_batch_size", 0));
            let DebugValue::Histogram(values) = value else { panic!("it is no histogram") };
            values.into_iter().map(f64::from).collect::<Vec<_>>()
        });
        told.flatten().collect()
    }

    #[test]
    fn a_commit_tells_how_many_requests_it_served() {
        let (disk, sizes, recorder) = (Disk::default(), BatchSizes::new(), DebuggingRecorder::new());
        let write = |numbers: &[u128], most| {
            metrics::with_local_recorder(&recorder, || write(&disk, &sizes, numbers, most));
            told(&recorder)
        };
        assert_eq!(write(&[1, 2, 3, 4, 5], 2), [2.0, 2.0, 1.0]);
        assert_eq!(write(&[6, 7, 8], 100), [3.0]);
        // Served, though not granted.
        assert_eq!(write(&[8, 9], 100), [2.0]);
        assert!(write(&[9], 100).is_empty(), "nothing is written");
        disk.trouble(Trouble::Write(ErrorKind::StorageFull));
        assert!(write(&[10], 100).is_empty(), "it did not succeed");
    }

    #[test]
    fn a_recorder_that_comes_later_is_told_from_then_on() {
        let (disk, sizes) = (Disk::default(), BatchSizes::new());
        let (first, second) = (DebuggingRecorder::new(), DebuggingRecorder::new());
        let write = |recorder, number| {
            metrics::with_local_recorder(recorder, || write(&disk, &sizes, &[number], 100));
            (told(&first), told(&second))
        };
        assert_eq!(write(&first, 1), (vec![1.0], vec![]));
        assert_eq!(write(&second, 2), (vec![1.0], vec![]), "it is not looked up each time");
        sizes.rebind();
        assert_eq!(write(&second, 3), (vec![], vec![1.0]));
    }

    struct Panics;

    impl Recorder for Panics {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            Counter::noop()
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            panic!("on purpose")
        }
    }

    #[test]
    fn a_recorder_that_panics_does_not_close_the_journal() {
        let (disk, sizes) = (Disk::default(), BatchSizes::new());
        let answers = metrics::with_local_recorder(&Panics, || write(&disk, &sizes, &[1, 2], 1));
        for mut answer in answers {
            answer.try_recv().unwrap().unwrap();
        }
    }
}

fn phases() -> impl Strategy<Value = Phase> {
    prop::sample::select(row::PHASES.to_vec())
}

fn heads() -> impl Strategy<Value = Head> {
    let texts = (".{0,80}", any::<u32>(), ".{0,300}", phases());
    (texts, any::<[u64; 6]>(), any::<Option<u64>>()).prop_map(|((saga, version, key, phase), numbers, wake_at)| {
        let [epoch, seq, base, nonce, created_at, updated_at] = numbers;
        let [created_at, updated_at] = [created_at, updated_at].map(Timestamp::from_millis);
        let wake_at = wake_at.map(Timestamp::from_millis);
        Head {
            saga: saga.into(),
            version,
            key: key.into(),
            phase,
            epoch,
            seq,
            base,
            nonce,
            created_at,
            updated_at,
            wake_at,
        }
    })
}

fn batches() -> impl Strategy<Value = Batch> {
    (vec(vec(any::<u8>(), 0..50), 0..6), any::<u64>(), any::<u64>()).prop_map(|(records, nonce, at)| Batch {
        records,
        nonce,
        phase: Phase::Forward,
        at: Timestamp::from_millis(at),
    })
}

const ID: SagaId = SagaId::from_u128(1);

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_head_is_read_as_it_was_written(head in heads()) {
        prop_assert_eq!(row::head(ID, &row::of_head(&head)).unwrap(), head);
    }

    #[test]
    fn a_batch_is_read_as_it_was_written(epoch: u64, batch in batches(), before in 0_u64..5) {
        let one = |seq| Stored { seq, epoch: 1, at: NOW, bytes: Vec::new() };
        let mut stored: Vec<_> = (1..=before).map(one).collect();
        row::batch(ID, before + 1, &row::of_batch(epoch, &batch), &mut stored).unwrap();
        let read = &stored[usize::try_from(before).unwrap()..];
        prop_assert_eq!(read.len(), batch.records.len());
        for ((seq, read), bytes) in (before + 1..).zip(read).zip(&batch.records) {
            prop_assert_eq!(read, &Stored { seq, epoch, at: batch.at, bytes: bytes.clone() });
        }
    }

    #[test]
    fn a_head_that_is_cut_or_longer_is_refused(head in heads(), cut: prop::sample::Index) {
        let mut bytes = row::of_head(&head);
        prop_assert!(row::head(ID, &bytes[..cut.index(bytes.len())]).is_err());
        bytes.push(0);
        prop_assert!(row::head(ID, &bytes).is_err());
    }

    #[test]
    fn bytes_of_whatever_kind_are_read_or_refused(mut bytes in vec(any::<u8>(), 0..200), as_written: bool) {
        if as_written && let Some(form) = bytes.first_mut() {
            *form = 1;
        }
        let _ = row::head(ID, &bytes);
        let _ = row::batch(ID, 1, &bytes, &mut Vec::new());
    }

    #[test]
    fn a_row_that_was_changed_is_read_or_refused(head in heads(), batch in batches(), at: prop::sample::Index, to: u8) {
        for mut bytes in [row::of_head(&head), row::of_batch(1, &batch)] {
            let at = at.index(bytes.len());
            bytes[at] = to;
            let _ = row::head(ID, &bytes);
            let _ = row::batch(ID, 1, &bytes, &mut Vec::new());
        }
    }
}
