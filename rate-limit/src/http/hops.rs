//! What one's own proxies have written, counted from the last.

use http::HeaderValue;

/// Cuts the last element off a list: the element, and what stands before its comma. `None` if that cannot be told.
pub(super) type CutLast = fn(&[u8]) -> Option<(&[u8], Option<&[u8]>)>;

/// The element that the outermost of `hops` proxies has written, each of which has added one: counted from the end, over all
/// lines of a field. Nothing is looked at that stands further left.
pub(super) fn written_by<'a>(
    hops: usize,
    lines: impl DoubleEndedIterator<Item = &'a HeaderValue>,
    cut_last: CutLast,
) -> Option<&'a [u8]> {
    let mut further = hops.checked_sub(1)?;
    for line in lines.rev() {
        let mut rest = Some(line.as_bytes());
        while let Some(list) = rest {
            let (last, before) = cut_last(list)?;
            if further == 0 {
                return Some(last.trim_ascii());
            }
            further -= 1;
            rest = before;
        }
    }
    None
}
