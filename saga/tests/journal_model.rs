//! Both journals of the house answer what a slow and obvious one answers, whatever they are asked.

#![cfg(feature = "testkit")]

mod support;

use mainstay_saga::{
    SagaId, Timestamp,
    journal::{Batch, Claim, Claimed, Created, Filter, Grant, Journal, JournalError, NewSaga, Phase, Stored, Summary},
    testkit::journal::Stand,
};
use proptest::{collection::vec, prelude::*, sample::select};
use std::sync::Arc;
use support::in_memory::InMemory;

/// What a journal is asked for. Sagas and grants are numbers, so that they often meet.
#[derive(Debug, Clone)]
enum Ask {
    /// A saga by its id and key, with so many records.
    Create {
        id: u8,
        key: u8,
        nonce: u64,
        records: usize,
        at: u64,
    },
    /// With the newest grant of this saga, and so much off its epoch and number.
    Append {
        id: u8,
        epoch: i64,
        seq: i64,
        nonce: u64,
        records: usize,
        phase: Phase,
        at: u64,
    },
    Claim {
        now: u64,
        at_most: usize,
        all: bool,
    },
    ClaimOne {
        id: u8,
    },
    Release {
        id: u8,
        epoch: i64,
        wake_at: Option<u64>,
    },
    Purge {
        before: u64,
        at_most: usize,
    },
    List {
        phases: Vec<Phase>,
        refunds: bool,
        after: Option<u8>,
        at_most: usize,
    },
    Restart,
}

const PHASES: [Phase; 6] =
    [Phase::Forward, Phase::Backward, Phase::Parked, Phase::Completed, Phase::Compensated, Phase::Abandoned];

fn asks() -> impl Strategy<Value = Ask> {
    let (id, key, nonce, at) = (0..6_u8, 0..5_u8, 0..4_u64, 0..8_u64);
    let off = prop_oneof![6 => Just(0_i64), 1 => -2..3_i64];
    let phase = prop_oneof![4 => Just(Phase::Forward), 2 => select(PHASES.to_vec())];
    prop_oneof![
        4 => (id.clone(), key, nonce.clone(), 0..3_usize, at.clone())
            .prop_map(|(id, key, nonce, records, at)| Ask::Create { id, key, nonce, records, at }),
        8 => (id.clone(), off.clone(), off.clone(), nonce, 0..3_usize, phase, at.clone())
            .prop_map(|(id, epoch, seq, nonce, records, phase, at)| Ask::Append { id, epoch, seq, nonce, records, phase, at }),
        3 => (at.clone(), 0..4_usize, any::<bool>()).prop_map(|(now, at_most, all)| Ask::Claim { now, at_most, all }),
        2 => id.clone().prop_map(|id| Ask::ClaimOne { id }),
        4 => (id.clone(), off, proptest::option::of(at.clone()))
            .prop_map(|(id, epoch, wake_at)| Ask::Release { id, epoch, wake_at }),
        2 => (at, 0..3_usize).prop_map(|(before, at_most)| Ask::Purge { before, at_most }),
        1 => (vec(select(PHASES.to_vec()), 0..3), any::<bool>(), proptest::option::of(id), 0..5_usize)
            .prop_map(|(phases, refunds, after, at_most)| Ask::List { phases, refunds, after, at_most }),
        1 => Just(Ask::Restart),
    ]
}

/// Answers, with errors as far as a caller can tell them apart.
#[derive(Debug, PartialEq)]
enum Answer {
    Created(Created),
    Granted(Grant),
    Claimed(Vec<Claimed>),
    Listed(Vec<Summary>),
    Purged(u64),
    Done,
    Fenced(u64),
    Conflict(u64),
    NotFound,
    Other(String),
}

fn answer<T>(result: Result<T, JournalError>, of: impl FnOnce(T) -> Answer) -> Answer {
    match result {
        Ok(answer) => of(answer),
        Err(JournalError::Fenced { current }) => Answer::Fenced(current),
        Err(JournalError::Conflict { seq }) => Answer::Conflict(seq),
        Err(JournalError::NotFound) => Answer::NotFound,
        Err(other) => Answer::Other(other.to_string()),
    }
}

const fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn saga_id(id: u8) -> SagaId {
    SagaId::from_u128(u128::from(id) + 1)
}

/// Half of the keys are of another definition.
fn new_saga(id: u8, key: u8, millis: u64) -> NewSaga {
    let saga = if key.is_multiple_of(2) { "order" } else { "refund" };
    NewSaga { id: saga_id(id), saga: saga.into(), version: 1, key: key.to_string().into(), at: at(millis) }
}

fn batch(nonce: u64, records: usize, phase: Phase, millis: u64) -> Batch {
    let record = |number| format!("{nonce} {number}").into_bytes();
    Batch { records: (0..records).map(record).collect(), nonce, phase, at: at(millis) }
}

fn claim(now: u64, at_most: usize, all: bool) -> Claim {
    let order: (Arc<str>, u32) = ("order".into(), 1);
    let definitions = if all { vec![("refund".into(), 1), order] } else { vec![order] };
    Claim { definitions: definitions.into(), now: at(now), at_most }
}

fn filter(phases: &[Phase], refunds: bool) -> Filter {
    Filter { saga: refunds.then(|| "refund".into()), phases: phases.to_vec() }
}

/// The slow and obvious journal: a list of sagas, and everything is looked for from its beginning.
#[derive(Debug, Default)]
struct Model {
    sagas: Vec<Saga>,
}

/// When one that somebody has is due once nobody has it any more, whatever the clock says then.
const AT_ONCE: Timestamp = Timestamp::from_millis(0);

#[derive(Debug)]
struct Saga {
    new: NewSaga,
    records: Vec<Stored>,
    phase: Phase,
    epoch: u64,
    /// The nonce of the last batch, and how many records there were before.
    last: (u64, u64),
    updated_at: Timestamp,
    owned: bool,
    wake_at: Option<Timestamp>,
}

impl Saga {
    fn seq(&self) -> u64 {
        self.records.len() as u64
    }

    fn grant(&self) -> Grant {
        Grant { id: self.new.id, epoch: self.epoch, seq: self.seq() }
    }

    fn add(&mut self, batch: &Batch) {
        self.last = (batch.nonce, self.seq());
        for bytes in &batch.records {
            self.records.push(Stored { seq: self.seq() + 1, epoch: self.epoch, at: batch.at, bytes: bytes.clone() });
        }
        if batch.phase.is_running() && !self.phase.is_running() {
            self.wake_at = Some(AT_ONCE);
            self.owned = true;
        }
        self.phase = batch.phase;
        self.updated_at = batch.at;
    }

    fn claim(&mut self) -> Claimed {
        self.epoch += 1;
        self.owned = true;
        self.wake_at = Some(AT_ONCE);
        Claimed { grant: self.grant(), saga: self.new.saga.clone(), version: self.new.version }
    }

    fn summary(&self) -> Summary {
        let NewSaga { id, saga, version, key, at } = self.new.clone();
        let (phase, epoch, seq, updated_at) = (self.phase, self.epoch, self.seq(), self.updated_at);
        Summary { id, saga, version, key, phase, epoch, seq, created_at: at, updated_at }
    }
}

impl Model {
    fn find(&mut self, id: u8) -> Option<&mut Saga> {
        self.sagas.iter_mut().find(|saga| saga.new.id == saga_id(id))
    }

    fn create(&mut self, new: NewSaga, batch: &Batch) -> Answer {
        let of_key = self.sagas.iter_mut().find(|saga| saga.new.saga == new.saga && saga.new.key == new.key);
        if let Some(saga) = of_key {
            let repeated = saga.new.id == new.id && saga.epoch == 1 && saga.last == (batch.nonce, 0);
            if repeated {
                saga.owned = saga.owned || saga.phase.is_running();
                return Answer::Created(Created::New(saga.grant()));
            }
            return Answer::Created(Created::Existing(saga.new.id));
        }
        if let Some(saga) = self.sagas.iter().find(|saga| saga.new.id == new.id) {
            return Answer::Conflict(saga.seq());
        }
        let (updated_at, wake_at) = (batch.at, Some(AT_ONCE));
        let (phase, last) = (batch.phase, (0, 0));
        let mut saga = Saga { new, records: vec![], phase, epoch: 1, last, updated_at, owned: true, wake_at };
        saga.add(batch);
        self.sagas.push(saga);
        Answer::Created(Created::New(self.sagas.last().unwrap().grant()))
    }

    fn append(&mut self, id: u8, grant: Grant, batch: &Batch) -> Answer {
        let Some(saga) = self.find(id) else { return Answer::NotFound };
        if grant.epoch < saga.epoch {
            return Answer::Fenced(saga.epoch);
        }
        if grant.epoch > saga.epoch {
            return Answer::Conflict(saga.seq());
        }
        if saga.last == (batch.nonce, grant.seq) {
            return Answer::Granted(saga.grant());
        }
        if grant.seq != saga.seq() || saga.phase.is_ended() {
            return Answer::Conflict(saga.seq());
        }
        saga.add(batch);
        Answer::Granted(saga.grant())
    }

    fn claim(&mut self, claim: &Claim) -> Answer {
        let mut due: Vec<_> = self.sagas.iter_mut().filter(|saga| saga.phase.is_running() && !saga.owned).collect();
        due.retain(|saga| saga.wake_at.is_some_and(|wake_at| wake_at <= claim.now));
        due.retain(|saga| claim.definitions.contains(&(saga.new.saga.clone(), saga.new.version)));
        due.sort_by_key(|saga| (saga.wake_at, saga.new.id));
        Answer::Claimed(due.into_iter().take(claim.at_most).map(Saga::claim).collect())
    }

    fn release(&mut self, id: u8, grant: Grant, wake_at: Option<Timestamp>) -> Answer {
        let Some(saga) = self.find(id) else { return Answer::NotFound };
        if grant.epoch < saga.epoch {
            return Answer::Fenced(saga.epoch);
        }
        if grant.epoch > saga.epoch {
            return Answer::Conflict(saga.seq());
        }
        saga.wake_at = wake_at;
        saga.owned = false;
        Answer::Done
    }

    fn purge(&mut self, before: Timestamp, at_most: usize) -> Answer {
        let mut old: Vec<_> =
            self.sagas.iter().filter(|saga| saga.phase.is_ended() && saga.updated_at < before).collect();
        old.sort_by_key(|saga| (saga.updated_at, saga.new.id));
        let old: Vec<_> = old.iter().take(at_most).map(|saga| saga.new.id).collect();
        self.sagas.retain(|saga| !old.contains(&saga.new.id));
        Answer::Purged(old.len() as u64)
    }

    fn list(&self, filter: &Filter, after: Option<SagaId>, at_most: usize) -> Answer {
        let mut listed: Vec<_> = self.sagas.iter().map(Saga::summary).collect();
        listed.retain(|summary| filter.saga.as_ref().is_none_or(|saga| *saga == summary.saga));
        listed.retain(|summary| filter.phases.is_empty() || filter.phases.contains(&summary.phase));
        listed.retain(|summary| after.is_none_or(|after| summary.id > after));
        listed.sort_by_key(|summary| summary.id);
        listed.truncate(at_most);
        Answer::Listed(listed)
    }

    /// The newest grant of a saga, or one that nobody has, with so much off.
    fn grant(&mut self, id: u8, epoch: i64, seq: i64) -> Grant {
        let newest = self.find(id).map_or(Grant { id: saga_id(id), epoch: 1, seq: 0 }, |saga| saga.grant());
        Grant { epoch: newest.epoch.saturating_add_signed(epoch), seq: newest.seq.saturating_add_signed(seq), ..newest }
    }

    fn ask(&mut self, ask: &Ask) -> Answer {
        match *ask {
            Ask::Create { id, key, nonce, records, at } => {
                self.create(new_saga(id, key, at), &batch(nonce, records, Phase::Forward, at))
            }
            Ask::Append { id, epoch, seq, nonce, records, phase, at } => {
                let grant = self.grant(id, epoch, seq);
                self.append(id, grant, &batch(nonce, records, phase, at))
            }
            Ask::Claim { now, at_most, all } => self.claim(&claim(now, at_most, all)),
            Ask::ClaimOne { id } => self.find(id).map_or(Answer::NotFound, |saga| Answer::Claimed(vec![saga.claim()])),
            Ask::Release { id, epoch, wake_at } => {
                let grant = self.grant(id, epoch, 0);
                self.release(id, grant, wake_at.map(at))
            }
            Ask::Purge { before, at_most } => self.purge(at(before), at_most),
            Ask::List { ref phases, refunds, after, at_most } => {
                self.list(&filter(phases, refunds), after.map(saga_id), at_most)
            }
            Ask::Restart => {
                self.sagas.iter_mut().for_each(|saga| saga.owned = false);
                Answer::Done
            }
        }
    }
}

/// The same, of a journal. What it is asked with depends on the model, as it was before.
async fn ask(journal: &impl Journal, model: &mut Model, ask: &Ask) -> Answer {
    match *ask {
        Ask::Create { id, key, nonce, records, at } => {
            let batch = batch(nonce, records, Phase::Forward, at);
            answer(journal.create(new_saga(id, key, at), batch).await, Answer::Created)
        }
        Ask::Append { id, epoch, seq, nonce, records, phase, at } => {
            let grant = model.grant(id, epoch, seq);
            answer(journal.append(grant, batch(nonce, records, phase, at)).await, Answer::Granted)
        }
        Ask::Claim { now, at_most, all } => answer(journal.claim(claim(now, at_most, all)).await, Answer::Claimed),
        Ask::ClaimOne { id } => answer(journal.claim_one(saga_id(id)).await, |claimed| Answer::Claimed(vec![claimed])),
        Ask::Release { id, epoch, wake_at } => {
            let grant = model.grant(id, epoch, 0);
            answer(journal.release(grant, wake_at.map(at)).await, |()| Answer::Done)
        }
        Ask::Purge { before, at_most } => answer(journal.purge(at(before), at_most).await, Answer::Purged),
        Ask::List { ref phases, refunds, after, at_most } => {
            answer(journal.list(filter(phases, refunds), after.map(saga_id), at_most).await, Answer::Listed)
        }
        Ask::Restart => Answer::Done,
    }
}

/// Asks the same of a journal and of the model, and looks at everything after each answer.
async fn compare<S: Stand>(stand: &S, asks: &[Ask]) -> Result<(), TestCaseError> {
    let mut journal = stand.fresh().await;
    let mut model = Model::default();
    for asked in asks {
        if matches!(asked, Ask::Restart) {
            journal = stand.reopen(journal).await;
        }
        let seen = ask(&journal, &mut model, asked).await;
        prop_assert_eq!(seen, model.ask(asked), "{:?}", asked);
        for saga in &model.sagas {
            let id = saga.new.id;
            prop_assert_eq!(journal.find(id).await.unwrap(), Some(saga.summary()), "after {:?}", asked);
            prop_assert_eq!(&journal.load(id).await.unwrap(), &saga.records, "after {:?}", asked);
        }
        let all = journal.list(Filter::default(), None, usize::MAX).await.unwrap();
        prop_assert_eq!(all.len(), model.sagas.len(), "after {:?}", asked);
    }
    Ok(())
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_answers_as_the_model(asks in vec(asks(), 1..60)) {
        block_on(compare(&InMemory, &asks))?;
    }
}

#[cfg(feature = "redb")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn embedded_answers_as_the_model(asks in vec(asks(), 1..40)) {
        let stand = support::in_file::InFile::new(mainstay_saga::journal::EmbeddedConfig::default());
        block_on(compare(&stand, &asks))?;
    }
}
