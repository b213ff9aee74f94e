//! Whether the interpreter has audit hooks (PEP 578).
//!
//! Any attached thread may call it. CPython has no function for that, but it builds an event's arguments
//! only if there is a hook. Our argument notes that it was built; a hook therefore sees one extra event,
//! `ferroloop.hooks`.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::error::leaves_the_loop;

unsafe extern "C" {
    fn PySys_Audit(event: *const c_char, format: *const c_char, ...) -> c_int;
}

/// Notes in the `bool` behind `has_hook` that a hook is there; the event's argument is `None`.
unsafe extern "C" fn note(has_hook: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: `has_hooks` passes a `bool` that outlives its call of `PySys_Audit`.
    unsafe { has_hook.cast::<bool>().write(true) };
    // SAFETY: CPython builds arguments in attached threads only.
    unsafe { Python::assume_attached() }.None().into_ptr()
}

/// Whether an audit hook is installed, even one that raises.
///
/// # Errors
/// Exceptions that have to leave the loop: `KeyboardInterrupt`.
pub(crate) fn has_hooks(py: Python<'_>) -> PyResult<bool> {
    let mut has_hook = false;
    let converter: unsafe extern "C" fn(*mut c_void) -> *mut ffi::PyObject = note;
    let place: *mut c_void = ptr::from_mut(&mut has_hook).cast();
    // SAFETY: the strings end in zero, and `O&` takes a converter and its argument.
    let failed = unsafe {
        PySys_Audit(
            c"ferroloop.hooks".as_ptr(),
            c"(O&)".as_ptr(),
            converter,
            place,
        )
    };
    if failed == 0 {
        return Ok(has_hook);
    }
    let error = PyErr::fetch(py);
    if leaves_the_loop(py, &error) {
        return Err(error);
    }
    Ok(true)
}
