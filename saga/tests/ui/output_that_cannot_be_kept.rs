//! What a step gives has to outlive the process.

use mainstay_saga::{Draft, Out};

struct Connection;

fn order<'s>(mut s: Draft<'s, ()>, item: Out<'s, u64>) -> Out<'s, u64> {
    s.read("connect", item, async |_, _| Ok(Connection));
    item
}

fn main() {}
