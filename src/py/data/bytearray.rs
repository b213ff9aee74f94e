//! `bytearray` objects as a queue of bytes: appended at the end, taken from the front.
//!
//! Any attached thread: without the GIL each call is a critical section of the object. CPython does not
//! copy the rest of a `bytearray` when its head is deleted, so taking out piece by piece is cheap.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::{PyByteArray, PyBytes};

use crate::py::value;

/// Appends `data` to `queue`.
///
/// # Errors
/// `BufferError` if something has a view of `queue`, `MemoryError`.
#[inline]
pub(crate) fn append(queue: &Bound<'_, PyByteArray>, data: &[u8]) -> PyResult<()> {
    with_critical_section(queue, || {
        let held = queue.len();
        queue.resize(held + data.len())?;
        // SAFETY: resizing succeeded, so nothing has a view of it; no Python code runs meanwhile, and
        // without the GIL the critical section keeps other threads from resizing.
        let bytes = unsafe { queue.as_bytes_mut() };
        bytes[held..].copy_from_slice(data);
        Ok(())
    })
}

/// Lends the bytes of `queue` to `read`, which runs no Python code: see `buffer`.
#[inline]
pub(crate) fn with_bytes<R>(
    queue: &Bound<'_, PyByteArray>,
    read: impl FnOnce(&[u8]) -> R + Send,
) -> R {
    with_critical_section(queue, || {
        // SAFETY: no Python code runs during the closure, so nothing resizes or writes; without the
        // GIL the critical section keeps other threads from it.
        read(unsafe { queue.as_bytes() })
    })
}

/// Takes the first `count` bytes out of `queue`, or all if there are fewer.
///
/// # Errors
/// `BufferError` if something has a view of `queue`, `MemoryError`.
#[inline]
pub(crate) fn take<'py>(
    queue: &Bound<'py, PyByteArray>,
    count: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    with_critical_section(queue, || take_within(queue, count))
}

#[inline]
fn take_within<'py>(
    queue: &Bound<'py, PyByteArray>,
    count: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    let py = queue.py();
    let held = queue.len();
    let count = count.min(held);
    // SAFETY: making a `bytes` runs no Python code; the caller is in a critical section.
    let bytes = unsafe { queue.as_bytes() };
    let taken = value::bytes(py, &bytes[..count])?;
    if count == held {
        queue.resize(0)?;
        return Ok(taken);
    }
    // SAFETY: a `bytearray` is a sequence whose slices can be deleted.
    let failed = unsafe { ffi::PySequence_DelSlice(queue.as_ptr(), 0, count.cast_signed()) };
    if failed == 0 {
        Ok(taken)
    } else {
        Err(PyErr::fetch(py))
    }
}
