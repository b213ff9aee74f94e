//! Which loop CPython's signal handler writes to.
//!
//! The main thread, as CPython requires, except that a loop may be freed in any thread. Nothing here
//! runs Python code, so no `KeyboardInterrupt` can come between the steps of a change.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;

use crate::event_loop::signals::set_wakeup_fd;
use crate::event_loop::state::EventLoop;
use crate::logic::wakeup_stack::WakeupStack;
use crate::py::calling::names::name;

/// No descriptor, for `signal.set_wakeup_fd`.
const NONE: i32 = -1;

/// The loops of the process that hold the descriptor. The lock is held briefly, and nothing is
/// called meanwhile.
static HOLDERS: Mutex<WakeupStack> = Mutex::new(WakeupStack::new());

fn holders() -> MutexGuard<'static, WakeupStack> {
    HOLDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EventLoop {
    /// The identity of this loop among the holders.
    fn identity(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Has signals write to this loop's pipe.
    ///
    /// # Errors
    /// `ValueError` outside the main thread, `OSError` if there is no descriptor left.
    pub(crate) fn hold_wakeup(&self, py: Python<'_>) -> PyResult<()> {
        let (number, found) = self.set_wakeup(py)?;
        holders().hold(self.identity(), number, found);
        self.wakeup_held.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Has signals write to the descriptor to which they would write without this loop, unless a
    /// run or a handler still needs its pipe.
    ///
    /// # Errors
    /// `ValueError` outside the main thread; the loop holds nothing then either.
    pub(crate) fn release_wakeup(&self, py: Python<'_>) -> PyResult<()> {
        let needed = self.thread.load(Ordering::Relaxed) != 0 || self.has_signal_handlers(py)?;
        if needed {
            return Ok(());
        }
        self.give_wakeup_back(py)
    }

    /// As `release_wakeup`, whether it is needed or not.
    ///
    /// # Errors
    /// `ValueError` outside the main thread; the loop holds nothing then either.
    pub(crate) fn give_wakeup_back(&self, py: Python<'_>) -> PyResult<()> {
        if !self.wakeup_held.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let heir = holders().leave(self.identity());
        let Some(heir) = heir else { return Ok(()) };
        let set = set_wakeup_fd(py, heir.number.unwrap_or(NONE));
        // The program may have closed its descriptor since, and the number may belong to another
        // file.
        let found = set.or_else(|_| set_wakeup_fd(py, NONE))?;
        if found != heir.left {
            // The program has set another descriptor since, or closed it.
            drop(set_wakeup_fd(py, found));
        }
        Ok(())
    }

    /// Forgets that this loop held the descriptor: it is about to be freed.
    pub(crate) fn forget_wakeup(&self) {
        if self.wakeup_held.swap(false, Ordering::Relaxed) {
            holders().leave(self.identity());
        }
    }

    /// Removes all holders in a forked child, which does not get its parent's signals. asyncio does
    /// so itself since 3.12.
    pub(crate) fn forget_all_wakeups(&self, py: Python<'_>) {
        self.wakeup_held.store(false, Ordering::Relaxed);
        if holders().forget() {
            drop(set_wakeup_fd(py, NONE));
        }
    }

    fn has_signal_handlers(&self, py: Python<'_>) -> PyResult<bool> {
        let state = self.slots.with(py, |slots| {
            slots.state.as_ref().map(|state| state.clone_ref(py))
        });
        let Some(state) = state else { return Ok(false) };
        let handlers = state.bind(py).getattr(name!(py, signal_handlers))?;
        Ok(handlers.len()? > 0)
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        self.forget_wakeup();
    }
}
