//! Warnings of what nobody closed and what nobody awaited.
//!
//! Any thread may call it. The one surprise: an object may be freed while an exception is under
//! way, which has to survive both the warning and what the warning raises.

use pyo3::PyTypeInfo;
use pyo3::exceptions::PyResourceWarning;
use pyo3::prelude::*;

use crate::py::asyncio;
use crate::py::value::{Int, Text};

/// Warns with `text` in the category `W`, then runs `end` in any case. What either raises goes to
/// `sys.unraisablehook`. Does nothing once the interpreter is gone.
pub fn while_freeing<W: PyTypeInfo>(text: &str, end: impl FnOnce(Python<'_>) -> PyResult<()>) {
    Python::try_attach(|py| {
        let raised = PyErr::take(py);
        let category = py.get_type::<W>();
        let warned =
            asyncio::warn(py).and_then(|warn| warn.call1((Text(text), category)).map(drop));
        let ended = end(py);
        if let Err(error) = warned.and(ended) {
            error.write_unraisable(py, None);
        }
        if let Some(raised) = raised {
            raised.restore(py);
        }
    });
}

/// Warns with ResourceWarning that nobody has closed the transport that `text` describes. With
/// `source`, tracemalloc tells where that was made.
///
/// # Errors
/// What the warning raises.
#[cold]
pub fn unclosed(py: Python<'_>, text: &str, source: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    let text = Text(format!("unclosed transport {text}"));
    let category = py.get_type::<PyResourceWarning>();
    let stacklevel = Int(1);
    asyncio::warn(py)?.call1((text, category, stacklevel, source))?;
    Ok(())
}
