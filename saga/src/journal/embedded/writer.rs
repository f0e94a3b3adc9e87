//! The thread that writes: one commit, and one `fsync`, for all that wait.

use super::{
    change::{Answer, Change},
    metrics::BatchSizes,
    owners::Owners,
    store::{Opener, Store, is_full},
    tables::{self, Tables},
};
use crate::journal::JournalError;
use redb::{Database, Error, ReadableDatabase};
use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError, RwLock},
};
use tokio::sync::{mpsc, oneshot};

/// What the thread is told.
pub(super) enum Message {
    Job(Box<dyn Job>),
    /// What was asked before is done, and the file is closed.
    Close(oneshot::Sender<()>),
}

/// One request, in whatever it answers with.
pub(super) trait Job: Send {
    /// Does it within a commit.
    fn act(&mut self, change: &mut Change<'_>) -> Result<(), Error>;

    /// Tells how it ended, after the commit, or why there was none.
    fn answer(self: Box<Self>, failure: Option<JournalError>);
}

/// A request and who waits for it.
pub(super) struct Asked<T, F> {
    act: Option<F>,
    result: Option<Result<T, JournalError>>,
    reply: oneshot::Sender<Result<T, JournalError>>,
}

impl<T: Send + 'static, F: FnOnce(&mut Change<'_>) -> Answer<T> + Send + 'static> Asked<T, F> {
    pub(super) fn boxed(act: F, reply: oneshot::Sender<Result<T, JournalError>>) -> Box<dyn Job> {
        Box::new(Self { act: Some(act), result: None, reply })
    }
}

impl<T: Send, F: FnOnce(&mut Change<'_>) -> Answer<T> + Send> Job for Asked<T, F> {
    fn act(&mut self, change: &mut Change<'_>) -> Result<(), Error> {
        if let Some(act) = self.act.take() {
            self.result = Some(act(change)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, failure: Option<JournalError>) {
        let result = failure.map(Err).or(self.result);
        if let Some(result) = result {
            // Nobody waits any more; what the answer holds is given back when it is dropped.
            drop(self.reply.send(result));
        }
    }
}

/// Why there was no commit.
#[derive(Debug)]
enum Failure {
    /// For want of room: nothing was done, and later it may be.
    Full,
    /// For want of room, and the file cannot be opened again yet to see whether it was done.
    Unseen,
    /// Nobody knows what is on the disk.
    Broken(Arc<str>),
}

impl Failure {
    fn error(&self) -> JournalError {
        match self {
            Self::Full => JournalError::Full,
            Self::Unseen => {
                JournalError::Ambiguous("the disk is full, and the journal cannot be opened again yet".into())
            }
            Self::Broken(error) => JournalError::Ambiguous(Arc::clone(error).to_string().into()),
        }
    }
}

pub(super) struct Writer {
    pub(super) store: Arc<RwLock<Store>>,
    pub(super) opener: Opener,
    pub(super) owners: Owners,
    /// How many commits there were.
    pub(super) commits: u64,
    pub(super) quick_repair: bool,
    pub(super) most: usize,
    pub(super) sizes: BatchSizes,
}

impl Writer {
    /// Works until nobody can ask any more, or the file is closed.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        let mut jobs = Vec::new();
        let mut closed = None;
        while closed.is_none()
            && self.is_alive()
            && let Some(message) = queue.blocking_recv()
        {
            closed = gather(message, &mut queue, &mut jobs, self.most);
            if !jobs.is_empty() {
                self.serve(&mut jobs);
            }
        }
        self.set(Store::Closed);
        closed.map(|closed| closed.send(()));
    }

    fn is_alive(&self) -> bool {
        !matches!(*self.store.read().unwrap_or_else(PoisonError::into_inner), Store::Closed)
    }

    fn set(&self, store: Store) {
        let before = mem::replace(&mut *self.store.write().unwrap_or_else(PoisonError::into_inner), store);
        // A database that has panicked panics again when it is dropped; all that matters has been said by the first time.
        drop(catch_unwind(AssertUnwindSafe(|| drop(before))));
    }

    /// Does all of these in one commit, and answers after it.
    fn serve(&mut self, jobs: &mut Vec<Box<dyn Job>>) {
        let (requests, commits) = (jobs.len(), self.commits);
        let failure = self.reopen().and_then(|()| self.attempt(jobs)).err();
        if let Some(Failure::Broken(_)) = failure {
            self.set(Store::Closed);
        }
        for job in jobs.drain(..) {
            job.answer(failure.as_ref().map(Failure::error));
        }
        // Only what was written has made a commit. Who is answered does not wait for the recorder.
        if self.commits != commits {
            self.sizes.record(requests);
        }
    }

    fn attempt(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), Failure> {
        // The database panics when its file has been damaged: that must not look like a journal that was closed in order.
        match catch_unwind(AssertUnwindSafe(|| self.commit(jobs))) {
            Ok(Ok(commits)) => {
                self.commits = commits;
                Ok(())
            }
            Ok(Err(error)) if is_full(&error) => {
                // After such an error the database does nothing more until it is opened again, which also shows whether the
                // commit happened.
                self.set(Store::Full);
                self.reopen().and(Err(Failure::Full))
            }
            Ok(Err(error)) => Err(Failure::Broken(error.to_string().into())),
            Err(_) => Err(Failure::Broken("the database panicked".into())),
        }
    }

    /// Gives back how many commits there were.
    fn commit(&self, jobs: &mut [Box<dyn Job>]) -> Result<u64, Error> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        let Store::Open(database) = &*store else { return Err(Error::DatabaseClosed) };
        let mut transaction = database.begin_write()?;
        transaction.set_quick_repair(self.quick_repair);
        let mut change = Change::new(Tables::open(&transaction)?, &self.owners);
        for job in jobs {
            job.act(&mut change)?;
        }
        let (commits, owned) = change.finish()?;
        match commits {
            Some(_) => transaction.commit()?,
            None => transaction.abort()?,
        }
        owned.keep();
        Ok(commits.unwrap_or(self.commits))
    }

    /// Opens the file if it was closed for want of room.
    fn reopen(&self) -> Result<(), Failure> {
        if !matches!(*self.store.read().unwrap_or_else(PoisonError::into_inner), Store::Full) {
            return Ok(());
        }
        let database = (self.opener)().map_err(|error| not_opened(&error.into()))?;
        match count(&database) {
            Ok(commits) if commits == self.commits => {
                self.set(Store::Open(database));
                Ok(())
            }
            // All of the commit was written, so it was the `fsync` that had no room. What the operating system shows is then
            // not what is on the disk.
            Ok(_) => Err(Failure::Broken("the disk was full when the commit was to be made durable".into())),
            Err(error) => Err(not_opened(&error)),
        }
    }
}

fn not_opened(error: &Error) -> Failure {
    if is_full(error) { Failure::Unseen } else { Failure::Broken(error.to_string().into()) }
}

/// Takes what is queued. The message that closes the file is the last.
fn gather(
    first: Message,
    queue: &mut mpsc::Receiver<Message>,
    jobs: &mut Vec<Box<dyn Job>>,
    most: usize,
) -> Option<oneshot::Sender<()>> {
    let mut next = Some(first);
    while let Some(message) = next {
        match message {
            Message::Job(job) => jobs.push(job),
            Message::Close(closed) => return Some(closed),
        }
        next = if jobs.len() < most { queue.try_recv().ok() } else { None };
    }
    None
}

fn count(database: &Database) -> Result<u64, Error> {
    tables::commits(&database.begin_read()?)
}
