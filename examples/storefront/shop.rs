//! The whole shop: starts every service, tells each where the others are, and stops them again.

use crate::{
    books::{Balance, Books},
    experiment::Plan,
    faults::{Switch, Switches},
    limits,
    pool::Pool,
    server::Server,
    services::{catalog, gateway, payment, provider},
    sickness::{self, Sickness},
    stacks::{self, Circuits, Resilience, Times},
    traffic::{Sent, Traffic},
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
    /// The replicas.
    pub(crate) catalog: [SocketAddr; 2],
    pub(crate) switches: Switches,
    books: Books,
    to_catalog: Traffic,
    to_payment: Traffic,
    /// Between gateway and payment; with resilience on.
    pub(crate) circuits: Option<Circuits>,
    /// In the order in which they are stopped: the gateway first.
    servers: Vec<Server>,
}

/// What is seen of a run from inside of the shop.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// Requests that reached the provider while it was sick.
    pub(crate) sick_calls: u64,
    /// Requests that reached the provider, and both replicas of the catalog together.
    pub(crate) at_provider: usize,
    pub(crate) at_catalog: usize,
    /// What the gateway sent.
    pub(crate) to_catalog: Sent,
    pub(crate) to_payment: Sent,
    /// The provider's books.
    pub(crate) books: Balance,
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

        let (switches, books) = (Switches::default(), Books::new());
        let with_faults = |own: &Pool, routes, switch: &Switch| {
            let sick = Sickness::of(switch.clone(), plan.patience).afflict(own.guard(routes));
            sick.merge(sickness::controls(switch.clone()))
        };

        let own = pool("provider");
        let routes = with_faults(&own, provider::routes(books.clone()), &switches.provider);
        let provider = Server::start(Server::bind(ANY).await?, own, routes.merge(provider::audit(books.clone())))?;

        let own = pool("payment");
        let routes = own.guard(payment::routes(stacks::provider(resilience, provider.address, times)?));
        let payment = Server::start(Server::bind(ANY).await?, own, routes)?;

        let mut replicas = Vec::new();
        for (name, switch) in REPLICAS.into_iter().zip(&switches.catalog) {
            let own = pool(name);
            let routes = with_faults(&own, catalog::routes(name), switch);
            replicas.push(Server::start(Server::bind(ANY).await?, own, routes)?);
        }
        let catalog = [0, 1].map(|replica: usize| replicas[replica].address);

        let own = pool("gateway");
        let (browse, to_catalog) = stacks::catalog(resilience, &catalog, times)?;
        let (checkout, to_payment, circuits) = stacks::payment(resilience, payment.address, times)?;
        let routes = own.guard(gateway::routes(browse, checkout));
        let routes = match resilience {
            Resilience::Off => routes,
            Resilience::On => limits::for_each_client(routes, plan)?,
        };
        let gateway = Server::start(door, own, routes.merge(gateway::metrics(metrics)))?;

        Ok(Self {
            gateway: gateway.address,
            provider: provider.address,
            catalog,
            switches,
            books,
            to_catalog,
            to_payment,
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

    pub(crate) fn seen(&self) -> Seen {
        let Switches { provider, catalog } = &self.switches;
        Seen {
            sick_calls: provider.sick_calls(),
            at_provider: provider.requests(),
            at_catalog: catalog.iter().map(Switch::requests).sum(),
            to_catalog: self.to_catalog.sent(),
            to_payment: self.to_payment.sent(),
            books: self.books.balance(),
        }
    }

    /// Stops the services, each once nobody calls it any more.
    pub(crate) async fn close(self) {
        for server in self.servers {
            server.stop().await;
        }
    }
}
