//! A journal that breaks while it works: what those are told who asked, and who goes on.

mod shop;

use mainstay_saga::{
    AskError, Draft, Engine, Out, Outcome, Saga, SagaId, StartError, Timestamp,
    journal::{
        Batch, Claim, Claimed, Created, Filter, Grant, Journal, JournalError, JournalFuture, Memory, NewSaga, Stored,
        Summary,
    },
};
use shop::{Do, Shop, chains, engine, story};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

#[derive(Debug, Clone, Copy)]
enum Flaw {
    Panics,
    LosesAnswer,
    IsClosed,
}

/// A journal that breaks while it works.
#[derive(Default)]
struct Broken {
    memory: Memory,
    creations: Mutex<VecDeque<Flaw>>,
    appends: Mutex<VecDeque<Flaw>>,
    claims: Mutex<VecDeque<Flaw>>,
}

fn lost() -> JournalError {
    JournalError::Ambiguous("on purpose".into())
}

impl Journal for Broken {
    fn create(&self, new: NewSaga, batch: Batch) -> JournalFuture<'_, Created> {
        let flaw = self.creations.lock().unwrap().pop_front();
        Box::pin(async move {
            match flaw {
                None => self.memory.create(new, batch).await,
                Some(Flaw::Panics) => panic!("on purpose"),
                Some(Flaw::LosesAnswer) => self.memory.create(new, batch).await.and(Err(lost())),
                Some(Flaw::IsClosed) => Err(JournalError::Closed),
            }
        })
    }

    fn append(&self, grant: Grant, batch: Batch) -> JournalFuture<'_, Grant> {
        let flaw = self.appends.lock().unwrap().pop_front();
        Box::pin(async move {
            match flaw {
                None => self.memory.append(grant, batch).await,
                Some(Flaw::Panics) => panic!("on purpose"),
                Some(Flaw::LosesAnswer) => self.memory.append(grant, batch).await.and(Err(lost())),
                Some(Flaw::IsClosed) => Err(JournalError::Closed),
            }
        })
    }

    fn load(&self, id: SagaId) -> JournalFuture<'_, Vec<Stored>> {
        self.memory.load(id)
    }

    fn claim(&self, claim: Claim) -> JournalFuture<'_, Vec<Claimed>> {
        let flaw = self.claims.lock().unwrap().pop_front();
        assert!(flaw.is_none(), "on purpose");
        self.memory.claim(claim)
    }

    fn claim_one(&self, id: SagaId) -> JournalFuture<'_, Claimed> {
        self.memory.claim_one(id)
    }

    fn release(&self, grant: Grant, wake_at: Option<Timestamp>) -> JournalFuture<'_, ()> {
        self.memory.release(grant, wake_at)
    }

    fn find(&self, id: SagaId) -> JournalFuture<'_, Option<Summary>> {
        self.memory.find(id)
    }

    fn list(&self, filter: Filter, after: Option<SagaId>, at_most: usize) -> JournalFuture<'_, Vec<Summary>> {
        self.memory.list(filter, after, at_most)
    }

    fn purge(&self, ended_before: Timestamp, at_most: usize) -> JournalFuture<'_, u64> {
        self.memory.purge(ended_before, at_most)
    }
}

#[tokio::test(start_paused = true)]
async fn start_whose_answer_was_lost_before_the_journal_closed_is_in_doubt() {
    let shop = Shop::new();
    let journal = Arc::new(Broken::default());
    let engine = engine(&shop, Arc::clone(&journal)).await;
    journal.creations.lock().unwrap().extend([Flaw::LosesAnswer, Flaw::IsClosed, Flaw::IsClosed]);
    let error = engine.start(&chains(), "1", 10).await.unwrap_err();
    assert!(matches!(error, StartError::Journal(JournalError::Ambiguous(_))), "it is there: {error:?}");
    assert_eq!(journal.memory.list(Filter::default(), None, 10).await.unwrap().len(), 1);
    let error = engine.start(&chains(), "2", 10).await.unwrap_err();
    assert!(matches!(error, StartError::Journal(JournalError::Closed)), "nothing was done: {error:?}");
}

#[tokio::test(start_paused = true)]
async fn wish_whose_answer_was_lost_before_the_journal_closed_is_in_doubt() {
    let shop = Shop::new();
    let journal = Arc::new(Broken::default());
    let engine = engine(&shop, Arc::clone(&journal)).await;
    shop.plan("a", [Do::Slow]);
    let handle = engine.start(&chains(), "1", 10).await.unwrap();
    journal.appends.lock().unwrap().extend([Flaw::LosesAnswer, Flaw::IsClosed]);
    let error = engine.cancel(handle.id(), "enough").await.unwrap_err();
    assert!(matches!(error, AskError::Journal(JournalError::Ambiguous(_))), "it is there: {error:?}");
    assert!(story(&journal.memory, handle.id()).await.contains(&"cancel requested".to_owned()));
}

fn patient<'s>(mut s: Draft<'s, Shop>, number: Out<'s, u32>) -> Out<'s, u32> {
    s.wait("pause", Duration::from_secs(60));
    number
}

#[tokio::test(start_paused = true)]
async fn journal_that_panicked_once_is_asked_for_what_is_due_again() {
    let shop = Shop::new();
    let saga: Saga<Shop, u32, u32> = Saga::define("patient", 1, patient).unwrap();
    let journal = Arc::new(Broken::default());
    let engine = Engine::builder(shop, Arc::clone(&journal)).register(&saga).start().await.unwrap();
    journal.claims.lock().unwrap().push_back(Flaw::Panics);
    let handle = engine.start(&saga, "1", 10).await.unwrap();
    let outcome = tokio::time::timeout(Duration::from_secs(100), handle.outcome()).await.expect("it wakes up");
    assert_eq!(outcome.unwrap(), Outcome::Completed(10));
}

#[tokio::test(start_paused = true)]
async fn saga_whose_task_panicked_goes_on() {
    let shop = Shop::new();
    let journal = Arc::new(Broken::default());
    let engine = engine(&shop, Arc::clone(&journal)).await;
    journal.appends.lock().unwrap().push_back(Flaw::Panics);
    let handle = engine.start(&chains(), "1", 10).await.unwrap();
    let outcome =
        tokio::time::timeout(Duration::from_secs(100), handle.outcome()).await.expect("somebody goes on with it");
    assert_eq!(outcome.unwrap(), Outcome::Completed(13));
    assert_eq!(shop.calls(), ["a", "a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn start_that_panicked_is_in_doubt() {
    let shop = Shop::new();
    let journal = Arc::new(Broken::default());
    let engine = engine(&shop, Arc::clone(&journal)).await;
    journal.creations.lock().unwrap().push_back(Flaw::Panics);
    let error = engine.start(&chains(), "1", 10).await.unwrap_err();
    assert!(matches!(error, StartError::Journal(JournalError::Ambiguous(_))), "{error:?}");
    assert_eq!(engine.in_memory(), 0);
}
