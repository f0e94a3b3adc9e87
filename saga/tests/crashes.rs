//! A process that dies anywhere, and steps that fail anyhow: what stands afterwards is all or nothing.
#![cfg(feature = "testkit")]

#[cfg(feature = "redb")]
#[path = "support/directory.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod directory;
mod shop;

use mainstay_saga::{
    Draft, Effect, Out, Saga, Step, StepCx, StepError, UndoCx, UndoError,
    journal::Memory,
    testkit::{End, crash_matrix, crash_matrix_on, fail_each_step},
};
use shop::{Do, Shop, act, chains, forks, orders, undo};
use std::sync::Arc;

/// All or nothing: each step that the definition has, or none that an undo could take back.
fn all_or_nothing(shop: &Shop, case: &str, end: &End<u32>, all: usize) {
    let standing = shop.standing();
    match end {
        end if end.is_completed() => assert_eq!(standing.len(), all, "{case}: {standing:?}"),
        end if end.is_compensated() => assert!(standing.is_empty(), "{case}: {standing:?}"),
        end => panic!("{case}: {end:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn order_completes_wherever_the_process_dies() {
    let tried = crash_matrix(&orders(), 10, Shop::new, |shop, case, end| {
        assert!(end.is_completed(), "{case}: {end:?}");
        all_or_nothing(shop, case, end, 5);
    })
    .await;
    // One without a fault, 6 writes with 5 faults each, 5 calls with 3 deaths each, and the pairs of two deaths at two of 6 writes.
    assert_eq!(tried.runs, 1 + 6 * 5 + 5 * 3 + 12 * 12);
}

#[tokio::test(start_paused = true)]
async fn order_is_undone_wherever_the_process_dies() {
    for rejected in ["charge", "create", "confirm"] {
        let world = || {
            let shop = Shop::new();
            shop.plan(rejected, [Do::Reject; 9]);
            shop
        };
        let tried = crash_matrix(&orders(), 10, world, |shop, case, end| {
            if rejected == "confirm" && !end.is_compensated() {
                // A crash leaves the outcome of the pivot unknown, and a rejection of the next attempt does not settle it.
                assert!(matches!(end, End::Parked(_)), "{case}: {end:?}");
                return;
            }
            all_or_nothing(shop, case, end, 5);
        })
        .await;
        assert!(tried.compensated > tried.runs / 2, "{tried:?}");
        assert!(rejected == "confirm" || tried.parked == 0, "{tried:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn branches_survive_as_well_as_chains() {
    for (rejected, slow) in [("none", "left"), ("join", "right"), ("right", "left")] {
        let world = || {
            let shop = Shop::new();
            shop.plan(rejected, [Do::Reject; 9]);
            shop.plan(slow, [Do::Slow; 9]);
            shop
        };
        let tried = crash_matrix(&forks(), 10, world, |shop, case, end| all_or_nothing(shop, case, end, 3)).await;
        assert_eq!(tried.parked, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn order_is_all_or_nothing_however_a_step_fails() {
    let tried = fail_each_step(&orders(), 10, Shop::new, |shop, case, end| {
        let is_told = case.contains("confirm: ") || case.contains("mail: IsRejected") || case.contains("undo");
        match end {
            End::Parked(_) if is_told => {}
            end => all_or_nothing(shop, case, end, 5),
        }
    })
    .await;
    assert!(tried.completed > 20 && tried.compensated > 20 && tried.parked > 2, "{tried:?}");
}

#[tokio::test(start_paused = true)]
async fn chain_is_all_or_nothing_however_a_step_fails() {
    let tried = fail_each_step(&chains(), 10, Shop::new, |shop, case, end| match end {
        End::Parked(_) => assert!(case.contains("undo") && case.contains("IsRejected"), "{case}: {end:?}"),
        end => all_or_nothing(shop, case, end, 3),
    })
    .await;
    assert_eq!(tried.parked, 3, "each undo that needs help: of a and b by c, of a by b");
}

/// An undo that is not there, as somebody might write it.
async fn forgotten(_: UndoCx<Shop>, _: u32, _: Effect<u32>) -> Result<(), UndoError> {
    Ok(())
}

/// An undo that trusts what it knows, and does nothing about what it does not.
async fn careless(cx: UndoCx<Shop>, number: u32, effect: Effect<u32>) -> Result<(), UndoError> {
    match effect {
        Effect::Known(_) => undo(cx, number, effect).await,
        Effect::Maybe => Ok(()),
    }
}

async fn refuse(_: StepCx<Shop>, _: u32) -> Result<u32, StepError> {
    Err(StepError::rejected("no"))
}

fn wrong<'s>(mut s: Draft<'s, Shop>, number: Out<'s, u32>) -> Out<'s, u32> {
    let a = s.step("a", number, act, forgotten);
    s.step(Step::named("b").after(a), a, refuse, undo)
}

fn hasty<'s>(mut s: Draft<'s, Shop>, number: Out<'s, u32>) -> Out<'s, u32> {
    let a = s.step(Step::named("a").attempts(1), number, act, careless);
    s.step(Step::named("b").after(a), a, act, undo)
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "nothing goes wrong")]
async fn undo_that_does_nothing_is_found() {
    let saga: Saga<Shop, u32, u32> = Saga::define("wrong", 1, wrong).unwrap();
    crash_matrix(&saga, 1, Shop::new, |shop, case, end| all_or_nothing(shop, case, end, 2)).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a: LosesAnswer")]
async fn undo_that_only_trusts_answers_is_found() {
    let saga: Saga<Shop, u32, u32> = Saga::define("hasty", 1, hasty).unwrap();
    fail_each_step(&saga, 1, Shop::new, |shop, case, end| {
        if !matches!(end, End::Parked(_)) {
            all_or_nothing(shop, case, end, 2);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn journal_that_forgets_nothing_is_asked_for_each_life() {
    let fresh = || {
        let memory = Memory::new();
        move || {
            memory.forget_owners();
            memory.clone()
        }
    };
    let world = || -> Arc<Shop> { Shop::new() };
    let tried = crash_matrix_on(&chains(), 1, world, fresh, |shop, case, end| all_or_nothing(shop, case, end, 3)).await;
    assert_eq!(tried.completed, tried.runs);
}

#[cfg(feature = "redb")]
mod in_a_file {
    use super::{Draft, Out, Saga, Shop, Step, act, all_or_nothing, crash_matrix_on, directory::Directory, undo};
    use crate::shop::Do;
    use mainstay_retry::Backoff;
    use mainstay_saga::journal::Embedded;
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        time::Duration,
    };

    /// The order, with waits that a test has time for.
    fn quick<'s>(mut s: Draft<'s, Shop>, number: Out<'s, u32>) -> Out<'s, u32> {
        let soon = |name| Step::named(name).backoff(Backoff::constant(Duration::from_millis(1)));
        let reserved = s.step(soon("reserve"), number, act, undo);
        let charged = s.step(soon("charge"), reserved, act, undo);
        let (mut s, confirmed) = s.pivot(soon("confirm"), charged, act);
        s.retriable(soon("mail"), confirmed, act);
        confirmed
    }

    /// In real time, since a thread writes the file.
    #[tokio::test]
    async fn order_survives_in_a_file() {
        let saga: Saga<Shop, u32, u32> = Saga::define("quick", 1, quick).unwrap();
        for (rejected, all) in [("none", 4), ("charge", 0)] {
            // A life that ends is a journal that is dropped: it is the same wherever the file lies.
            let directory = Directory::in_memory("crashes");
            let files = AtomicU32::new(0);
            let fresh = || {
                // Only the number matters, and each is given once.
                let path = directory.file(&format!("{}.redb", files.fetch_add(1, Ordering::Relaxed)));
                move || Embedded::open(&path).unwrap()
            };
            let world = || {
                let shop = Shop::new();
                shop.plan(rejected, [Do::Reject; 9]);
                shop
            };
            let tried = crash_matrix_on(&saga, 10, world, fresh, |shop, case, end| {
                assert_eq!(end.is_completed(), all > 0, "{case}: {end:?}");
                all_or_nothing(shop, case, end, all);
            })
            .await;
            assert!(tried.runs > 70, "{tried:?}");
        }
    }
}
