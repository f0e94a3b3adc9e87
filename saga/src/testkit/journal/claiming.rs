//! Clauses about who owns a saga.

use super::{
    Breach, Stand,
    work::{Checked, NOW, OrBreach, Work, ensure, later, stored},
};
use crate::{
    SagaId, Timestamp,
    journal::{Claim, Created, Journal, NewSaga, Phase, Stored, Summary},
};
use std::{collections::BTreeSet, sync::Arc};

pub(super) async fn claims_take_what_is_due<S: Stand>(stand: &S) -> Checked {
    let work = Work::new(stand.fresh().await);
    let due = work.start_waiting(later(10)).await?;
    work.start_waiting(later(12)).await?;
    let mut others = Vec::new();
    for (saga, version) in [("refund", 1), ("order", 2)] {
        let new = NewSaga { saga: saga.into(), version, ..work.new_saga() };
        others.push(new.id);
        let grant = work.create(new, work.batch(1)).await?;
        work.release(grant, Some(NOW)).await?;
    }
    let early = work.claim_ids(later(9), 10).await?;
    ensure!(early.is_empty(), "a millisecond before one is due, {early:?} are claimed");
    let none = work.claim_ids(later(10), 0).await?;
    ensure!(none.is_empty(), "who asks for none gets {none:?}");
    let claimed = work.claim_ids(later(10), 10).await?;
    ensure!(claimed == [due], "when one of a definition is due, {claimed:?} are claimed");

    let both = [("refund".into(), 1), ("order".into(), 2)].into();
    let claimed = work.journal.claim(Claim { definitions: both, now: NOW, at_most: 10 }).await.or_breach("to claim")?;
    let seen: BTreeSet<_> = claimed.iter().map(|claimed| (claimed.grant.id, &*claimed.saga, claimed.version)).collect();
    let expected = [(others[0], "refund", 1), (others[1], "order", 2)];
    ensure!(seen == BTreeSet::from(expected), "of two other definitions, {seen:?} are claimed");
    Ok(())
}

pub(super) async fn claims_are_in_order<S: Stand>(stand: &S) -> Checked {
    let work = Work::new(stand.fresh().await);
    let mut sagas = Vec::new();
    for wait in [50, 20, 40, 10, 30] {
        sagas.push((wait, work.start_waiting(later(wait)).await?));
    }
    sagas.sort_unstable();
    let expected: Vec<_> = sagas.into_iter().map(|(_, id)| id).collect();
    let first = work.claim_ids(later(100), 2).await?;
    ensure!(first == expected[..2], "the two that are due longest are {:?}, and claimed are {first:?}", &expected[..2]);
    let rest = work.claim_ids(later(100), 10).await?;
    ensure!(rest == expected[2..], "then {:?} are due, and claimed are {rest:?}", &expected[2..]);
    Ok(())
}

pub(super) async fn claims_are_exclusive<S: Stand>(stand: &S) -> Checked {
    const SAGAS: u64 = 150;
    const TAKERS: usize = 100;
    let work = Arc::new(Work::new(stand.fresh().await));
    for wait in 0..SAGAS {
        work.start_waiting(later(wait)).await?;
    }
    let taker = |_| {
        let work = Arc::clone(&work);
        tokio::spawn(async move { work.claim_ids(later(SAGAS), 2).await })
    };
    let takers: Vec<_> = (0..TAKERS).map(taker).collect();
    let mut claimed = Vec::new();
    for taker in takers {
        let ids = taker.await.map_err(Breach::new)??;
        ensure!(ids.len() <= 2, "who asks for two gets {}", ids.len());
        claimed.extend(ids);
    }
    // A taker that came too early for what another one had passed over may have got less than there was.
    claimed.extend(work.claim_ids(later(SAGAS), usize::MAX).await?);
    let different: BTreeSet<_> = claimed.iter().collect();
    ensure!(
        claimed.len() == different.len(),
        "{} claims are of {} sagas: one has two owners",
        claimed.len(),
        different.len()
    );
    ensure!(different.len() as u64 == SAGAS, "of {SAGAS} sagas that are due, {} are claimed", different.len());
    Ok(())
}

pub(super) async fn claims_raise_the_epoch<S: Stand>(stand: &S) -> Checked {
    let work = Work::new(stand.fresh().await);
    let mut grant = work.start().await?;
    for round in 0..4 {
        let batch = work.batch(2);
        let next = work.append(grant, batch.clone()).await?;
        ensure!(
            work.load(grant.id).await?.ends_with(&stored(grant.epoch, grant.seq + 1, &batch)),
            "records of epoch {} are kept under another one",
            grant.epoch
        );
        let claimed = if round % 2 == 0 {
            // From whoever has it.
            work.claim_one(next.id).await?
        } else {
            work.release(next, Some(NOW)).await?;
            let claimed = work.claim(NOW, 1).await?;
            claimed.first().ok_or_else(|| Breach::new("what was released is not claimed"))?.grant
        };
        ensure!(claimed.epoch > next.epoch, "epoch {} is followed by {}", next.epoch, claimed.epoch);
        ensure!(claimed.seq == next.seq, "a claim of {} records knows {}", next.seq, claimed.seq);
        grant = claimed;
    }
    Ok(())
}

pub(super) async fn owned_sagas_are_left_alone<S: Stand>(stand: &S) -> Checked {
    let work = Work::new(stand.fresh().await);
    let made = work.start().await?;
    let waiting = work.start_waiting(NOW).await?;
    let claimed = work.claim_ids(NOW, 10).await?;
    ensure!(claimed == [waiting], "beside one that its maker owns, {claimed:?} are claimed");
    let again = work.claim_ids(later(1 << 40), 10).await?;
    ensure!(again.is_empty(), "sagas that are owned, {again:?}, are claimed");
    // Owners stay owners by what they write.
    let made = work.append(made, work.batch(1)).await?;
    let again = work.claim_ids(later(1 << 40), 10).await?;
    ensure!(again.is_empty(), "after its owner has added to it, {again:?} is claimed");
    work.claim_one(made.id).await?;
    let again = work.claim_ids(later(1 << 40), 10).await?;
    ensure!(again.is_empty(), "after it was claimed by its name, {again:?} is claimed");
    Ok(())
}

pub(super) async fn only_running_sagas_are_claimed<S: Stand>(stand: &S) -> Checked {
    let work = Work::new(stand.fresh().await);
    for phase in [Phase::Parked, Phase::Completed, Phase::Compensated, Phase::Abandoned] {
        let grant = work.turn(work.start().await?, phase).await?;
        let grant = if phase == Phase::Parked { work.claim_one(grant.id).await? } else { grant };
        work.release(grant, Some(NOW)).await?;
    }
    let claimed = work.claim_ids(later(1 << 40), 10).await?;
    ensure!(claimed.is_empty(), "sagas that do not run, {claimed:?}, are claimed");

    let backward = work.turn(work.start().await?, Phase::Backward).await?;
    work.release(backward, Some(NOW)).await?;
    let claimed = work.claim_ids(NOW, 10).await?;
    ensure!(claimed == [backward.id], "beside one that is being undone, {claimed:?} are claimed");

    // One that an operator lets run again.
    let parked = work.turn(work.start().await?, Phase::Parked).await?;
    let operator = work.claim_one(parked.id).await?;
    let running = work.turn(operator, Phase::Forward).await?;
    let claimed = work.claim_ids(later(1 << 40), 10).await?;
    ensure!(claimed.is_empty(), "what an operator owns and lets run, {claimed:?}, is claimed");
    work.release(running, Some(NOW)).await?;
    let claimed = work.claim_ids(NOW, 10).await?;
    ensure!(claimed == [parked.id], "when an operator has let one run and released it, {claimed:?} are claimed");
    Ok(())
}

pub(super) async fn released_sagas_wait<S: Stand>(stand: &S) -> Checked {
    let work = Work::new(stand.fresh().await);
    let grant = work.start().await?;
    work.release(grant, None).await?;
    let claimed = work.claim_ids(later(1 << 40), 10).await?;
    ensure!(claimed.is_empty(), "one that waits for a signal, {claimed:?}, is claimed");
    let mut grant = work.claim_one(grant.id).await?;
    for wait in [500, 100] {
        work.release(grant, Some(later(wait))).await?;
        // A release whose answer was lost is asked for again.
        work.release(grant, Some(later(wait))).await?;
        let early = work.claim_ids(later(wait - 1), 10).await?;
        ensure!(early.is_empty(), "{early:?} is claimed before the time of its release");
        let claimed = work.claim(later(wait), 10).await?;
        ensure!(claimed.len() == 1, "at the time of its release {} are claimed", claimed.len());
        grant = claimed[0].grant;
    }
    Ok(())
}

pub(super) async fn restarts_lose_nothing<S: Stand>(stand: &S) -> Checked {
    let work = Work::new(stand.fresh().await);
    let owned = work.append(work.start().await?, work.batch(3)).await?;
    let waiting = work.start_waiting(later(500)).await?;
    let claimed = work.start_waiting(NOW).await?;
    let again = work.claim_ids(NOW, 10).await?;
    ensure!(again == [claimed], "beside one that waits {again:?} are claimed");
    let silent = work.start().await?;
    work.release(silent, None).await?;
    let signalled = work.start().await?;
    work.release(signalled, None).await?;
    work.claim_one(signalled.id).await?;
    let (parked, ended) = (work.start().await?, work.start().await?);
    work.turn(parked, Phase::Parked).await?;
    work.turn(ended, Phase::Completed).await?;
    let all = [owned.id, waiting, claimed, silent.id, signalled.id, parked.id, ended.id];
    let before = snapshot(&work, &all).await?;

    let work = Work::new(stand.reopen(work.into_inner()?).await);
    let after = snapshot(&work, &all).await?;
    for (before, after) in before.iter().zip(&after) {
        ensure!(before == after, "a restart has changed {before:?} to {after:?}");
    }
    // The clock of the machine may have been set back.
    let found: BTreeSet<_> = work.claim_ids(Timestamp::from_millis(0), 10).await?.into_iter().collect();
    let expected = BTreeSet::from([owned.id, claimed, signalled.id]);
    ensure!(found == expected, "after a restart {expected:?} are to be claimed at once, and {found:?} are");
    let early = work.claim_ids(later(100), 10).await?;
    ensure!(early.is_empty(), "before their time {early:?} are claimed after a restart");
    let late = work.claim_ids(later(500), 10).await?;
    ensure!(late == [waiting], "after a restart {waiting} is to be claimed at its time, and {late:?} are");

    let fenced = work.journal.append(owned, work.batch(1)).await;
    ensure!(fenced.is_err(), "after a restart and a claim the owner from before it adds to its saga");
    let repeated = work.new_saga();
    let key = work.summary(ended.id).await?.key;
    let existing = work.journal.create(NewSaga { key, ..repeated }, work.batch(1)).await.or_breach("to make a saga")?;
    let is_found = existing == Created::Existing(ended.id);
    ensure!(is_found, "after a restart a key that is taken gives {existing:?}");
    Ok(())
}

type Snapshot = (Summary, Vec<Stored>);

async fn snapshot<J: Journal>(work: &Work<J>, sagas: &[SagaId]) -> Result<Vec<Snapshot>, Breach> {
    let mut snapshot = Vec::new();
    for id in sagas {
        snapshot.push((work.summary(*id).await?, work.load(*id).await?));
    }
    Ok(snapshot)
}
