//! Clauses about what is added.

use super::{
    Breach, Stand,
    work::{Checked, OrBreach, Work, difference, ensure, stored},
};
use crate::journal::{Batch, Created, Grant, Journal, JournalError, NewSaga, Phase};
use futures_util::future::try_join;
use std::{cell::Cell, sync::Arc};

pub(super) async fn records_are_kept<S: Stand>(stand: &S) -> Checked {
    let work = Work::new(stand.fresh().await);
    let [new, other] = [work.new_saga(), work.new_saga()];
    let odd = vec![Vec::new(), (0..=255).collect(), vec![7; 100_000], b"{\"a\":\"\xc3\xa4\"}".to_vec()];
    let batches = [work.batch(2), Batch { records: odd, ..work.batch(0) }, work.batch(1)];

    let mut grant = work.create(new.clone(), batches[0].clone()).await?;
    ensure!(grant == Grant { id: new.id, epoch: 1, seq: 2 }, "who makes a saga of two records is granted {grant:?}");
    // Another saga in between must not be mixed with it.
    let mut beside = work.create(other, work.batch(3)).await?;
    let mut expected = stored(1, 1, &batches[0]);
    for batch in &batches[1..] {
        expected.extend(stored(1, grant.seq + 1, batch));
        grant = work.append(grant, batch.clone()).await?;
        beside = work.append(beside, work.batch(1)).await?;
        let seq = expected.len() as u64;
        ensure!(grant == Grant { id: new.id, epoch: 1, seq }, "after {seq} records, {grant:?} is granted");
        let loaded = work.load(new.id).await?;
        ensure!(loaded == expected, "of {seq} records, others are loaded: {}", difference(&loaded, &expected));
    }
    Ok(())
}

pub(super) async fn batches_are_whole<S: Stand>(stand: &S) -> Checked {
    const BATCHES: usize = 50;
    const LENGTH: usize = 3;
    let work = Work::new(stand.fresh().await);
    let mut grant = work.create(work.new_saga(), work.batch(LENGTH)).await?;
    let id = grant.id;
    let is_done = Cell::new(false);
    let write = async {
        for _ in 0..BATCHES {
            grant = work.append(grant, work.batch(LENGTH)).await?;
        }
        is_done.set(true);
        Ok(())
    };
    let read = async {
        while !is_done.get() {
            let seen = work.load(id).await?.len();
            ensure!(seen.is_multiple_of(LENGTH), "while batches of {LENGTH} are added, {seen} records are seen");
            let seq = work.summary(id).await?.seq;
            ensure!(seq % LENGTH as u64 == 0, "while batches of {LENGTH} are added, a summary counts {seq} records");
            tokio::task::yield_now().await;
        }
        Ok(())
    };
    // In one task, so that each has its turn whenever the other one waits.
    try_join(write, read).await.map(drop)
}

/// Checks that a refused append has changed nothing.
async fn ensure_unchanged<J: Journal>(work: &Work<J>, grant: Grant, refuse: impl AsyncFnOnce() -> Checked) -> Checked {
    let before = (work.load(grant.id).await?, work.summary(grant.id).await?);
    refuse().await?;
    let after = (work.load(grant.id).await?, work.summary(grant.id).await?);
    ensure!(before.0 == after.0, "what was refused has changed the records: {}", difference(&after.0, &before.0));
    ensure!(before.1 == after.1, "what was refused has changed {:?} to {:?}", before.1, after.1);
    Ok(())
}

fn is_fenced<T>(result: &Result<T, JournalError>, epoch: u64) -> bool {
    matches!(result, Err(JournalError::Fenced { current }) if *current == epoch)
}

pub(super) async fn fenced_owners_add_nothing<S: Stand>(stand: &S) -> Checked {
    let work = Work::new(stand.fresh().await);
    let old = work.start().await?;
    let last = work.batch(2);
    let newest = work.append(old, last.clone()).await?;
    let owner = work.claim_one(old.id).await?;
    ensure_unchanged(&work, old, async || {
        let appended = work.journal.append(newest, work.batch(3)).await;
        ensure!(is_fenced(&appended, owner.epoch), "an append of the owner before gives {appended:?}");
        let repeated = work.journal.append(old, last.clone()).await;
        ensure!(is_fenced(&repeated, owner.epoch), "an append of the owner before, repeated, gives {repeated:?}");
        let released = work.journal.release(newest, None).await;
        ensure!(is_fenced(&released, owner.epoch), "a release of the owner before gives {released:?}");
        Ok(())
    })
    .await?;
    work.append(owner, work.batch(1)).await.map(drop)
}

pub(super) async fn other_numbers_conflict<S: Stand>(stand: &S) -> Checked {
    let work = Work::new(stand.fresh().await);
    let first = work.start().await?;
    let last = work.batch(2);
    let second = work.append(first, last.clone()).await?;
    for seq in [0, first.seq, second.seq - 1, second.seq + 1, u64::MAX] {
        ensure_unchanged(&work, second, async || {
            // A nonce says that an append is repeated only together with the number.
            let nonce = if seq == first.seq { work.number() } else { last.nonce };
            let batch = Batch { nonce, ..work.batch(3) };
            let appended = work.journal.append(Grant { seq, ..second }, batch).await;
            let conflict = matches!(appended, Err(JournalError::Conflict { seq }) if seq == second.seq);
            ensure!(conflict, "an append after record {seq} of {} gives {appended:?}", second.seq);
            Ok(())
        })
        .await?;
    }
    ensure_unchanged(&work, second, async || {
        let epoch = second.epoch + 1;
        let appended = work.journal.append(Grant { epoch, ..second }, work.batch(3)).await;
        ensure!(appended.is_err(), "an append of an epoch that nobody was given is done");
        Ok(())
    })
    .await?;
    work.append(second, work.batch(1)).await.map(drop)
}

pub(super) async fn rivals_do_not_both_win<S: Stand>(stand: &S) -> Checked {
    const ROUNDS: usize = 20;
    const RIVALS: usize = 8;
    let work = Arc::new(Work::new(stand.fresh().await));
    let mut grant = work.start().await?;
    for _ in 0..ROUNDS {
        let rival = |_| {
            let work = Arc::clone(&work);
            tokio::spawn(async move {
                let batch = work.batch(2);
                (work.journal.append(grant, batch.clone()).await, batch)
            })
        };
        let rivals: Vec<_> = (0..RIVALS).map(rival).collect();
        let mut winners = Vec::new();
        for rival in rivals {
            match rival.await.map_err(Breach::new)? {
                (Ok(next), batch) => winners.push((next, batch)),
                (Err(JournalError::Conflict { .. }), _) => {}
                (Err(error), _) => return Err(Breach::new(format_args!("a rival was told {error}"))),
            }
        }
        let [(next, batch)] = &*winners else {
            return Err(Breach::new(format_args!("{} of {RIVALS} rivals have won", winners.len())));
        };
        let loaded = work.load(grant.id).await?;
        let expected = stored(grant.epoch, grant.seq + 1, batch);
        ensure!(loaded.ends_with(&expected), "the last records are not those of the rival that has won");
        grant = *next;
        ensure!(loaded.len() as u64 == grant.seq, "there are {} records instead of {}", loaded.len(), grant.seq);
    }
    Ok(())
}

pub(super) async fn repeated_appends_count_once<S: Stand>(stand: &S) -> Checked {
    let work = Work::new(stand.fresh().await);
    let first = work.start().await?;
    let batch = work.batch(3);
    let second = work.append(first, batch.clone()).await?;
    ensure_unchanged(&work, first, async || {
        for _ in 0..2 {
            let repeated = work.append(first, batch.clone()).await?;
            ensure!(repeated == second, "a repetition is granted {repeated:?} instead of {second:?}");
        }
        Ok(())
    })
    .await?;
    let last = Batch { phase: Phase::Completed, ..work.batch(1) };
    let third = work.append(second, last.clone()).await?;
    ensure_unchanged(&work, first, async || {
        let repeated = work.append(second, last.clone()).await?;
        ensure!(repeated == third, "a repetition of the last append is granted {repeated:?} instead of {third:?}");
        let late = work.journal.append(first, batch.clone()).await;
        ensure!(late.is_err(), "a repetition of what was not the last append is said to be done");
        Ok(())
    })
    .await
}

pub(super) async fn repeated_creations_count_once<S: Stand>(stand: &S) -> Checked {
    let work = Work::new(stand.fresh().await);
    let (new, batch) = (work.new_saga(), work.batch(2));
    let grant = work.create(new.clone(), batch.clone()).await?;
    ensure_unchanged(&work, grant, async || {
        let repeated = work.create(new.clone(), batch.clone()).await?;
        ensure!(repeated == grant, "who makes a saga again is granted {repeated:?} instead of {grant:?}");
        Ok(())
    })
    .await?;
    // Somebody else has it by now.
    let owner = work.claim_one(new.id).await?;
    ensure_unchanged(&work, owner, async || {
        let late = work.journal.create(new.clone(), batch.clone()).await.or_breach("to make a saga again")?;
        ensure!(late == Created::Existing(new.id), "who makes a saga that was claimed is told {late:?}");
        Ok(())
    })
    .await?;
    // An id that is taken, for another saga: never to be expected, and never to be mixed.
    ensure_unchanged(&work, owner, async || {
        let other = NewSaga { id: new.id, ..work.new_saga() };
        let created = work.journal.create(other, work.batch(1)).await;
        ensure!(created.is_err(), "a second saga of one id is made: {created:?}");
        Ok(())
    })
    .await
}

pub(super) async fn keys_are_taken_once<S: Stand>(stand: &S) -> Checked {
    const RIVALS: usize = 16;
    let work = Arc::new(Work::new(stand.fresh().await));
    let key = work.new_saga().key;
    let rival = |_| {
        let (work, key) = (Arc::clone(&work), Arc::clone(&key));
        tokio::spawn(async move {
            let new = NewSaga { key, ..work.new_saga() };
            (new.id, work.journal.create(new, work.batch(2)).await)
        })
    };
    let rivals: Vec<_> = (0..RIVALS).map(rival).collect();
    let (mut made, mut told) = (Vec::new(), Vec::new());
    for rival in rivals {
        match rival.await.map_err(Breach::new)? {
            (id, Ok(Created::New(grant))) => made.push((id, grant)),
            (id, Ok(Created::Existing(existing))) => told.push((id, existing)),
            (_, Err(error)) => return Err(Breach::new(format_args!("a saga of a key that may be taken: {error}"))),
        }
    }
    let [(winner, grant)] = *made else {
        return Err(Breach::new(format_args!("{} of {RIVALS} sagas with one key are made", made.len())));
    };
    for (loser, existing) in told {
        ensure!(existing == winner, "who comes second is told of {existing} instead of {winner}");
        let found = work.journal.find(loser).await.or_breach("to find")?;
        ensure!(found.is_none(), "a saga whose key was taken is there: {found:?}");
    }
    let version = work.journal.create(NewSaga { key: Arc::clone(&key), version: 2, ..work.new_saga() }, work.batch(1));
    let version = version.await.or_breach("to make a saga")?;
    ensure!(version == Created::Existing(winner), "another version with the same key is {version:?}");
    let other = NewSaga { saga: "refund".into(), key, ..work.new_saga() };
    work.create(other, work.batch(1)).await?;
    work.append(grant, work.batch(1)).await.map(drop)
}

pub(super) async fn ended_sagas_are_closed<S: Stand>(stand: &S) -> Checked {
    let work = Work::new(stand.fresh().await);
    for phase in [Phase::Completed, Phase::Compensated, Phase::Abandoned] {
        let ended = work.turn(work.start().await?, phase).await?;
        ensure_unchanged(&work, ended, async || {
            for batch in [work.batch(1), Batch { phase, ..work.batch(1) }] {
                let appended = work.journal.append(ended, batch).await;
                ensure!(appended.is_err(), "a record is added to a saga that is {phase:?}");
            }
            Ok(())
        })
        .await?;
    }
    Ok(())
}

pub(super) async fn missing_sagas_are_not_found<S: Stand>(stand: &S) -> Checked {
    let work = Work::new(stand.fresh().await);
    work.start().await?;
    let id = work.new_saga().id;
    let grant = Grant { id, epoch: 1, seq: 0 };
    let answers = [
        work.journal.load(id).await.map(drop),
        work.journal.append(grant, work.batch(1)).await.map(drop),
        work.journal.claim_one(id).await.map(drop),
        work.journal.release(grant, None).await,
    ];
    for answer in answers {
        ensure!(matches!(answer, Err(JournalError::NotFound)), "of a saga that is not there it says {answer:?}");
    }
    let found = work.journal.find(id).await.or_breach("to find")?;
    ensure!(found.is_none(), "a saga that is not there is found: {found:?}");
    Ok(())
}
