//! `ServerBase`: the connections that belong to a server.
//!
//! Loop thread only. The count is native, and the last connection of a closed
//! server calls Python's `_wakeup`.
//!
//! The count is atomic. The other fields are Python attributes, which need no lock of ours without the GIL.

use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::exceptions::PyAssertionError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::error::exception_of;
use crate::event_loop::EventLoop;
use crate::py::calling::names::name;
use crate::py::lifetime::blank::may_be_blank;
use crate::py::value::Count;

/// The native half of `ferroloop`'s servers.
#[pyclass(frozen, subclass, weakref, module = "ferroloop._native")]
pub(crate) struct ServerBase {
    /// How many connections are open.
    active: AtomicUsize,
}

may_be_blank!(ServerBase);

#[pymethods]
impl ServerBase {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn make(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            active: AtomicUsize::new(0),
        }
    }

    /// How many connections are open.
    #[getter]
    fn _active_count(&self) -> Count {
        Count(self.active.load(Ordering::Relaxed))
    }

    #[pyo3(signature = (_transport = None))]
    fn _attach(&self, _transport: Option<&Bound<'_, PyAny>>) {
        self.attach();
    }

    #[pyo3(signature = (_transport = None))]
    fn _detach(this: &Bound<'_, Self>, _transport: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let py = this.py();
        let counts = py.version_info() < (3, 13);
        if counts && this.get().active.load(Ordering::Relaxed) == 0 {
            // asyncio's assertion. From 3.13 on it discards from a set, which never fails.
            return Err(exception_of::<PyAssertionError>(py, ()));
        }
        Self::detach(this)
    }
}

impl ServerBase {
    /// Counts a connection.
    pub(crate) fn attach(&self) {
        self.active.fetch_add(1, Ordering::Relaxed);
    }

    /// As `detach`, in any thread in which the collector may run: waiters have to be woken in the
    /// thread of `event_loop`.
    pub(crate) fn detach_anywhere(
        this: &Bound<'_, Self>,
        event_loop: &Bound<'_, EventLoop>,
    ) -> PyResult<()> {
        let py = this.py();
        if event_loop.get().check_thread().is_ok() {
            return Self::detach(this);
        }
        let detach = this.getattr(name!(py, _detach))?;
        event_loop.call_method1(name!(py, call_soon_threadsafe), (detach,))?;
        Ok(())
    }

    /// Uncounts a connection; the last one of a closed server wakes `wait_closed()`.
    pub(crate) fn detach(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        // A program may have called `_detach` too often.
        let one_less = |active: usize| active.checked_sub(1);
        let active = &this.get().active;
        let before = active.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        let left = before.map_or(0, |before| before - 1);
        // A server that the collector has cleared has nothing to wake. While the interpreter ends,
        // its class may be cleared before it.
        let Some(sockets) = this.getattr_opt(name!(py, _sockets))? else {
            return Ok(());
        };
        if left == 0
            && sockets.is_none()
            && let Some(wakeup) = this.getattr_opt(name!(py, _wakeup))?
        {
            wakeup.call0()?;
        }
        Ok(())
    }
}
