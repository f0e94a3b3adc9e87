//! Nothing: the cards are in `tests/`.
