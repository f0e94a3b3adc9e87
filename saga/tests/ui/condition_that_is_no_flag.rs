//! A condition is a `bool`.

use mainstay_saga::{Draft, Out};

fn order<'s>(mut s: Draft<'s, ()>, item: Out<'s, u64>) -> Out<'s, u64> {
    s.when(item).read("double", item, async |_, item| Ok(2 * item));
    item
}

fn main() {}
