//! `Transfer`: the futures that wait while a file is sent on a transport's descriptor.
//!
//! Loop thread only. While a transfer exists, writes are refused, even if nothing waits for its end.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

/// A transfer under way; as long as there is one, nothing may be written.
#[derive(Default)]
pub(crate) struct Transfer {
    /// Done when everything that was written before is sent.
    pub(crate) empty: Option<Py<PyAny>>,
    /// Done when the kernel takes more.
    pub(crate) room: Option<Py<PyAny>>,
}

impl Transfer {
    /// Shows what it holds to the collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.empty)?;
        visit.call(&self.room)
    }
}
