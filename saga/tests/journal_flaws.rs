//! Each clause of the journals' suite finds a journal that breaks it.

#![cfg(feature = "testkit")]

use mainstay_saga::{
    SagaId, Timestamp,
    journal::{
        Batch, Claim, Claimed, Created, Filter, Grant, Journal, JournalError, JournalFuture, Memory, NewSaga, Phase,
        Stored, Summary,
    },
    testkit::journal::{Clause, Stand, check},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Mutex,
};
use tokio::task::yield_now;

/// What is wrong with a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    CountsFromZero,
    LosesEmptyRecords,
    WritesOneByOne,
    NeverFences,
    AppendsAnywhere,
    LetsRivalsWin,
    ForgetsNonces,
    TrustsOldNonces,
    IgnoresKeys,
    KeysPerVersion,
    AddsAfterTheEnd,
    InventsSagas,
    ClaimsEarly,
    ClaimsTooMany,
    ClaimsAnyDefinition,
    ClaimsInReverse,
    GivesSagasAway,
    KeepsEpochs,
    ClaimsWithoutCounting,
    ForgetsOwners,
    ClaimsTheParked,
    WakesAtOnce,
    NeverWakes,
    OwnsForEver,
    EmptyAfterRestart,
    StaleSummaries,
    EachPageIsTheFirst,
    ListsEverything,
    ListsNewestFirst,
    PurgesNothing,
    PurgesTooMuch,
    PurgesTheNewest,
    AnswersLate,
}

/// Which clause finds which flaw.
const FOUND_BY: [(Clause, &[Flaw]); 23] = [
    (Clause::RecordsAreKept, &[Flaw::CountsFromZero, Flaw::LosesEmptyRecords]),
    (Clause::BatchesAreWhole, &[Flaw::WritesOneByOne]),
    (Clause::FencedOwnersAddNothing, &[Flaw::NeverFences]),
    (Clause::OtherNumbersConflict, &[Flaw::AppendsAnywhere]),
    (Clause::RivalsDoNotBothWin, &[Flaw::LetsRivalsWin, Flaw::AppendsAnywhere]),
    (Clause::RepeatedAppendsCountOnce, &[Flaw::ForgetsNonces, Flaw::TrustsOldNonces]),
    (Clause::RepeatedCreationsCountOnce, &[Flaw::ForgetsNonces]),
    (Clause::KeysAreTakenOnce, &[Flaw::IgnoresKeys, Flaw::KeysPerVersion]),
    (Clause::EndedSagasAreClosed, &[Flaw::AddsAfterTheEnd]),
    (Clause::MissingSagasAreNotFound, &[Flaw::InventsSagas]),
    (Clause::ClaimsTakeWhatIsDue, &[Flaw::ClaimsEarly, Flaw::ClaimsTooMany, Flaw::ClaimsAnyDefinition]),
    (Clause::ClaimsAreInOrder, &[Flaw::ClaimsInReverse]),
    (Clause::ClaimsAreExclusive, &[Flaw::GivesSagasAway]),
    (Clause::ClaimsRaiseTheEpoch, &[Flaw::KeepsEpochs, Flaw::ClaimsWithoutCounting]),
    (Clause::OwnedSagasAreLeftAlone, &[Flaw::ForgetsOwners]),
    (Clause::OnlyRunningSagasAreClaimed, &[Flaw::ClaimsTheParked]),
    (Clause::ReleasedSagasWait, &[Flaw::WakesAtOnce, Flaw::NeverWakes]),
    (Clause::RestartsLoseNothing, &[Flaw::OwnsForEver, Flaw::EmptyAfterRestart]),
    (Clause::SummariesAreTrue, &[Flaw::StaleSummaries]),
    (Clause::ListsAreWhole, &[Flaw::EachPageIsTheFirst, Flaw::ListsEverything, Flaw::ListsNewestFirst]),
    (Clause::PurgesForgetTheEnded, &[Flaw::PurgesNothing, Flaw::PurgesTooMuch, Flaw::PurgesTheNewest]),
    (Clause::DroppedWritesAreWhole, &[Flaw::WritesOneByOne]),
    (Clause::DroppedOwnersOwnNothing, &[Flaw::AnswersLate]),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_clause_finds_its_flaws() {
    for (clause, flaws) in FOUND_BY {
        for &flaw in flaws {
            match check(clause, &FlawedStand(flaw)).await {
                Ok(()) => panic!("{clause:?} does not find a journal that {flaw:?}"),
                Err(breach) => println!("{clause:?} finds {flaw:?}: {breach}"),
            }
        }
    }
}

#[test]
fn each_clause_has_a_flaw() {
    let missing: Vec<_> =
        Clause::ALL.iter().filter(|clause| FOUND_BY.iter().all(|(found, _)| found != *clause)).collect();
    assert!(missing.is_empty(), "no flaw for {missing:?}");
}

struct FlawedStand(Flaw);

impl Stand for FlawedStand {
    type Journal = Flawed;

    async fn fresh(&self) -> Flawed {
        Flawed { inner: Memory::new(), flaw: self.0, nonces: Mutex::default(), ended: Mutex::default() }
    }

    async fn reopen(&self, journal: Flawed) -> Flawed {
        match self.0 {
            Flaw::EmptyAfterRestart => return self.fresh().await,
            Flaw::OwnsForEver => {}
            _ => journal.inner.forget_owners(),
        }
        journal
    }
}

struct Flawed {
    inner: Memory,
    flaw: Flaw,
    /// What was answered to each nonce.
    nonces: Mutex<HashMap<u64, Grant>>,
    /// Who should have ended.
    ended: Mutex<HashSet<SagaId>>,
}

impl Flawed {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    /// The grant with which the journal would do it now.
    async fn forged(&self, grant: Grant) -> Result<Grant, JournalError> {
        let Summary { epoch, seq, .. } = self.inner.find(grant.id).await?.ok_or(JournalError::NotFound)?;
        Ok(match self.flaw {
            Flaw::NeverFences if grant.epoch < epoch => Grant { epoch, seq, ..grant },
            Flaw::AppendsAnywhere if grant.epoch == epoch => Grant { seq, ..grant },
            Flaw::LetsRivalsWin if grant.epoch == epoch && grant.seq == seq => {
                yield_now().await;
                self.now(grant).await?
            }
            Flaw::KeepsEpochs => Grant { epoch, ..grant },
            _ => grant,
        })
    }

    async fn now(&self, grant: Grant) -> Result<Grant, JournalError> {
        let Summary { seq, .. } = self.inner.find(grant.id).await?.ok_or(JournalError::NotFound)?;
        Ok(Grant { seq, ..grant })
    }

    fn forge(&self, id: SagaId, mut batch: Batch) -> Batch {
        if self.has(Flaw::ForgetsNonces) {
            batch.nonce = batch.nonce.wrapping_add(1 << 40 | u64::from(rand::random::<u32>()) << 41);
        }
        if self.has(Flaw::LosesEmptyRecords) {
            batch.records.retain(|record| !record.is_empty());
        }
        if self.has(Flaw::AddsAfterTheEnd) && batch.phase.is_ended() {
            self.ended.lock().unwrap().insert(id);
            batch.phase = Phase::Parked;
        }
        if self.has(Flaw::ClaimsTheParked) && batch.phase == Phase::Parked {
            batch.phase = Phase::Forward;
        }
        batch
    }

    fn forge_claimed(&self, mut claimed: Claimed) -> Claimed {
        match self.flaw {
            Flaw::KeepsEpochs => claimed.grant.epoch = 1,
            Flaw::ClaimsWithoutCounting => claimed.grant.seq = 0,
            _ => {}
        }
        claimed
    }

    fn forge_summary(&self, mut summary: Summary) -> Summary {
        if self.has(Flaw::StaleSummaries) {
            summary.phase = Phase::Forward;
        }
        summary
    }

    /// Forgets those that ended last: all of them, and those that should be left are made again.
    async fn purge_newest(&self, ended_before: Timestamp, at_most: usize) -> Result<u64, JournalError> {
        let mut ended = self.inner.list(Filter::default(), None, usize::MAX).await?;
        ended.retain(|summary| summary.phase.is_ended() && summary.updated_at < ended_before);
        ended.sort_by_key(|summary| summary.updated_at);
        let keep = ended.len().saturating_sub(at_most);
        self.inner.purge(ended_before, usize::MAX).await?;
        for Summary { id, saga, version, key, phase, created_at, updated_at, .. } in ended.drain(..keep) {
            let batch = Batch { records: vec![vec![1]; 4], nonce: 0, phase, at: updated_at };
            self.inner.create(NewSaga { id, saga, version, key, at: created_at }, batch).await?;
        }
        Ok(ended.len() as u64)
    }

    async fn append_one_by_one(&self, mut grant: Grant, batch: Batch) -> Result<Grant, JournalError> {
        for (at, record) in (0..).zip(batch.records) {
            let nonce = batch.nonce.wrapping_add(at << 40);
            grant = self.inner.append(grant, Batch { records: vec![record], nonce, ..batch }).await?;
            yield_now().await;
        }
        Ok(grant)
    }
}

impl Journal for Flawed {
    fn create(&self, mut new: NewSaga, batch: Batch) -> JournalFuture<'_, Created> {
        match self.flaw {
            Flaw::IgnoresKeys => new.key = new.id.to_string().into(),
            Flaw::KeysPerVersion => new.key = format!("{} {}", new.version, new.key).into(),
            _ => {}
        }
        let batch = self.forge(new.id, batch);
        Box::pin(async move {
            let created = self.inner.create(new, batch).await;
            if self.has(Flaw::AnswersLate) {
                yield_now().await;
            }
            created
        })
    }

    fn append(&self, grant: Grant, batch: Batch) -> JournalFuture<'_, Grant> {
        Box::pin(async move {
            let batch = self.forge(grant.id, batch);
            if self.has(Flaw::WritesOneByOne) {
                return self.append_one_by_one(grant, batch).await;
            }
            if self.has(Flaw::TrustsOldNonces)
                && let Some(known) = self.nonces.lock().unwrap().get(&batch.nonce)
            {
                return Ok(*known);
            }
            let nonce = batch.nonce;
            let grant = self.inner.append(self.forged(grant).await?, batch).await?;
            self.nonces.lock().unwrap().insert(nonce, grant);
            Ok(grant)
        })
    }

    fn load(&self, id: SagaId) -> JournalFuture<'_, Vec<Stored>> {
        Box::pin(async move {
            match self.inner.load(id).await {
                Err(JournalError::NotFound) if self.has(Flaw::InventsSagas) => Ok(Vec::new()),
                Ok(mut stored) if self.has(Flaw::CountsFromZero) => {
                    for stored in &mut stored {
                        stored.seq -= 1;
                    }
                    Ok(stored)
                }
                loaded => loaded,
            }
        })
    }

    fn claim(&self, mut claim: Claim) -> JournalFuture<'_, Vec<Claimed>> {
        Box::pin(async move {
            match self.flaw {
                Flaw::ClaimsEarly => claim.now = Timestamp::from_millis(claim.now.as_millis() + 1),
                Flaw::ClaimsTooMany => claim.at_most += 1,
                Flaw::ClaimsAnyDefinition => {
                    claim.definitions = [("order".into(), 1), ("order".into(), 2), ("refund".into(), 1)].into();
                }
                Flaw::ForgetsOwners => self.inner.forget_owners(),
                _ => {}
            }
            let mut claimed = self.inner.claim(claim).await?;
            match self.flaw {
                Flaw::ClaimsInReverse => claimed.reverse(),
                Flaw::GivesSagasAway => self.inner.forget_owners(),
                Flaw::AnswersLate => yield_now().await,
                _ => {}
            }
            Ok(claimed.into_iter().map(|claimed| self.forge_claimed(claimed)).collect())
        })
    }

    fn claim_one(&self, id: SagaId) -> JournalFuture<'_, Claimed> {
        Box::pin(async move { Ok(self.forge_claimed(self.inner.claim_one(id).await?)) })
    }

    fn release(&self, grant: Grant, wake_at: Option<Timestamp>) -> JournalFuture<'_, ()> {
        Box::pin(async move {
            let wake_at = match self.flaw {
                Flaw::WakesAtOnce => Some(Timestamp::from_millis(0)),
                Flaw::NeverWakes => None,
                _ => wake_at,
            };
            self.inner.release(self.forged(grant).await?, wake_at).await
        })
    }

    fn find(&self, id: SagaId) -> JournalFuture<'_, Option<Summary>> {
        Box::pin(async move { Ok(self.inner.find(id).await?.map(|summary| self.forge_summary(summary))) })
    }

    fn list(&self, mut filter: Filter, after: Option<SagaId>, at_most: usize) -> JournalFuture<'_, Vec<Summary>> {
        Box::pin(async move {
            let after = after.filter(|_| !self.has(Flaw::EachPageIsTheFirst));
            if self.has(Flaw::ListsEverything) {
                filter.phases.clear();
            }
            let mut listed = self.inner.list(filter, after, at_most).await?;
            if self.has(Flaw::ListsNewestFirst) {
                listed.reverse();
            }
            Ok(listed)
        })
    }

    fn purge(&self, ended_before: Timestamp, at_most: usize) -> JournalFuture<'_, u64> {
        Box::pin(async move {
            match self.flaw {
                Flaw::PurgesNothing => Ok(1.min(at_most as u64)),
                Flaw::PurgesTooMuch => self.inner.purge(Timestamp::from_millis(u64::MAX), at_most).await,
                // As if the times were turned round.
                Flaw::PurgesTheNewest => self.purge_newest(ended_before, at_most).await,
                _ => self.inner.purge(ended_before, at_most).await,
            }
        })
    }
}
