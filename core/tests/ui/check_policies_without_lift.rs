use mainstay_core::{Refusable, check};
use std::task::{Context, Poll};
use tower::{Service, ServiceBuilder, layer::layer_fn, service_fn};

// A policy as the crates of the workspace write it: the error of the service, under the one bound.
struct Policy<S>(S);

impl<S, Req> Service<Req> for Policy<S>
where
    S: Service<Req>,
    S::Error: Refusable,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> S::Future {
        self.0.call(request)
    }
}

fn main() {
    let stack = ServiceBuilder::new()
        .layer(layer_fn(Policy))
        .layer(layer_fn(Policy))
        .service(service_fn(async |n: u32| u8::try_from(n)));
    check::<u32, _>(stack);
}
