//! Foreign code that misbehaves at a chosen point: it panics, or comes back to the layer.
//!
//! A kit runs on one thread, so the trap is a thread local; what runs on other threads finds none.

use std::{cell::RefCell, fmt};

/// A place at which code runs that is foreign to the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    PollReady,
    Call,
    Poll,
    DropFuture,
    CloneService,
    DropService,
    Wake,
    DropWaker,
    CloneRequest,
    DropRequest,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PollReady => "`poll_ready` of the inner service",
            Self::Call => "`call` of the inner service",
            Self::Poll => "`poll` of the inner future",
            Self::DropFuture => "the drop of the inner future",
            Self::CloneService => "the clone of the inner service",
            Self::DropService => "the drop of the inner service",
            Self::Wake => "a waker",
            Self::DropWaker => "the drop of a waker",
            Self::CloneRequest => "`Clone` of the request",
            Self::DropRequest => "the drop of the request",
        })
    }
}

struct Trap {
    point: Point,
    /// How often the point is passed before the trap springs.
    skip: u32,
    once: bool,
    act: Box<dyn FnMut()>,
}

thread_local! {
    static TRAP: RefCell<Option<Trap>> = const { RefCell::new(None) };
}

/// Runs `act` whenever the point is passed, until disarmed; not within itself.
pub(crate) fn arm(point: Point, act: impl FnMut() + 'static) {
    set(Some(Trap { point, skip: 0, once: false, act: Box::new(act) }));
}

/// Panics when the point has been passed `skip` times, once.
pub(crate) fn panic_at(point: Point, skip: u32) {
    // Without the panic hook: nobody needs to read about it.
    let act = Box::new(|| std::panic::resume_unwind(Box::new(Planted)));
    set(Some(Trap { point, skip, once: true, act }));
}

/// Takes the trap away; whether it was still waiting.
pub(crate) fn disarm() -> bool {
    set(None)
}

fn set(trap: Option<Trap>) -> bool {
    // What the old one held is dropped when the cell is free again.
    TRAP.with(|cell| cell.replace(trap)).is_some()
}

/// The payload of a planted panic.
#[derive(Debug)]
pub(crate) struct Planted;

/// Springs the trap at this point, if there is one.
pub(crate) fn pass(point: Point) {
    // Gone when the thread ends.
    let Ok(Some(mut trap)) = TRAP.try_with(|cell| take_if_due(cell, point)) else { return };
    let once = trap.once;
    (trap.act)();
    if !once {
        set(Some(trap));
    }
}

/// A panic on top of another one would abort the process, so a planted one waits.
#[expect(clippy::disallowed_methods, reason = "whatever unwinds here, a second panic is one too many")]
fn is_unwinding() -> bool {
    std::thread::panicking()
}

/// Whether a planted panic is about to spring at this point.
pub(crate) fn is_due(point: Point) -> bool {
    let due = |trap: &Trap| trap.once && trap.point == point && trap.skip == 0;
    TRAP.try_with(|cell| cell.try_borrow().is_ok_and(|trap| trap.as_ref().is_some_and(due) && !is_unwinding()))
        .unwrap_or(false)
}

fn take_if_due(cell: &RefCell<Option<Trap>>, point: Point) -> Option<Trap> {
    let mut cell = cell.try_borrow_mut().ok()?;
    let trap = cell.as_mut().filter(|trap| trap.point == point)?;
    if trap.once && is_unwinding() {
        return None;
    }
    if trap.skip > 0 {
        trap.skip -= 1;
        return None;
    }
    cell.take()
}
