//! What a forked child does with the loops of its parent.
//!
//! Any attached thread of the child. The child closes its copies of the loop's descriptors and changes
//! nothing that it shares with the parent. Queued callbacks are not dropped, because that would run the
//! parent's `finally` blocks in the child; they stay queued until the child ends.

use std::sync::atomic::Ordering;

use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError, PySystemExit};
use pyo3::prelude::*;

use crate::error::exception;
use crate::event_loop::state::{EventLoop, Life};
use crate::py::calling::names::name;
use crate::py::stdlib::asyncio;
use crate::py::thread;

impl EventLoop {
    /// Whether another process made the loop.
    pub(crate) fn is_inherited(&self) -> bool {
        self.process != std::process::id()
    }

    /// Closes this process's copies of the loop's descriptors. The kernel's epoll set belongs to
    /// the parent too and is left as it is.
    pub(crate) fn abandon(&self, py: Python<'_>) {
        let runs_here = self.thread.swap(0, Ordering::Relaxed) == thread::ident();
        if runs_here {
            self.enter_life(Life::Unwinding);
        } else if !self.is_unwinding() {
            self.enter_life(Life::Closed);
        }
        self.forget_all_wakeups(py);
        let signals = self.core.with(py, |core| core.signals.take());
        let selector = self.slots.with(py, |slots| slots.selector.take());
        drop((self.take_poller(py), signals, selector));
    }

    /// Raises for a callback on a closed loop. It does not raise for a callback that a task queues
    /// when `sys.exit()` or Ctrl-C ends the task in the callback in which the child was forked,
    /// because the task would then raise this error instead. That callback never runs.
    ///
    /// # Errors
    /// `RuntimeError` if the loop is closed.
    #[cold]
    pub(crate) fn check_exits(&self, argument: Option<Borrowed<'_, '_, PyAny>>) -> PyResult<()> {
        if self.is_unwinding()
            && let Some(task) = argument
            && let class = asyncio::task(task.py())?
            && task.is_instance(&class)?
            && let Ok(error) = task.call_method0(name!(task.py(), exception))
            && (error.is_instance_of::<PySystemExit>()
                || error.is_instance_of::<PyKeyboardInterrupt>())
        {
            return Ok(());
        }
        Err(self.refusal())
    }

    /// Raises if an inherited loop is run, also after a fork that did not call CPython's hooks.
    ///
    /// # Errors
    /// `RuntimeError` in a forked child.
    pub(crate) fn check_process(&self, py: Python<'_>) -> PyResult<()> {
        if !self.is_inherited() {
            return Ok(());
        }
        self.abandon(py);
        Err(self.refusal())
    }

    /// Why a closed loop cannot be used.
    #[cold]
    pub(crate) fn refusal(&self) -> PyErr {
        let text = if self.is_inherited() {
            "Event loop is closed: a forked child cannot use the event loop of its parent"
        } else {
            "Event loop is closed"
        };
        Python::attach(|py| exception::<PyRuntimeError>(py, text))
    }
}
