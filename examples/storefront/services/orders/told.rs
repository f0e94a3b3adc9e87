//! Tells who waits for an order how it ends, as soon as that is known. What is to be given back, or to be written to the
//! customer, takes its time.

use super::participants::Receipt;
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

/// How an order ends.
pub(super) type Ends = Result<Receipt, Failed>;

/// Who waits for which order.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    waiting: Arc<Mutex<Waiting>>,
}

type Waiting = HashMap<String, Vec<oneshot::Sender<Ends>>>;

/// Somebody who waits.
#[derive(Debug)]
pub(super) struct Listening {
    told: Told,
    order: String,
    ends: oneshot::Receiver<Ends>,
}

impl Told {
    /// Listens from now on.
    pub(super) fn listen(&self, order: &str) -> Listening {
        let (sender, ends) = oneshot::channel();
        self.with(|waiting| waiting.entry(order.to_owned()).or_default().push(sender));
        Listening { told: self.clone(), order: order.to_owned(), ends }
    }

    /// The order ends like this, and no other way is left.
    pub(super) fn tell(&self, order: &str, ends: &Ends) {
        for waiting in self.with(|waiting| waiting.remove(order)).unwrap_or_default() {
            // Who has left need not be told.
            drop(waiting.send(ends.clone()));
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Waiting) -> T) -> T {
        act(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl From<&StepError> for Failed {
    fn from(error: &StepError) -> Self {
        let text = error.to_string().into();
        Self { outcome: error.outcome(), text, retry_after: error.retry_after() }
    }
}

impl Listening {
    /// How it ends; never, if nobody tells.
    pub(super) async fn ends(&mut self) -> Ends {
        match (&mut self.ends).await {
            Ok(ends) => ends,
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.ends.close();
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
        let error = StepError::not_executed("full").with_retry_after(Duration::from_secs(3));
        told.tell("a", &Err((&error).into()));
        for listening in [&mut first, &mut second] {
            let failed = listening.ends().await.unwrap_err();
            assert_eq!((failed.outcome, failed.retry_after), (FailedAs::NotExecuted, Some(Duration::from_secs(3))));
        }
        let still_waiting = tokio::time::timeout(Duration::ZERO, other.ends()).await;
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
