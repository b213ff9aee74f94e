//! Fallible allocation of memory that is large, or of a size that a program or a peer decides.
//!
//! Any thread. Rust's `vec![0; size]` aborts the process when memory is short.

use std::alloc::{Layout, alloc_zeroed};
use std::collections::TryReserveError;
use std::io::{self, ErrorKind};
use std::ptr::{NonNull, slice_from_raw_parts_mut};

/// `size` zero bytes, which use no physical memory until they are accessed.
pub(crate) fn zeroed(size: usize) -> io::Result<Box<[u8]>> {
    let layout = Layout::array::<u8>(size).map_err(|_| ErrorKind::OutOfMemory)?;
    if size == 0 {
        return Ok(Box::default());
    }
    // SAFETY: the size is not zero.
    let place = unsafe { alloc_zeroed(layout) };
    let place = NonNull::new(place).ok_or(ErrorKind::OutOfMemory)?;
    // SAFETY: `size` initialised bytes that the global allocator gave for the layout of such a slice,
    // and that have no other owner.
    Ok(unsafe { Box::from_raw(slice_from_raw_parts_mut(place.as_ptr(), size)) })
}

/// A copy of `bytes`.
pub(crate) fn copied(bytes: &[u8]) -> Result<Box<[u8]>, TryReserveError> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len())?;
    copy.extend_from_slice(bytes);
    Ok(copy.into_boxed_slice())
}

/// The items of an iterator.
pub(crate) fn collected<T>(items: impl Iterator<Item = T>) -> Result<Vec<T>, TryReserveError> {
    let mut collected = Vec::new();
    collected.try_reserve(items.size_hint().0)?;
    for item in items {
        collected.try_reserve(1)?;
        collected.push(item);
    }
    Ok(collected)
}

#[cfg(test)]
mod tests {
    use super::{collected, copied, zeroed};

    #[test]
    fn more_than_there_can_be_is_an_error() {
        assert!(zeroed(usize::MAX).is_err());
        assert!(zeroed(isize::MAX as usize - 1).is_err());
    }

    #[test]
    fn what_there_is_memory_for_is_given() {
        assert_eq!(*zeroed(3).unwrap(), [0; 3]);
        assert!(zeroed(0).unwrap().is_empty());
        assert_eq!(*copied(b"abc").unwrap(), *b"abc");
        assert_eq!(collected(0..3).unwrap(), [0, 1, 2]);
    }
}
