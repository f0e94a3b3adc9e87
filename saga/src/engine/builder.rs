//! How an engine is made.

use super::{
    config::Config,
    dispatch::{claim, dispatch},
    engine::Engine,
    observe::Observers,
    outcome::EngineError,
    shared::{Base, Known, Shared},
};
use crate::{Saga, define::Definition, journal::Journal};
use std::{
    fmt::{self, Debug, Formatter},
    sync::Arc,
};

/// What an engine is made of.
#[must_use]
pub struct EngineBuilder<A> {
    app: Arc<A>,
    journal: Arc<dyn Journal>,
    config: Config,
    definitions: Vec<Definition<A>>,
}

impl<A: Send + Sync + 'static> EngineBuilder<A> {
    pub(crate) fn new(app: impl Into<Arc<A>>, journal: impl Journal) -> Self {
        Self { app: app.into(), journal: Arc::new(journal), config: Config::default(), definitions: Vec::new() }
    }

    /// Adds a definition. Keep old versions here until none of their sagas is left: one whose definition is missing is not
    /// touched. The same definition, or a clone of it, may be added again.
    pub fn register<I, O>(mut self, saga: &Saga<A, I, O>) -> Self {
        self.definitions.push(saga.definition().clone());
        self
    }

    /// Sets the configuration.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Starts the engine, and goes on with what another one has left.
    ///
    /// # Errors
    ///
    /// If a setting is out of range, if two different definitions have the same name and version, or if the journal does not answer.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, there is no engine, and it has taken no saga.
    pub async fn start(self) -> Result<Engine<A>, EngineError> {
        self.config.check().map_err(EngineError::Config)?;
        let definitions = distinct(self.definitions)?;
        let graphs = definitions.iter().map(|definition| Arc::clone(&definition.graph)).collect();
        let base = Arc::new(Base::new(self.journal, self.config, graphs));
        let known = definitions.into_iter().map(|definition| {
            let observers = Observers::new(self.config.name, &definition.graph);
            Arc::new(Known { definition, observers })
        });
        let shared = Arc::new(Shared { base: Arc::clone(&base), app: self.app, known: known.collect() });
        claim(&shared).await.map_err(EngineError::Journal)?;
        tokio::spawn(dispatch(base, Arc::downgrade(&shared)));
        Ok(Engine::new(shared))
    }
}

/// One of each name and version.
fn distinct<A>(definitions: Vec<Definition<A>>) -> Result<Vec<Definition<A>>, EngineError> {
    let mut distinct: Vec<Definition<A>> = Vec::new();
    for definition in definitions {
        let graph = &definition.graph;
        let is_same = |known: &&Definition<A>| known.graph.name == graph.name && known.graph.version == graph.version;
        match distinct.iter().find(is_same) {
            None => distinct.push(definition),
            // Other code would never run, and nobody can see that it is the same: a definition is made once.
            Some(known) if Arc::ptr_eq(&known.code, &definition.code) => {}
            Some(_) => {
                return Err(EngineError::SameVersion { saga: Arc::clone(&graph.name), version: graph.version });
            }
        }
    }
    Ok(distinct)
}

impl<A> Debug for EngineBuilder<A> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineBuilder")
            .field("config", &self.config)
            .field("definitions", &self.definitions)
            .finish_non_exhaustive()
    }
}
