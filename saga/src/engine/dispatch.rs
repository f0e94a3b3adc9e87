//! Takes sagas that are due: after a crash, at their time, or from who left them.

use super::{
    life::{Begin, spawn},
    oldest,
    shared::{Base, Shared},
    trace,
};
use crate::{
    journal::{Claim, JournalError},
    panics::told,
};
use futures_util::{
    FutureExt,
    future::{join, select},
};
use std::{
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, Weak},
};
use tokio::{sync::OwnedSemaphorePermit, time::sleep};

/// So many sagas are claimed at once.
const MOST: usize = 256;

/// Claims until the engine stops or is no more.
pub(crate) async fn dispatch<A: Send + Sync + 'static>(base: Arc<Base>, shared: Weak<Shared<A>>) {
    // A claim that is dropped half way leaves the sagas to others, so a stop need not wait for a journal that does not answer.
    let work = join(claim_forever(&base, &shared), oldest::watch(&base, &shared));
    select(pin!(base.stopped()), pin!(work)).await;
}

async fn claim_forever<A: Send + Sync + 'static>(base: &Base, shared: &Weak<Shared<A>>) {
    while let Some(engine) = shared.upgrade() {
        // A journal that panics once is no reason to forget all that is due from then on.
        let drained = AssertUnwindSafe(drain(&engine)).catch_unwind().await;
        match drained.unwrap_or_else(|panic| Err(JournalError::Transient(told(panic).into()))) {
            Ok(()) => {}
            Err(JournalError::Closed) => return,
            Err(error) => trace::claim_failed(base.config.name, &error),
        }
        drop(engine);
        sleep(base.config.poll_interval).await;
    }
}

/// Claims as long as there are sagas that are due, and room.
async fn drain<A: Send + Sync + 'static>(shared: &Arc<Shared<A>>) -> Result<(), JournalError> {
    while !shared.is_stopping() && claim(shared).await? {}
    Ok(())
}

/// Claims some sagas. Whether there may be more.
pub(crate) async fn claim<A: Send + Sync + 'static>(shared: &Arc<Shared<A>>) -> Result<bool, JournalError> {
    let Some(mut room) = room(shared).await else { return Ok(false) };
    let at_most = room.num_permits();
    let claim = Claim { definitions: Arc::clone(&shared.claimable), now: shared.clock.now(), at_most };
    let claimed = shared.journal.claim(claim).await?;
    let more = claimed.len() == at_most;
    for claimed in claimed {
        let place = room.split(1);
        // A seat whose task is at its end takes the claim over.
        if let Some(seat) = shared.registry.claim(&claimed) {
            spawn(shared, seat, Begin::Claimed(claimed), place);
        }
    }
    Ok(more)
}

/// Room for at least one. It waits in line with those who want to start sagas, so neither keeps the other out.
async fn room<A>(shared: &Shared<A>) -> Option<OwnedSemaphorePermit> {
    let mut first = shared.place().await?;
    let more = shared.room.available_permits().min(MOST - 1);
    let more = u32::try_from(more).ok().and_then(|more| Arc::clone(&shared.room).try_acquire_many_owned(more).ok());
    if let Some(more) = more {
        first.merge(more);
    }
    Some(first)
}
