//! The start and the end of a run.
//!
//! Loop thread only. Each is one native call, so `KeyboardInterrupt` cannot come in the middle of it.
//! Audit hooks, and methods that a subclass overrides, are the only Python code that it runs: if one
//! raises, a start is undone, and an end is completed.

use std::sync::atomic::Ordering;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::error::exception;
use crate::event_loop::state::EventLoop;
use crate::py::calling::coroutine::note_tracking;
use crate::py::calling::names::name;
use crate::py::stdlib::asyncio;
use crate::py::{thread, value};

/// asyncio's text.
const RUNS_ALREADY: &str = "This event loop is already running";

impl EventLoop {
    /// Runs turns until `stop()`, between `_run_forever_setup` and `_run_forever_cleanup`.
    ///
    /// # Errors
    /// The error of a start that is not possible, and what leaves the loop.
    pub(crate) fn run(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let before = this.get().thread.load(Ordering::Relaxed);
        let started = this.call_method0(name!(py, _run_forever_setup));
        let result = match started {
            // The start was not possible, or was undone.
            Err(error) if before != 0 || !this.get().runs_here() => return Err(error),
            // A subclass's `_run_forever_setup` was interrupted after it had called ours.
            Err(error) => Err(error),
            Ok(_) => Self::run_turns(this),
        };
        let ended = this.call_method0(name!(py, _run_forever_cleanup));
        // A subclass's `_run_forever_cleanup` may have been interrupted before it called ours.
        let really = if this.get().runs_here() {
            Self::tear_down(this)
        } else {
            Ok(())
        };
        ended.map(drop).and(really).and(result)
    }

    /// Whether the loop counts as running in this thread.
    #[inline]
    pub(super) fn runs_here(&self) -> bool {
        self.thread.load(Ordering::Relaxed) == thread::ident()
    }

    /// Raises while this loop, or another one in this thread, is running.
    ///
    /// # Errors
    /// `RuntimeError`.
    pub(crate) fn check_running(&self, py: Python<'_>) -> PyResult<()> {
        let refusal = if self.thread.load(Ordering::Relaxed) != 0 {
            RUNS_ALREADY
        } else if asyncio::running_loop(py)?.is_some() {
            "Cannot run the event loop while another loop is running"
        } else {
            return Ok(());
        };
        Err(exception::<PyRuntimeError>(py, refusal))
    }

    /// Makes this thread the one that runs the loop; a failure leaves everything as it was.
    ///
    /// # Errors
    /// `RuntimeError` if the loop is closed or a loop is running here; what an audit hook raises.
    pub(crate) fn set_up(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        this.get().check_closed()?;
        this.call_method0(name!(py, _check_running))?;
        // This runs Python code, so it comes before the first change.
        let main = asyncio::in_main_thread(py)?.call0()?.is_truthy()?;
        this.get().claim_run(py)?;
        let begun = Self::begin(this, main);
        if begun.is_err() {
            drop(Self::tear_down(this));
        }
        begun
    }

    /// Makes this thread the one that runs the loop, unless another one has done so since
    /// `_check_running`.
    fn claim_run(&self, py: Python<'_>) -> PyResult<()> {
        let (me, relaxed) = (thread::ident(), Ordering::Relaxed);
        match self.thread.compare_exchange(0, me, relaxed, relaxed) {
            Err(other) if other != me => Err(exception::<PyRuntimeError>(py, RUNS_ALREADY)),
            _ => {
                self.progress.set_running(true);
                Ok(())
            }
        }
    }

    fn begin(this: &Bound<'_, Self>, main: bool) -> PyResult<()> {
        let py = this.py();
        Self::follow_class(this)?;
        let debug = this.get().is_debug();
        this.call_method1(name!(py, _set_coroutine_origin_tracking), (debug,))?;
        let hooks = asyncio::sys_function(py, name!(py, get_asyncgen_hooks))?.call0()?;
        Self::state(this)?.setattr(name!(py, old_agen_hooks), hooks)?;
        let keywords = value::dict(py)?;
        let first = this.getattr(name!(py, _asyncgen_firstiter_hook))?;
        keywords.set_item(name!(py, firstiter), first)?;
        let last = this.getattr(name!(py, _asyncgen_finalizer_hook))?;
        keywords.set_item(name!(py, finalizer), last)?;
        asyncio::sys_function(py, name!(py, set_asyncgen_hooks))?.call((), Some(&keywords))?;
        asyncio::set_running_loop(py, Some(this.as_any()))?;
        if main && !this.get().wakeup_held.load(Ordering::Relaxed) {
            // Embedded interpreters have a main thread that may not use signals: a run continues
            // without the wake-up descriptor.
            drop(this.get().hold_wakeup(py));
        }
        Ok(())
    }

    /// Undoes `set_up`. If one part fails, the others are undone all the same.
    ///
    /// # Errors
    /// The first failure.
    pub(crate) fn tear_down(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        this.get().stopping.store(false, Ordering::Relaxed);
        this.get().thread.store(0, Ordering::Relaxed);
        drop((this.get().slots).with(py, |slots| slots.keywords.take()));
        this.get().progress.set_running(false);
        // CPython allocates memory even to unset the loop, so it is tried twice.
        let reset =
            asyncio::set_running_loop(py, None).or_else(|_| asyncio::set_running_loop(py, None));
        drop(this.get().release_wakeup(py));
        let tracking = name!(py, _set_coroutine_origin_tracking);
        let untracked = this.call_method1(tracking, (false,)).map(drop);
        let restored = Self::restore_hooks(this);
        reset.and(untracked).and(restored)
    }

    fn restore_hooks(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let state = Self::state(this)?;
        let hooks = state.getattr(name!(py, old_agen_hooks))?;
        if hooks.is_none() {
            return Ok(());
        }
        state.setattr(name!(py, old_agen_hooks), py.None())?;
        let hooks = hooks.cast_into::<PyTuple>()?;
        // Keeps the current hooks alive. If an audit hook refuses the second of the new ones,
        // CPython restores the old one through a reference that it has already released.
        let present = asyncio::sys_function(py, name!(py, get_asyncgen_hooks))?.call0()?;
        let set = asyncio::sys_function(py, name!(py, set_asyncgen_hooks))?;
        set.call1(hooks.clone()).map(drop).inspect_err(|_| {
            // An audit hook was interrupted before they were set.
            drop(set.call1(hooks));
        })?;
        drop(present);
        Ok(())
    }

    /// Has coroutines remember where they were made, or restores the former depth.
    pub(crate) fn track_origins(this: &Bound<'_, Self>, enabled: bool) -> PyResult<()> {
        let py = this.py();
        let state = Self::state(this)?;
        let name = name!(py, origin_tracking_depth);
        let former = state.getattr(name)?;
        let set = asyncio::sys_function(py, name!(py, set_coroutine_origin_tracking_depth))?;
        if enabled && former.is_none() {
            let get = name!(py, get_coroutine_origin_tracking_depth);
            state.setattr(name, asyncio::sys_function(py, get)?.call0()?)?;
            set.call1((asyncio::debug_stack_depth(py)?,))?;
            note_tracking(true);
        } else if !enabled && !former.is_none() {
            set.call1((former,))?;
            state.setattr(name, py.None())?;
            note_tracking(false);
        }
        Ok(())
    }

    /// The state of the Python code, which the loop holds.
    pub(crate) fn state<'py>(this: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = this.py();
        let state = this.get().slots.with(py, |slots| {
            slots.state.as_ref().map(|state| state.clone_ref(py))
        });
        state
            .map(|state| state.into_bound(py))
            .ok_or_else(|| exception::<PyRuntimeError>(py, "Loop.__init__() was not called"))
    }
}
