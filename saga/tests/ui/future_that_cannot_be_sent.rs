//! A step may go on in another thread.

use mainstay_saga::{Draft, Out};
use std::rc::Rc;

fn order<'s>(mut s: Draft<'s, ()>, item: Out<'s, u64>) -> Out<'s, u64> {
    s.read("price", item, async |_, item| {
        let shared = Rc::new(item);
        std::future::ready(()).await;
        Ok(*shared)
    })
}

fn main() {}
