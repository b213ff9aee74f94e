//! Handles that the program has not kept: only the queue refers to them.
//!
//! The thread that holds the queue. The queue takes the callback out of such a handle, which the next
//! `call_soon` uses again. If the callback raises, a new handle is made for the exception handler; the
//! program never had the first one.

use std::mem::forget;

use pyo3::prelude::*;

use crate::handle::Handle;
use crate::handle::callback::{Callback, Flavour};
use crate::handle::runner::Runner;
use crate::py::lifetime::{object, pool};

impl Handle {
    /// Runs a callback without its handle, as `run` does with it.
    #[allow(
        clippy::inline_always,
        reason = "the second caller, for monitors, would make it a call of its own for all"
    )]
    #[inline(always)]
    pub(crate) fn run_without(
        event_loop: &Bound<'_, PyAny>,
        mut callback: Callback,
        flavour: Flavour,
    ) -> PyResult<()> {
        let py = event_loop.py();
        match callback.run(py) {
            Ok(()) => {
                callback.release(py);
                Ok(())
            }
            Err(error) => {
                let handle = Self::remade(event_loop, callback, flavour)?;
                object::track(handle.as_unbound());
                Self::report(&handle, error)
            }
        }
    }

    /// A new handle for a callback that was taken out of its handle.
    pub(crate) fn remade<'py>(
        event_loop: &Bound<'py, PyAny>,
        callback: Callback,
        flavour: Flavour,
    ) -> PyResult<Bound<'py, Self>> {
        let handle = Self::new(event_loop, callback)?;
        if flavour == Flavour::Threadsafe {
            handle.get().make_threadsafe(event_loop.py());
        }
        Ok(handle)
    }

    /// The callback of `handle`, if only its queue refers to it and the callback needs no handle.
    #[inline]
    pub(crate) fn give_up(py: Python<'_>, handle: &Py<Self>) -> Option<(Callback, Flavour)> {
        if !pool::is_unseen(handle.bind(py)) {
            return None;
        }
        handle.get().state.with(py, |state| {
            if state.debug.is_some() {
                return None;
            }
            let flavour = if state.runner == Runner::Unrecorded {
                Flavour::Plain
            } else {
                Flavour::Threadsafe
            };
            Some((state.callback.take()?, flavour))
        })
    }

    /// Puts another callback into a handle whose callback was taken out. Its loop stays the same.
    #[inline]
    pub(crate) fn refill(&self, py: Python<'_>, callback: Callback) {
        self.state.with(py, |state| {
            forget(state.callback.replace(callback));
            state.runner = Runner::Unrecorded;
        });
    }
}
