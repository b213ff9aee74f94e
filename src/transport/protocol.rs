//! What a protocol is told, and what happens when it raises.
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

/// How a protocol takes data.
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
    /// Whether it receives into buffers of its own where the transport is none that it knows.
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

/// Tells the loop's exception handler that something of a connection failed.
#[cold]
pub(crate) fn report(
    event_loop: &Bound<'_, EventLoop>,
    message: &str,
    error: &PyErr,
    transport: &Bound<'_, PyAny>,
    protocol: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let py = event_loop.py();
    let context = value::dict(py)?;
    context.set_item(name!(py, message), Text(message))?;
    context.set_item(name!(py, exception), error.value(py))?;
    context.set_item(name!(py, transport), transport)?;
    context.set_item(name!(py, protocol), protocol)?;
    handle(event_loop, &context)
}

/// `loop.call_exception_handler(context)`
fn handle(event_loop: &Bound<'_, EventLoop>, context: &Bound<'_, PyDict>) -> PyResult<()> {
    let method = name!(event_loop.py(), call_exception_handler);
    call::method1(event_loop.as_any(), method, context).map(drop)
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
    let context = value::dict(py)?;
    let message = format!("Exception in callback {step}()");
    context.set_item(name!(py, message), Text(message))?;
    context.set_item(name!(py, exception), error.into_value(py))?;
    context.set_item(name!(py, transport), transport)?;
    handle(event_loop, &context)
}

/// Reports what ends a connection as asyncio does: an `OSError` is only logged,
/// and that in debug mode; anything else reaches the exception handler.
#[cold]
pub(crate) fn report_fatal(
    event_loop: &Bound<'_, EventLoop>,
    message: &str,
    error: &PyErr,
    transport: &Bound<'_, PyAny>,
    protocol: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let py = event_loop.py();
    if !error.is_instance_of::<PyOSError>(py) {
        return report(event_loop, message, error, transport, protocol);
    }
    if event_loop.get().is_debug() {
        let keywords = value::dict(py)?;
        keywords.set_item(name!(py, exc_info), error.value(py))?;
        asyncio::logger(py)?.call_method(
            name!(py, debug),
            (Text("%r: %s"), transport, Text(message)),
            Some(&keywords),
        )?;
    }
    Ok(())
}
