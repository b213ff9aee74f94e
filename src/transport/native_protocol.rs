//! `NativeProtocol`: the base of native protocols, which stream transports call without Python.
//!
//! Loop thread only. It has the methods of an ordinary protocol too, for any other transport. Its one
//! field never changes.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::py::calling::call;
use crate::py::calling::names::name;
use crate::py::data::window::Window;

/// The calls that a native protocol gets from a stream transport.
pub(crate) trait NativeClass: Sync {
    /// The first `count` bytes of `window` were received.
    fn received(
        &self,
        protocol: &Bound<'_, PyAny>,
        window: &Bound<'_, Window>,
        count: usize,
    ) -> PyResult<()>;

    /// `data` was received or decrypted, and is not in a window.
    fn data_received(
        &self,
        protocol: &Bound<'_, PyAny>,
        data: &Bound<'_, PyBytes>,
    ) -> PyResult<()> {
        call::method1(protocol, name!(data.py(), data_received), data).map(drop)
    }

    /// The message for the loop's exception handler if `received` raised.
    fn receiving_failed(&self) -> &'static str {
        "Fatal error: protocol.data_received() call failed."
    }

    /// Whether it carries another connection, as TLS does. It may have a delayed write then, and is
    /// a `BufferedProtocol` on other transports.
    fn carries(&self) -> bool {
        false
    }

    /// Writes to the transport what a protocol that carries another connection has delayed.
    fn flush(&self, _protocol: &Bound<'_, PyAny>) -> PyResult<()> {
        Ok(())
    }
}

/// The base of native protocols.
#[pyclass(frozen, subclass, module = "ferroloop._native")]
pub(crate) struct NativeProtocol {
    /// Its implementation; `None` for a class derived in Python, whose methods are called as those
    /// of any protocol.
    pub(crate) class: Option<&'static dyn NativeClass>,
}
