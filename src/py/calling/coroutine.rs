//! How a native coroutine returns and raises, and how exceptions are thrown into it.
//!
//! Any attached thread may call it. A coroutine returns by raising `StopIteration`; setting that in C
//! costs half of what making a `PyErr` of it does.

use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::call::PyCallArgs;
use pyo3::exceptions::{PyBaseException, PyRuntimeError, PyRuntimeWarning, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyType};

use crate::error::exception;
use crate::py::calling::call;
use crate::py::calling::names::name;
use crate::py::stdlib::warning;

/// How many loops have coroutines remember where they were made, which they do in debug mode.
static TRACKING: AtomicUsize = AtomicUsize::new(0);

/// Counts one loop more, or one less, that has coroutines remember where they were made.
pub(crate) fn note_tracking(begins: bool) {
    if begins {
        TRACKING.fetch_add(1, Ordering::Relaxed);
    } else {
        TRACKING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether coroutines have to remember where they were made. Native ones cannot, so a Python
/// coroutine is used then.
#[inline]
pub(crate) fn origins_are_tracked() -> bool {
    TRACKING.load(Ordering::Relaxed) != 0
}

/// Sets `StopIteration(value)`; `__next__` has to return null after that.
#[inline]
pub(crate) fn stop_with(value: &Bound<'_, PyBytes>) {
    // SAFETY: CPython sets it before any extension is loaded, and never again.
    let class = unsafe { ffi::PyExc_StopIteration };
    // SAFETY: an exception class and an object that is alive; a `bytes` is taken as the one
    // argument of the class, which a tuple or an exception would not be.
    unsafe { ffi::PyErr_SetObject(class, value.as_ptr()) }
}

/// Whether `object` is a coroutine that an `async def` function made.
pub(crate) fn is_coroutine(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: a live object; the macro only compares its type.
    unsafe { ffi::PyCoro_CheckExact(object.as_ptr()) != 0 }
}

/// The code that a coroutine or a generator of a Python function runs. `None` for any other object,
/// whose attributes may run code of the program.
pub(crate) fn coroutine_code<'py>(
    object: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = object.py();
    if is_coroutine(object) {
        return object.getattr(name!(py, cr_code)).map(Some);
    }
    // SAFETY: a live object; the macro only compares its type.
    if unsafe { ffi::PyGen_CheckExact(object.as_ptr()) != 0 } {
        return object.getattr(name!(py, gi_code)).map(Some);
    }
    Ok(None)
}

/// The exception that `throw(kind, value, traceback)` means.
pub(crate) fn thrown(
    kind: Bound<'_, PyAny>,
    value: Option<Bound<'_, PyAny>>,
    traceback: Option<Bound<'_, PyAny>>,
) -> PyErr {
    let py = kind.py();
    let error = match (kind.cast_into::<PyType>(), value) {
        (Ok(_), Some(value)) if value.is_instance_of::<PyBaseException>() => {
            PyErr::from_value(value)
        }
        (Ok(kind), Some(value)) => made(&kind, (value,)),
        (Ok(kind), None) => made(&kind, ()),
        (Err(instance), _) => PyErr::from_value(instance.into_inner()),
    };
    let Some(traceback) = traceback else {
        return error;
    };
    match error
        .value(py)
        .call_method1(name!(py, with_traceback), (traceback,))
    {
        Ok(_) => error,
        Err(wrong) => wrong,
    }
}

/// The exception `kind(*args)`, or the one that making it raised.
fn made<'py>(kind: &Bound<'py, PyType>, args: impl PyCallArgs<'py>) -> PyErr {
    kind.call1(args)
        .map_or_else(|error| error, PyErr::from_value)
}

/// The exception of sending a value to a coroutine that has not begun.
#[cold]
pub(crate) fn just_started(py: Python<'_>) -> PyErr {
    exception::<PyTypeError>(py, "can't send non-None value to a just-started coroutine")
}

/// The exception of awaiting a coroutine that has ended.
#[cold]
pub(crate) fn already_awaited(py: Python<'_>) -> PyErr {
    exception::<PyRuntimeError>(py, "cannot reuse already awaited coroutine")
}

/// Warns as CPython does when a `coroutine` that has not begun ends.
#[cold]
pub(crate) fn never_awaited(coroutine: &Bound<'_, PyAny>, (class, name): (&str, &str)) {
    let text = format!("coroutine '{class}.{name}' was never awaited");
    warning::while_finalizing::<PyRuntimeWarning>(coroutine, &text);
}

/// The result of `await` on `future` once the coroutine is resumed.
///
/// # Errors
/// The exception of the future, and `RuntimeError` if it is not done.
#[cold]
pub(crate) fn ended(future: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = future.py();
    if !call::method0(future, name!(py, done))?.is_truthy()? {
        let text = "await wasn't used with future";
        return Err(exception::<PyRuntimeError>(py, text));
    }
    call::method0(future, name!(py, result)).map(drop)
}
