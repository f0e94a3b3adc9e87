//! A step receives what it reads, and no more.

use mainstay_saga::{Draft, Out};

fn order<'s>(mut s: Draft<'s, ()>, item: Out<'s, u64>) -> Out<'s, u64> {
    let price = s.read("price", item, async |_, item| Ok(item * 100));
    s.read("sum", (item, price), async |_, (item, price, tax)| Ok(item + price + tax))
}

fn main() {}
