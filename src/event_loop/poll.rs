//! The poll of a turn: for events that are there, or until one comes.
//!
//! Loop thread only. A turn polls also while callbacks wait, because programs rely on `await sleep(0)`
//! letting I/O proceed, except where a poll could find nothing. The GIL is released during a wait, and
//! during every poll while there are other threads.

use std::io;
use std::sync::atomic::Ordering;

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;

use crate::error::os_error;
use crate::event_loop::state::{Core, EventLoop};
use crate::py::calling::call;
use crate::py::calling::names::name;
use crate::py::thread;
use crate::py::value::Float;
use crate::sys::clock;
use crate::sys::poller::{Events, LONGEST};

impl Core {
    /// Whether a poll would return nothing that matters: no descriptor is watched, and the loop handles no signal.
    /// What other threads hand in is seen without a poll.
    #[inline]
    fn needs_no_poll(&self) -> bool {
        self.watched_signals.is_empty() && self.watched() == 0
    }
}

impl EventLoop {
    /// Waits for events; true if a signal interrupted the wait.
    #[inline]
    pub(super) fn poll(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let busy = timeout == Some(0.0);
        let waited = if busy && !self.own_wait.load(Ordering::Relaxed) && !thread::has_others(py) {
            self.glance(py)?
        } else {
            self.wait(py, timeout)?
        };
        match waited {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(os_error(&error)),
            Ok(()) => Ok(false),
        }
    }

    /// Polls without waiting, unless there are events already or nothing is watched.
    #[inline]
    fn glance(&self, py: Python<'_>) -> PyResult<io::Result<()>> {
        let glance = self.look(py).ok_or_else(|| self.refusal())?;
        if matches!(glance, Ok(false)) {
            // A poll would have reported a signal, also where no callback runs Python code.
            py.check_signals()?;
        }
        Ok(glance.map(drop))
    }

    /// Polls without waiting, unless some of the last events were not queued yet or nothing is watched; `false` in that
    /// last case. `None` once the loop is closed, or in a forked child.
    #[inline]
    fn look(&self, py: Python<'_>) -> Option<io::Result<bool>> {
        self.core.with(py, |core| {
            if core.events.as_ref().is_some_and(|events| events.len() > 0) {
                // There was no memory to queue them.
                return Some(Ok(true));
            }
            if core.poller.is_none() {
                core.poller = self.poller(py).ok();
            }
            let poller = core.poller.as_ref()?;
            if core.needs_no_poll() {
                return Some(Ok(false));
            }
            let events = core.events.get_or_insert_with(Events::new);
            Some(poller.look(events).map(|()| true))
        })
    }

    /// As `poll`, for a loop that may have to wait, or that lets other threads have the GIL, as asyncio does in each
    /// turn.
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<io::Result<()>> {
        let (events, poller) =
            (self.core).with(py, |core| (core.events.take(), core.poller.take()));
        let mut events = events.unwrap_or_else(Events::new);
        // There was no memory to queue them.
        let left = events.len() > 0;
        let own_wait = self.own_wait.load(Ordering::Relaxed);
        if own_wait && !left {
            self.select(py, timeout)?;
        }
        let poller = match poller {
            Some(poller) if !own_wait => poller,
            _ => self.poller(py)?,
        };
        let waited = if left {
            Ok(())
        } else if own_wait {
            poller.look(&mut events)
        } else if timeout != Some(0.0) && self.bell.sleep() {
            self.fall_asleep(py);
            let waited = py.detach(|| poller.wait(&mut events, timeout));
            self.wake_up(py);
            waited
        } else {
            py.detach(|| poller.look(&mut events))
        };
        self.core.with(py, |core| {
            (core.events, core.poller) = (Some(events), Some(poller));
        });
        Ok(waited)
    }

    /// Waits by the `select` of a program's selector, which gets in each turn the time-out that
    /// asyncio would pass.
    #[cold]
    fn select(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let selector = (self.slots).with(py, |slots| {
            slots.selector.as_ref().map(|it| it.clone_ref(py))
        });
        let Some(selector) = selector else {
            return Err(self.refusal());
        };
        let sleeps = timeout != Some(0.0) && self.bell.sleep();
        let timeout = if sleeps {
            timeout.map(|seconds| seconds.min(LONGEST))
        } else {
            Some(0.0)
        };
        if sleeps {
            self.fall_asleep(py);
        } else {
            self.progress.step();
        }
        let selected = timeout
            .map(Float)
            .into_bound_py_any(py)
            .and_then(|timeout| call::method1(selector.bind(py), name!(py, select), &timeout));
        if sleeps {
            self.wake_up(py);
        }
        selected.map(drop)
    }

    /// Notes that the loop waits because there is nothing to do.
    #[inline]
    fn fall_asleep(&self, py: Python<'_>) {
        self.progress.fall_asleep();
        self.end_turn(py);
        self.core
            .with(py, |core| core.tally.fall_asleep(clock::monotonic));
    }

    /// Notes that it no longer waits.
    #[inline]
    fn wake_up(&self, py: Python<'_>) {
        self.core
            .with(py, |core| core.tally.wake_up(clock::monotonic));
        self.bell.wake();
        self.progress.wake_up();
    }
}
