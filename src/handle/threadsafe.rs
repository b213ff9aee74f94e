//! Cancelling from another thread while the callback runs: since Python 3.14 the canceller waits.
//!
//! Any attached thread. asyncio gives each such handle a lock. Here a thread that has to wait leaves an
//! event in the handle, which the running thread sets; a handle that no thread waits for costs nothing.

use pyo3::prelude::*;

use crate::handle::Handle;
use crate::handle::runner::Runner;
use crate::py::calling::names::name;
use crate::py::stdlib::asyncio;

impl Handle {
    /// From Python 3.14 on, cancelling from another thread waits for a callback that runs.
    #[inline]
    pub(crate) fn make_threadsafe(&self, py: Python<'_>) {
        self.state.with(py, |state| state.runner = Runner::NoThread);
    }

    /// Notes that another thread than the one that made the handle runs it.
    #[inline]
    pub(crate) fn share(&self) {
        self.state.share();
    }

    /// Waits while another thread runs the callback.
    ///
    /// # Errors
    /// What waiting raises: `KeyboardInterrupt` in the main thread.
    pub(crate) fn wait_until_run(&self, py: Python<'_>) -> PyResult<()> {
        while self.runs_elsewhere(py) {
            let event = asyncio::event(py)?.call0()?.unbind();
            let (event, spare) = self.state.with(py, |state| {
                let debug = state.debug.get_or_insert_default();
                match &debug.finished {
                    Some(first) => (first.clone_ref(py), Some(event)),
                    None => (debug.finished.insert(event).clone_ref(py), None),
                }
            });
            drop(spare);
            // It may have ended while the event was made.
            if !self.runs_elsewhere(py) {
                return Ok(());
            }
            event.call_method0(py, name!(py, wait))?;
        }
        Ok(())
    }

    fn runs_elsewhere(&self, py: Python<'_>) -> bool {
        self.state.with(py, |state| state.runner.is_elsewhere())
    }

    /// Wakes the threads that wait for the end of the callback.
    #[cold]
    pub(crate) fn tell_finished(&self, py: Python<'_>) -> PyResult<()> {
        let event = self.state.with(py, |state| {
            state.runner = Runner::NoThread;
            state.debug.as_mut().and_then(|debug| debug.finished.take())
        });
        match event {
            Some(event) => event.call_method0(py, name!(py, set)).map(drop),
            None => Ok(()),
        }
    }
}
