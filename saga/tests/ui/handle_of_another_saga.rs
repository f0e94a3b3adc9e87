//! A handle means something in its own saga only.

use mainstay_saga::{Draft, Out, Saga};

fn outer<'s>(_: Draft<'s, ()>, n: Out<'s, u64>) -> Out<'s, u64> {
    let _ = Saga::<(), (), u64>::define("inner", 1, |mut s, _| s.read("again", n, async |_, n| Ok(n)));
    n
}

fn main() {}
