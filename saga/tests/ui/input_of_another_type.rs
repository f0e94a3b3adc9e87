//! A step receives what it reads, as it is.

use mainstay_saga::{Draft, Out, StepCx, StepError};

async fn price(_: StepCx<()>, name: String) -> Result<u64, StepError> {
    Ok(name.len() as u64)
}

fn order<'s>(mut s: Draft<'s, ()>, item: Out<'s, u64>) -> Out<'s, u64> {
    s.read("price", item, price)
}

fn main() {}
