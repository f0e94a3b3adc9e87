//! What every service has a finite amount of: requests in progress.

use crate::wire;
use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use mainstay::{Reason, Refused};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// So many requests in progress, and as many again in a queue; who finds the queue full is sent away.
///
/// Threads, connections, memory: in life it has many names. It is there in both modes, and equally large.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    name: &'static str,
    slots: Arc<Semaphore>,
    /// Slots and queue together.
    places: Arc<Semaphore>,
}

impl Pool {
    /// A pool for so many requests per second.
    pub(crate) fn planned_for(name: &'static str, rate: u32) -> Self {
        let slots = slots_for(rate);
        Self { name, slots: Arc::new(Semaphore::new(slots)), places: Arc::new(Semaphore::new(2 * slots)) }
    }

    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    /// Puts the routes behind the pool.
    pub(crate) fn guard(&self, routes: Router) -> Router {
        routes.layer(from_fn_with_state(self.clone(), admit))
    }

    /// Whether one more request would find a place.
    pub(crate) fn has_room(&self) -> bool {
        self.places.available_permits() > 0
    }
}

/// A request takes some 50 ms while all is well, since an order is written down several times on its way; and the pools are
/// planned for 200 ms: by Little's law a fifth of the rate is then in progress.
pub(crate) fn slots_for(rate: u32) -> usize {
    usize::try_from(rate.div_ceil(5)).expect("a rate fits").max(4)
}

/// A request holds its slot until it is answered, or until the client is gone.
///
/// Nobody knows when a full pool has room again, so the refusal has no `Retry-After`.
async fn admit(State(pool): State<Pool>, request: Request, next: Next) -> Response {
    let Ok(_place) = pool.places.try_acquire() else {
        return wire::rejected(Refused::new(Reason::BulkheadFull, pool.name).into());
    };
    let _slot = pool.slots.acquire().await.expect("the pool is never closed");
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{body::Body, routing::get};
    use std::{future::pending, time::Duration};
    use tower::ServiceExt;

    #[tokio::test(start_paused = true)]
    async fn a_full_pool_sends_away_and_a_client_that_left_makes_room() {
        let pool = Pool::planned_for("test", 20);
        let shop = pool.guard(Router::new().route("/", get(async || pending::<()>().await)));
        let visit = || shop.clone().oneshot(Request::new(Body::empty()));

        let mut hanging: Vec<_> = (0..8).map(|_| Box::pin(visit())).collect();
        for visitor in &mut hanging {
            assert!(tokio::time::timeout(Duration::ZERO, visitor).await.is_err());
        }
        assert!(!pool.has_room());
        assert_eq!(visit().await.unwrap().status(), 503);

        hanging.pop();
        assert!(pool.has_room());
    }
}
