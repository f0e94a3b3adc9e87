//! A handle does not outlive the definition.

use mainstay_saga::Saga;

fn main() {
    let mut kept = None;
    let _ = Saga::<(), u64, u64>::define("order", 1, |_, item| {
        kept = Some(item);
        item
    });
}
