//! `run_until_complete`.
//!
//! Loop thread only. It is native because no exception may come between adding the callback that stops
//! the loop and the run, or between the run and removing it: a callback that stays behind would stop a
//! later run.

use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError, PySystemExit};
use pyo3::prelude::*;

use crate::error::exception;
use crate::event_loop::state::EventLoop;
use crate::py::calling::coroutine;
use crate::py::calling::names::name;
use crate::py::stdlib::asyncio;
use crate::py::value;

impl EventLoop {
    /// Runs until `future` (a coroutine becomes a task) is done, and returns its result or raises
    /// its exception.
    ///
    /// # Errors
    /// What a run refuses, what leaves the loop, `RuntimeError` if `stop()` came first.
    pub(crate) fn complete<'py>(
        this: &Bound<'py, Self>,
        future: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = this.py();
        if this.get().is_inherited() && ends_by_exit(py)? {
            // This is a child that was forked during a run. What `asyncio.run` does at the end of
            // that run is left to the parent.
            if asyncio::iscoroutine(py)?.call1((future,))?.is_truthy()? {
                future.call_method0(name!(py, close))?;
            }
            return Ok(py.None().into_bound(py));
        }
        this.call_method0(name!(py, _check_closed))?;
        this.call_method0(name!(py, _check_running))?;
        let is_new = !asyncio::isfuture(py)?.call1((future,))?.is_truthy()?;
        let task = Self::future_of(this, future)?;
        if is_new {
            // If the task does not finish, the caller gets an exception.
            asyncio::discard_destroyed_warning(&task)?;
        }
        let stop = asyncio::stop_when_done(py)?;
        let run = task
            .call_method1(name!(py, add_done_callback), (stop,))
            .and_then(|_| this.call_method0(name!(py, run_forever)));
        let removed = task.call_method1(name!(py, remove_done_callback), (stop,));
        if let Err(error) = run {
            if is_new || this.get().is_inherited() {
                mark_retrieved(&task)?;
            }
            return Err(error);
        }
        removed?;
        if !task.call_method0(name!(py, done))?.is_truthy()? {
            return Err(exception::<PyRuntimeError>(
                py,
                "Event loop stopped before Future completed.",
            ));
        }
        task.call_method0(name!(py, result))
    }

    /// `future` itself, or the task that it becomes.
    fn future_of<'py>(
        this: &Bound<'py, Self>,
        future: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = this.py();
        if coroutine::is_coroutine(future) {
            // No exception may come between making the task and the run.
            return this.call_method1(name!(py, create_task), (future,));
        }
        let keywords = value::dict(py)?;
        keywords.set_item(name!(py, event_loop), this)?;
        asyncio::ensure_future(py)?.call((future,), Some(&keywords))
    }
}

/// Whether `KeyboardInterrupt` or `SystemExit` is being handled.
fn ends_by_exit(py: Python<'_>) -> PyResult<bool> {
    let information = asyncio::sys_function(py, name!(py, exc_info))?.call0()?;
    let error = information.get_item(1)?;
    Ok(error.is_instance_of::<PySystemExit>() || error.is_instance_of::<PyKeyboardInterrupt>())
}

/// Marks the exception of a task as retrieved, because the caller cannot reach the task.
fn mark_retrieved(task: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = task.py();
    if task.call_method0(name!(py, done))?.is_truthy()?
        && !task.call_method0(name!(py, cancelled))?.is_truthy()?
    {
        task.call_method0(name!(py, exception))?;
    }
    Ok(())
}
