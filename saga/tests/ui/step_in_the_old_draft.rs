//! The draft of before the pivot is used up by it.

use mainstay_saga::{Draft, Out};

fn order<'s>(mut s: Draft<'s, ()>, item: Out<'s, u64>) -> Out<'s, u64> {
    let _ = s.pivot("sell", item, async |_, item| Ok(item));
    s.step("reserve", item, async |_, item| Ok(item), async |_, _, _| Ok(()))
}

fn main() {}
