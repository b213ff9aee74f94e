//! Checks that no Python object is destroyed while a `LoopCell` lends its value out.
//!
//! Debug builds only, on CPython 3.13 or newer, and only if FERROLOOP_WATCH_BORROWS is set when the
//! module is initialised. Destroying an object can run any Python code, which may enter the cell again.
//! Most objects run none, so tests alone would not find the places where one could.

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};
use std::io::Write;

use pyo3::ffi;
use pyo3::prelude::*;

thread_local! {
    /// How many cells lend their value to this thread.
    static LENT: Cell<u32> = const { Cell::new(0) };
}

/// Counts while a cell lends its value.
pub(crate) struct Watched;

impl Watched {
    /// Counts one cell more.
    pub(crate) fn begin() -> Self {
        LENT.set(LENT.get() + 1);
        Self
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        LENT.set(LENT.get() - 1);
    }
}

/// Has CPython report every object that it destroys, if the environment variable is set.
pub(crate) fn install(_py: Python<'_>) {
    if std::env::var_os("FERROLOOP_WATCH_BORROWS").is_none() {
        return;
    }
    // SAFETY: attached; the function lives as long as the process and needs no data.
    let _ = unsafe { PyRefTracer_SetTracer(Some(observe), std::ptr::null_mut()) };
}

unsafe extern "C" {
    fn PyRefTracer_SetTracer(
        tracer: Option<unsafe extern "C" fn(*mut ffi::PyObject, c_int, *mut c_void) -> c_int>,
        data: *mut c_void,
    ) -> c_int;
}

/// The number of CPython's event for the destruction of an object; 0 is its creation.
const DESTROY: c_int = 1;

/// # Safety
/// Only for CPython to call, which passes an object that is still whole.
unsafe extern "C" fn observe(object: *mut ffi::PyObject, event: c_int, _: *mut c_void) -> c_int {
    if event == DESTROY && LENT.get() > 0 {
        // SAFETY: CPython passes an object that is still whole.
        unsafe { report(object) }
    }
    0
}

/// Names the object's type and ends the process, so that a traceback leads to the borrow.
///
/// # Safety
/// `object` is still whole.
#[cold]
unsafe fn report(object: *mut ffi::PyObject) -> ! {
    // SAFETY: the caller's promise.
    let class = unsafe { ffi::Py_TYPE(object) };
    // SAFETY: the class of a whole object is alive.
    let name = unsafe { (*class).tp_name };
    // SAFETY: the name of a class ends in a zero byte and lives as long as the class.
    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
    let trace = std::backtrace::Backtrace::force_capture();
    let text = format!("an object of type {name} was destroyed within a borrow\n{trace}\n");
    drop(std::io::stderr().write_all(text.as_bytes()));
    std::process::abort()
}
