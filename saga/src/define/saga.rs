//! A checked definition.

use super::{Draft, Out, code::Definition, list::List};
use crate::{BuildError, Data, Graph};
use std::{
    fmt::{self, Debug, Formatter},
    marker::PhantomData,
    sync::Arc,
    time::Duration,
};

/// A checked definition: a name, a version, a graph, and the code behind it. Cloning copies pointers.
///
/// `A` is the application, which the engine gives to every step; `I` is what a saga is started with, and `O` what it gives. The
/// definition itself has no state, so it can be a `static` behind a [`LazyLock`](std::sync::LazyLock).
///
/// # Versions
///
/// A saga goes on with the version that it was started with. What changes the [`fingerprint`](Self::fingerprint) (a step added,
/// removed or renamed, another order, another result) needs a higher version and a function of its own, which may share steps with the
/// old one; both are registered until no saga of the old version is left. What does not change it may be changed as it is: code,
/// timeouts, attempts.
pub struct Saga<A, I, O> {
    definition: Definition<A>,
    types: PhantomData<fn(I) -> O>,
}

impl<A, I: Data, O: Data> Saga<A, I, O> {
    /// Writes a saga down: `body` is run once, adds the steps, and gives back what is the result of the saga.
    ///
    /// `body` is a function, as below. A closure works too, if its types are named: `Saga::<Shop, u64, _>::define(…)`.
    ///
    /// # Errors
    ///
    /// If a name is not 1 to 64 of `a` to `z`, `0` to `9`, dot, hyphen and underscore, if two steps share a name, if a setting is out
    /// of its range or has no effect, or if there are too many steps. The error names the step.
    ///
    /// # Examples
    ///
    /// ```
    /// use mainstay_saga::{Draft, Out, Saga, Step};
    /// # struct Shop;
    /// # impl Shop {
    /// #     async fn reserve(&self, _: &str, _: u32) -> Result<u64, std::io::Error> { Ok(1) }
    /// #     async fn release(&self, _: &str) -> Result<(), std::io::Error> { Ok(()) }
    /// #     async fn charge(&self, _: &str, _: u64) -> Result<u64, std::io::Error> { Ok(1) }
    /// # }
    ///
    /// fn order<'s>(mut s: Draft<'s, Shop>, item: Out<'s, u32>) -> Out<'s, u64> {
    ///     let reservation = s.step(
    ///         Step::named("reserve-stock").attempts(3),
    ///         item,
    ///         async |cx, item| Ok(cx.app().reserve(cx.key(), item).await?),
    ///         async |cx, _, _| Ok(cx.app().release(cx.do_key()).await?),
    ///     );
    ///     let (_, payment) = s.pivot("charge", reservation, async |cx, r| Ok(cx.app().charge(cx.key(), r).await?));
    ///     payment
    /// }
    ///
    /// let orders = Saga::define("order", 1, order)?;
    /// assert_eq!(orders.graph().position("charge"), Some(1));
    /// # Ok::<(), mainstay_saga::BuildError>(())
    /// ```
    pub fn define(
        name: &str,
        version: u32,
        body: impl for<'s> FnOnce(Draft<'s, A>, Out<'s, I>) -> Out<'s, O>,
    ) -> Result<Self, BuildError> {
        let mut list = List::new();
        let result = body(Draft::new(&mut list), Out::new(0)).slot;
        Ok(Self { definition: list.finish(name, version, result)?, types: PhantomData })
    }

    /// Turns a saga back if it has not passed its pivot so long after its start. Without it, there is no such time.
    ///
    /// The moment is written down at the start, so another time here means nothing to sagas that run. It is the definition given to
    /// [`Engine::start`](crate::Engine::start) that counts, and not the one that was registered.
    ///
    /// # Errors
    ///
    /// If the time is zero.
    pub fn deadline(self, deadline: Duration) -> Result<Self, BuildError> {
        let graph = Graph::clone(&self.definition.graph).with_deadline(deadline)?;
        let definition = Definition { graph: Arc::new(graph), code: self.definition.code };
        Ok(Self { definition, types: PhantomData })
    }
}

impl<A, I, O> Saga<A, I, O> {
    /// The steps, and what each waits for.
    pub fn graph(&self) -> &Graph {
        &self.definition.graph
    }

    /// A number made of the names, kinds, edges and conditions of the steps, and of which one gives the result: an equal version
    /// with another number is a mistake.
    pub fn fingerprint(&self) -> u64 {
        self.graph().fingerprint()
    }

    /// The steps as text in the language of [Mermaid](https://mermaid.js.org), which is drawn where Markdown is.
    pub fn mermaid(&self) -> String {
        self.graph().mermaid()
    }

    /// The steps as text in the language of [Graphviz](https://graphviz.org).
    pub fn dot(&self) -> String {
        self.graph().dot()
    }

    /// The same saga with other code.
    #[cfg(feature = "testkit")]
    pub(crate) fn with_code(&self, code: impl IntoIterator<Item = super::Code<A>>) -> Self {
        let graph = Arc::clone(&self.definition.graph);
        Self { definition: Definition { graph, code: code.into_iter().collect() }, types: PhantomData }
    }

    pub(crate) const fn definition(&self) -> &Definition<A> {
        &self.definition
    }
}

// By hand: the types of the application and of the values need not be `Clone` or `Debug`.
impl<A, I, O> Clone for Saga<A, I, O> {
    fn clone(&self) -> Self {
        Self { definition: self.definition.clone(), types: PhantomData }
    }
}

impl<A, I, O> Debug for Saga<A, I, O> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let graph = self.graph();
        f.debug_struct("Saga").field("name", &graph.name()).field("version", &graph.version()).finish_non_exhaustive()
    }
}
