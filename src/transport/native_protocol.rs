//! `NativeProtocol`: the base of native protocols, which stream transports call without Python.
//!
//! Loop thread only. It has the methods of an ordinary protocol too, for any other transport. Its one
//! field never changes.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::py::calling::call;
use crate::py::calling::names::name;
use crate::py::data::window::Window;

/// What a stream transport tells a native protocol.
pub(crate) trait NativeClass: Sync {
    /// The first `count` bytes of `window` were received.
    fn received(
        &self,
        protocol: &Bound<'_, PyAny>,
        window: &Bound<'_, Window>,
        count: usize,
    ) -> PyResult<()>;

    /// `data` was received, or decrypted, by something else than a window.
    fn data_received(
        &self,
        protocol: &Bound<'_, PyAny>,
        data: &Bound<'_, PyBytes>,
    ) -> PyResult<()> {
        call::method1(protocol, name!(data.py(), data_received), data).map(drop)
    }

    /// What the loop's exception handler is told if `received` raised.
    fn receiving_failed(&self) -> &'static str {
        "Fatal error: protocol.data_received() call failed."
    }

    /// Whether it carries another connection, such as one of TLS: it may have a delayed write then,
    /// and is on other transports a `BufferedProtocol`.
    fn carries(&self) -> bool {
        false
    }

    /// A write that a protocol which carries another connection has delayed is to be written to its
    /// transport now.
    fn flush(&self, _protocol: &Bound<'_, PyAny>) -> PyResult<()> {
        Ok(())
    }
}

/// The base of native protocols.
#[pyclass(frozen, subclass, module = "ferroloop._native")]
pub(crate) struct NativeProtocol {
    /// What it does; `None` for a class derived in Python, which is called as Python calls it.
    pub(crate) class: Option<&'static dyn NativeClass>,
}
