//! One service on a port of its own.

use crate::{pool::Pool, wire};
use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
    serve::ListenerExt,
};
use http::StatusCode;
use serde_json::json;
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time::timeout};

/// A running service.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Serves the routes of one service, and beside them what operators ask for.
    pub(crate) fn start(listener: TcpListener, pool: Pool, routes: Router) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let service = routes
            .merge(operators(pool))
            .fallback(wire::not_found)
            .method_not_allowed_fallback(wire::method_not_allowed);

        // Answers are small and must not wait for more bytes. An error here would come back with the first write.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        // By their addresses clients without a credential are told apart.
        let service = service.into_make_service_with_connect_info::<SocketAddr>();
        let (stop, stopped) = oneshot::channel();
        let serving = axum::serve(listener, service).with_graceful_shutdown(async move { drop(stopped.await) });
        Ok(Self { address, stop, task: tokio::spawn(async move { serving.await }) })
    }

    /// On loopback; port 0 is a free one.
    pub(crate) async fn bind(port: u16) -> io::Result<TcpListener> {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
    }

    /// Accepts no more, and waits a moment for the requests in progress.
    pub(crate) async fn stop(mut self) {
        drop(self.stop);
        if timeout(Duration::from_millis(500), &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

/// `/health`: the process runs. `/ready`: it can take one more request.
fn operators(pool: Pool) -> Router {
    Router::new()
        .route(
            "/health",
            get(|State(pool): State<Pool>| async move { Json(json!({ "service": pool.name(), "status": "up" })) }),
        )
        .route("/ready", get(ready))
        .with_state(pool)
}

async fn ready(State(pool): State<Pool>) -> Response {
    if pool.has_room() {
        return Json(json!({ "service": pool.name(), "status": "ready" })).into_response();
    }
    wire::problem(StatusCode::SERVICE_UNAVAILABLE, "not_ready", "the pool is full", &json!({ "service": pool.name() }))
}
