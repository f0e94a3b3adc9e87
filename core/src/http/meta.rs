//! Metadata in the extensions of a request.

use crate::Meta;
use http::Request;

/// The metadata is an extension of the request.
impl<B, T> Meta<T> for Request<B>
where
    T: Clone + Send + Sync + 'static,
{
    fn meta(&self) -> Option<T> {
        self.extensions().get().cloned()
    }

    fn set_meta(&mut self, value: T) {
        // To insert would box the value anew.
        match self.extensions_mut().get_mut() {
            Some(there) => *there = value,
            None => drop(self.extensions_mut().insert(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attempt, Priority};

    #[test]
    fn each_type_has_a_place_of_its_own() {
        let mut request = Request::new(());
        assert_eq!(Meta::<Attempt>::meta(&request), None);

        request.set_meta(Attempt::FIRST);
        request.set_meta(Priority::Sheddable);
        request.set_meta(Attempt::FIRST.next());

        assert_eq!(request.meta(), Some(Attempt::FIRST.next()));
        assert_eq!(request.meta(), Some(Priority::Sheddable));
    }
}
