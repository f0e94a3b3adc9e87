//! A shop whose services do as they are told, and the order saga over it.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod odd;

use mainstay_saga::{
    Draft, Effect, Engine, Out, Record, Saga, SagaId, Step, StepCx, StepError, UndoCx, UndoError,
    journal::{Journal, Memory},
};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Do {
    Succeed,
    Reject,
    NotExecute,
    /// Fails after the effect.
    LoseAnswer,
    /// Fails before the effect, and says nothing of it.
    LoseRequest,
    Panic,
    /// Has its effect and never answers.
    Hang,
    /// Answers after a second.
    Slow,
    NeedHelp,
}

/// The services: what they did, and what they will do next.
#[derive(Debug, Default)]
pub(crate) struct Shop {
    calls: Mutex<Vec<String>>,
    plans: Mutex<HashMap<String, VecDeque<Do>>>,
    /// What stands: keys of actions that happened and were not undone.
    effects: Mutex<Vec<String>>,
}

impl Shop {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// What the next calls of this name do. Those after them succeed.
    pub(crate) fn plan(&self, call: &str, next: impl IntoIterator<Item = Do>) {
        self.plans.lock().unwrap().entry(call.to_owned()).or_default().extend(next);
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, call: &str) -> usize {
        self.calls().iter().filter(|made| *made == call).count()
    }

    /// The steps whose effect stands, in order.
    pub(crate) fn standing(&self) -> Vec<String> {
        self.effects.lock().unwrap().clone()
    }

    fn next(&self, call: &str) -> Do {
        self.calls.lock().unwrap().push(call.to_owned());
        let mut plans = self.plans.lock().unwrap();
        plans.get_mut(call).and_then(VecDeque::pop_front).unwrap_or(Do::Succeed)
    }

    fn happen(&self, step: &str) {
        let mut effects = self.effects.lock().unwrap();
        if !effects.iter().any(|done| done == step) {
            effects.push(step.to_owned());
        }
    }

    fn unhappen(&self, step: &str) {
        self.effects.lock().unwrap().retain(|done| done != step);
    }
}

/// A step of the shop, with the name of the step as the name of the call. It gives its number.
pub(crate) async fn act(cx: StepCx<Shop>, number: u32) -> Result<u32, StepError> {
    let (shop, step) = (cx.app(), cx.step());
    let does = shop.next(step);
    match does {
        Do::Reject => return Err(StepError::rejected("no")),
        Do::NotExecute => return Err(StepError::not_executed("busy")),
        Do::LoseRequest => return Err(StepError::unknown("lost")),
        Do::Panic => panic!("step {step}"),
        _ => shop.happen(step),
    }
    match does {
        Do::LoseAnswer => return Err(StepError::unknown("lost")),
        Do::Hang => std::future::pending().await,
        Do::Slow => tokio::time::sleep(Duration::from_secs(1)).await,
        _ => {}
    }
    Ok(number + 1)
}

/// Takes it back.
pub(crate) async fn undo(cx: UndoCx<Shop>, number: u32, effect: Effect<u32>) -> Result<(), UndoError> {
    let (shop, step) = (cx.app(), cx.step().to_owned());
    if let Effect::Known(output) = effect {
        assert_eq!(output, number + 1);
    }
    match shop.next(&format!("undo-{step}")) {
        Do::NeedHelp => return Err(UndoError::needs_help("help")),
        Do::Panic => panic!("undo {step}"),
        Do::Hang => std::future::pending().await,
        Do::Slow => tokio::time::sleep(Duration::from_secs(1)).await,
        Do::LoseAnswer => {
            shop.unhappen(&step);
            return Err(UndoError::try_again("lost"));
        }
        Do::Succeed => {}
        _ => return Err(UndoError::try_again("busy")),
    }
    shop.unhappen(&step);
    Ok(())
}

/// reserve, charge and create one after the other, then the pivot `confirm`, then `mail`.
pub(crate) fn order<'s>(mut s: Draft<'s, Shop>, number: Out<'s, u32>) -> Out<'s, u32> {
    let reserved = s.step("reserve", number, act, undo);
    let charged = s.step("charge", reserved, act, undo);
    let created = s.step("create", charged, act, undo);
    let (mut s, confirmed) = s.pivot("confirm", created, act);
    s.retriable("mail", confirmed, act);
    confirmed
}

/// Three compensatable steps in a row, without a pivot.
pub(crate) fn chain<'s>(mut s: Draft<'s, Shop>, number: Out<'s, u32>) -> Out<'s, u32> {
    let a = s.step("a", number, act, undo);
    let b = s.step("b", a, act, undo);
    s.step("c", b, act, undo)
}

/// Two steps side by side, and one after both.
pub(crate) fn fork<'s>(mut s: Draft<'s, Shop>, number: Out<'s, u32>) -> Out<'s, u32> {
    let left = s.step("left", number, act, undo);
    s.step("right", number, act, undo);
    s.step(Step::named("join"), left, act, undo)
}

pub(crate) fn orders() -> Saga<Shop, u32, u32> {
    Saga::define("order", 1, order).expect("the definition is valid")
}

pub(crate) fn chains() -> Saga<Shop, u32, u32> {
    Saga::define("chain", 1, chain).expect("the definition is valid")
}

pub(crate) fn forks() -> Saga<Shop, u32, u32> {
    Saga::define("fork", 1, fork).expect("the definition is valid")
}

/// An engine that has all of these.
pub(crate) async fn engine(shop: &Arc<Shop>, journal: impl Journal) -> Engine<Shop> {
    let builder = Engine::builder(Arc::clone(shop), journal);
    builder.register(&orders()).register(&chains()).register(&forks()).start().await.expect("the engine starts")
}

/// The records of a saga, by name and step.
pub(crate) async fn story(journal: &Memory, id: SagaId) -> Vec<String> {
    let stored = journal.load(id).await.expect("the saga is there");
    stored.iter().map(|stored| told(&Record::decode(&stored.bytes).expect("it can be read"))).collect()
}

fn told(record: &Record) -> String {
    match record {
        Record::Created { .. } => "created".to_owned(),
        Record::StepStarted { step, attempt } => format!("{step} started {attempt}"),
        Record::StepSucceeded { step, .. } => format!("{step} succeeded"),
        Record::StepFailed { step, outcome, retry_at, .. } => {
            format!("{step} failed {outcome:?}{}", if retry_at.is_some() { ", again" } else { "" })
        }
        Record::StepLeftOut { step } => format!("{step} left out"),
        Record::WaitStarted { step, .. } => format!("{step} waits"),
        Record::SignalReceived { step, .. } => format!("{step} got its signal"),
        Record::CancelRequested { .. } => "cancel requested".to_owned(),
        Record::Turned { .. } => "turned".to_owned(),
        Record::UndoStarted { step, attempt } => format!("undo of {step} started {attempt}"),
        Record::UndoSucceeded { step } => format!("undo of {step} succeeded"),
        Record::UndoFailed { step, retry_at, .. } => {
            format!("undo of {step} failed{}", if retry_at.is_some() { ", again" } else { "" })
        }
        Record::Parked { .. } => "parked".to_owned(),
        Record::Resumed(_) => "resumed".to_owned(),
        Record::MarkedCompensated { step, .. } => format!("{step} marked compensated"),
        Record::Skipped { step, .. } => format!("{step} skipped"),
        Record::Completed => "completed".to_owned(),
        Record::Compensated => "compensated".to_owned(),
        Record::Abandoned(_) => "abandoned".to_owned(),
        _ => "unknown".to_owned(),
    }
}
