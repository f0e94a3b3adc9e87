//! Panics of what is called here and was written elsewhere.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// Calls what a user wrote. A panic becomes its text.
pub(crate) fn caught<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(told)
}

/// Calls what only looks on: a subscriber, a recorder, a destructor. A panic of it has been told by the hook for panics; it is not to
/// stop a saga, nor to be a second one while the first unwinds.
pub(crate) fn quietly(call: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(call)) {
        // Whoever panics once may do so again when this is dropped.
        std::mem::forget(panic);
    }
}

/// The text of a panic.
pub(crate) fn told(panic: Box<dyn Any + Send>) -> String {
    let text = text(&*panic);
    quietly(|| drop(panic));
    text
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.map_or_else(|| String::from("panicked"), |text| format!("panicked: {text}"))
}
