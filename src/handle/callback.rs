//! `Callback`: a callback outside of a handle: one that runs, or that is queued without its handle.
//!
//! The thread that runs it. As in asyncio, any object with a `run` method may be given as a context.

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::py::calling::call::Args;
use crate::py::calling::names::name;
use crate::py::context::Context;
use crate::py::value;

/// The class of handle that a callback was taken from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flavour {
    /// `Handle`.
    Plain,
    /// One that other threads may wait for.
    Threadsafe,
}

/// A callback with its arguments and its context.
pub(crate) struct Callback {
    /// What is called.
    pub(crate) function: Py<PyAny>,
    /// What it is called with.
    pub(crate) args: Args,
    /// What it runs in.
    pub(crate) context: Context,
}

impl Callback {
    /// Runs it once.
    ///
    /// # Errors
    /// What the callback raises, or entering its context.
    #[inline]
    pub(crate) fn run(&mut self, py: Python<'_>) -> PyResult<()> {
        let entered = match self.context.enter(py) {
            Ok(entered) => entered,
            Err(error) => return self.run_within(py, error),
        };
        let result = self.args.call(self.function.bind(py));
        let left = self.context.leave(py, entered);
        drop(result?);
        left
    }

    /// Runs the callback by the `run` method of an object that was given as a context and is no
    /// `contextvars.Context`. asyncio calls `run` of every context.
    #[cold]
    fn run_within(&mut self, py: Python<'_>, error: PyErr) -> PyResult<()> {
        if !error.is_instance_of::<PyTypeError>(py) {
            return Err(error);
        }
        let context = self.context.object(py)?;
        let run = context.bind(py).getattr(name!(py, run))?;
        let args = self.args.to_tuple(py)?;
        let function = std::iter::once(self.function.bind(py).clone());
        let args = value::collected(py, function.chain(args.iter()))?;
        run.call1(value::tuple(py, &args)?).map(drop)
    }

    /// The same callback, to run in the same context.
    pub(crate) fn duplicate(&self, py: Python<'_>) -> Self {
        Self {
            function: self.function.clone_ref(py),
            args: self.args.duplicate(py),
            context: self.context.duplicate(py),
        }
    }

    /// Shows what it holds to the collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.function)?;
        self.args.visit(visit)?;
        self.context.visit(visit)
    }

    /// Releases everything; may run Python code.
    #[inline]
    pub(crate) fn release(self, py: Python<'_>) {
        self.function.drop_ref(py);
        self.args.release(py);
        self.context.release(py);
    }
}
