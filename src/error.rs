//! The crate's view of Python exceptions: which ones leave the loop, and `OSError`s from errno.
//!
//! Any thread that is attached to Python may call it. The one surprise: `KeyboardInterrupt` and
//! `SystemExit` are never handed to an exception handler, everything else always is.

use std::io;

use pyo3::exceptions::{
    PyBlockingIOError, PyInterruptedError, PyKeyboardInterrupt, PyOSError, PySystemExit,
};
use pyo3::prelude::*;

/// Whether `error` has to leave `run_forever` instead of reaching the loop's exception handler.
pub fn leaves_the_loop(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PySystemExit>(py) || error.is_instance_of::<PyKeyboardInterrupt>(py)
}

/// Whether `error` only says that a call would have had to wait.
pub fn would_block(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyBlockingIOError>(py) || error.is_instance_of::<PyInterruptedError>(py)
}

/// The exception that Python's own socket calls raise for `error`: the errno decides the subclass.
pub fn os_error(error: &io::Error) -> PyErr {
    match error.raw_os_error() {
        Some(code) => {
            let text = io::Error::from_raw_os_error(code).to_string();
            let text = text
                .split(" (os error")
                .next()
                .unwrap_or_default()
                .to_owned();
            PyOSError::new_err((code, text))
        }
        None => PyOSError::new_err(error.to_string()),
    }
}
