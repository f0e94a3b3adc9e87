//! Rate limits: `cargo run -p mainstay-examples --example rate_limit`
//!
//! A print shop. One printer takes ten pages a minute, three of them at once; whoever finds it busy is told when to come
//! back, and a long job waits for its turns. Customers who come over HTTP have a limit each.

use http::{Request, Response, StatusCode};
use mainstay::{
    BoxError, Error,
    rate_limit::{
        Config, Limiter, Quota, RateLimitLayer, Rule,
        http::{Bearer, HttpRateLimitLayer},
    },
};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceBuilder, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);

// The clock of the example is virtual: whatever waits is done at once.
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    one_printer().await?;
    customers_over_http().await
}

async fn one_printer() -> Result<(), BoxError> {
    // A token bucket: one page every six seconds, and three at once after a rest. One limiter for all who print there.
    let limiter = Arc::new(Limiter::new(Quota::per_minute(10)?.burst(3)?)?);
    let mut printer = ServiceBuilder::new()
        .layer(RateLimitLayer::with_limiter(Arc::clone(&limiter)))
        // Once, at the bottom: every policy above keeps this error type.
        .map_err(Error::Inner)
        .service_fn(async |page: u32| Ok::<_, Infallible>(page));
    for page in 1..=3 {
        assert_eq!(printer.ready().await?.call(page).await?, page);
    }

    // The fourth never reaches the printer, and is told exactly when to come back.
    let Err(Error::Refused(refused)) = printer.ready().await?.call(4).await else { unreachable!() };
    println!("page 4: {refused}");
    assert_eq!(refused.retry_after(), Some(6 * SECOND));
    sleep(6 * SECOND).await;
    assert_eq!(printer.ready().await?.call(4).await?, 4);

    // Without tower: a job that can wait is slow, and does not fail. Unless it would take too long: that is known at once.
    let start = Instant::now();
    for _page in 5..=14 {
        limiter.acquire(1, 60 * SECOND).await?;
    }
    println!("ten more pages took {:?}", start.elapsed());
    assert_eq!(start.elapsed(), 60 * SECOND);
    assert!(limiter.acquire(3, SECOND).await.is_err());
    assert_eq!(start.elapsed(), 60 * SECOND);
    Ok(())
}

/// Each customer has a limit of their own, in bounded memory, and is told how much of it is left.
async fn customers_over_http() -> Result<(), BoxError> {
    // Not more than three in any minute, exactly, and about ten in an hour, in less memory. Both are charged, or none.
    let rules = [Rule::sliding_log(Quota::per_minute(3)?), Rule::sliding_counter(Quota::per_hour(10)?)];
    let shop = ServiceBuilder::new()
        .layer(HttpRateLimitLayer::new(Config::from(rules).name("orders"), Bearer)?)
        .service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new("printed")));
    let order = async |customer: &str| {
        let order = Request::post("/").header("authorization", format!("Bearer {customer}")).body(());
        let Ok(answer) = shop.clone().oneshot(order.expect("the head is valid")).await;
        answer
    };

    for left in [2, 1, 0] {
        let answer = order("flo").await;
        assert!(answer.headers()["ratelimit"].to_str()?.starts_with(&format!("\"orders-1\";r={left};t=")));
    }
    let refused = order("flo").await;
    println!("flo: {}, retry-after {:?}", refused.status(), refused.headers()["retry-after"]);
    assert_eq!((refused.status(), &refused.headers()["retry-after"]), (StatusCode::TOO_MANY_REQUESTS, &"60".parse()?));
    assert_eq!(order("kim").await.status(), StatusCode::OK, "another customer");
    Ok(())
}
