//! Tells who waits for an order that there will be none, as soon as that is known: what is to be given back takes its time.

use mainstay::saga::{FailedAs, StepError};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::oneshot;

/// Why there will be no order.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub(super) outcome: FailedAs,
    pub(super) text: Arc<str>,
    pub(super) retry_after: Option<Duration>,
}

/// Who waits for which order.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    waiting: Arc<Mutex<HashMap<String, Vec<oneshot::Sender<Failed>>>>>,
}

/// Somebody who waits.
#[derive(Debug)]
pub(super) struct Listening {
    told: Told,
    order: String,
    failed: oneshot::Receiver<Failed>,
}

impl Told {
    /// Listens from now on.
    pub(super) fn listen(&self, order: &str) -> Listening {
        let (sender, failed) = oneshot::channel();
        self.with(|waiting| waiting.entry(order.to_owned()).or_default().push(sender));
        Listening { told: self.clone(), order: order.to_owned(), failed }
    }

    /// The order has failed for good.
    pub(super) fn tell(&self, order: &str, error: &StepError) {
        let failed = Failed {
            outcome: error.outcome(),
            text: error.to_string().into(),
            retry_after: error.retry_after(),
        };
        for waiting in self.with(|waiting| waiting.remove(order)).unwrap_or_default() {
            // Who has left need not be told.
            drop(waiting.send(failed.clone()));
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<String, Vec<oneshot::Sender<Failed>>>) -> T) -> T {
        act(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Listening {
    /// Ends only if the order fails.
    pub(super) async fn failed(&mut self) -> Failed {
        match (&mut self.failed).await {
            Ok(failed) => failed,
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.failed.close();
        self.told.with(|waiting| {
            if let Some(senders) = waiting.get_mut(&self.order) {
                senders.retain(|sender| !sender.is_closed());
                if senders.is_empty() {
                    waiting.remove(&self.order);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_who_wait_are_told_and_nobody_else() {
        let told = Told::default();
        let [mut first, mut second, mut other] = ["a", "a", "b"].map(|order| told.listen(order));
        told.tell("a", &StepError::not_executed("full").with_retry_after(Duration::from_secs(3)));
        for listening in [&mut first, &mut second] {
            let failed = listening.failed().await;
            assert_eq!((failed.outcome, failed.retry_after), (FailedAs::NotExecuted, Some(Duration::from_secs(3))));
        }
        let still_waiting = tokio::time::timeout(Duration::ZERO, other.failed()).await;
        assert!(still_waiting.is_err());
    }

    #[test]
    fn who_leaves_leaves_nothing_behind() {
        let told = Told::default();
        let [first, second] = ["a", "a"].map(|order| told.listen(order));
        drop(first);
        assert_eq!(told.with(|waiting| waiting.len()), 1);
        drop(second);
        assert_eq!(told.with(|waiting| waiting.len()), 0);
    }
}
