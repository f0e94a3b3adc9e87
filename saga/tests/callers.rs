//! Those who start, wait and ask may go away at any moment: nothing changes.

mod shop;

use futures_util::future::join_all;
use mainstay_saga::{CancelAck, Outcome, journal::Memory};
use shop::{Do, Shop, chains, engine, orders};
use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

/// Polls a future so often, and drops it.
async fn dropped_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        let once: Option<F::Output> = poll_fn(|cx| match Pin::as_mut(&mut future).poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => Poll::Ready(None),
        })
        .await;
        if once.is_some() {
            return once;
        }
        tokio::task::yield_now().await;
    }
    None
}

#[tokio::test(start_paused = true)]
async fn start_that_is_dropped_has_started_all_or_nothing() {
    for polls in 0..4 {
        let (shop, journal) = (Shop::new(), Memory::new());
        let engine = engine(&shop, journal.clone()).await;
        drop(dropped_after(polls, engine.start(&orders(), "1", 10)).await);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let calls = shop.calls();
        assert!(calls.is_empty() || calls.len() == 5, "{calls:?}");
        assert_eq!(calls.is_empty(), polls == 0);

        let handle = engine.start(&orders(), "1", 10).await.unwrap();
        assert_eq!(handle.is_new(), polls == 0);
        assert_eq!(handle.outcome().await.unwrap(), Outcome::Completed(14));
        assert_eq!(shop.count("charge"), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn saga_goes_on_without_those_who_wait_for_it() {
    for polls in 0..4 {
        let (shop, journal) = (Shop::new(), Memory::new());
        let engine = engine(&shop, journal.clone()).await;
        shop.plan("charge", [Do::Slow]);
        let handle = engine.start(&orders(), "1", 10).await.unwrap();
        drop(dropped_after(polls, handle.outcome()).await);
        drop(handle);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(shop.calls().len(), 5);
        assert_eq!(engine.in_memory(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn wish_that_was_sent_is_granted_without_the_one_who_had_it() {
    for polls in 1..4 {
        let (shop, journal) = (Shop::new(), Memory::new());
        let engine = engine(&shop, journal.clone()).await;
        shop.plan("b", [Do::Slow]);
        let handle = engine.start(&chains(), "1", 10).await.unwrap();
        drop(dropped_after(polls, engine.cancel(handle.id(), "enough")).await);
        assert!(matches!(handle.outcome().await.unwrap(), Outcome::Compensated(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn one_key_is_one_saga_however_often_it_is_started_at_once() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let engine = engine(&shop, journal.clone()).await;
    let definition = orders();
    let starts = (0..20).map(|_| engine.start(&definition, "1", 10));
    let handles: Vec<_> = join_all(starts).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(handles.iter().filter(|handle| handle.is_new()).count(), 1);
    for handle in &handles {
        assert_eq!(handle.id(), handles[0].id());
        assert_eq!(handle.outcome().await.unwrap(), Outcome::Completed(14));
    }
    assert_eq!(shop.count("charge"), 1);
    assert_eq!(engine.in_memory(), 0);
}

#[tokio::test(start_paused = true)]
async fn everybody_who_waits_hears_of_the_end() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let engine = engine(&shop, journal.clone()).await;
    shop.plan("b", [Do::Slow]);
    let handle = engine.start(&chains(), "1", 10).await.unwrap();
    let early = (0..10).map(|_| handle.clone());
    let waiting: Vec<_> = early.map(|handle| tokio::spawn(async move { handle.outcome().await.unwrap() })).collect();
    for task in waiting {
        assert_eq!(task.await.unwrap(), Outcome::Completed(13));
    }
    let late = engine.handle(&chains(), handle.id());
    assert_eq!(late.outcome().await.unwrap(), Outcome::Completed(13));
    assert_eq!(engine.cancel(handle.id(), "enough").await.unwrap(), CancelAck::AlreadyEnded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_sagas_end_on_many_threads() {
    let (shop, journal) = (Shop::new(), Memory::new());
    let engine = engine(&shop, journal.clone()).await;
    let mut tasks = Vec::new();
    for number in 0..8_u32 {
        let engine = engine.clone();
        tasks.push(tokio::spawn(async move {
            let definition = orders();
            for turn in 0..50_u32 {
                let handle = engine.start(&definition, &format!("{number}-{turn}"), turn).await.unwrap();
                if turn % 3 == 0 {
                    engine.cancel(handle.id(), "enough").await.unwrap();
                }
                drop(handle.outcome().await.unwrap());
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    // A task that has answered a wish may not yet have heard that it is done.
    let left = engine.shutdown(Duration::from_secs(60)).await;
    assert!(left.interrupted.is_empty(), "{left:?}");
    assert_eq!(engine.in_memory(), 0);
}
