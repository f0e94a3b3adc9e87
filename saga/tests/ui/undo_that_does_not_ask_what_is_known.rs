//! An undo is told whether the step happened.

use mainstay_saga::{Draft, Out};

fn order<'s>(mut s: Draft<'s, ()>, item: Out<'s, u64>) -> Out<'s, u64> {
    s.step("reserve", item, async |_, item| Ok(item), async |_, _| Ok(()))
}

fn main() {}
