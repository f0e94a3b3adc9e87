//! Clauses about what is listed and forgotten.

use super::{
    Stand,
    work::{Checked, NOW, OrBreach, Work, difference, ensure, later},
};
use crate::journal::{Batch, Created, Filter, Journal, JournalError, NewSaga, Phase, Summary};
use std::collections::BTreeSet;

const PHASES: [Phase; 6] =
    [Phase::Forward, Phase::Backward, Phase::Parked, Phase::Completed, Phase::Compensated, Phase::Abandoned];

pub(super) async fn summaries_are_true<S: Stand>(stand: &S) -> Checked {
    let work = Work::new(stand.fresh().await);
    for phase in PHASES {
        let (new, batch) = (work.new_saga(), work.batch(2));
        let grant = work.create(new.clone(), batch.clone()).await?;
        let mut expected = Summary {
            id: new.id,
            saga: new.saga,
            version: new.version,
            key: new.key,
            phase: Phase::Forward,
            epoch: 1,
            seq: 2,
            created_at: new.at,
            updated_at: batch.at,
        };
        let seen = work.summary(new.id).await?;
        ensure!(seen == expected, "a new saga is {expected:?}, and the summary says {seen:?}");
        let owner = work.claim_one(new.id).await?;
        let batch = Batch { phase, ..work.batch(3) };
        work.append(owner, batch.clone()).await?;
        expected = Summary { phase, epoch: owner.epoch, seq: 5, updated_at: batch.at, ..expected };
        let seen = work.summary(new.id).await?;
        ensure!(seen == expected, "a saga is {expected:?}, and the summary says {seen:?}");
        ensure!(grant.epoch < owner.epoch, "epoch {} is followed by {}", grant.epoch, owner.epoch);
    }
    Ok(())
}

pub(super) async fn lists_are_whole<S: Stand>(stand: &S) -> Checked {
    let work = Work::new(stand.fresh().await);
    let mut all = Vec::new();
    for phase in PHASES.into_iter().cycle().take(4 * PHASES.len()) {
        let saga = if work.number().is_multiple_of(3) { "refund" } else { "order" };
        let new = NewSaga { saga: saga.into(), ..work.new_saga() };
        let grant = work.create(new, work.batch(1)).await?;
        work.turn(grant, phase).await?;
        all.push(work.summary(grant.id).await?);
    }
    all.sort_unstable_by_key(|summary| summary.id);
    let sets = [vec![], vec![Phase::Parked], vec![Phase::Completed, Phase::Forward, Phase::Completed], PHASES.to_vec()];
    for phases in sets {
        for saga in [None, Some("order".into()), Some("refund".into()), Some("unheard of".into())] {
            let filter = Filter { saga, phases: phases.clone() };
            for page in [1, 5, all.len(), usize::MAX] {
                ensure_listed(&work, &filter, page, &all).await?;
            }
        }
    }
    let none = work.list(Filter::default(), None, 0).await?;
    ensure!(none.is_empty(), "who asks for none is shown {none:?}");
    Ok(())
}

async fn ensure_listed<J: Journal>(work: &Work<J>, filter: &Filter, page: usize, all: &[Summary]) -> Checked {
    let is_asked_for = |summary: &&Summary| {
        filter.saga.as_ref().is_none_or(|saga| *saga == summary.saga)
            && (filter.phases.is_empty() || filter.phases.contains(&summary.phase))
    };
    let expected: Vec<_> = all.iter().filter(is_asked_for).cloned().collect();
    let mut seen: Vec<Summary> = Vec::new();
    loop {
        let listed = work.list(filter.clone(), seen.last().map(|summary| summary.id), page).await?;
        ensure!(listed.len() <= page, "a page of {page} has {}", listed.len());
        let is_last = listed.len() < page;
        seen.extend(listed);
        // Pages that begin again would never end.
        if is_last || seen.len() > all.len() {
            break;
        }
    }
    let different = difference(&seen, &expected);
    ensure!(seen == expected, "by {filter:?} in pages of {page}, others are listed: {different}");
    Ok(())
}

pub(super) async fn purges_forget_the_ended<S: Stand>(stand: &S) -> Checked {
    let work = Work::new(stand.fresh().await);
    let mut ended = Vec::new();
    // The last to be written says that it ended first.
    for (wait, phase) in (1..=6).rev().zip(PHASES) {
        let grant = work.append(work.start().await?, Batch { phase, at: later(wait), ..work.batch(2) }).await?;
        if phase.is_ended() {
            ended.insert(0, grant.id);
        }
    }
    let all = work.list(Filter::default(), None, 100).await?;
    let none = work.journal.purge(later(1), 100).await.or_breach("to purge")?;
    ensure!(none == 0, "before the first has ended, {none} are forgotten");
    let one = work.journal.purge(later(100), 1).await.or_breach("to purge")?;
    ensure!(one == 1, "who forgets one at most forgets {one}");
    let oldest = work.journal.find(ended[0]).await.or_breach("to find")?;
    ensure!(oldest.is_none(), "another one is forgotten before the one that ended first");
    let rest = work.journal.purge(later(3), 100).await.or_breach("to purge")?;
    ensure!(rest == 1, "two have ended before a time, one is forgotten, and then {rest}");

    let left: BTreeSet<_> =
        work.list(Filter::default(), None, 100).await?.into_iter().map(|summary| summary.id).collect();
    let forgotten: Vec<_> = all.iter().filter(|summary| !left.contains(&summary.id)).collect();
    ensure!(forgotten.len() == 2, "two are forgotten, and {} are not listed", forgotten.len());
    for summary in forgotten {
        ensure!(ended[..2].contains(&summary.id), "{summary:?} is forgotten");
        let loaded = work.journal.load(summary.id).await;
        ensure!(matches!(loaded, Err(JournalError::NotFound)), "of what is forgotten, {loaded:?} is left");
        // Its key is free, and its id too.
        let new = NewSaga { id: summary.id, key: summary.key.clone(), ..work.new_saga() };
        let made = work.journal.create(new, work.batch(1)).await.or_breach("to make a saga")?;
        ensure!(matches!(made, Created::New(_)), "after it is forgotten, its key gives {made:?}");
        let loaded = work.load(summary.id).await?.len();
        ensure!(loaded == 1, "a new saga of one record has {loaded}");
    }
    let none = work.journal.purge(NOW, 100).await.or_breach("to purge")?;
    ensure!(none == 0, "when none has ended before, {none} are forgotten");
    Ok(())
}
