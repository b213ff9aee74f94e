//! The wake-up descriptor: how a signal ends a wait, and how the loop learns of it.
//!
//! The main thread only, as CPython requires. CPython's C handler writes the signal's number to the
//! loop's pipe. The loop reads the pipe and runs Python's handlers, in asyncio's order.

use crate::error::Raises;
use crate::event_loop::state::{Entry, EventLoop};
use crate::handle::{Callback, Handle};
use crate::py::calling::call::Args;
use crate::py::calling::names::name;
use crate::py::lifetime::object;
use crate::py::stdlib::asyncio;
use crate::py::value::{self, Int};
use crate::sys::poller::Directions;
use crate::sys::wakeup::SignalPipe;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

impl EventLoop {
    /// The writing end of the signal pipe, made and watched when first asked for.
    fn wakeup_descriptor(&self, py: Python<'_>) -> PyResult<i32> {
        let existing = self.core.with(py, |core| {
            core.signals.as_ref().map(|(pipe, _)| pipe.writer())
        });
        if let Some(writer) = existing {
            return Ok(writer);
        }
        let pipe = SignalPipe::new().or_raise()?;
        let (reader, writer) = (pipe.reader(), pipe.writer());
        let key = self.enter(py, reader, Entry::Signals)?;
        let directions = Directions {
            read: true,
            write: false,
        };
        self.poller(py)?
            .watch_level(reader, key.0, directions, false)
            .or_raise()?;
        self.core.with(py, |core| core.signals = Some((pipe, key)));
        Ok(writer)
    }

    /// Has CPython's signal handler write to our pipe. Returns the number of that, and the number
    /// to which it wrote before.
    ///
    /// # Errors
    /// `ValueError` outside the main thread.
    pub(crate) fn set_wakeup(&self, py: Python<'_>) -> PyResult<(i32, i32)> {
        let writer = self.wakeup_descriptor(py)?;
        Ok((writer, set_wakeup_fd(py, writer)?))
    }

    /// Sets whether `_handle_signals` is told about `signal`. Drops what came before the first one was watched.
    pub(crate) fn watch_signal(&self, py: Python<'_>, signal: u8, watched: bool) {
        self.core.with(py, |core| {
            if !watched {
                core.watched_signals.remove(signal, core.turn);
            } else if core.watched_signals.add(signal, core.turn)
                && let Some((pipe, _)) = &core.signals
            {
                pipe.take();
            }
        });
    }

    /// The handle that runs `callback(*args)` whenever a signal comes.
    pub(crate) fn signal_handle<'py>(
        this: &Bound<'py, Self>,
        callback: Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, Handle>> {
        let py = this.py();
        let callback = Callback {
            function: callback.unbind(),
            args: Args::new(py, args.iter_borrowed())?,
            context: this.get().capture_context(py)?,
        };
        let handle = Handle::new(this.as_any(), callback)?;
        object::track(handle.as_unbound());
        if this.get().is_debug() {
            handle.get().note_source(py)?;
        }
        Ok(handle)
    }

    /// Handles the signals that came: first Python's own handlers, then `_handle_signals`.
    pub(crate) fn take_signals(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let numbers = this.get().core.with(py, |core| {
            let mut numbers = (core.signals.as_ref())
                .map(|(pipe, _)| pipe.take())
                .unwrap_or_default();
            numbers.retain(|signal| core.watched_signals.contains(*signal));
            numbers
        });
        let handled = py.check_signals();
        if !numbers.is_empty() {
            let numbers = value::bytes(py, &numbers)?;
            let called = this.call_method1(name!(py, _handle_signals), (numbers,));
            return handled.and(called.map(drop));
        }
        handled
    }
}

/// `signal.set_wakeup_fd`, without a warning when the pipe is full: a full pipe wakes the loop all
/// the same.
pub(super) fn set_wakeup_fd(py: Python<'_>, number: i32) -> PyResult<i32> {
    let keywords = value::dict(py)?;
    keywords.set_item(name!(py, warn_on_full_buffer), false)?;
    let set = asyncio::set_wakeup_fd(py)?;
    set.call((Int(number.into()),), Some(&keywords))?.extract()
}
