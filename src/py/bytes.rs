//! `bytes` objects: made to measure, and filled in place by a system call.
//!
//! Any attached thread may call it. The one surprise: a `bytes` that nobody else has seen yet may
//! be written to, which saves the copy of a large read.

use std::io;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Makes a `bytes` of at most `size` bytes, lets `fill` write into it, and cuts it to the count
/// that `fill` returns.
///
/// # Errors
/// The outer error is Python's (no memory); the inner one is what `fill` returned.
pub fn filled(
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
    // SAFETY: `data` points at `size` bytes, and nobody else has a reference to the object.
    let space = unsafe { std::slice::from_raw_parts_mut(data.cast_mut().cast::<u8>(), size) };
    match fill(space) {
        Err(error) => Ok(Err(error)),
        // SAFETY: `object` is exactly a `bytes`.
        Ok(count) if count == size => Ok(Ok(unsafe { object.cast_into_unchecked() })),
        // The caller asked the kernel for the size, so this is rare.
        Ok(count) => Ok(Ok(PyBytes::new(py, &space[..count]))),
    }
}
