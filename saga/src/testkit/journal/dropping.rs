//! Clauses about futures that are dropped.

use super::{
    Breach, Stand,
    work::{Checked, NOW, Work, claim, ensure, polled},
};
use crate::{
    SagaId,
    journal::{Created, Grant, Journal},
};
use std::collections::BTreeSet;

/// More polls than any future of a journal takes.
const POLLS: usize = 64;

/// How often a saga that was given up is looked for.
const PATIENCE: usize = 10_000;

pub(super) async fn dropped_writes_are_whole<S: Stand>(stand: &S) -> Checked {
    let work = Work::new(stand.fresh().await);
    for polls in 0..POLLS {
        let (new, batch) = (work.new_saga(), work.batch(2));
        let created = polled(polls, work.journal.create(new.clone(), batch.clone())).await;
        let grant = work.create(new, batch).await?;
        let appended = {
            let batch = work.batch(3);
            let appended = polled(polls, work.journal.append(grant, batch.clone())).await;
            let seen = work.load(grant.id).await?.len();
            ensure!([2, 5].contains(&seen), "after an append of 3 to 2 is dropped, there are {seen} records");
            let next = work.append(grant, batch).await?;
            let expected = Grant { seq: 5, ..grant };
            ensure!(next == expected, "an append that is dropped and repeated is granted {next:?}, not {expected:?}");
            let seen = work.load(grant.id).await?.len();
            ensure!(seen == 5, "after an append of 3 to 2 is dropped and repeated, there are {seen} records");
            appended
        };
        if created.is_some() && appended.is_some() {
            return Ok(());
        }
    }
    Err(Breach::new(format_args!("a write takes more than {POLLS} polls")))
}

pub(super) async fn dropped_owners_own_nothing<S: Stand>(stand: &S) -> Checked {
    let work = Work::new(stand.fresh().await);
    for polls in 0..POLLS {
        let new = work.new_saga();
        match polled(polls, work.journal.create(new.clone(), work.batch(1))).await {
            Some(Ok(Created::New(grant))) => {
                work.release(grant, Some(NOW)).await?;
            }
            // It may not be there at all.
            None => {}
            Some(other) => return Err(Breach::new(format_args!("a new saga is {other:?}"))),
        }
        if work.journal.find(new.id).await.is_ok_and(|found| found.is_some()) {
            find(&work, &[new.id]).await?;
        }
        let sagas = [work.start_waiting(NOW).await?, work.start_waiting(NOW).await?];
        let Some(claimed) = polled(polls, work.journal.claim(claim(NOW, 10))).await else {
            find(&work, &sagas).await?;
            continue;
        };
        let claimed = claimed.map_err(Breach::new)?.len();
        ensure!(claimed >= sagas.len(), "of two that are due {claimed} are claimed");
        return Ok(());
    }
    Err(Breach::new(format_args!("a claim takes more than {POLLS} polls")))
}

/// Claims until these have been claimed: what was dropped may still be under way.
async fn find<J: Journal>(work: &Work<J>, sagas: &[SagaId]) -> Checked {
    let mut missing: BTreeSet<_> = sagas.iter().copied().collect();
    for _ in 0..PATIENCE {
        for id in work.claim_ids(NOW, 10).await? {
            missing.remove(&id);
        }
        if missing.is_empty() {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
    Err(Breach::new(format_args!("after the future of its owner was dropped, {missing:?} cannot be claimed")))
}
