//! `bytes` objects of a known size, filled in place by a system call.
//!
//! Any attached thread may call it. A `bytes` may be written to before any other code has seen it,
//! which saves the copy of a large read.

use std::io;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::py::value;

/// A `bytes` object, with the address of its bytes.
pub(crate) struct Pinned {
    /// # Invariant
    /// Keeps `data` alive; the bytes of a `bytes` object never move or change.
    object: Py<PyBytes>,
    /// Where the bytes of `object` begin.
    data: *const u8,
    /// How many they are.
    length: usize,
}

// SAFETY: the bytes are immutable, and `Py` may be sent to and shared with other threads.
unsafe impl Send for Pinned {}
// SAFETY: as above.
unsafe impl Sync for Pinned {}

impl Pinned {
    /// Holds `object`.
    #[inline]
    pub(crate) fn new(object: Bound<'_, PyBytes>) -> Self {
        let bytes = object.as_bytes();
        Self {
            data: bytes.as_ptr(),
            length: bytes.len(),
            object: object.unbind(),
        }
    }

    /// The bytes.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the invariant of `object`.
        unsafe { std::slice::from_raw_parts(self.data, self.length) }
    }

    /// The object.
    #[inline]
    pub(crate) fn object(&self) -> &Py<PyBytes> {
        &self.object
    }

    /// Releases the object.
    #[inline]
    pub(crate) fn release(self, py: Python<'_>) {
        self.object.drop_ref(py);
    }
}

/// Makes a `bytes` of at most `size` bytes, lets `fill` write into it, and cuts it to the count
/// that `fill` returns.
///
/// # Errors
/// The outer error is Python's (no memory); the inner one is what `fill` returned.
pub(crate) fn filled(
    py: Python<'_>,
    size: usize,
    fill: impl FnOnce(&mut [u8]) -> io::Result<usize>,
) -> PyResult<io::Result<Bound<'_, PyBytes>>> {
    // SAFETY: attached; returns an uninitialised `bytes` of our own, or null with an exception.
    let object = unsafe { ffi::PyBytes_FromStringAndSize(std::ptr::null(), size.cast_signed()) };
    // SAFETY: null, or a reference that we own.
    let object = unsafe { Bound::from_owned_ptr_or_err(py, object) }?;
    // SAFETY: `object` is exactly a `bytes`.
    let data = unsafe { ffi::PyBytes_AS_STRING(object.as_ptr()) };
    // SAFETY: `data` points at `size` bytes, and this is the only reference to the object.
    let space = unsafe { std::slice::from_raw_parts_mut(data.cast_mut().cast::<u8>(), size) };
    match fill(space) {
        Err(error) => Ok(Err(error)),
        // SAFETY: `object` is exactly a `bytes`.
        Ok(count) if count == size => Ok(Ok(unsafe { object.cast_into_unchecked() })),
        // The caller has asked the kernel for the size, so this is rare.
        Ok(count) => Ok(Ok(value::bytes(py, &space[..count])?)),
    }
}
