//! The kinds of protocols, and the reports of their exceptions.
//!
//! Loop thread only. Methods are looked up at each call, so a program may replace
//! them on the instance while the connection is open.

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::leaves_the_loop;
use crate::event_loop::EventLoop;
use crate::py::calling::call;
use crate::py::calling::names::name;
use crate::py::stdlib::asyncio;
use crate::py::value::{self, Text};
use crate::transport::native_protocol::{NativeClass, NativeProtocol};

/// The methods by which a protocol receives data.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// `data_received(bytes)`.
    Plain,
    /// `get_buffer(-1)` and `buffer_updated(count)`.
    Buffered,
    /// A native protocol, which is called without Python.
    Native(&'static dyn NativeClass),
}

impl Kind {
    /// Whether a transport that does not know native protocols has to receive into the protocol's
    /// own buffers.
    #[inline]
    pub(crate) fn is_buffered(self) -> bool {
        match self {
            Self::Plain => false,
            Self::Buffered => true,
            Self::Native(class) => class.carries(),
        }
    }

    /// The kind of `protocol`.
    pub(crate) fn of(protocol: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(direct) = protocol.cast::<NativeProtocol>()
            && let Some(class) = direct.get().class
        {
            return Ok(Self::Native(class));
        }
        let buffered = protocol.is_instance(asyncio::buffered_protocol(protocol.py())?)?;
        Ok(if buffered {
            Self::Buffered
        } else {
            Self::Plain
        })
    }
}

/// An exception of a callback, sorted by where it has to go.
pub(crate) enum Failure {
    /// It leaves the loop.
    Leaves(PyErr),
    /// It ends the connection, or is only reported.
    Stays(PyErr),
}

impl Failure {
    /// Sorts `error`.
    #[cold]
    pub(crate) fn of(py: Python<'_>, error: PyErr) -> Self {
        if leaves_the_loop(py, &error) {
            Self::Leaves(error)
        } else {
            Self::Stays(error)
        }
    }
}

/// The objects that the report of a failure names.
pub(crate) struct Parties<'a, 'py> {
    /// The loop, whose exception handler gets the report.
    pub(crate) event_loop: &'a Bound<'py, EventLoop>,
    /// The transport.
    pub(crate) transport: &'a Bound<'py, PyAny>,
    /// Its protocol.
    pub(crate) protocol: Option<&'a Bound<'py, PyAny>>,
}

impl Parties<'_, '_> {
    /// Tells the loop's exception handler that something of a connection failed.
    #[cold]
    pub(crate) fn report(&self, message: &str, error: &PyErr) -> PyResult<()> {
        let py = self.event_loop.py();
        let context = failure(py, message, error)?;
        context.set_item(name!(py, transport), self.transport)?;
        context.set_item(name!(py, protocol), self.protocol)?;
        handle(self.event_loop, &context)
    }

    /// Reports an error that ends a connection as asyncio does: an `OSError` is only logged, and
    /// only in debug mode; anything else is passed to the exception handler.
    #[cold]
    pub(crate) fn report_fatal(&self, message: &str, error: &PyErr) -> PyResult<()> {
        if error.is_instance_of::<PyOSError>(self.event_loop.py()) {
            log_error(self.event_loop, self.transport, message, error)
        } else {
            self.report(message, error)
        }
    }
}

/// The context for an exception handler: `message` and `error`.
pub(crate) fn failure<'py>(
    py: Python<'py>,
    message: &str,
    error: &PyErr,
) -> PyResult<Bound<'py, PyDict>> {
    let context = value::dict(py)?;
    context.set_item(name!(py, message), Text(message))?;
    context.set_item(name!(py, exception), error.value(py))?;
    Ok(context)
}

/// `loop.call_exception_handler(context)`
pub(crate) fn handle(
    event_loop: &Bound<'_, EventLoop>,
    context: &Bound<'_, PyDict>,
) -> PyResult<()> {
    let method = name!(event_loop.py(), call_exception_handler);
    call::method1(event_loop.as_any(), method, context).map(drop)
}

/// In debug mode, logs `error` of `object` with its traceback.
#[cold]
pub(crate) fn log_error(
    event_loop: &Bound<'_, EventLoop>,
    object: &Bound<'_, PyAny>,
    message: &str,
    error: &PyErr,
) -> PyResult<()> {
    let py = event_loop.py();
    if !event_loop.get().is_debug() {
        return Ok(());
    }
    let keywords = value::dict(py)?;
    keywords.set_item(name!(py, exc_info), error.value(py))?;
    let arguments = (Text("%r: %s"), object, Text(message));
    asyncio::logger(py)?.call_method(name!(py, debug), arguments, Some(&keywords))?;
    Ok(())
}

/// Tells the loop's exception handler that the internal step `step` failed, in the words that
/// asyncio uses for the callback in its place.
///
/// # Errors
/// `error` itself if it leaves the loop, and what the handler raises.
#[cold]
pub(crate) fn report_step(
    event_loop: &Bound<'_, EventLoop>,
    transport: &Bound<'_, PyAny>,
    error: PyErr,
    step: &str,
) -> PyResult<()> {
    let py = event_loop.py();
    if leaves_the_loop(py, &error) {
        return Err(error);
    }
    let context = failure(py, &format!("Exception in callback {step}()"), &error)?;
    context.set_item(name!(py, transport), transport)?;
    handle(event_loop, &context)
}
