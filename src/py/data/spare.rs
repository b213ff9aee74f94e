//! The last `bytes` of received data, which is filled again with the next data of its length.
//!
//! Loop thread only. CPython's own allocator has objects of up to 512 bytes; freeing and allocating a
//! larger one costs 350 instructions, a tenth of what a short message costs. docs/decisions/handles.md
//! says why a program cannot observe the change.

use std::ops::RangeInclusive;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::py::lifetime::object;
use crate::py::value;

/// Of which lengths a `bytes` is kept.
const KEPT: RangeInclusive<usize> = 513..=32 * 1024;

/// A `bytes` that nothing else refers to.
///
/// # Invariant
/// It is exactly a `bytes`, of no subclass.
pub(crate) struct Spare(Py<PyBytes>);

impl Spare {
    /// Whether a spare may help to make a `bytes` of so many bytes.
    #[inline]
    pub(crate) fn may_be(length: usize) -> bool {
        KEPT.contains(&length)
    }

    /// Keeps `data`, unless something else refers to it, or it is too short or too long.
    #[inline]
    pub(crate) fn of(data: Bound<'_, PyBytes>) -> Option<Self> {
        // A program's own socket may return an instance of a subclass.
        if !data.is_exact_instance_of::<PyBytes>() || !Self::may_be(data.as_bytes().len()) {
            return None;
        }
        let data = data.unbind();
        object::is_unique(&data).then_some(Self(data))
    }

    /// The object with `data` as its content, if it has exactly that length. A longer one, cut to the
    /// length, would take its whole memory for as long as the program keeps it.
    #[inline]
    fn refill<'py>(self, py: Python<'py>, data: &[u8]) -> Option<Bound<'py, PyBytes>> {
        let object = self.0.into_bound(py);
        if object.as_bytes().len() != data.len() || !object::is_unique(object.as_unbound()) {
            return None;
        }
        let pointer = object.as_ptr();
        // SAFETY: exactly a `bytes`.
        let place = unsafe { ffi::PyBytes_AS_STRING(pointer) }
            .cast_mut()
            .cast::<u8>();
        // SAFETY: a `bytes` of that length to which there is no other reference; `data` is elsewhere.
        unsafe { place.copy_from_nonoverlapping(data.as_ptr(), data.len()) };
        #[allow(
            deprecated,
            reason = "CPython itself has no other way yet to forget the hash"
        )]
        // SAFETY: exactly a `bytes`; -1 says that its hash is not known.
        unsafe {
            (*pointer.cast::<ffi::PyBytesObject>()).ob_shash = -1;
        }
        Some(object)
    }
}

/// A `bytes` with a copy of `data`, which is `spare` if possible.
#[inline]
pub(crate) fn bytes<'py>(
    py: Python<'py>,
    spare: Option<Spare>,
    data: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    match spare.and_then(|spare| spare.refill(py, data)) {
        Some(bytes) => Ok(bytes),
        None => value::bytes(py, data),
    }
}
