//! Texts that the journal keeps.

use std::sync::Arc;

/// So many bytes of a text are kept: of an error, of a reason, of a name.
pub(crate) const LONGEST: usize = 8 * 1024;

/// Whether this can be a name given by a caller: the key of a saga, the id of a signal.
pub(crate) fn is_key(text: &str) -> bool {
    (1..=256).contains(&text.len())
}

/// As much of a text as is kept.
pub(crate) fn cut(text: impl Into<Arc<str>> + AsRef<str>) -> Arc<str> {
    let whole = text.as_ref();
    if whole.len() <= LONGEST { text.into() } else { whole[..whole.floor_char_boundary(LONGEST)].into() }
}
