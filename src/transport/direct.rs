//! `DirectProtocol`: the base of native protocols, which stream transports call without Python.
//!
//! Loop thread only. The one surprise: on any other transport such a protocol is an ordinary Python
//! one, so it has the methods of `BufferedProtocol` too.

use pyo3::prelude::*;

use crate::py::window::Window;

/// What a stream transport tells a native protocol.
pub trait DirectClass: Sync {
    /// The first `count` bytes of `window` were received.
    ///
    /// # Errors
    /// What the protocol raises.
    fn received(
        &self,
        protocol: &Bound<'_, PyAny>,
        window: &Bound<'_, Window>,
        count: usize,
    ) -> PyResult<()>;

    /// What the protocol has gathered is to be written to its transport now.
    ///
    /// # Errors
    /// What leaves the loop.
    fn flush(&self, protocol: &Bound<'_, PyAny>) -> PyResult<()>;
}

/// The base of native protocols.
#[pyclass(frozen, subclass, module = "ferroloop._native")]
pub struct DirectProtocol {
    /// What it does.
    pub class: &'static dyn DirectClass,
}
