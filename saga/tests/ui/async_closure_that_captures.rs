//! What captures is a plain closure around an async block.

use mainstay_saga::{Draft, Out};

fn order<'s>(mut s: Draft<'s, ()>, item: Out<'s, u64>) -> Out<'s, u64> {
    let limit = String::from("5");
    s.read("price", item, async move |_, item| Ok(item + limit.len() as u64))
}

fn main() {}
