//! There is one point of no return.

use mainstay_saga::{Draft, Out};

fn order<'s>(s: Draft<'s, ()>, item: Out<'s, u64>) -> Out<'s, u64> {
    let (s, sold) = s.pivot("sell", item, async |_, item| Ok(item));
    s.pivot("sell-again", sold, async |_, item| Ok(item)).1
}

fn main() {}
