use mainstay_core::check;
use tower::service_fn;

fn main() {
    let leaf = service_fn(async |n: u32| u8::try_from(n));
    check::<u32, _>(leaf);
}
