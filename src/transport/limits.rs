//! Water marks as `set_write_buffer_limits` takes them and `get_write_buffer_limits` gives them
//! back.
//!
//! Any attached thread. Asyncio compares whatever it is given, so marks may be
//! fractions, infinite or larger than any buffer; they are kept as given beside what they come to.

use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyTuple};

use crate::error::exception;
use crate::logic::flow_control::FlowControl;
use crate::py::stdlib::asyncio;
use crate::py::value::{self, shown};

/// The (low, high) marks as given, where `FlowControl` cannot tell them; plain numbers, which need
/// no collector.
pub(crate) type Given = Option<Box<(Py<PyAny>, Py<PyAny>)>>;

/// Checked marks.
pub(crate) struct Marks {
    /// In bytes.
    pub(crate) high: usize,
    /// In bytes, not more than `high`.
    pub(crate) low: usize,
    /// What `get_write_buffer_limits` gives back, if it is not those two.
    pub(crate) given: Given,
}

/// The marks; what is not given follows from the other as in asyncio, and the high mark is
/// `default` if neither is given.
///
/// # Errors
/// `ValueError` with asyncio's text unless `high >= low >= 0`; what the arithmetic of these objects
/// raises.
pub(crate) fn water_marks<'py>(
    py: Python<'py>,
    high: Option<&Bound<'py, PyAny>>,
    low: Option<&Bound<'py, PyAny>>,
    default: usize,
) -> PyResult<Marks> {
    let high = match (high, low) {
        (Some(high), _) => high.clone(),
        (None, Some(low)) => value::int(py, 4)?.mul(low)?,
        (None, None) => value::count(py, default)?.into_any(),
    };
    let low = match low {
        Some(low) => low.clone(),
        None => high.floor_div(4)?,
    };
    if !(high.ge(&low)? && low.ge(0)?) {
        return Err(exception::<PyValueError>(
            py,
            format_args!(
                "high ({}) must be >= low ({}) must be >= 0",
                shown(&high.repr()?),
                shown(&low.repr()?)
            ),
        ));
    }
    if let (Some(high), Some(low)) = (plain(&high), plain(&low)) {
        let given = None;
        return Ok(Marks { high, low, given });
    }
    let kept = |mark: &Bound<'py, PyAny>| -> PyResult<Py<PyAny>> {
        let simple = mark.is_exact_instance_of::<PyInt>()
            || mark.is_exact_instance_of::<PyFloat>()
            || mark.is_exact_instance_of::<PyBool>();
        if simple {
            return Ok(mark.clone().unbind());
        }
        Ok(value::count(py, bytes(mark)?)?.into_any().unbind())
    };
    Ok(Marks {
        high: bytes(&high)?,
        low: bytes(&low)?,
        given: Some(Box::new((kept(&low)?, kept(&high)?))),
    })
}

/// The marks as `pair` shows them to a program; makes no Python object.
pub(crate) fn told<'py>(
    py: Python<'py>,
    flow: &FlowControl,
    given: &Given,
) -> Result<(Bound<'py, PyAny>, Bound<'py, PyAny>), (usize, usize)> {
    match given.as_deref() {
        Some((low, high)) => Ok((low.bind(py).clone(), high.bind(py).clone())),
        None => Err((flow.low, flow.high)),
    }
}

/// The (low, high) marks for a program, from what `told` says.
pub(crate) fn pair<'py>(
    py: Python<'py>,
    told: Result<(Bound<'py, PyAny>, Bound<'py, PyAny>), (usize, usize)>,
) -> PyResult<Bound<'py, PyTuple>> {
    match told {
        Ok((low, high)) => value::tuple(py, &[low, high]),
        Err((low, high)) => counts(py, low, high),
    }
}

/// Two numbers as Python sees them.
pub(crate) fn counts(py: Python<'_>, first: usize, second: usize) -> PyResult<Bound<'_, PyTuple>> {
    let first = value::count(py, first)?.into_any();
    value::tuple(py, &[first, value::count(py, second)?.into_any()])
}

/// An exact `int` that is no more than a buffer can be.
fn plain(mark: &Bound<'_, PyAny>) -> Option<usize> {
    mark.cast_exact::<PyInt>().ok()?.extract().ok()
}

/// The most bytes that are not more than `mark`.
fn bytes(mark: &Bound<'_, PyAny>) -> PyResult<usize> {
    match asyncio::floor(mark.py())?.call1((mark,)) {
        Ok(whole) => Ok(whole.extract().unwrap_or(usize::MAX)),
        // Infinite.
        Err(error) if error.is_instance_of::<PyOverflowError>(mark.py()) => Ok(usize::MAX),
        Err(error) => Err(error),
    }
}
