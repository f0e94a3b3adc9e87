use http::{Request, Response};
use mainstay_core::http::RefusalResponseLayer;
use std::io;
use tower::{Service, ServiceBuilder, service_fn};

// As a server takes its service.
fn serve(_: impl Service<Request<()>>) {}

fn main() {
    let leaf = service_fn(async |_: Request<()>| Ok::<_, io::Error>(Response::new(String::new())));
    serve(ServiceBuilder::new().layer(RefusalResponseLayer::new()).service(leaf));
}
