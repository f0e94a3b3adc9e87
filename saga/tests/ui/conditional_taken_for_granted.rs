//! Whoever reads a step that may be left out has to look whether it ran.

use mainstay_saga::{Draft, Out, StepCx, StepError};

async fn double(_: StepCx<()>, item: u64) -> Result<u64, StepError> {
    Ok(2 * item)
}

fn order<'s>(mut s: Draft<'s, ()>, item: Out<'s, u64>) -> Out<'s, u64> {
    let is_big = s.read("is-big", item, async |_, item| Ok(item > 100));
    let doubled = s.when(is_big).read("double", item, double);
    s.read("again", doubled, double)
}

fn main() {}
