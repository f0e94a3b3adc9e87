//! An order, as one would draw it.
//!
//! ```text
//! find-user ─────┬─▶ charge-payment ─┬─▶ CONFIRM-STOCK ─┬─▶ confirm-order
//!                │    ↺ refund       │   (no way back)  │
//! reserve-stock ─┴─▶ create-order ───┘                  └─▶ send-confirmation
//!   ↺ release          ↺ cancel
//! ```

use super::participants::{Order, Participants, Receipt};
use crate::stacks::Times;
use mainstay::{
    retry::Backoff,
    saga::{BuildError, Draft, Effect, Out, Saga, Step, StepCx, StepError, UndoCx, UndoError},
};
use std::time::Duration;

/// What is tried until it works is tried so often: for as long as anything is wrong in the longest run.
const MANY: u32 = 2_000;

pub(super) type OrderSaga = Saga<Participants, Order, Receipt>;

/// The saga. What a customer waits for is tried again soon, and what is undone when there is time.
pub(super) fn define(times: Times) -> Result<OrderSaga, BuildError> {
    let [first, longest] = times.backoff;
    let soon = Backoff::exponential(first).cap(longest * 5);
    let later = Backoff::exponential(longest).cap(Duration::from_secs(1));
    OrderSaga::define("order", 1, move |s, order| self::order(s, order, soon, later))
}

fn order<'s>(mut s: Draft<'s, Participants>, order: Out<'s, Order>, soon: Backoff, later: Backoff) -> Out<'s, Receipt> {
    let step = |name| Step::named(name).attempts(3).backoff(soon);
    let undone = |step: Step<'s>| step.undo_attempts(MANY).undo_backoff(later);

    let user = s.read(step("find-user"), order, async |cx, order| cx.app().find_user(&order).await);
    let reservation = s.step(
        undone(step("reserve-stock")),
        order,
        async |cx, order| cx.app().reserve(&order, cx.key()).await,
        async |cx, order, _| Ok(cx.app().release(&order, cx.key(), cx.do_key()).await?),
    );
    let receipt = s.step(
        // Once, since its stack sends again what can be, and knows when that is in vain.
        undone(Step::named("charge-payment").attempts(1).after((user, reservation))),
        order,
        charge,
        refund,
    );
    let created = s.step(
        undone(step("create-order").after((user, reservation))),
        order,
        async |cx, order| cx.app().create_order(&order, cx.key()).await,
        async |cx, _, _| Ok(cx.app().cancel_order(cx.do_key()).await?),
    );

    let (mut s, _) = s.pivot(
        step("confirm-stock").after((receipt, created)).attempts(MANY),
        (order, reservation),
        async |cx, (order, reservation)| cx.app().confirm_stock(&order, cx.key(), &reservation).await,
    );
    let step = |name| Step::named(name).backoff(soon);
    s.retriable(step("confirm-order"), (order, created, receipt), async |cx, (order, created, receipt)| {
        // There is no way back any more.
        cx.app().told.tell(&order.key, &Ok(receipt));
        cx.app().confirm_order(&order, &created).await
    });
    s.retriable(step("send-confirmation"), (order, user), async |cx, (order, user)| {
        cx.app().notify(&order, cx.key(), &user).await
    });
    receipt
}

/// Whoever waits for the order is told at once if it cannot be paid.
async fn charge(cx: StepCx<Participants>, order: Order) -> Result<Receipt, StepError> {
    cx.app().charge(&order, cx.key()).await.inspect_err(|error| cx.app().told.tell(&order.key, &Err(error.into())))
}

/// By the key of the charge, so that it does not matter whether anybody knows what became of that.
async fn refund(cx: UndoCx<Participants>, order: Order, _: Effect<Receipt>) -> Result<(), UndoError> {
    Ok(cx.app().refund(&order, cx.key(), cx.do_key()).await?)
}
