//! Nothing is undone after the pivot.

use mainstay_saga::{Draft, Out};

fn order<'s>(s: Draft<'s, ()>, item: Out<'s, u64>) -> Out<'s, u64> {
    let (mut s, sold) = s.pivot("sell", item, async |_, item| Ok(item));
    s.retriable("mail", sold, async |_, item| Ok(item), async |_, _, _| Ok(()))
}

fn main() {}
