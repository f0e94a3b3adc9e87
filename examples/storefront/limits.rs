//! How often one client may ask.

use crate::{experiment::Plan, wire};
use axum::{Router, extract::ConnectInfo};
use mainstay::{
    InvalidConfig,
    rate_limit::{
        Config, Quota, Rule,
        http::{Bearer, HttpRateLimitLayer, Identify, Peer},
    },
};
use std::net::SocketAddr;

/// Puts the routes behind a limit for each client, and in front of everything else: a refusal takes no place in a pool.
///
/// A client is whoever has this credential, or else this address. Nobody checks credentials in this shop, so whoever makes them
/// up is a new client each time. Where that matters, the limit stands behind the authentication, and goes by the `Subject` that it
/// has found; or a second limit, by address alone, stands in front.
pub(crate) fn for_each_client(routes: Router, plan: &Plan) -> Result<Router, InvalidConfig> {
    // Exact: in no window of this length are there more. It remembers when each request came, which are few.
    let rule = Rule::sliding_log(Quota::new(plan.limit.into(), plan.window)?);
    let identify = Bearer.or_else(Peer::of(|info: &ConnectInfo<SocketAddr>| Some(info.0)));
    let layer = HttpRateLimitLayer::new(Config::new(rule).name("clients"), identify)?.with_body(wire::describe);
    // In the metrics from now on, not only from the first refusal.
    layer.handle().rebind_metrics();
    Ok(routes.layer(layer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{body::Body, routing::get};
    use http::{Request, Response};
    use std::time::Duration;
    use tokio::time::{Instant, sleep_until};
    use tower::ServiceExt;

    const PLAN: Plan = Plan { limit: 3, ..Plan::DEFAULT };

    async fn ask(shop: &Router, token: Option<&str>, address: [u8; 4]) -> Response<Body> {
        let mut request = Request::get("/").extension(ConnectInfo(SocketAddr::from((address, 4_711))));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        shop.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn clients_are_told_apart_by_their_tokens_or_else_by_their_addresses() {
        let shop = for_each_client(Router::new().route("/", get(async || ())), &PLAN).unwrap();
        let (here, there) = ([192, 0, 2, 1], [192, 0, 2, 2]);
        for client in [(Some("flo"), here), (Some("kim"), here), (None, here), (None, there)] {
            for _ in 0..3 {
                assert_eq!(ask(&shop, client.0, client.1).await.status(), 200, "{client:?}");
            }
            assert_eq!(ask(&shop, client.0, client.1).await.status(), 429, "{client:?}");
        }
        assert_eq!(ask(&shop, Some("flo"), there).await.status(), 429, "a token counts wherever it comes from");
    }

    #[tokio::test(start_paused = true)]
    async fn the_window_slides() {
        let shop = for_each_client(Router::new().route("/", get(async || ())), &PLAN).unwrap();
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let at = async |seconds: u32| {
            sleep_until(start + second * seconds).await;
            ask(&shop, Some("flo"), [127, 0, 0, 1]).await
        };
        for (seconds, status) in
            [(0, 200), (50, 200), (50, 200), (59, 429), (60, 200), (60, 429), (109, 429), (110, 200)]
        {
            assert_eq!(at(seconds).await.status(), status, "{seconds}");
        }
        let refused = {
            at(115).await;
            at(115).await
        };
        assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"5".parse().unwrap()));
    }
}
