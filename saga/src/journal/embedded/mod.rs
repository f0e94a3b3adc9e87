//! The journal in one file.

mod change;
mod config;
mod error;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(not(feature = "metrics"))]
#[path = "metrics_off.rs"]
mod metrics;
mod owners;
#[cfg(feature = "testkit")]
mod raw;
mod row;
mod store;
mod tables;
#[cfg(test)]
mod tests;
mod writer;

#[cfg(feature = "testkit")]
pub use self::raw::RawCommits;
pub use self::{config::EmbeddedConfig, error::OpenError};

use self::{
    change::{Answer, Change},
    metrics::BatchSizes,
    owners::Owners,
    store::{Opener, Store},
    writer::{Asked, Message, Writer},
};
use super::{
    Batch, Claim, Claimed, Created, Filter, Grant, Journal, JournalError, JournalFuture, NewSaga, Stored, Summary,
};
use crate::{SagaId, Timestamp};
use redb::{Error, ReadTransaction, ReadableDatabase};
use std::{
    fmt::{self, Debug, Formatter},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    thread::{self, JoinHandle},
};
use tokio::sync::{mpsc, oneshot};

/// The form of the file.
const FORMAT: u64 = 1;

/// A journal in one file of this machine, durable when it answers.
///
/// What waits at the same time is written in one commit, with one `fsync`, and answered after it. So one saga alone takes an
/// `fsync` for each append, and a thousand together take hardly more. Reads see what has been committed, and wait for no commit.
///
/// One process has the file open at a time; a second one is told so by [`OpenError::InUse`]. When it is opened again, all sagas
/// that run are found by [`claim`](Journal::claim), apart from those that were given back to wait.
///
/// Clones are the same journal.
///
/// # What is lost in which crash
///
/// | what ends | what was answered | what was asked for and not answered |
/// | --- | --- | --- |
/// | the process | is there | is there, or is not, whole |
/// | the machine, whose disk keeps what an `fsync` has said | is there | is there, or is not, whole |
/// | the machine, whose disk does not | may be gone | may be gone |
///
/// # Errors
///
/// A request alone fails for what is wrong with it: [`Fenced`](JournalError::Fenced), [`Conflict`](JournalError::Conflict) and
/// [`NotFound`](JournalError::NotFound) leave others in the same commit alone. If there is no room, all in the commit are told
/// [`Full`](JournalError::Full), nothing of it was done, and the journal works again when there is room; while there is not even room
/// to open the file again and see, they are told [`Ambiguous`](JournalError::Ambiguous). After any other failure of the
/// file all are told `Ambiguous`, and the journal is closed: what an operating system shows of a file after a failed `fsync` may differ
/// from what is on the disk, so nothing more is answered.
///
/// # Cancel safety
///
/// A future that is dropped before it waits for the commit has asked for nothing. Later, what it asked for is done; a saga that it
/// made or claimed is nobody's.
///
/// # Examples
///
/// ```
/// use mainstay_saga::journal::{Embedded, Filter, Journal, OpenError};
///
/// # let directory = std::env::temp_dir().join(format!("mainstay-saga-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&directory)?;
/// # let path = directory.join("sagas.redb");
/// # tokio_test::block_on(async {
/// let journal = Embedded::open(&path)?;
/// assert!(journal.list(Filter::default(), None, 10).await?.is_empty());
///
/// let error = Embedded::open(&path).unwrap_err();
/// assert!(matches!(error, OpenError::InUse { .. }));
/// journal.close().await;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// # std::fs::remove_dir_all(directory)?;
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Embedded(Arc<Shared>);

struct Shared {
    path: PathBuf,
    // In this order: the threads end when nobody can ask them any more.
    writes: mpsc::Sender<Message>,
    reads: mpsc::Sender<Read>,
    #[cfg(feature = "metrics")]
    sizes: BatchSizes,
    _threads: Threads,
}

/// Joined when dropped.
struct Threads(Vec<JoinHandle<()>>);

impl Drop for Threads {
    fn drop(&mut self) {
        for thread in self.0.drain(..) {
            // One that panicked has closed the journal; there is nobody left to be told.
            drop(thread.join());
        }
    }
}

impl Debug for Embedded {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("path", &self.0.path).finish_non_exhaustive()
    }
}

/// Something that is read from the file as it stands.
type Read = Box<dyn FnOnce(&Store) + Send>;

impl Embedded {
    /// Opens a file, with the settings of [`EmbeddedConfig::default`], and makes it if there is none.
    ///
    /// It blocks until the file is open: after a crash, until all of it has been read and checked. Its directory must exist.
    ///
    /// # Errors
    ///
    /// If it is open already, is something else, or cannot be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_with(path, EmbeddedConfig::default())
    }

    /// As [`open`](Self::open), with these settings.
    ///
    /// # Errors
    ///
    /// As there, and if a setting cannot work.
    pub fn open_with(path: impl AsRef<Path>, config: EmbeddedConfig) -> Result<Self, OpenError> {
        config.check()?;
        let path = path.as_ref().to_owned();
        let opener = store::file(&path, config.cache)?;
        Self::start(path, config, opener)
    }

    fn start(path: PathBuf, config: EmbeddedConfig, opener: Opener) -> Result<Self, OpenError> {
        let (database, commits) = store::open(&path, &opener)?;
        let store = Arc::new(RwLock::new(Store::Open(database)));
        let (writes, to_write) = mpsc::channel(config.queue);
        let (reads, to_read) = mpsc::channel(config.queue);
        let sizes = BatchSizes::new();
        let thread = Writer {
            store: Arc::clone(&store),
            opener,
            owners: Owners::default(),
            commits,
            quick_repair: config.quick_repair,
            most: config.queue,
            sizes: sizes.clone(),
        };
        let threads = [
            spawn("saga-journal", move || thread.run(to_write)),
            spawn("saga-journal-read", move || read(&store, to_read)),
        ];
        let threads = threads.into_iter().collect::<Result<_, _>>();
        let threads = threads.map_err(|error| OpenError::Failed { path: path.clone(), error: error.into() })?;
        Ok(Self(Arc::new(Shared {
            path,
            writes,
            reads,
            #[cfg(feature = "metrics")]
            sizes,
            _threads: Threads(threads),
        })))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Takes the recorder of metrics that is installed when the next commit is counted.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn rebind_metrics(&self) {
        self.0.sizes.rebind();
    }

    /// Does what was asked before, closes the file and lets go of it. Later requests, also of clones, are told
    /// [`Closed`](JournalError::Closed).
    ///
    /// Dropping the last clone does the same, and blocks its thread until it is done: for a commit or two.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped, the file may or may not be closed.
    pub async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.0.writes.send(Message::Close(reply)).await.is_ok() {
            // If the thread has ended without an answer, the file is closed too.
            drop(closed.await);
        }
    }

    /// Asks for something that is part of a commit.
    async fn write<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Change<'_>) -> Answer<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (reply, answer) = oneshot::channel();
        let job = Message::Job(Asked::boxed(act, reply));
        self.0.writes.send(job).await.map_err(|_| JournalError::Closed)?;
        // Whoever is not answered was still in the queue when the journal closed.
        answer.await.map_err(|_| JournalError::Closed)?
    }

    /// Asks for something that changes nothing.
    async fn read<T: Send + 'static>(
        &self,
        act: impl FnOnce(&ReadTransaction) -> Answer<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (reply, answer) = oneshot::channel();
        let read: Read = Box::new(move |store| {
            let result = look(store, act);
            // Nobody waits any more: then it was read in vain.
            drop(reply.send(result));
        });
        self.0.reads.send(read).await.map_err(|_| JournalError::Closed)?;
        answer.await.map_err(|_| JournalError::Closed)?
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.into()).spawn(run)
}

/// The thread that reads.
fn read(store: &RwLock<Store>, mut queue: mpsc::Receiver<Read>) {
    while let Some(read) = queue.blocking_recv() {
        read(&store.read().unwrap_or_else(PoisonError::into_inner));
    }
}

fn look<T>(store: &Store, act: impl FnOnce(&ReadTransaction) -> Answer<T>) -> Result<T, JournalError> {
    let database = match store {
        Store::Open(database) => database,
        Store::Full => {
            return Err(JournalError::Transient("the disk is full, and the journal is not open again".into()));
        }
        Store::Closed => return Err(JournalError::Closed),
    };
    let look = || -> Answer<T> { act(&database.begin_read()?) };
    // The database panics on a file that has been damaged.
    match catch_unwind(AssertUnwindSafe(look)) {
        Ok(Ok(result)) => result,
        Ok(Err(Error::Corrupted(error))) => Err(JournalError::Corrupt(error.into())),
        Ok(Err(error)) => Err(JournalError::Transient(error.into())),
        Err(_) => Err(JournalError::Corrupt("the database panicked".into())),
    }
}

impl Journal for Embedded {
    fn create(&self, new: NewSaga, batch: Batch) -> JournalFuture<'_, Created> {
        Box::pin(async move { Ok(self.write(move |change| change.create(&new, &batch)).await?.receive()) })
    }

    fn append(&self, grant: Grant, batch: Batch) -> JournalFuture<'_, Grant> {
        Box::pin(self.write(move |change| change.append(grant, &batch)))
    }

    fn load(&self, id: SagaId) -> JournalFuture<'_, Vec<Stored>> {
        Box::pin(self.read(move |transaction| tables::load(transaction, id)))
    }

    fn claim(&self, claim: Claim) -> JournalFuture<'_, Vec<Claimed>> {
        Box::pin(async move { Ok(self.write(move |change| change.claim(&claim)).await?.receive()) })
    }

    fn claim_one(&self, id: SagaId) -> JournalFuture<'_, Claimed> {
        Box::pin(async move { Ok(self.write(move |change| change.claim_one(id)).await?.receive()) })
    }

    fn release(&self, grant: Grant, wake_at: Option<Timestamp>) -> JournalFuture<'_, ()> {
        Box::pin(self.write(move |change| change.release(grant, wake_at)))
    }

    fn find(&self, id: SagaId) -> JournalFuture<'_, Option<Summary>> {
        Box::pin(async move {
            match self.read(move |transaction| tables::find(transaction, id)).await {
                Ok(summary) => Ok(Some(summary)),
                Err(JournalError::NotFound) => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    fn list(&self, filter: Filter, after: Option<SagaId>, at_most: usize) -> JournalFuture<'_, Vec<Summary>> {
        Box::pin(self.read(move |transaction| Ok(Ok(tables::list(transaction, &filter, after, at_most)?))))
    }

    fn purge(&self, ended_before: Timestamp, at_most: usize) -> JournalFuture<'_, u64> {
        Box::pin(self.write(move |change| change.purge(ended_before, at_most)))
    }
}
