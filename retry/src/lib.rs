#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

mod repeat;

pub use self::repeat::{Cloned, Mark, Marked, MarkedIf, Repeat, RepeatFn, Tagged, Unmarked, repeat_fn};
