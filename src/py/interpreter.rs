//! Checks that the process uses this extension in one interpreter only: its first main interpreter.
//!
//! Module initialisation, attached, before anything else of this crate. Types, interned names and
//! free lists are statics here and in PyO3. They are objects of one interpreter: another one must not
//! use them, and they are freed when their interpreter ends.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::exception;
use crate::py::value::Text;

/// The key under which the owner marks itself.
const OWNER: &str = "ferroloop._native";

/// Whether an interpreter of this process has become the owner.
static OWNED: AtomicBool = AtomicBool::new(false);

/// Makes the current interpreter the one in which this process uses the extension.
///
/// It must be the main interpreter, whichever interpreter imports the extension first. So what a
/// program may import does not depend on an order, the end of a sub-interpreter has no effect, and
/// signals work, which reach the main interpreter only.
///
/// # Errors
/// `ImportError` in a sub-interpreter, and in an interpreter that an embedding program has started
/// after it finalized the owner.
pub(crate) fn own(py: Python<'_>) -> PyResult<()> {
    // SAFETY: this thread is attached (`py`), so it has a current interpreter.
    let current = unsafe { ffi::PyInterpreterState_Get() };
    // SAFETY: the function has no precondition once Python is initialised.
    let main = unsafe { ffi::PyInterpreterState_Main() };
    if current != main {
        return Err(exception::<PyImportError>(
            py,
            "ferroloop cannot be imported in a sub-interpreter: a process can use it in its main \
             interpreter only (mod_wsgi: set WSGIApplicationGroup to %{GLOBAL}; uWSGI: set \
             single-interpreter)",
        ));
    }
    // SAFETY: `current` is the interpreter of this attached thread.
    let notes = unsafe { ffi::PyInterpreterState_GetDict(current) };
    // SAFETY: CPython answers a dictionary that the interpreter owns, or null without an exception.
    let notes = unsafe { Borrowed::from_ptr_or_opt(py, notes) };
    let notes =
        notes.ok_or_else(|| exception::<PyImportError>(py, "the interpreter has no dictionary"))?;
    let notes = notes.cast::<PyDict>()?;
    if OWNED.load(Ordering::Relaxed) && !notes.contains(Text(OWNER))? {
        return Err(exception::<PyImportError>(
            py,
            "ferroloop cannot be imported again after the interpreter was finalized: a process \
             can use it in its first main interpreter only",
        ));
    }
    notes.set_item(Text(OWNER), py.None())?;
    OWNED.store(true, Ordering::Relaxed);
    Ok(())
}
