//! steno, with the store in memory that comes with it, and with a log that goes nowhere.
//!
//! Its graph is built once for all sagas and its input is always the same, which is the least that it can be asked to do: the
//! input is part of the graph, so whoever starts sagas with inputs of their own builds one for each.

use futures_util::future::join_all;
use mainstay_benches::{Case, saga::IN_FLIGHT};
use std::sync::Arc;
use steno::{
    Action, ActionContext, ActionError, ActionFunc, ActionRegistry, DagBuilder, InMemorySecStore, Node, SagaDag,
    SagaId, SagaName, SagaResult, SagaType, SecClient,
};
use tokio::task::yield_now;

/// What a saga is started with.
const INPUT: u64 = 7;

#[derive(Debug)]
struct Three;

impl SagaType for Three {
    type ExecContextType = ();
}

type Steps = [Arc<dyn Action<Three>>; 3];
type Context = ActionContext<Three>;

pub(super) fn cases() -> Vec<Case> {
    let (first, second, third) = (action("first", first), action("second", second), action("third", third));
    let completing = [first, second, third];
    let [first, second, _] = completing.clone();
    let rejected = [first, second, action("rejected", rejected)];
    let yielding = [action("first", later_first), action("second", later_second), action("third", later_third)];
    vec![
        one("saga/completed/steno", completing, async |sagas: &Sagas| completed(&sagas.run().await)),
        one("saga/undone/steno", rejected, async |sagas: &Sagas| undone(&sagas.run().await)),
        one("saga/in_flight_1000/steno", yielding, async |sagas: &Sagas| {
            let together = join_all((0..IN_FLIGHT).map(|_| sagas.run())).await;
            together.iter().for_each(completed);
        }),
    ]
}

fn action<F, R>(name: &'static str, run: F) -> Arc<dyn Action<Three>>
where
    F: Fn(Context) -> R + Send + Sync + 'static,
    R: Future<Output = Result<u64, ActionError>> + Send + 'static,
{
    ActionFunc::new_action(name, run, async |_: Context| Ok(()))
}

fn one(name: &str, steps: Steps, call: impl AsyncFn(&Sagas) + Copy + Send + 'static) -> Case {
    Case::awaited(name, move || {
        let sagas = Sagas::new(steps.clone());
        async move |_| call(&sagas).await
    })
}

struct Sagas {
    client: SecClient,
    registry: Arc<ActionRegistry<Three>>,
    dag: Arc<SagaDag>,
}

impl Sagas {
    fn new(steps: Steps) -> Self {
        let mut registry = ActionRegistry::new();
        let mut dag = DagBuilder::new(SagaName::new("three"));
        for (step, output) in steps.into_iter().zip(["first", "second", "third"]) {
            dag.append(Node::action(output, output, &*step));
            registry.register(step);
        }
        let dag = SagaDag::new(dag.build().expect("a graph"), INPUT.into());
        let log = slog::Logger::root(slog::Discard, slog::o!());
        let client = steno::sec(log, Arc::new(InMemorySecStore::new()));
        Self { client, registry: Arc::new(registry), dag: Arc::new(dag) }
    }

    async fn run(&self) -> SagaResult {
        let (id, registry) = (SagaId::new_v4(), Arc::clone(&self.registry));
        let ended = self.client.saga_create(id, Arc::new(()), Arc::clone(&self.dag), registry).await;
        let ended = ended.expect("it is new");
        self.client.saga_start(id).await.expect("it was created");
        ended.await
    }
}

fn completed(result: &SagaResult) {
    let output = result.kind.as_ref().ok().and_then(|ended| ended.saga_output::<u64>().ok());
    assert_eq!(output, Some(INPUT + 3));
}

fn undone(result: &SagaResult) {
    assert!(result.kind.as_ref().is_err_and(|failed| failed.undo_failure.is_none()));
}

async fn first(cx: Context) -> Result<u64, ActionError> {
    Ok(cx.saga_params::<u64>()? + 1)
}

async fn second(cx: Context) -> Result<u64, ActionError> {
    Ok(cx.lookup::<u64>("first")? + 1)
}

async fn third(cx: Context) -> Result<u64, ActionError> {
    Ok(cx.lookup::<u64>("second")? + 1)
}

async fn rejected(_: Context) -> Result<u64, ActionError> {
    Err(ActionError::action_failed("no".to_owned()))
}

async fn later_first(cx: Context) -> Result<u64, ActionError> {
    yield_now().await;
    first(cx).await
}

async fn later_second(cx: Context) -> Result<u64, ActionError> {
    yield_now().await;
    second(cx).await
}

async fn later_third(cx: Context) -> Result<u64, ActionError> {
    yield_now().await;
    third(cx).await
}
