//! What a definition records, and what the code in it does with the journal's bytes.

use super::*;
use crate::{FailedAs, Payload, SagaId};
use futures_util::FutureExt;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

/// Writes down what is called.
#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Log {
    fn note(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }
}

type App = Arc<Log>;

#[expect(clippy::unnecessary_wraps, reason = "as it is in the table")]
fn json<T: Serialize>(value: T) -> Option<Payload> {
    Some(Payload::encode(&value).unwrap())
}

/// A definition and the table of one saga of it, run one step after the other.
struct Course<I, O> {
    saga: Saga<App, I, O>,
    app: Arc<App>,
    table: Vec<Option<Payload>>,
}

impl<I: crate::Data, O: crate::Data> Course<I, O> {
    fn of(body: impl for<'s> FnOnce(Draft<'s, App>, Out<'s, I>) -> Out<'s, O>, input: Option<Payload>) -> Self {
        let saga = Saga::define("test", 1, body).unwrap();
        Self { saga, app: Arc::default(), table: vec![input] }
    }

    fn attempt(&self, step: usize) -> Result<Result<Payload, StepError>, Unreadable> {
        let definition = self.saga.definition();
        let cx = StepCx::new(Arc::clone(&self.app), SagaId::from_u128(7), definition.graph.nodes[step].name.clone());
        definition.code[step].run(cx, &self.table).map(|running| running.now_or_never().unwrap())
    }

    fn undo(&self, step: usize, output: Option<&Payload>) -> Result<Result<(), UndoError>, Unreadable> {
        let definition = self.saga.definition();
        let cx = UndoCx::new(Arc::clone(&self.app), SagaId::from_u128(7), definition.graph.nodes[step].name.clone());
        definition.code[step].undo(cx, &self.table, output).map(|undoing| undoing.now_or_never().unwrap())
    }

    /// Runs the next step, and keeps what it gives.
    fn step(&mut self) -> &Payload {
        let output = self.attempt(self.table.len() - 1).unwrap().unwrap();
        self.table.push(Some(output));
        self.table.last().unwrap().as_ref().unwrap()
    }

    /// What the saga gives.
    fn result(&self) -> O {
        let slot = self.saga.graph().result.map_or(0, |step| step + 1);
        self.table[slot].as_ref().unwrap().decode().unwrap()
    }

    fn unreadable(&self, step: usize) -> String {
        self.attempt(step).unwrap_err().to_string()
    }
}

fn noted(course: &Course<impl crate::Data, impl crate::Data>) -> Vec<String> {
    std::mem::take(&mut course.app.0.lock().unwrap())
}

async fn reserve(cx: StepCx<App>, item: u32) -> Result<String, StepError> {
    cx.app().note(format!("reserve {item} as {}", cx.key()));
    Ok(format!("reservation of {item}"))
}

async fn release(cx: UndoCx<App>, item: u32, effect: Effect<String>) -> Result<(), UndoError> {
    cx.app().note(format!("release {item}, {effect:?}, {} for {}", cx.key(), cx.do_key()));
    Ok(())
}

fn order<'s>(mut s: Draft<'s, App>, item: Out<'s, u32>) -> Out<'s, u64> {
    let stock = s.step("reserve", item, reserve, release);
    let price = s.read("price", item, async |_, item| Ok(u64::from(item) * 100));
    let paid = s.step(
        Step::named("charge").after(stock),
        price,
        async |_, cents| Ok(cents),
        async |cx: UndoCx<App>, cents, _: Effect<u64>| {
            cx.app().note(format!("refund {cents}"));
            Ok(())
        },
    );
    let (mut s, sold) = s.pivot("sell", (stock, paid), async |_, (stock, paid)| Ok(format!("{stock} for {paid}")));
    s.retriable("mail", sold, async |cx, text| {
        cx.app().note(text);
        Ok(())
    });
    paid
}

#[test]
fn values_go_from_step_to_step() {
    let mut course = Course::of(order, json(3));
    assert_eq!(course.step().as_str(), r#""reservation of 3""#);
    assert_eq!(course.step().as_str(), "300");
    assert_eq!(course.step().as_str(), "300");
    assert_eq!(course.step().as_str(), r#""reservation of 3 for 300""#);
    assert_eq!(course.step().as_str(), "null");
    assert_eq!(course.result(), 300);
    let id = SagaId::from_u128(7);
    assert_eq!(noted(&course), [format!("reserve 3 as {id}-reserve-do"), "reservation of 3 for 300".to_owned()]);
}

#[test]
fn an_undo_is_told_what_is_known() {
    let mut course = Course::of(order, json(3));
    let output = course.step().clone();
    course.undo(0, Some(&output)).unwrap().unwrap();
    course.undo(0, None).unwrap().unwrap();
    let id = SagaId::from_u128(7);
    let keys = format!("{id}-reserve-undo for {id}-reserve-do");
    let known = format!(r#"release 3, Known("reservation of 3"), {keys}"#);
    assert_eq!(noted(&course)[1..], [known, format!("release 3, Maybe, {keys}")]);
}

#[test]
fn edges_come_from_handles() {
    let saga = Saga::define("order", 1, order).unwrap();
    let needs: Vec<_> = saga.graph().nodes().iter().map(|node| (&*node.name, node.needs.clone())).collect();
    let expected: [(&str, &[usize]); 5] =
        [("reserve", &[]), ("price", &[]), ("charge", &[0, 1]), ("sell", &[0, 2]), ("mail", &[3])];
    assert_eq!(needs, expected.map(|(name, needs)| (name, needs.to_vec())));
    let read_by: Vec<_> = saga.graph().nodes().iter().map(|node| node.read_by.clone()).collect();
    assert_eq!(read_by, [vec![3], vec![2], vec![3], vec![4], vec![]], "after is no reading");
    assert_eq!(saga.graph().result, Some(2));
}

#[test]
fn a_step_reads_what_it_is_given_in_order() {
    #[expect(clippy::many_single_char_names, reason = "there are eight of them")]
    fn all<'s>(mut s: Draft<'s, App>, n: Out<'s, u8>) -> Out<'s, (u8, u8)> {
        let steps: Vec<_> =
            (1..8).map(|add| s.read(format!("add-{add}"), n, move |_, n| async move { Ok(n + add) })).collect();
        let [b, c, d, e, f, g, h] = steps[..] else { unreachable!() };
        s.read("eight", (n, b, c, d, e, f, g, h), async |_, (a, b, c, d, e, f, g, h)| Ok([a, b, c, d, e, f, g, h]));
        s.read("slice", &steps[..], async |_, all| Ok(all));
        s.read("none", &steps[..0], async |_, all: Vec<u8>| Ok(all));
        s.read("unit", (), async |_, ()| Ok("unit".to_owned()));
        s.read("pair", (h, b), async |_, pair| Ok(pair))
    }
    let mut course = Course::of(all, json(10));
    (0..7).for_each(|_| drop(course.step().clone()));
    assert_eq!(course.step().as_str(), "[10,11,12,13,14,15,16,17]");
    assert_eq!(course.step().as_str(), "[11,12,13,14,15,16,17]");
    assert_eq!(course.step().as_str(), "[]");
    assert_eq!(course.step().as_str(), r#""unit""#);
    assert_eq!(course.step().as_str(), "[17,11]");
    assert_eq!(course.result(), (17, 11));
    let needs = |step: usize| course.saga.graph().nodes()[step].needs.clone();
    assert_eq!([needs(7), needs(9), needs(11)], [(0..7).collect(), vec![], vec![0, 6]]);
}

fn conditional<'s>(mut s: Draft<'s, App>, n: Out<'s, u32>) -> Out<'s, String> {
    let is_big = s.read("is-big", n, async |_, n| Ok(n > 100));
    let insured = s.when(is_big).step("insure", n, reserve, release);
    let rate = s.when(is_big).read("rate", n, async |_, n| Ok(n / 100));
    let (mut s, _) = s.pivot("sell", (), async |_, ()| Ok(()));
    s.when(is_big).retriable("thank", insured, async |_, insured| Ok(insured.ran().is_some()));
    let sum = s.when(is_big).read("sum", rate, async |_, rate| Ok(rate.ran().unwrap_or(0)));
    s.read("text", (insured, sum), async |_, (insured, sum)| Ok(format!("{insured:?} {sum:?}")))
}

#[test]
fn a_conditional_step_keeps_that_it_ran() {
    let mut course = Course::of(conditional, json(300));
    assert_eq!(course.step().as_str(), "true");
    let insured = course.step().clone();
    assert_eq!(insured.as_str(), r#"{"ran":"reservation of 300"}"#);
    assert_eq!(course.step().as_str(), r#"{"ran":3}"#);
    assert_eq!(course.step().as_str(), "null");
    assert_eq!(course.step().as_str(), r#"{"ran":true}"#);
    assert_eq!(course.step().as_str(), r#"{"ran":3}"#);
    assert_eq!(course.step().as_str(), r#""Ran(\"reservation of 300\") Ran(3)""#);
    course.undo(1, Some(&insured)).unwrap().unwrap();
    assert!(noted(&course)[1].starts_with(r#"release 300, Known("reservation of 300")"#));
}

#[test]
fn whoever_reads_a_step_that_was_left_out_is_told() {
    let mut course = Course::of(conditional, json(3));
    course.step();
    let left_out = json(Conditional::<()>::LeftOut);
    assert_eq!(left_out.as_ref().unwrap().as_str(), r#""left_out""#);
    course.table.extend([left_out.clone(), left_out.clone(), json(()), left_out.clone(), left_out.clone()]);
    assert_eq!(course.step().as_str(), r#""LeftOut LeftOut""#);
    let impossible = course.undo(1, left_out.as_ref()).unwrap_err().to_string();
    assert_eq!(impossible, r#"what the step "insure" gave cannot be read: the step was left out"#);
}

#[test]
fn conditions_are_waited_for() {
    let saga = Saga::define("conditional", 1, conditional).unwrap();
    let conditions: Vec<_> = saga.graph().nodes().iter().map(|node| node.condition).collect();
    assert_eq!(conditions, [None, Some(0), Some(0), None, Some(0), Some(0), None]);
    assert!(saga.graph().nodes()[1].needs.contains(&0));
}

#[test]
fn what_cannot_be_read_is_named() {
    let course = Course::of(order, json("three"));
    assert!(course.unreadable(0).starts_with("the input cannot be read: invalid type"), "{}", course.unreadable(0));
    assert!(noted(&course).is_empty(), "nothing runs");

    let mut course = Course::of(order, json(3));
    assert_eq!(course.unreadable(2), r#"what the step "price" gave cannot be read: it is not there"#);
    course.table.extend([json(5), json(-1)]);
    assert!(course.unreadable(2).starts_with(r#"what the step "price" gave cannot be read: invalid value"#));
    let undo = course.undo(0, json(5).as_ref()).unwrap_err().to_string();
    assert!(undo.starts_with(r#"what the step "reserve" gave cannot be read: invalid type"#), "{undo}");
}

#[test]
fn what_has_no_code_is_not_run() {
    let course = Course::<(), ()>::of(|mut s, _| s.wait("pause", Duration::ZERO), json(()));
    assert!(course.attempt(0).is_err());
    let course = Course::<u32, u64>::of(order, json(3));
    assert!(course.undo(1, None).is_err(), "a read has no undo");
}

#[test]
fn what_cannot_be_written_down_may_have_happened() {
    let by_pair = BTreeMap::from([((1, 2), 3)]);
    let course = Course::<(), BTreeMap<(u8, u8), u8>>::of(
        move |mut s, _| {
            let by_pair = by_pair.clone();
            s.read("map", (), move |_, ()| std::future::ready(Ok(by_pair.clone())))
        },
        json(()),
    );
    assert_eq!(course.attempt(0).unwrap().unwrap_err().outcome(), FailedAs::Unknown);
}

#[test]
fn what_a_step_says_of_its_failure_is_kept() {
    let course = Course::<(), ()>::of(
        |mut s, _| {
            let rejected = async |_, ()| Err(StepError::rejected("sold out"));
            let needs_help = async |_, (), _: Effect<()>| Err(UndoError::needs_help("the account is closed"));
            s.step("buy", (), rejected, needs_help)
        },
        json(()),
    );
    assert_eq!(course.attempt(0).unwrap(), Err(StepError::rejected("sold out")));
    assert_eq!(course.undo(0, None).unwrap(), Err(UndoError::needs_help("the account is closed")));
}

#[test]
fn a_signal_accepts_what_its_readers_can_decode() {
    let course = Course::<(), u32>::of(|mut s, _| s.signal("approved", None), json(()));
    let signal = &course.saga.definition().code[0];
    assert!(signal.accept(json(5).as_ref().unwrap()).is_ok());
    assert!(signal.accept(json("five").as_ref().unwrap()).is_err());
}

#[test]
fn the_result_may_be_the_input() {
    let course = Course::<u32, u32>::of(
        |mut s, n| {
            s.read("look", n, async |_, n| Ok(n + 1));
            n
        },
        json(3),
    );
    assert_eq!(course.result(), 3);
    assert_eq!(course.saga.graph().result, None);
}

#[test]
fn a_draft_that_is_forgotten_has_recorded() {
    let saga = Saga::<App, (), ()>::define("test", 1, |mut s, _| {
        let pause = s.wait("pause", Duration::from_secs(1));
        #[expect(clippy::forget_non_drop, reason = "should it ever record when it is dropped")]
        std::mem::forget(s);
        pause
    });
    assert_eq!(saga.unwrap().definition().code.len(), 1);
}

#[test]
fn a_deadline_changes_a_copy() {
    let saga = Saga::define("order", 1, order).unwrap();
    let other = saga.clone().deadline(Duration::from_secs(60)).unwrap();
    assert_eq!((saga.graph().deadline(), other.graph().deadline()), (None, Some(Duration::from_secs(60))));
    assert_eq!(saga.fingerprint(), other.fingerprint());
    assert!(Arc::ptr_eq(&saga.definition().code, &other.definition().code));
    assert!(saga.deadline(Duration::ZERO).is_err());
}

#[test]
fn texts_are_cut_between_letters() {
    #[derive(Debug)]
    struct Long;
    impl std::fmt::Display for Long {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "a")?;
            (0..10_000).try_for_each(|_| write!(f, "ä"))
        }
    }
    impl std::error::Error for Long {}

    let expected = format!("a{}", "ä".repeat(4_095));
    assert_eq!(**StepError::from(Long).text(), *expected);
    assert_eq!(**UndoError::from(Long).text(), *expected);
    assert_eq!(StepError::unknown("x".repeat(8_192)).text().len(), 8_192);
    assert_eq!(StepError::unknown("x".repeat(8_193)).text().len(), 8_192);
}

#[test]
fn texts_have_their_sources_and_end_even_if_those_do_not() {
    #[derive(Debug)]
    struct Nested(u32);
    impl std::fmt::Display for Nested {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "level {}", self.0)
        }
    }
    impl std::error::Error for Nested {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            match self.0 {
                0 => None,
                1 => Some(&Self(0)),
                _ => Some(&Self(2)),
            }
        }
    }
    assert_eq!(**StepError::from(Nested(1)).text(), *"level 1: level 0");
    assert_eq!(StepError::from(Nested(2)).text().len(), 8_192);
}
