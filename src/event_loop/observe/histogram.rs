//! `Histogram`: a distribution of seconds, as Python sees it.
//!
//! Any thread may read; the thread of its loop writes.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};

use crate::error::exception;
use crate::logic::histogram;
use crate::py::value::{self, Float, Int};

/// A distribution of durations, on a logarithmic scale.
///
/// Its buckets are an eighth of a power of two wide, from a millionth of a second to an hour.
#[pyclass(frozen, module = "ferroloop")]
pub(crate) struct Histogram {
    /// The counts, which the loop shares.
    pub(crate) inner: Arc<histogram::Histogram>,
}

#[pymethods]
impl Histogram {
    #[new]
    fn new() -> Self {
        Self {
            inner: Arc::default(),
        }
    }

    /// How many values were added.
    #[getter]
    fn count(&self) -> Int {
        Int(self.inner.count().cast_signed())
    }

    /// The sum of the values in seconds.
    #[getter]
    fn sum(&self) -> Float {
        Float(self.inner.sum())
    }

    /// The largest value in seconds; 0.0 if there is none.
    #[getter]
    fn max(&self) -> Float {
        Float(self.inner.max())
    }

    /// The seconds that `p` percent of the values do not exceed, rounded up by an eighth at most.
    ///
    /// 0.0 if there is no value. Raises ValueError if `p` is not between 0 and 100.
    fn percentile(&self, py: Python<'_>, p: f64) -> PyResult<Float> {
        if !(0.0..=100.0).contains(&p) {
            let text = "a percentile is between 0 and 100";
            return Err(exception::<PyValueError>(py, text));
        }
        Ok(Float(self.inner.percentile(p)))
    }

    /// The buckets in ascending order: (upper bound in seconds, how many values are in it).
    ///
    /// The list always has the same bounds. A value is below the bound of its bucket; the last bound is
    /// infinite.
    fn buckets<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let buckets = self.inner.counts().enumerate().map(|(index, count)| {
            let bound = value::float(py, histogram::bound(index))?.into_any();
            let count = value::int(py, count.cast_signed())?.into_any();
            Ok(value::tuple(py, &[bound, count])?.into_any())
        });
        let buckets = value::collected(py, buckets)?;
        value::list(py, buckets.into_iter().collect::<PyResult<Vec<_>>>()?)
    }

    fn __repr__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        let (count, sum) = (self.inner.count(), self.inner.sum());
        let (median, max) = (self.inner.percentile(50.0), self.inner.max());
        let text =
            format!("<Histogram count={count} sum={sum:.6} median={median:.6} max={max:.6}>");
        value::text(py, &text)
    }
}
