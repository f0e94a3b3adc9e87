//! Another answer for a call that failed: `cargo run -p mainstay-examples --example fallback`
//!
//! A shop recommends products to each customer. When the recommendations fail it shows the best sellers, from another service;
//! when those fail, too, it shows a shelf that is part of the program. What went wrong is kept for the logs.

use mainstay::{
    BoxError, Error,
    fallback::{FallbackLayer, fallback},
};
use std::{
    cell::{Cell, RefCell},
    future::{Ready, ready},
    io,
    rc::Rc,
};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let (recommendations, best_sellers) = (Rc::new(Cell::new(true)), Rc::new(Cell::new(true)));
    let logged = Rc::new(RefCell::new(Vec::new()));

    let others = service_fn(shelf(&best_sellers, "the best sellers")).map_err(Error::Inner);
    let mut shop = ServiceBuilder::new()
        // A value, cloned only when it is needed.
        .layer(FallbackLayer::value("a shelf of classics".to_owned()).name("classics"))
        // A service, asked only when it is needed, with a copy of the request.
        .layer(FallbackLayer::service(others).name("best-sellers").observe({
            let logged = Rc::clone(&logged);
            move |failed: Result<&String, &Error<io::Error>>| {
                let source = failed.err().and_then(std::error::Error::source);
                logged.borrow_mut().extend(source.map(ToString::to_string));
            }
        }))
        // Once, at the bottom: every policy above keeps this error type.
        .map_err(Error::Inner)
        .service_fn(shelf(&recommendations, "picked for"));

    assert_eq!(visit(&mut shop).await?, "picked for Ada");
    assert!(logged.borrow().is_empty());

    recommendations.set(false);
    assert_eq!(visit(&mut shop).await?, "the best sellers Ada");
    assert_eq!(*logged.borrow(), ["`picked for` is down"], "what the customer does not see");

    best_sellers.set(false);
    assert_eq!(visit(&mut shop).await?, "a shelf of classics");

    // Without tower it is one line.
    let down = async { Err(Error::Inner(io::Error::other("connection reset"))) };
    assert_eq!(fallback(down, |_| "a shelf of classics").await, "a shelf of classics");

    recommendations.set(true);
    assert_eq!(visit(&mut shop).await?, "picked for Ada");
    println!("not seen by any customer: {}", logged.borrow().join(", "));
    Ok(())
}

async fn visit(
    shop: &mut impl Service<&'static str, Response = String, Error = Error<io::Error>>,
) -> Result<String, Error<io::Error>> {
    let shown = shop.ready().await?.call("Ada").await?;
    println!("{shown}");
    Ok(shown)
}

/// A service that is up or down.
fn shelf(up: &Rc<Cell<bool>>, what: &'static str) -> impl Fn(&'static str) -> Ready<Result<String, io::Error>> + Clone {
    let up = Rc::clone(up);
    move |customer| {
        let answer = if up.get() {
            Ok(format!("{what} {customer}"))
        } else {
            Err(io::Error::other(format!("`{what}` is down")))
        };
        ready(answer)
    }
}
