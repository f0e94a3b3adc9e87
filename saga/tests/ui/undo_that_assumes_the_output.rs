//! The output of a step that may have happened is not there.

use mainstay_saga::{Draft, Out, StepCx, StepError, UndoCx, UndoError};

async fn reserve(_: StepCx<()>, _: u64) -> Result<String, StepError> {
    Ok("a reservation".to_owned())
}

async fn release(_: UndoCx<()>, _: u64, _: String) -> Result<(), UndoError> {
    Ok(())
}

fn order<'s>(mut s: Draft<'s, ()>, item: Out<'s, u64>) -> Out<'s, String> {
    s.step("reserve", item, reserve, release)
}

fn main() {}
