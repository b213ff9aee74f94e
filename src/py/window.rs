//! `Window`: memory of ours of which Python sees one range at a time.
//!
//! The thread of the loop that has it. The one surprise: nothing is allocated to hand a range to
//! OpenSSL: the same object shows another range for each call.

use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// A writable buffer of fixed size.
#[pyclass(frozen, module = "ferroloop._native")]
pub struct Window {
    /// # Invariant
    /// Allocated once and never moved, so that a view of it stays valid for as long as its owner,
    /// the window, lives. Rust reaches it only in closures during which no Python code runs.
    memory: UnsafeCell<Box<[u8]>>,
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

#[pymethods]
impl Window {
    /// Shows the visible range to whoever asks for a buffer.
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
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn new(py: Python<'_>, size: usize) -> PyResult<Bound<'_, Self>> {
        let window = Self {
            memory: UnsafeCell::new(vec![0; size].into_boxed_slice()),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            size,
        };
        Bound::new(py, window)
    }

    fn base(&self) -> *mut u8 {
        // SAFETY: nobody moves the box, and no reference into it outlives a closure.
        let memory = unsafe { &mut *self.memory.get() };
        memory.as_mut_ptr()
    }

    /// Shows the range from `start` to `end` from now on.
    #[inline]
    pub fn show(&self, start: usize, end: usize) {
        let end = end.min(self.size);
        self.start.store(start.min(end), Ordering::Relaxed);
        self.end.store(end, Ordering::Relaxed);
    }

    /// How many bytes there are.
    #[inline]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Lends all of the memory to `fill`, which must not run Python code.
    #[inline]
    pub fn with_mut<R>(&self, _py: Python<'_>, fill: impl FnOnce(&mut [u8]) -> R) -> R {
        // SAFETY: the invariant of `memory`: nobody else runs while the closure does.
        fill(unsafe { &mut *self.memory.get() })
    }

    /// A `bytes` of the first `count` bytes.
    #[inline]
    pub fn to_bytes<'py>(&self, py: Python<'py>, count: usize) -> Bound<'py, PyBytes> {
        self.with_mut(py, |memory| PyBytes::new(py, &memory[..count]))
    }
}
