//! Clauses about futures that are dropped.

use super::{
    Breach, Stand,
    work::{Checked, NOW, OrBreach, Work, claim, ensure, polled},
};
use crate::{
    SagaId,
    journal::{Grant, Journal},
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
        let made = polled(polls, work.journal.create(new.clone(), work.batch(1))).await;
        let mut nobodys = BTreeSet::from([work.start_waiting(NOW).await?, work.start_waiting(NOW).await?]);
        // What was dropped was asked for before these: by now it has been done, or never will be.
        if made.is_none() && work.journal.find(new.id).await.or_breach("to find")?.is_some() {
            nobodys.insert(new.id);
        }
        let claimed = polled(polls, work.journal.claim(claim(NOW, 10))).await.transpose().or_breach("to claim")?;
        let is_done = made.is_some() && claimed.is_some();
        for claimed in claimed.into_iter().flatten() {
            nobodys.remove(&claimed.grant.id);
        }
        find(&work, nobodys).await?;
        if is_done {
            return Ok(());
        }
    }
    Err(Breach::new(format_args!("a claim takes more than {POLLS} polls")))
}

/// Claims until these have been claimed: what was dropped may still be under way.
async fn find<J: Journal>(work: &Work<J>, mut missing: BTreeSet<SagaId>) -> Checked {
    for _ in 0..PATIENCE {
        if missing.is_empty() {
            return Ok(());
        }
        for id in work.claim_ids(NOW, 10).await? {
            missing.remove(&id);
        }
        tokio::task::yield_now().await;
    }
    Err(Breach::new(format_args!("after the future of its owner was dropped, {missing:?} cannot be claimed")))
}
