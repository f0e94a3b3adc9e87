//! What steps and undos are told about themselves.

use mainstay_saga::{Out, Participant, Saga, SagaId, Step, StepCx, StepError, UndoCx, UndoError};
use proptest::prelude::*;
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::{cell::Cell, sync::Arc};

/// Neither `Clone` nor `Debug`.
struct Shop(u32);

fn do_cx(saga: u128, step: &str) -> StepCx<Shop> {
    StepCx::new(Arc::new(Shop(5)), SagaId::from_u128(saga), step)
}

fn undo_cx(saga: u128, step: &str) -> UndoCx<Shop> {
    UndoCx::new(Arc::new(Shop(5)), SagaId::from_u128(saga), step)
}

#[test]
fn a_key_is_the_same_in_every_attempt() {
    let first = do_cx(0xab, "charge");
    assert_eq!(first.key(), "000000000000000000000000000000ab-charge-do");
    let later = do_cx(0xab, "charge").at_attempt(7, true);
    assert_eq!(later.key(), first.key());
    assert_eq!((first.attempt(), first.maybe_done()), (1, false));
    assert_eq!((later.attempt(), later.maybe_done()), (7, true));
}

#[test]
fn the_longest_key_is_as_documented() {
    let longest = "x".repeat(64);
    assert_eq!(do_cx(u128::MAX, &longest).key().len(), 100);
    let undo = undo_cx(u128::MAX, &longest);
    assert_eq!((undo.key().len(), undo.do_key().len()), (102, 100));
}

#[test]
fn an_undo_knows_both_keys() {
    let cx = undo_cx(0xab, "charge").at_attempt(2);
    assert_eq!(cx.key(), "000000000000000000000000000000ab-charge-undo");
    assert_eq!(cx.do_key(), do_cx(0xab, "charge").key());
    assert_eq!((cx.attempt(), undo_cx(1, "charge").attempt()), (2, 1));
}

#[test]
fn a_clone_is_the_same_attempt() {
    let cx = do_cx(3, "charge").at_attempt(2, true);
    let clone = cx.clone();
    assert_eq!((clone.key(), clone.attempt(), clone.maybe_done()), (cx.key(), 2, true));
    assert_eq!((clone.saga(), clone.step(), clone.app().0), (SagaId::from_u128(3), "charge", 5));
    assert!(std::ptr::eq(clone.app(), cx.app()));
    let undo = undo_cx(3, "charge").at_attempt(4);
    let clone = undo.clone();
    assert_eq!((clone.key(), clone.do_key(), clone.attempt()), (undo.key(), undo.do_key(), 4));
    assert_eq!((clone.saga(), clone.step(), clone.app().0), (SagaId::from_u128(3), "charge", 5));
}

#[test]
fn a_key_is_made_once_and_only_if_it_is_asked_for() {
    let (app, step): (Arc<Shop>, Arc<str>) = (Arc::new(Shop(5)), "charge".into());
    let made = allocation_counter::measure(|| {
        let cx = StepCx::new(Arc::clone(&app), SagaId::from_u128(3), Arc::clone(&step));
        let _ = (cx.clone(), UndoCx::new(Arc::clone(&app), SagaId::from_u128(3), Arc::clone(&step)));
    });
    assert_eq!(made.count_total, 0);

    let cx = do_cx(3, "charge");
    let first = allocation_counter::measure(|| assert_eq!(cx.key().len(), 42));
    assert_eq!(first.count_total, 2, "the text, and its pointer");
    let again = allocation_counter::measure(|| assert_eq!(cx.key(), cx.clone().key()));
    assert_eq!(again.count_total, 0);
}

#[test]
fn what_is_shown_has_no_application_in_it() {
    let shown = format!("{:?} {:?}", do_cx(3, "charge"), undo_cx(3, "charge"));
    let cx = r#"{ saga: 00000000000000000000000000000003, step: "charge", attempt: 1, .. }"#;
    assert_eq!(shown, format!("StepCx {cx} UndoCx {cx}"));
}

fn names() -> impl Strategy<Value = String> {
    // Hyphens and the endings of keys, where they might be mistaken.
    prop::collection::vec(prop::sample::select(vec!["-", "do", "undo", "a", "-do", "-undo", ".", "_"]), 1..6)
        .prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn no_key_is_that_of_another(a in (0_u128..3, names(), any::<bool>()), b in (0_u128..3, names(), any::<bool>())) {
        let key = |(saga, step, undo): &(u128, String, bool)| {
            if *undo { undo_cx(*saga, step).key().to_owned() } else { do_cx(*saga, step).key().to_owned() }
        };
        prop_assert_eq!(key(&a) == key(&b), a == b);
        prop_assert_eq!(undo_cx(a.0, &a.1).do_key().to_owned(), do_cx(a.0, &a.1).key().to_owned());
    }
}

// A definition can be shared whatever its values are; a handle stands for a value and has none.
assert_impl_all!(Saga<Shop, Cell<u8>, Cell<u8>>: Send, Sync, Clone);
assert_impl_all!(Out<'static, Cell<u8>>: Send, Sync, Copy);
assert_impl_all!(Step<'static>: Send, Sync, Clone);
assert_impl_all!(StepCx<Shop>: Send, Sync, Clone, Unpin);
assert_impl_all!(UndoCx<Shop>: Send, Sync, Clone, Unpin);
assert_impl_all!(Participant<Shop>: Send, Sync);
assert_impl_all!(StepError: Send, Sync, Clone);
// Or `?` could not turn errors into them.
assert_not_impl_any!(StepError: std::error::Error);
assert_not_impl_any!(UndoError: std::error::Error);
