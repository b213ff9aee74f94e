//! The buffer protocol: bytes of foreign objects, borrowed for as long as no Python code runs.
//!
//! Any attached thread may call it. A buffer must be released before code of the program runs that
//! may resize its owner (`bytearray.clear()` in `buffer_updated`), so views are used inside one
//! closure and never kept.
//!
//! The closures that borrow are `Send`, as those of `Python::detach` are, so they hold no `Python` and
//! no `Bound` and cannot call Python with them. This is a check and not a proof: a closure could still
//! call `Python::attach`, or make a system call that calls back. None does.

use std::mem::MaybeUninit;

use pyo3::ffi;
use pyo3::prelude::*;

/// A held `Py_buffer`; released when dropped.
struct View(ffi::Py_buffer);

impl View {
    fn new(object: &Bound<'_, PyAny>, flags: i32) -> PyResult<Self> {
        let mut view = MaybeUninit::<ffi::Py_buffer>::uninit();
        // SAFETY: `view` is room for a `Py_buffer`, which the call fills when it returns 0.
        let failed = unsafe { ffi::PyObject_GetBuffer(object.as_ptr(), view.as_mut_ptr(), flags) };
        if failed != 0 {
            return Err(PyErr::fetch(object.py()));
        }
        // SAFETY: the call succeeded and filled it.
        Ok(Self(unsafe { view.assume_init() }))
    }

    fn len(&self) -> usize {
        self.0.len.cast_unsigned()
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: `PyObject_GetBuffer` filled it, and it is released once.
        unsafe { ffi::PyBuffer_Release(&raw mut self.0) }
    }
}

/// Lends the bytes of `object` to `read`, which runs no Python code.
///
/// # Errors
/// `TypeError` or `BufferError` if the object has no contiguous buffer.
pub(crate) fn with_bytes<R>(
    object: &Bound<'_, PyAny>,
    read: impl FnOnce(&[u8]) -> R + Send,
) -> PyResult<R> {
    let view = View::new(object, ffi::PyBUF_SIMPLE)?;
    if view.len() == 0 {
        return Ok(read(&[]));
    }
    // SAFETY: a simple buffer is contiguous, `len` long and pinned until the view is released.
    let bytes = unsafe { std::slice::from_raw_parts(view.0.buf.cast::<u8>(), view.len()) };
    Ok(read(bytes))
}

/// Lends the writable memory of `object` to `write`; `None` if it has no contiguous one.
pub(crate) fn with_memory<R>(
    object: &Bound<'_, PyAny>,
    write: impl FnOnce(*mut [u8]) -> R + Send,
) -> Option<R> {
    let view = View::new(object, ffi::PyBUF_WRITABLE).ok()?;
    let memory = std::ptr::slice_from_raw_parts_mut(view.0.buf.cast::<u8>(), view.len());
    Some(write(memory))
}

/// The size in bytes of the writable memory of `object`, however many items these are; `None` if it
/// has no contiguous memory.
pub(crate) fn writable_size(object: &Bound<'_, PyAny>) -> Option<usize> {
    with_memory(object, <*mut [u8]>::len)
}

/// Lends the writable bytes of `object` to `write`, which runs no Python code.
///
/// # Errors
/// `BufferError` or `TypeError` if the object has no writable contiguous buffer.
pub(crate) fn with_bytes_mut<R>(
    object: &Bound<'_, PyAny>,
    write: impl FnOnce(&mut [u8]) -> R + Send,
) -> PyResult<R> {
    let view = View::new(object, ffi::PyBUF_WRITABLE)?;
    if view.len() == 0 {
        return Ok(write(&mut []));
    }
    // SAFETY: as above, and writable; no Python code runs while the closure does.
    let bytes = unsafe { std::slice::from_raw_parts_mut(view.0.buf.cast::<u8>(), view.len()) };
    Ok(write(bytes))
}
