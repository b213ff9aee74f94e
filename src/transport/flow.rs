//! `Flow` and `Buffers`: when a protocol is asked to stop writing, and when it may continue.
//!
//! Loop thread only. asyncio accepts as a water mark whatever can be compared, so marks may be
//! fractions, infinite or larger than any buffer; they are kept as given, beside their values in bytes.

use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyString, PyTuple};

use crate::error::exception;
use crate::logic::flow_control::{DEFAULT_HIGH, FlowControl};
use crate::py::calling::names::name;
use crate::py::stdlib::asyncio;
use crate::py::value::{self, shown};
use crate::transport::endpoint::{Extends, Transport};
use crate::transport::protocol::{Failure, Parties};

/// The (low, high) marks as given, if `FlowControl` cannot represent them. They are plain numbers,
/// which the collector need not see.
pub(crate) type Given = Option<Box<(Py<PyAny>, Py<PyAny>)>>;

/// The flow control of a transport that buffers what it writes.
#[derive(Default)]
pub(crate) struct Flow {
    /// The water marks in bytes, and whether the protocol was asked to pause.
    control: FlowControl,
    /// The water marks as the program gave them.
    given: Given,
}

impl Flow {
    /// Whether the protocol was asked to pause.
    pub(crate) fn is_paused(&self) -> bool {
        self.control.is_paused()
    }
}

/// A transport that buffers what the kernel does not take.
pub(crate) trait Buffers: Extends {
    /// Lends the flow control, and how many bytes wait, to `look`, which must not run Python code.
    fn with_flow<R>(this: &Bound<'_, Self>, look: impl FnOnce(&mut Flow, usize) -> R) -> R;

    /// Tells the protocol to pause if more than the high-water mark waits.
    #[inline]
    fn maybe_pause(this: &Bound<'_, Self>) -> PyResult<()> {
        if Self::with_flow(this, |flow, waiting| flow.control.pause_at(waiting)) {
            Self::tell_flow(this, name!(this.py(), pause_writing))
        } else {
            Ok(())
        }
    }

    /// Tells the protocol to resume if it was told to pause and no more than the low-water mark
    /// waits.
    #[inline]
    fn maybe_resume(this: &Bound<'_, Self>) -> PyResult<()> {
        if Self::with_flow(this, |flow, waiting| flow.control.resume_at(waiting)) {
            Self::tell_flow(this, name!(this.py(), resume_writing))
        } else {
            Ok(())
        }
    }

    /// Calls `protocol.name()`; an exception is reported and not passed on.
    fn tell_flow(this: &Bound<'_, Self>, name: &Bound<'_, PyString>) -> PyResult<()> {
        let py = this.py();
        let base = Self::base(this);
        let Some(protocol) = base.get().protocol(py) else {
            return Ok(());
        };
        let Err(error) = Self::Base::tell(base, &protocol, name).call0() else {
            return Ok(());
        };
        match Failure::of(py, error) {
            Failure::Leaves(error) => Err(error),
            Failure::Stays(error) => {
                let parties = Parties {
                    event_loop: base.get().event_loop().bind(py),
                    transport: this.as_any(),
                    protocol: Some(&protocol),
                };
                parties.report(&format!("protocol.{}() failed", shown(name)), &error)
            }
        }
    }

    /// `transport.set_write_buffer_limits(high, low)`, in bytes.
    ///
    /// # Errors
    /// `ValueError` with asyncio's text unless `high >= low >= 0`.
    fn set_limits(
        this: &Bound<'_, Self>,
        high: Option<&Bound<'_, PyAny>>,
        low: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let (marks, given) = water_marks(this.py(), high, low, DEFAULT_HIGH)?;
        let old = Self::with_flow(this, |flow, _| {
            (flow.control.high, flow.control.low) = (marks.high, marks.low);
            std::mem::replace(&mut flow.given, given)
        });
        drop(old);
        Self::maybe_pause(this)
    }

    /// `transport.get_write_buffer_limits()`: the (low, high) water marks in bytes.
    fn limits<'py>(this: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let py = this.py();
        let found = Self::with_flow(this, |flow, _| match flow.given.as_deref() {
            Some((low, high)) => Ok([low, high].map(|mark| mark.clone_ref(py).into_bound(py))),
            None => Err((flow.control.low, flow.control.high)),
        });
        match found {
            Ok(marks) => value::tuple(py, &marks),
            Err((low, high)) => counts(py, low, high),
        }
    }
}

/// Water marks, in bytes: above `high` something is paused, at `low` and below it is resumed.
#[derive(Clone, Copy)]
pub(crate) struct Marks {
    /// The high-water mark.
    pub(crate) high: usize,
    /// The low-water mark, not more than `high`.
    pub(crate) low: usize,
}

/// The marks in bytes, and, if `get_write_buffer_limits` has to return something else, the marks as
/// given. A mark that is not given follows from the other as in asyncio, and the high mark is
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
) -> PyResult<(Marks, Given)> {
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
        return Ok((Marks { high, low }, None));
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
    let given = Some(Box::new((kept(&low)?, kept(&high)?)));
    let (high, low) = (bytes(&high)?, bytes(&low)?);
    Ok((Marks { high, low }, given))
}

/// A tuple of two numbers.
pub(crate) fn counts(py: Python<'_>, first: usize, second: usize) -> PyResult<Bound<'_, PyTuple>> {
    let first = value::count(py, first)?.into_any();
    value::tuple(py, &[first, value::count(py, second)?.into_any()])
}

/// The value of an exact `int` that fits into `usize`.
fn plain(mark: &Bound<'_, PyAny>) -> Option<usize> {
    mark.cast_exact::<PyInt>().ok()?.extract().ok()
}

/// `mark` rounded down to whole bytes.
fn bytes(mark: &Bound<'_, PyAny>) -> PyResult<usize> {
    match asyncio::floor(mark.py())?.call1((mark,)) {
        Ok(whole) => Ok(whole.extract().unwrap_or(usize::MAX)),
        // Infinity.
        Err(error) if error.is_instance_of::<PyOverflowError>(mark.py()) => Ok(usize::MAX),
        Err(error) => Err(error),
    }
}
