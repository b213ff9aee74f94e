//! Warnings about unclosed transports and coroutines that were never awaited.
//!
//! Any thread may call it. An object may be destroyed while an exception is being handled; that
//! exception stays set, whatever the warning raises.

use pyo3::PyTypeInfo;
use pyo3::exceptions::PyResourceWarning;
use pyo3::prelude::*;

use crate::py::stdlib::asyncio;
use crate::py::value::{Int, Text, shown};

/// Warns with `text` about `object`, which is being finalized. An exception is passed to
/// `sys.unraisablehook`.
#[cold]
pub(crate) fn while_finalizing<W: PyTypeInfo>(object: &Bound<'_, PyAny>, text: &str) {
    let py = object.py();
    let raised = PyErr::take(py);
    let category = py.get_type::<W>();
    let warned = asyncio::warn(py).and_then(|warn| warn.call1((Text(text), category)));
    if let Err(error) = warned {
        error.write_unraisable(py, Some(object));
    }
    if let Some(raised) = raised {
        raised.restore(py);
    }
}

/// Warns with ResourceWarning that the transport `source` was not closed; tracemalloc shows where
/// it was made.
///
/// # Errors
/// What its `repr` or the warning raises.
#[cold]
pub(crate) fn unclosed_transport(source: &Bound<'_, PyAny>) -> PyResult<()> {
    unclosed(source.py(), &shown(&source.repr()?), Some(source))
}

/// Warns with ResourceWarning that the transport that `text` describes was not closed. With
/// `source`, tracemalloc shows where that was made.
#[cold]
pub(crate) fn unclosed(
    py: Python<'_>,
    text: &str,
    source: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let text = Text(format!("unclosed transport {text}"));
    let category = py.get_type::<PyResourceWarning>();
    let stacklevel = Int(1);
    asyncio::warn(py)?.call1((text, category, stacklevel, source))?;
    Ok(())
}
