//! A step reads handles.

use mainstay_saga::{Draft, Out};

fn order<'s>(mut s: Draft<'s, ()>, _: Out<'s, u64>) -> Out<'s, u64> {
    s.read("price", 5_u64, async |_, item| Ok(item))
}

fn main() {}
