//! The methods of both ends of pipes that Python sees.
//!
//! A table of contents: each calls the file that implements it.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::py::value::Int;
use crate::transport::endpoint::{Endpoint, Transport};
use crate::transport::pipe::end::PipeTransport;

#[pymethods]
impl PipeTransport {
    /// Whether the transport is closing or lost.
    ///
    /// Mirrors asyncio's is_closing, the same on 3.10 to 3.15.
    #[pyo3(name = "is_closing")]
    fn py_is_closing(&self, py: Python<'_>) -> bool {
        self.is_closing(py)
    }

    /// Talk to protocol from now on.
    ///
    /// Does nothing once the connection is lost; raises nothing. Mirrors asyncio's set_protocol,
    /// the same on 3.10 to 3.15.
    fn set_protocol(&self, py: Python<'_>, protocol: Py<PyAny>) {
        self.replace_protocol(py, protocol);
    }

    /// The protocol; None once the connection is lost.
    ///
    /// Mirrors asyncio's get_protocol, the same on 3.10 to 3.15.
    fn get_protocol<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.protocol(py)
    }

    /// pipe, or what the connection was made with; else default.
    ///
    /// Raises TypeError for a name without a hash. Mirrors asyncio's get_extra_info, the same on
    /// 3.10 to 3.15.
    #[pyo3(signature = (name, default=None))]
    fn get_extra_info<'py>(
        &self,
        name: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.extra_info(name, default)
    }

    #[getter]
    fn _pipe(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.end
            .with(py, |end| end.file.as_ref().map(|file| file.clone_ref(py)))
    }

    /// None releases the pipe without closing it.
    #[setter(_pipe)]
    fn set_pipe(&self, py: Python<'_>, pipe: Option<Py<PyAny>>) {
        let old = self
            .end
            .with(py, |end| std::mem::replace(&mut end.file, pipe));
        drop(old);
    }

    #[getter]
    fn _fileno(&self, py: Python<'_>) -> Int {
        Int(self.end.with(py, |end| end.number).into())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.visit(&visit)
    }

    fn __clear__(&self) {
        // The file stays, because the finalizer has to close it.
        Python::attach(|py| drop(self.with(py, Endpoint::clear)));
    }
}
