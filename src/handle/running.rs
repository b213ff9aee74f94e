//! `Running`: a callback taken out of its handle for the time that it runs.
//!
//! The thread that runs it. The one surprise: what was given as a context may be something else that
//! has a `run`, as asyncio accepts it.

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::py::call::Args;
use crate::py::context::Context;

/// A callback with its arguments and its context.
pub struct Running {
    /// Whether another thread may wait for the end.
    pub told: bool,
    pub callback: Py<PyAny>,
    pub args: Args,
    pub context: Context,
}

impl Running {
    /// Runs it once.
    ///
    /// # Errors
    /// What the callback raises, or entering its context.
    #[inline]
    pub fn run(&mut self, py: Python<'_>) -> PyResult<()> {
        let entered = match self.context.enter(py) {
            Ok(entered) => entered,
            Err(error) => return self.run_within(py, error),
        };
        let result = self.args.call(self.callback.bind(py));
        let left = self.context.leave(py, entered);
        drop(result?);
        left
    }

    /// Runs the callback in what is no context although it was given as one: by its `run`, as
    /// asyncio does it with every context.
    #[cold]
    fn run_within(&mut self, py: Python<'_>, error: PyErr) -> PyResult<()> {
        if !error.is_instance_of::<PyTypeError>(py) {
            return Err(error);
        }
        let context = self.context.object(py)?;
        let run = context.bind(py).getattr(intern!(py, "run"))?;
        let mut args = vec![self.callback.bind(py).clone()];
        args.extend(self.args.to_tuple(py)?);
        run.call1(PyTuple::new(py, args)?).map(drop)
    }

    /// Releases everything; may run Python code.
    #[inline]
    pub fn release(self, py: Python<'_>) {
        self.callback.drop_ref(py);
        self.args.release(py);
        self.context.release(py);
    }
}
