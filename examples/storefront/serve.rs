//! `--serve`: the shop stays open, and a person breaks it.

use crate::{
    cli::{self, Arguments},
    interrupt::Interrupt,
    server::Server,
    shop::Shop,
    stacks::Resilience,
};
use mainstay::BoxError;
use metrics_exporter_prometheus::PrometheusBuilder;
use std::{io::ErrorKind, process::ExitCode};

pub(crate) async fn run(arguments: &Arguments, mut interrupt: Interrupt) -> Result<ExitCode, BoxError> {
    let port = arguments.port.unwrap_or(0);
    let door = match Server::bind(port).await {
        Ok(door) => door,
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            return Ok(cli::wrong_input(format_args!("port {port} is in use")));
        }
        Err(error) => return Ok(cli::wrong_input(format_args!("cannot listen on port {port}: {error}"))),
    };
    let metrics = PrometheusBuilder::new().install_recorder()?;
    let shop = Shop::open(door, Resilience::On, &arguments.plan(), metrics).await?;
    print!("{}", lines_to_try(&shop));
    interrupt.come().await;
    shop.close(false).await;
    Ok(ExitCode::SUCCESS)
}

fn lines_to_try(shop: &Shop) -> String {
    let Shop { gateway, provider, catalog, inventory, .. } = shop;
    let orders = shop.orders.address();
    let [first, second] = catalog;
    format!(
        "\
The shop is open at http://{gateway}, resilience on. Ctrl-C closes it.

  curl -i http://{gateway}/products/7
  curl -i http://{gateway}/checkout --json '{{\"product\":7,\"cents\":758}}'
  curl -s http://{gateway}/metrics

Break the payment provider, check out a dozen times, and see the circuit open:

  curl -X POST http://{provider}/faults/silent      (or flaky, slow, failing, healthy)
  curl -s http://{provider}/books

An order is a saga. Let the inventory break while it confirms, order, heal it, and see how the orders stand:

  curl -X POST http://{inventory}/faults/broken      (or failing, silent, healthy)
  curl -s http://{orders}/ledger

Ask more often than one client may:

  for _ in $(seq 120); do curl -s -o /dev/null -w '%{{http_code}}\n' http://{gateway}/products/7; done | uniq -c
  curl -i http://{gateway}/products/7 -H 'authorization: Bearer somebody-else'

Break the catalog: let both replicas fail, and see the stale price list:

  curl -X POST http://{first}/faults/failing
  curl -X POST http://{second}/faults/failing      (or pausing, flaky, slow, silent, healthy)
"
    )
}
