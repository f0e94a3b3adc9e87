//! A journal that fails on purpose.

use crate::{
    SagaId, Timestamp,
    journal::{
        Batch, Claim, Claimed, Created, Filter, Grant, Journal, JournalError, JournalFuture, NewSaga, Stored, Summary,
    },
};
use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::watch;

/// What goes wrong with one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing is done, and the caller is told [`Transient`](JournalError::Transient).
    Fails,
    /// Nothing is done, and the caller is told [`Full`](JournalError::Full).
    Full,
    /// It is done, and the caller is told [`Ambiguous`](JournalError::Ambiguous).
    LosesAnswer,
    /// Nothing is done, and the process dies: nothing is answered any more.
    DiesBefore,
    /// It is done, and the process dies.
    DiesAfter,
}

impl Fault {
    /// Each of them.
    pub const ALL: [Self; 5] = [Self::Fails, Self::Full, Self::LosesAnswer, Self::DiesBefore, Self::DiesAfter];
}

/// A journal that fails on purpose, and counts what is written.
///
/// A write is a call of [`create`](Journal::create) or [`append`](Journal::append), also one that is a repetition. Writes are counted
/// from one, in the order in which they are first polled. Clones are the same journal.
///
/// # Examples
///
/// ```
/// use mainstay_saga::{SagaId, Timestamp, journal::{Batch, Created, Journal, JournalError, Memory, NewSaga, Phase}};
/// use mainstay_saga::testkit::{Fault, FaultyJournal};
///
/// # tokio_test::block_on(async {
/// let journal = FaultyJournal::new(Memory::new());
/// journal.fail(1, Fault::LosesAnswer);
/// let now = Timestamp::from_millis(0);
/// let new = NewSaga { id: SagaId::new(now), saga: "order".into(), version: 1, key: "4711".into(), at: now };
/// let first = Batch { records: vec![b"created".to_vec()], nonce: 1, phase: Phase::Forward, at: now };
///
/// let error = journal.create(new.clone(), first.clone()).await.unwrap_err();
/// assert!(matches!(error, JournalError::Ambiguous(_)));
/// assert!(matches!(journal.create(new, first).await, Ok(Created::New(_))));
/// assert_eq!(journal.writes(), 2);
/// # });
/// ```
#[derive(Debug)]
pub struct FaultyJournal<J>(Arc<Shared<J>>);

#[derive(Debug)]
struct Shared<J> {
    inner: J,
    plan: Mutex<Plan>,
    dead: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Plan {
    writes: u64,
    faults: BTreeMap<u64, Fault>,
}

impl<J> Clone for FaultyJournal<J> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<J: Journal> FaultyJournal<J> {
    /// One that does what `inner` does, until it is told otherwise.
    pub fn new(inner: J) -> Self {
        Self(Arc::new(Shared { inner, plan: Mutex::default(), dead: watch::Sender::new(false) }))
    }

    /// Lets the write of this number go wrong.
    pub fn fail(&self, write: u64, fault: Fault) {
        self.plan(|plan| plan.faults.insert(write, fault));
    }

    /// How many writes there were.
    pub fn writes(&self) -> u64 {
        self.plan(|plan| plan.writes)
    }

    /// The process dies: nothing is answered any more, not even what has been asked.
    ///
    /// What keeps to the journal behind it, such as an engine, is then dropped, and a new one made with [`get_ref`](Self::get_ref).
    pub fn cut_off(&self) {
        self.0.dead.send_replace(true);
    }

    /// Whether the process has died.
    pub fn is_cut_off(&self) -> bool {
        *self.0.dead.borrow()
    }

    /// Waits until the process dies.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if it is dropped.
    pub async fn died(&self) {
        // The sender is in `self`, so it cannot be gone.
        drop(self.0.dead.subscribe().wait_for(|dead| *dead).await);
    }

    /// The journal behind it, which goes on.
    pub fn get_ref(&self) -> &J {
        &self.0.inner
    }

    fn plan<T>(&self, act: impl FnOnce(&mut Plan) -> T) -> T {
        act(&mut self.0.plan.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What goes wrong with the next write.
    fn next(&self) -> Option<Fault> {
        self.plan(|plan| {
            plan.writes += 1;
            plan.faults.remove(&plan.writes)
        })
    }

    /// An answer, if there is still somebody to answer.
    async fn alive<T>(&self, answer: impl Future<Output = T> + Send) -> T {
        if !self.is_cut_off() {
            let answer = answer.await;
            if !self.is_cut_off() {
                return answer;
            }
        }
        pending().await
    }

    async fn write<T>(&self, write: JournalFuture<'_, T>) -> Result<T, JournalError> {
        let act = async {
            match self.next() {
                None => write.await,
                Some(Fault::Fails) => Err(JournalError::Transient("on purpose".into())),
                Some(Fault::Full) => Err(JournalError::Full),
                Some(Fault::LosesAnswer) => write.await.and(Err(JournalError::Ambiguous("on purpose".into()))),
                Some(Fault::DiesBefore) => {
                    self.cut_off();
                    pending().await
                }
                Some(Fault::DiesAfter) => {
                    drop(write.await);
                    self.cut_off();
                    pending().await
                }
            }
        };
        self.alive(act).await
    }
}

impl<J: Journal> Journal for FaultyJournal<J> {
    fn create(&self, new: NewSaga, batch: Batch) -> JournalFuture<'_, Created> {
        Box::pin(self.write(self.0.inner.create(new, batch)))
    }

    fn append(&self, grant: Grant, batch: Batch) -> JournalFuture<'_, Grant> {
        Box::pin(self.write(self.0.inner.append(grant, batch)))
    }

    fn load(&self, id: SagaId) -> JournalFuture<'_, Vec<Stored>> {
        Box::pin(self.alive(self.0.inner.load(id)))
    }

    fn claim(&self, claim: Claim) -> JournalFuture<'_, Vec<Claimed>> {
        Box::pin(self.alive(self.0.inner.claim(claim)))
    }

    fn claim_one(&self, id: SagaId) -> JournalFuture<'_, Claimed> {
        Box::pin(self.alive(self.0.inner.claim_one(id)))
    }

    fn release(&self, grant: Grant, wake_at: Option<Timestamp>) -> JournalFuture<'_, ()> {
        Box::pin(self.alive(self.0.inner.release(grant, wake_at)))
    }

    fn find(&self, id: SagaId) -> JournalFuture<'_, Option<Summary>> {
        Box::pin(self.alive(self.0.inner.find(id)))
    }

    fn list(&self, filter: Filter, after: Option<SagaId>, at_most: usize) -> JournalFuture<'_, Vec<Summary>> {
        Box::pin(self.alive(self.0.inner.list(filter, after, at_most)))
    }

    fn purge(&self, ended_before: Timestamp, at_most: usize) -> JournalFuture<'_, u64> {
        Box::pin(self.alive(self.0.inner.purge(ended_before, at_most)))
    }
}
