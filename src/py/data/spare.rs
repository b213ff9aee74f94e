//! The last `bytes` of received data, in whose memory the next data is put.
//!
//! Loop thread only. CPython's own allocator has objects of up to 512 bytes; freeing and allocating a
//! larger one costs 350 instructions, a tenth of what a short message costs. A `bytes` that nothing else
//! refers to may be written to, as CPython does itself when it resizes one.

use std::ops::RangeInclusive;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::py::lifetime::object;
use crate::py::value;

/// Of which lengths a `bytes` is kept.
const KEPT: RangeInclusive<usize> = 513..=32 * 1024;
/// The new data may be shorter by the length divided by this: a program that keeps the object keeps the
/// rest of the memory too.
const UNUSED: usize = 8;

/// A `bytes` that nothing else refers to.
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
        if !Self::may_be(data.as_bytes().len()) {
            return None;
        }
        let data = data.unbind();
        object::is_unique(&data).then_some(Self(data))
    }

    /// The object with `data` as its content, if it has room for that and little more.
    #[inline]
    fn refill<'py>(self, py: Python<'py>, data: &[u8]) -> Option<Bound<'py, PyBytes>> {
        let object = self.0.into_bound(py);
        let room = object.as_bytes().len();
        let fits = (room - room / UNUSED..=room).contains(&data.len());
        if !fits || !object::is_unique(object.as_unbound()) {
            return None;
        }
        let pointer = object.as_ptr();
        // SAFETY: exactly a `bytes`.
        let place = unsafe { ffi::PyBytes_AS_STRING(pointer) }
            .cast_mut()
            .cast::<u8>();
        // SAFETY: the only reference to a `bytes` of `room` bytes and a final null, so nobody sees them
        // change; `data` is no longer, and elsewhere.
        unsafe { place.copy_from_nonoverlapping(data.as_ptr(), data.len()) };
        // SAFETY: as above; the content may be followed by the null.
        unsafe { place.wrapping_add(data.len()).write(0) };
        let fields = pointer.cast::<ffi::PyBytesObject>();
        // SAFETY: exactly a `bytes`; the length is no more than there is memory for.
        unsafe { (*fields).ob_base.ob_size = data.len().cast_signed() };
        #[allow(
            deprecated,
            reason = "CPython itself has no other way yet to forget the hash"
        )]
        // SAFETY: exactly a `bytes`; -1 says that its hash is not known.
        unsafe {
            (*fields).ob_shash = -1;
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
