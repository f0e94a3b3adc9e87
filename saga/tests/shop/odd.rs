//! A journal in memory that is odd in one way or another.

use mainstay_saga::{
    SagaId, Timestamp,
    journal::{
        Batch, Claim, Claimed, Created, Filter, Grant, Journal, JournalError, JournalFuture, Memory, NewSaga, Stored,
        Summary,
    },
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::sleep;

/// What becomes of a look at it, by `find` or `list`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Looks {
    #[default]
    Work,
    Fail,
    Panic,
    Hang,
    /// It is closed, for claims, too.
    Closed,
    /// Claims fail, too.
    NoClaims,
}

/// What it is told to be.
#[derive(Default)]
pub(crate) struct Odd {
    pub(crate) inner: Memory,
    pub(crate) appends_panic: bool,
    pub(crate) appends_give: Option<fn() -> JournalError>,
    pub(crate) appends_take: Duration,
    /// A saga is given back at once, and the answer comes later.
    pub(crate) release_takes: Duration,
    /// The times for which sagas were given back.
    pub(crate) released: Arc<Mutex<Vec<Option<Timestamp>>>>,
    pub(crate) looks: Arc<Mutex<Looks>>,
    /// The ids after which it was listed.
    pub(crate) listed: Arc<Mutex<Vec<Option<SagaId>>>>,
}

impl Odd {
    fn look<'a, T: 'a>(&self, answer: JournalFuture<'a, T>) -> JournalFuture<'a, T> {
        let looks = *self.looks.lock().unwrap();
        match looks {
            Looks::Work => answer,
            Looks::Fail | Looks::NoClaims => Box::pin(async { Err(JournalError::Transient("on purpose".into())) }),
            Looks::Panic => Box::pin(async { panic!("on purpose") }),
            Looks::Closed => Box::pin(async { Err(JournalError::Closed) }),
            Looks::Hang => Box::pin(std::future::pending()),
        }
    }
}

impl Journal for Odd {
    fn create(&self, new: NewSaga, batch: Batch) -> JournalFuture<'_, Created> {
        self.inner.create(new, batch)
    }

    fn append(&self, grant: Grant, batch: Batch) -> JournalFuture<'_, Grant> {
        assert!(!self.appends_panic, "on purpose");
        if let Some(error) = self.appends_give {
            return Box::pin(async move { Err(error()) });
        }
        Box::pin(async move {
            sleep(self.appends_take).await;
            self.inner.append(grant, batch).await
        })
    }

    fn load(&self, id: SagaId) -> JournalFuture<'_, Vec<Stored>> {
        self.inner.load(id)
    }

    fn claim(&self, claim: Claim) -> JournalFuture<'_, Vec<Claimed>> {
        let looks = *self.looks.lock().unwrap();
        match looks {
            Looks::Closed | Looks::NoClaims => self.look(self.inner.claim(claim)),
            _ => self.inner.claim(claim),
        }
    }

    fn claim_one(&self, id: SagaId) -> JournalFuture<'_, Claimed> {
        self.inner.claim_one(id)
    }

    fn release(&self, grant: Grant, wake_at: Option<Timestamp>) -> JournalFuture<'_, ()> {
        Box::pin(async move {
            self.inner.release(grant, wake_at).await?;
            self.released.lock().unwrap().push(wake_at);
            sleep(self.release_takes).await;
            Ok(())
        })
    }

    fn find(&self, id: SagaId) -> JournalFuture<'_, Option<Summary>> {
        self.look(self.inner.find(id))
    }

    fn list(&self, filter: Filter, after: Option<SagaId>, at_most: usize) -> JournalFuture<'_, Vec<Summary>> {
        self.listed.lock().unwrap().push(after);
        self.look(self.inner.list(filter, after, at_most))
    }

    fn purge(&self, ended_before: Timestamp, at_most: usize) -> JournalFuture<'_, u64> {
        self.inner.purge(ended_before, at_most)
    }
}
