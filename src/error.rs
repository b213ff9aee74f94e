//! The crate's view of Python exceptions: which ones leave the loop, how ours are made, and
//! `OSError`s from errno.
//!
//! A function that returns `PyResult` fails with `MemoryError` where memory is short, and passes on what
//! the objects that it calls raise. Its comment has a section `Errors` only for more than that.
//!
//! Any thread that is attached to Python may call it. Exceptions are made at once. PyO3's `new_err`
//! makes them when Python first accesses them, and panics if memory is short then; here the caller gets
//! `MemoryError` instead.

use std::fmt::{self, Display, Write};
use std::io;

use pyo3::PyTypeInfo;
use pyo3::call::PyCallArgs;
use pyo3::exceptions::{
    PyBlockingIOError, PyInterruptedError, PyKeyboardInterrupt, PyMemoryError, PyOSError,
    PySystemExit,
};
use pyo3::prelude::*;
use pyo3::types::PyString;

/// Whether `error` has to leave `run_forever` instead of reaching the loop's exception handler.
pub(crate) fn leaves_the_loop(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PySystemExit>(py) || error.is_instance_of::<PyKeyboardInterrupt>(py)
}

/// Whether `error` only says that a call would have had to wait.
pub(crate) fn would_block(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyBlockingIOError>(py) || error.is_instance_of::<PyInterruptedError>(py)
}

/// The exception `Kind(text)`, or the one that making it raised.
#[cold]
pub(crate) fn exception<Kind: PyTypeInfo>(py: Python<'_>, text: impl Display) -> PyErr {
    let mut written = Written(String::new());
    if write!(written, "{text}").is_err() {
        return no_memory(py);
    }
    match PyString::from_bytes(py, written.0.as_bytes()) {
        Ok(text) => exception_of::<Kind>(py, (text,)),
        Err(error) => error,
    }
}

/// Text that is being written. Writing fails if memory is short.
pub(crate) struct Written(pub(crate) String);

impl Write for Written {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.try_reserve(text.len()).map_err(|_| fmt::Error)?;
        self.0.push_str(text);
        Ok(())
    }
}

/// The exception `Kind(*args)`, or the one that making it raised.
pub(crate) fn exception_of<'py, Kind: PyTypeInfo>(
    py: Python<'py>,
    args: impl PyCallArgs<'py>,
) -> PyErr {
    match Kind::type_object(py).call1(args) {
        Ok(made) => PyErr::from_value(made),
        Err(error) => error,
    }
}

/// `MemoryError`
#[cold]
pub(crate) fn no_memory(py: Python<'_>) -> PyErr {
    exception_of::<PyMemoryError>(py, ())
}

/// The result of a system call, for Python.
pub(crate) trait Raises<T> {
    /// The same with the exception that Python's own socket calls raise: the errno decides the
    /// subclass of `OSError`.
    fn or_raise(self) -> PyResult<T>;
}

impl<T> Raises<T> for io::Result<T> {
    #[inline]
    fn or_raise(self) -> PyResult<T> {
        self.map_err(|error| os_error(&error))
    }
}

/// The exception that Python's own socket calls raise for `error`: the errno decides the subclass.
#[cold]
pub(crate) fn os_error(error: &io::Error) -> PyErr {
    Python::attach(|py| match error.raw_os_error() {
        Some(code) => {
            let text = io::Error::from_raw_os_error(code).to_string();
            let text = text.split(" (os error").next().unwrap_or_default();
            match PyString::from_bytes(py, text.as_bytes()) {
                // Python keeps the `int`s of all error codes, so this one allocates nothing.
                Ok(text) => exception_of::<PyOSError>(py, (code, text)),
                Err(error) => error,
            }
        }
        None => exception::<PyOSError>(py, error.to_string()),
    })
}
