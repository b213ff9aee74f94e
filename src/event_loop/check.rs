//! The checks that asyncio makes before it takes a callback.
//!
//! Any thread. As in asyncio, most of them are made in debug mode only; a closed loop always refuses.

use std::sync::atomic::Ordering;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;

use crate::error::exception;
use crate::event_loop::state::EventLoop;
use crate::py::stdlib::asyncio;
use crate::py::thread;
use crate::py::value::shown;

impl EventLoop {
    /// Raises for a closed loop, and for a loop that was inherited through `fork`.
    ///
    /// # Errors
    /// `RuntimeError` with asyncio's text.
    #[inline]
    pub(crate) fn check_closed(&self) -> PyResult<()> {
        if self.is_closed() {
            return Err(self.refusal());
        }
        Ok(())
    }

    /// Raises in a thread that is not the one in which the loop runs; for debug mode.
    ///
    /// # Errors
    /// `RuntimeError` with asyncio's text.
    pub(crate) fn check_thread(&self) -> PyResult<()> {
        if self.is_foreign() {
            let text =
                "Non-thread-safe operation invoked on an event loop other than the current one";
            return Err(Python::attach(|py| exception::<PyRuntimeError>(py, text)));
        }
        Ok(())
    }

    /// Whether another thread than the calling one runs the loop.
    #[inline]
    pub(crate) fn is_foreign(&self) -> bool {
        let owner = self.thread.load(Ordering::Relaxed);
        owner != 0 && owner != thread::ident()
    }

    /// Raises for what cannot be a callback; for debug mode.
    ///
    /// # Errors
    /// `TypeError` with asyncio's text, which names `method`.
    pub(crate) fn check_callback(callback: Borrowed<'_, '_, PyAny>, method: &str) -> PyResult<()> {
        let py = callback.py();
        if asyncio::is_coroutine_callback(py)?
            .call1((callback,))?
            .is_truthy()?
        {
            return Err(exception::<PyTypeError>(
                py,
                format_args!("coroutines cannot be used with {method}()"),
            ));
        }
        if !callback.is_callable() {
            return Err(exception::<PyTypeError>(
                py,
                format_args!(
                    "a callable object was expected by {method}(), got {}",
                    shown(&callback.repr()?)
                ),
            ));
        }
        Ok(())
    }
}
