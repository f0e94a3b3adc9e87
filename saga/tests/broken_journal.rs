//! A journal that breaks while it works: what those are told who asked, and who goes on.

mod shop;

use futures_util::FutureExt;
use mainstay_saga::{
    AskError, CancelAck, Config, Draft, Engine, Out, Outcome, Saga, SagaId, StartError, Timestamp,
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
    /// After a second.
    PanicsLate,
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
    finds: Mutex<VecDeque<Flaw>>,
    single_claims: Mutex<VecDeque<Flaw>>,
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
                Some(Flaw::Panics | Flaw::PanicsLate) => panic!("on purpose"),
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
                Some(Flaw::PanicsLate) => {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    panic!("on purpose")
                }
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
        let flaw = self.single_claims.lock().unwrap().pop_front();
        assert!(flaw.is_none(), "on purpose");
        self.memory.claim_one(id)
    }

    fn release(&self, grant: Grant, wake_at: Option<Timestamp>) -> JournalFuture<'_, ()> {
        self.memory.release(grant, wake_at)
    }

    fn find(&self, id: SagaId) -> JournalFuture<'_, Option<Summary>> {
        let flaw = self.finds.lock().unwrap().pop_front();
        assert!(flaw.is_none(), "on purpose");
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

#[tokio::test(start_paused = true)]
async fn who_asks_a_running_saga_that_breaks_is_told_that_nobody_knows() {
    let shop = Shop::new();
    let journal = Arc::new(Broken::default());
    let engine = engine(&shop, Arc::clone(&journal)).await;
    shop.plan("a", [Do::Slow]);
    let handle = engine.start(&chains(), "1", 10).await.unwrap();
    journal.appends.lock().unwrap().push_back(Flaw::Panics);
    let error = engine.cancel(handle.id(), "enough").await.unwrap_err();
    assert!(matches!(error, AskError::Journal(JournalError::Ambiguous(_))), "the engine runs: {error:?}");
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

/// A saga that has left memory, in an engine over a journal that can break.
async fn away() -> (Arc<Broken>, Engine<Shop>, SagaId) {
    let saga: Saga<Shop, u32, u32> = Saga::define("patient", 1, patient).unwrap();
    let journal = Arc::new(Broken::default());
    let builder = Engine::builder(Shop::new(), Arc::clone(&journal)).register(&saga);
    // Nobody else looks into the journal meanwhile.
    let seldom = Config::default().poll_interval(Duration::from_secs(3_600));
    let engine = builder.config(seldom).start().await.unwrap();
    let id = engine.start(&saga, "1", 10).await.unwrap().id();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(engine.in_memory(), 0);
    (journal, engine, id)
}

#[tokio::test(start_paused = true)]
async fn who_asks_a_journal_that_panics_is_told_so_and_does_not_ask_without_end() {
    let (journal, engine, id) = away().await;
    journal.finds.lock().unwrap().extend([Flaw::Panics; 3]);
    let error = engine.cancel(id, "enough").await.unwrap_err();
    assert!(matches!(error, AskError::Journal(JournalError::Ambiguous(_))), "{error:?}");
    assert_eq!(journal.finds.lock().unwrap().len(), 2, "it is asked again by itself");
    journal.finds.lock().unwrap().clear();
    assert_eq!(engine.cancel(id, "enough").await.unwrap(), CancelAck::Accepted);
}

#[tokio::test(start_paused = true)]
async fn task_that_panics_twice_leaves_nobody_waiting_and_the_saga_to_who_asks_next() {
    let (journal, engine, id) = away().await;
    journal.finds.lock().unwrap().push_back(Flaw::Panics);
    journal.single_claims.lock().unwrap().push_back(Flaw::Panics);
    let first = tokio::time::timeout(Duration::from_secs(1), engine.cancel(id, "enough"));
    assert!(first.await.expect("somebody answers").is_err());
    tokio::task::yield_now().await;
    assert_eq!(engine.in_memory(), 0, "a task that is gone counts");
    let again = tokio::time::timeout(Duration::from_secs(1), engine.cancel(id, "enough"));
    assert_eq!(again.await.expect("somebody answers").unwrap(), CancelAck::Accepted);
}

#[test]
fn task_that_is_dropped_while_it_is_asked_answers() {
    let mut runtimes = [(); 2]
        .map(|()| Some(tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()));
    let (_, engine, id) = runtimes[0].as_ref().unwrap().block_on(away());
    let asking = engine.clone();
    let asked = async move { asking.cancel(id, "enough").await };
    let mut asked = Box::pin(asked);
    // The task of the saga is with the runtime that asks first.
    runtimes[1].as_ref().unwrap().block_on(async {
        assert!((&mut asked).now_or_never().is_none());
    });
    drop(runtimes[1].take());
    runtimes[0].as_ref().unwrap().block_on(async {
        let answer = tokio::time::timeout(Duration::from_secs(1), asked).await.expect("somebody answers");
        assert!(matches!(answer, Err(AskError::Stopped)), "{answer:?}");
        assert_eq!(engine.in_memory(), 0);
        assert_eq!(engine.cancel(id, "enough").await.unwrap(), CancelAck::Accepted);
    });
}

#[test]
fn task_that_is_dropped_before_the_saga_is_made_answers_who_waits_for_the_start() {
    let mut runtimes = [(); 2]
        .map(|()| Some(tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()));
    let shop = Shop::new();
    let engine = runtimes[0].as_ref().unwrap().block_on(engine(&shop, Memory::new()));
    let starting = engine.clone();
    let mut started = Box::pin(async move { starting.start(&chains(), "1", 10).await });
    // The task of the saga is with the runtime that starts it.
    runtimes[1].as_ref().unwrap().block_on(async {
        assert!((&mut started).now_or_never().is_none());
    });
    drop(runtimes[1].take());
    runtimes[0].as_ref().unwrap().block_on(async {
        let answer = tokio::time::timeout(Duration::from_secs(1), started).await.expect("somebody answers");
        assert!(matches!(answer, Err(StartError::Journal(JournalError::Ambiguous(_)))), "{answer:?}");
        assert_eq!(engine.in_memory(), 0);
    });
}

#[tokio::test(start_paused = true)]
async fn wish_that_comes_while_a_task_breaks_is_granted_afterwards() {
    let shop = Shop::new();
    let journal = Arc::new(Broken::default());
    let engine = engine(&shop, Arc::clone(&journal)).await;
    journal.appends.lock().unwrap().push_back(Flaw::PanicsLate);
    let handle = engine.start(&chains(), "1", 10).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(engine.cancel(handle.id(), "enough").await.unwrap(), CancelAck::Accepted);
    assert!(matches!(handle.outcome().await.unwrap(), Outcome::Compensated(_)));
    assert_eq!(shop.count("b"), 0);
}

#[tokio::test(start_paused = true)]
async fn saga_whose_task_panics_again_and_again_leaves_time_to_others() {
    let (shop, journal) = (Shop::new(), Arc::new(Broken::default()));
    let poll = Duration::from_secs(10);
    // What is due fills the room, so the next claim follows at once.
    let config = Config::default().poll_interval(poll).max_in_memory(1);
    let builder = Engine::builder(shop, Arc::clone(&journal)).register(&chains());
    let engine = builder.config(config).start().await.unwrap();
    journal.appends.lock().unwrap().extend([Flaw::Panics; 3]);
    let started = tokio::time::Instant::now();
    let handle = engine.start(&chains(), "1", 10).await.unwrap();
    assert_eq!(handle.outcome().await.unwrap(), Outcome::Completed(13));
    assert!(started.elapsed() >= 3 * poll, "{:?}", started.elapsed());
}
