//! The whole shop: starts every service, tells each where the others are, and stops them again.

use crate::{
    experiment::Plan,
    faults::Switch,
    pool::Pool,
    server::Server,
    services::{
        catalog, gateway, payment,
        provider::{self, Sickness},
    },
    stacks::{self, Circuits, Resilience, Times},
};
use mainstay::BoxError;
use metrics_exporter_prometheus::PrometheusHandle;
use std::net::SocketAddr;
use tokio::net::TcpListener;

const REPLICAS: [&str; 2] = ["catalog-a", "catalog-b"];
/// A free port.
const ANY: u16 = 0;

/// Running services, each on a port of its own.
#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) gateway: SocketAddr,
    pub(crate) provider: SocketAddr,
    /// The provider's fault.
    pub(crate) switch: Switch,
    /// Between gateway and payment; with resilience on.
    pub(crate) circuits: Option<Circuits>,
    /// In the order in which they are stopped: the gateway first.
    servers: Vec<Server>,
}

impl Shop {
    /// Starts the services from the inside out, since each must know the address of those that it calls.
    pub(crate) async fn open(
        door: TcpListener,
        resilience: Resilience,
        plan: &Plan,
        metrics: PrometheusHandle,
    ) -> Result<Self, BoxError> {
        let times = Times::of(plan);
        let pool = |name| Pool::planned_for(name, plan.rate);

        let switch = Switch::default();
        let sickness = Sickness { switch: switch.clone(), slowness: plan.patience * 3 / 2 };
        let own = pool("provider");
        let routes = provider::with_faults(own.guard(provider::routes()), sickness);
        let routes = routes.merge(provider::controls(switch.clone()));
        let provider = Server::start(Server::bind(ANY).await?, own, routes)?;

        let own = pool("payment");
        let routes = own.guard(payment::routes(stacks::provider(resilience, provider.address, times)));
        let payment = Server::start(Server::bind(ANY).await?, own, routes)?;

        let mut replicas = Vec::new();
        for name in REPLICAS {
            let own = pool(name);
            let routes = own.guard(catalog::routes(name));
            replicas.push(Server::start(Server::bind(ANY).await?, own, routes)?);
        }
        let addresses: Vec<_> = replicas.iter().map(|replica| replica.address).collect();

        let own = pool("gateway");
        let to_catalog = stacks::catalog(resilience, &addresses, times)?;
        let (to_payment, circuits) = stacks::payment(resilience, payment.address, times)?;
        let routes = own.guard(gateway::routes(to_catalog, to_payment)).merge(gateway::metrics(metrics));
        let gateway = Server::start(door, own, routes)?;

        Ok(Self {
            gateway: gateway.address,
            provider: provider.address,
            switch,
            circuits,
            servers: [gateway].into_iter().chain(replicas).chain([payment, provider]).collect(),
        })
    }

    /// Starts a shop at a free port.
    pub(crate) async fn open_anywhere(
        resilience: Resilience,
        plan: &Plan,
        metrics: PrometheusHandle,
    ) -> Result<Self, BoxError> {
        Self::open(Server::bind(ANY).await?, resilience, plan, metrics).await
    }

    /// Stops the services, each once nobody calls it any more.
    pub(crate) async fn close(self) {
        for server in self.servers {
            server.stop().await;
        }
    }
}
