//! `Window`: memory of the loop of which Python sees one range at a time.
//!
//! The thread of the loop that has it. Handing a range to OpenSSL allocates nothing: the same object
//! shows another range for each call.
//!
//! A window has one user at a time, which took it out of the loop under the loop's lock. The range is
//! kept in atomics, and the memory never moves, so a thread that keeps a view can at worst read bytes
//! of another connection.

use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes};

use crate::error::no_memory;
use crate::py::data::bytearray;
use crate::py::lifetime::object;
use crate::py::value;
use crate::sys::allocation;

unsafe extern "C" {
    /// Documented in CPython's reference, missing in PyO3's declarations.
    fn _PyBytes_Resize(object: *mut *mut ffi::PyObject, size: ffi::Py_ssize_t) -> c_int;
}

/// The owner of the memory.
enum Memory {
    /// The window.
    Own(Box<[u8]>),
    /// A `bytes` that no other code has seen yet.
    Fresh(Py<PyBytes>),
}

/// A writable buffer of fixed size.
#[pyclass(frozen, module = "ferroloop._native")]
pub(crate) struct Window {
    /// # Invariant
    /// Allocated once and never moved, so that a view of it stays valid for as long as its owner,
    /// the window, lives. Rust reaches it only in closures during which no Python code runs.
    memory: UnsafeCell<Memory>,
    /// Where the visible range begins.
    ///
    /// # Invariant
    /// `start <= end <= size`.
    start: AtomicUsize,
    /// Where it ends.
    end: AtomicUsize,
    /// The length of `memory`.
    size: usize,
}

// SAFETY: the memory is reached by attached threads of the one loop that has the window, in
// closures that run no Python code.
unsafe impl Sync for Window {}
// SAFETY: as above; a `bytes` may be released by any attached thread.
unsafe impl Send for Window {}

#[pymethods]
impl Window {
    /// Shows the visible range as a buffer.
    ///
    /// # Safety
    /// CPython calls it with room for a `Py_buffer`, or null.
    unsafe fn __getbuffer__(
        this: &Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let window = this.get();
        let start = window.start.load(Ordering::Relaxed);
        let length = window.end.load(Ordering::Relaxed) - start;
        let data = window.base().wrapping_add(start).cast();
        let length = length.cast_signed();
        // SAFETY: `data` points at `length` bytes that live as long as `this`, to which the call
        // takes a reference; it checks `view` itself.
        let failed = unsafe { ffi::PyBuffer_FillInfo(view, this.as_ptr(), data, length, 0, flags) };
        if failed == 0 {
            Ok(())
        } else {
            Err(PyErr::fetch(this.py()))
        }
    }
}

impl Window {
    /// A window of `size` bytes that shows nothing yet.
    pub(crate) fn new(py: Python<'_>, size: usize) -> PyResult<Bound<'_, Self>> {
        let memory = Memory::Own(allocation::zeroed(size).map_err(|_| no_memory(py))?);
        Self::over(py, memory, size)
    }

    fn over(py: Python<'_>, memory: Memory, size: usize) -> PyResult<Bound<'_, Self>> {
        let window = Self {
            memory: UnsafeCell::new(memory),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            size,
        };
        Bound::new(py, window)
    }

    fn base(&self) -> *mut u8 {
        // SAFETY: it is always the same memory, and no reference into it outlives a closure.
        match unsafe { &mut *self.memory.get() } {
            Memory::Own(memory) => memory.as_mut_ptr(),
            // SAFETY: exactly a `bytes`, and alive.
            Memory::Fresh(bytes) => unsafe { ffi::PyBytes_AsString(bytes.as_ptr()) }.cast(),
        }
    }

    /// Makes the range from `start` to `end` the visible one.
    #[inline]
    pub(crate) fn show(&self, start: usize, end: usize) {
        let end = end.min(self.size);
        self.start.store(start.min(end), Ordering::Relaxed);
        self.end.store(end, Ordering::Relaxed);
    }

    /// The memory from `start` to `end`, for C code.
    #[inline]
    pub(crate) fn range(&self, start: usize, end: usize) -> *mut [u8] {
        let end = end.min(self.size);
        let start = start.min(end);
        std::ptr::slice_from_raw_parts_mut(self.base().wrapping_add(start), end - start)
    }

    /// How many bytes there are.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Lends all of the memory to `fill`, which runs no Python code: see `buffer`.
    #[inline]
    pub(crate) fn with_mut<R>(
        &self,
        _py: Python<'_>,
        fill: impl FnOnce(&mut [u8]) -> R + Send,
    ) -> R {
        // SAFETY: the invariant of `memory`: it is `size` long, and no Python code runs while the
        // closure does.
        fill(unsafe { std::slice::from_raw_parts_mut(self.base(), self.size) })
    }

    /// A `bytes` of the bytes in `range`.
    #[inline]
    pub(crate) fn to_bytes<'py>(
        &self,
        py: Python<'py>,
        range: Range<usize>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        // SAFETY: the invariant of `memory`; making a `bytes` runs no Python code.
        let memory = unsafe { std::slice::from_raw_parts(self.base(), self.size) };
        value::bytes(py, &memory[range])
    }

    /// Appends the first `count` bytes to `queue`.
    ///
    /// # Errors
    /// `BufferError` if something has a view of `queue`, `MemoryError`.
    #[inline]
    pub(crate) fn append_to(&self, queue: &Bound<'_, PyByteArray>, count: usize) -> PyResult<()> {
        // SAFETY: the invariant of `memory`; appending runs no Python code.
        let memory = unsafe { std::slice::from_raw_parts(self.base(), self.size) };
        bytearray::append(queue, &memory[..count])
    }
}

/// A `bytes` of at most `size` bytes, into which `fill` has Python code write through a window.
/// `fill` returns how many bytes there are, and a value for the caller.
pub(crate) fn filled_bytes<'py, R>(
    py: Python<'py>,
    size: usize,
    fill: impl FnOnce(&Bound<'py, Window>) -> (usize, R),
) -> PyResult<(Bound<'py, PyBytes>, R)> {
    // SAFETY: attached; returns an uninitialised `bytes` of our own, or null with an exception.
    let object = unsafe { ffi::PyBytes_FromStringAndSize(std::ptr::null(), size.cast_signed()) };
    // SAFETY: null, or a reference that we own.
    let object = unsafe { Bound::from_owned_ptr_or_err(py, object) }?;
    // SAFETY: exactly a `bytes`.
    let bytes = unsafe { object.cast_into_unchecked::<PyBytes>() };
    let window = Window::over(py, Memory::Fresh(bytes.clone().unbind()), size)?;
    let (count, result) = fill(&window);
    drop(window);
    if !object::is_unique(bytes.as_unbound()) {
        // Code that has kept the window could still write to it.
        return Ok((value::bytes(py, &bytes.as_bytes()[..count])?, result));
    }
    let mut object = bytes.into_ptr();
    // SAFETY: a `bytes` that only we refer to; the call leaves a reference that we own
    // in `object`, or null.
    unsafe { _PyBytes_Resize(&raw mut object, count.cast_signed()) };
    // SAFETY: as above.
    let object = unsafe { Bound::from_owned_ptr_or_err(py, object) }?;
    // SAFETY: exactly a `bytes`.
    Ok((unsafe { object.cast_into_unchecked() }, result))
}
