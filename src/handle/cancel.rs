//! `cancel()` of both kinds of handle.
//!
//! Loop thread, as asyncio requires. The callback and its arguments are released at once and not when
//! the handle leaves the queue, so a cancelled time-out keeps nothing alive.

use pyo3::prelude::*;

use crate::handle::owner::owner;
use crate::handle::scheduled::Cancelling;
use crate::handle::{Handle, TimerHandle};
use crate::py::calling::fast_method::fast_method;

/// Cancels `handle` and gives back its loop, unless it was cancelled before.
#[inline]
fn cancel<'py>(handle: &Bound<'py, Handle>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let needs_python = |event_loop: &Bound<'py, PyAny>| {
        owner().is_some_and(|owner| !matches!(owner.is_debug(event_loop), Ok(false)))
    };
    match handle.get().try_cancel(handle.py(), needs_python) {
        Cancelling::Done(event_loop) => Ok(event_loop),
        Cancelling::NotNow => wait_and_cancel(handle),
    }
}

/// As `cancel`, while another thread runs the callback, or in debug mode.
#[cold]
fn wait_and_cancel<'py>(handle: &Bound<'py, Handle>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = handle.py();
    handle.get().wait_until_run(py)?;
    if handle.get().is_cancelled(py) {
        return Ok(None);
    }
    let debug = match (handle.get().event_loop(py), owner()) {
        (Some(event_loop), Some(owner)) => owner.is_debug(&event_loop)?,
        _ => false,
    };
    handle.get().mark_cancelled(py);
    if debug {
        // In debug mode asyncio keeps the representation, because it logs the handle after the
        // callback is gone.
        match handle.repr() {
            Ok(repr) => handle.get().keep_repr(py, repr.into_any().unbind()),
            Err(error) => {
                drop(handle.get().drop_callback(py));
                return Err(error);
            }
        }
    }
    Ok(handle.get().drop_callback(py))
}

fast_method!(
    Cancel,
    Handle,
    "cancel",
    c"cancel($self)\n--\n\n\
        Cancel the callback: it will not run, and it and its arguments are released at once.\n\n\
        Does nothing if it was cancelled before. Mirrors asyncio's cancel on 3.10 to 3.15; from \
        3.14 on any thread may call it on what call_soon_threadsafe() returned.",
    |this, []| {
        cancel(this)?;
        Ok(this.py().None().into_bound(this.py()))
    }
);

fast_method!(
    CancelTimer,
    TimerHandle,
    "cancel",
    Cancel::DOC,
    |this, []| {
        let py = this.py();
        if let (Some(event_loop), Some(owner)) = (cancel(this.as_super())?, owner())
            && this.get().is_scheduled(py)
        {
            owner.timer_cancelled(&event_loop, this)?;
        }
        Ok(py.None().into_bound(py))
    }
);

/// Cancels a handle that the loop no longer needs.
///
/// # Errors
/// What the representation raises, in debug mode.
pub(crate) fn cancel_handle(handle: &Bound<'_, Handle>) -> PyResult<()> {
    cancel(handle).map(drop)
}
