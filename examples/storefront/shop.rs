//! The whole shop: starts every service, tells each where the others are, and stops them again.

use crate::{
    audit::{self, Audit, Ledgers, Where},
    books::{Balance, Books},
    experiment::Plan,
    faults::{Switch, Switches},
    limits,
    pool::Pool,
    server::Server,
    services::{
        catalog, gateway, inventory, notifications,
        notifications::Outbox,
        orders::{self, Apart, Open, Orders, Peers},
        payment, provider, users,
    },
    sickness::{self, Sickness},
    stacks::{self, Circuits, Resilience, Times, Upstream},
    stock::Stock,
    traffic::{Sent, Traffic},
};
use axum::Router;
use mainstay::BoxError;
use metrics_exporter_prometheus::PrometheusHandle;
use std::{fs, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    time::{Instant, sleep, sleep_until},
};

const REPLICAS: [&str; 2] = ["catalog-a", "catalog-b"];
/// A free port.
const ANY: u16 = 0;

/// How long orders may take to settle when nothing is wrong any more.
const SETTLING: Duration = Duration::from_secs(20);

/// Running services, each on a port of its own.
#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) gateway: SocketAddr,
    pub(crate) provider: SocketAddr,
    /// The replicas.
    pub(crate) catalog: [SocketAddr; 2],
    pub(crate) inventory: SocketAddr,
    pub(crate) orders: Arc<Taker>,
    pub(crate) switches: Switches,
    books: Books,
    to_catalog: Traffic,
    to_payment: Traffic,
    /// Between orders and payment; with resilience on, and only if orders are in this process.
    pub(crate) circuits: Option<Circuits>,
    ledgers: Where,
    directory: Directory,
    /// The gateway is stopped first, then orders, then whom they call.
    door: Server,
    servers: Vec<Server>,
}

/// Who takes orders.
#[derive(Debug)]
pub(crate) enum Taker {
    /// A service in this process.
    Here(Orders),
    /// One in a process of its own.
    Apart(Apart),
}

/// A directory of one run, which is removed at its end.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
    keep: bool,
}

/// What is seen of a run from inside of the shop.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// Requests that reached the provider while it was sick.
    pub(crate) sick_calls: u64,
    /// Requests that reached the provider, and both replicas of the catalog together.
    pub(crate) at_provider: usize,
    pub(crate) at_catalog: usize,
    /// What the gateway sent, and what orders did; nothing of the latter if they are in another process.
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
        let (site, times) = (Site { patience: plan.patience, rate: plan.rate }, Times::of(plan));
        let (switches, books) = (Switches::default(), Books::new());

        let provider = site.provider(books.clone(), &switches.provider).await?;
        let routes = payment::routes(stacks::provider(resilience, provider.address, times)?);
        let payment = site.start("payment", routes).await?;
        let inventory = site.inventory(&switches.confirmations).await?;
        let users = site.start("users", users::routes()).await?;
        let notifications = site.start("notifications", notifications::routes(Outbox::new())).await?;

        let directory = Directory::new(resilience)?;
        let peers = Peers {
            users: users.address,
            inventory: inventory.address,
            payment: payment.address,
            notifications: notifications.address,
        };
        let settings =
            orders::Settings { resilience, plan: *plan, port: ANY, directory: directory.path.clone(), peers };
        let orders = Taker::start(settings).await?;

        let replicas = site.replicas(&switches.catalog).await?;
        let catalog = replicas.each_ref().map(|replica| replica.address);

        let (browse, to_catalog) = stacks::catalog(resilience, &catalog, times)?;
        let upstreams = [browse, stacks::orders(resilience, orders.address(), times)?];
        let gateway = site.gateway(door, resilience, plan, upstreams, metrics)?;

        let (to_payment, circuits) = orders.seen();
        Ok(Self {
            gateway: gateway.address,
            provider: provider.address,
            catalog,
            inventory: inventory.address,
            switches,
            books,
            to_catalog,
            to_payment,
            circuits,
            ledgers: Where {
                provider: provider.address,
                inventory: inventory.address,
                orders: orders.address(),
                notifications: notifications.address,
            },
            directory,
            orders: Arc::new(orders),
            door: gateway,
            servers: replicas.into_iter().chain([payment, provider, inventory, users, notifications]).collect(),
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
        let Switches { provider, catalog, .. } = &self.switches;
        Seen {
            sick_calls: provider.sick_calls(),
            at_provider: provider.requests(),
            at_catalog: catalog.iter().map(Switch::requests).sum(),
            to_catalog: self.to_catalog.sent(),
            to_payment: self.to_payment.sent(),
            books: self.books.balance(),
        }
    }

    /// Heals whatever is wrong, lets the orders that are under way come to their ends, and looks at the books.
    pub(crate) async fn settle(&self) -> Audit {
        self.switches.heal();
        let (http, start) = (stacks::http(), Instant::now());
        while start.elapsed() < SETTLING {
            // A service that does not answer may be back in a moment; if not, its ledger cannot be read either.
            let open: Result<Open, _> = audit::get(&http, self.ledgers.orders, "/open").await;
            if open.is_ok_and(|open| open.running == 0) {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        Audit::of(Ledgers::read(&http, self.ledgers).await)
    }

    /// Stops the services, each once nobody calls it any more. Says where the journal and the table are, if they are kept.
    pub(crate) async fn close(mut self, keep: bool) -> Option<PathBuf> {
        self.door.stop().await;
        if let Some(orders) = Arc::into_inner(self.orders) {
            orders.close().await;
        }
        for server in self.servers {
            server.stop().await;
        }
        self.directory.keep = keep;
        keep.then(|| self.directory.path.clone())
    }
}

/// Where services are built: each has a pool of its own, as large as the others'.
#[derive(Clone, Copy, Debug)]
struct Site {
    patience: Duration,
    rate: u32,
}

impl Site {
    fn pool(self, name: &'static str) -> Pool {
        Pool::planned_for(name, self.rate)
    }

    async fn start(self, name: &'static str, routes: Router) -> io::Result<Server> {
        let own = self.pool(name);
        let routes = own.guard(routes);
        Server::start(Server::bind(ANY).await?, own, routes)
    }

    async fn provider(self, books: Books, switch: &Switch) -> io::Result<Server> {
        self.start_sick("provider", provider::routes(books.clone()), switch, provider::audit(books)).await
    }

    async fn inventory(self, switch: &Switch) -> io::Result<Server> {
        let stock = Stock::new();
        self.start_sick("inventory", inventory::confirmations(stock.clone()), switch, inventory::routes(stock)).await
    }

    /// Both replicas of the catalog.
    async fn replicas(self, [first, second]: &[Switch; 2]) -> io::Result<[Server; 2]> {
        let start = async |name, switch| self.start_sick(name, catalog::routes(name), switch, Router::new()).await;
        let [a, b] = REPLICAS;
        Ok([start(a, first).await?, start(b, second).await?])
    }

    fn gateway(
        self,
        door: TcpListener,
        resilience: Resilience,
        plan: &Plan,
        [browse, orders]: [Upstream; 2],
        metrics: PrometheusHandle,
    ) -> Result<Server, BoxError> {
        let own = self.pool("gateway");
        let routes = own.guard(gateway::routes(browse, orders));
        let routes = match resilience {
            Resilience::Off => routes,
            Resilience::On => limits::for_each_client(routes, plan)?,
        };
        Ok(Server::start(door, own, routes.merge(gateway::metrics(metrics)))?)
    }

    /// A service whose routes have what its switch says, before its pool; what operators and others ask for has not.
    async fn start_sick(
        self,
        name: &'static str,
        routes: Router,
        switch: &Switch,
        others: Router,
    ) -> io::Result<Server> {
        let own = self.pool(name);
        let sick = Sickness::of(switch.clone(), self.patience).afflict(own.guard(routes));
        let routes = sick.merge(sickness::controls(switch.clone())).merge(others);
        Server::start(Server::bind(ANY).await?, own, routes)
    }
}

impl Taker {
    async fn start(settings: orders::Settings) -> Result<Self, BoxError> {
        if settings.plan.kill_orders {
            return Ok(Self::Apart(Apart::start(settings).await?));
        }
        Ok(Self::Here(Orders::open(&settings).await?))
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        match self {
            Self::Here(orders) => orders.server.address,
            Self::Apart(apart) => apart.address,
        }
    }

    fn seen(&self) -> (Traffic, Option<Circuits>) {
        match self {
            Self::Here(orders) => (orders.to_payment.clone(), orders.circuits.clone()),
            Self::Apart(_) => (Traffic::default(), None),
        }
    }

    /// Kills and restarts the service at this moment, if it is a process of its own.
    pub(crate) async fn kill_at(&self, moment: Instant) -> Result<(), BoxError> {
        sleep_until(moment).await;
        match self {
            Self::Here(_) => Ok(()),
            Self::Apart(apart) => apart.kill_and_restart().await,
        }
    }

    async fn close(self) {
        match self {
            Self::Here(orders) => orders.close().await,
            Self::Apart(apart) => apart.close().await,
        }
    }
}

impl Directory {
    fn new(resilience: Resilience) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("storefront-{}-{resilience}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self { path, keep: false })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !self.keep {
            // What is left in a directory for temporary files does no harm.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
