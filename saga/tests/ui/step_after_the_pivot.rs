//! After the point of no return there is nothing that can be undone.

use mainstay_saga::{Draft, Out};

fn order<'s>(s: Draft<'s, ()>, item: Out<'s, u64>) -> Out<'s, u64> {
    let (mut s, _) = s.pivot("sell", item, async |_, item| Ok(item));
    s.step("reserve", item, async |_, item| Ok(item), async |_, _, _| Ok(()))
}

fn main() {}
