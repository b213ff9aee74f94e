//! `Handle`: one callback, its arguments and the context it runs in.
//!
//! Loop thread, except that `call_soon_threadsafe` makes one in any thread. The collector does not
//! track a handle unless the program keeps it after its callback has run: most handles live for one
//! turn, and the loop shows the collector what is queued.
//!
//! Without the GIL a handle belongs to the thread that made it, and other threads lock it. A handle of
//! `call_soon_threadsafe` is locked by all threads.

use std::mem::{forget, replace};

use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::handle::callback::Callback;
use crate::handle::runner::Runner;
use crate::py::calling::call::Args;
use crate::py::calling::names::name;
use crate::py::cell::LoopCell;
use crate::py::lifetime::object;
use crate::py::lifetime::pool::{self, Pooled};
use crate::py::stdlib::asyncio;

/// What only debug mode and cancelled handles need.
#[derive(Default)]
pub(super) struct Debug {
    /// Where the handle was made: a `traceback.StackSummary`.
    source_traceback: Option<Py<PyAny>>,
    /// The representation from before `cancel()` dropped the callback.
    repr: Option<Py<PyAny>>,
    /// What a callback of a protocol is about: the transport, the protocol, the peer.
    pub(super) about: Option<Py<PyAny>>,
    /// An event for which another thread waits that has cancelled the callback while it ran.
    pub(super) finished: Option<Py<PyAny>>,
}

/// The parts of a handle that change.
pub(super) struct State {
    /// The loop, for debug mode and for error reports; `None` in a pooled handle.
    event_loop: Option<Py<PyAny>>,
    /// `None` once cancelled, and while it runs.
    pub(super) callback: Option<Callback>,
    /// Whether `cancel` was called.
    cancelled: bool,
    /// The thread that runs the callback now, for handles of `call_soon_threadsafe`.
    pub(super) runner: Runner,
    /// `None` until debug mode or `cancel` has something to keep.
    pub(super) debug: Option<Box<Debug>>,
}

impl State {
    /// Takes out the callback of a cancelled handle, and gives back the loop. The handle then refers to
    /// nothing, so the collector need not track it.
    #[inline]
    fn take_cancelled(&mut self, py: Python<'_>) -> (Option<Callback>, Option<Py<PyAny>>) {
        // While the callback runs it is not in the handle, and the loop is still needed to report what
        // it raises.
        let event_loop = if self.callback.is_none() {
            let event_loop = self.event_loop.as_ref();
            event_loop.map(|event_loop| event_loop.clone_ref(py))
        } else {
            self.event_loop.take()
        };
        (self.callback.take(), event_loop)
    }
}

/// The result of `try_cancel`.
pub(super) enum Cancelling<'py> {
    /// The handle is cancelled; its loop, if this was the call that cancelled it.
    Done(Option<Bound<'py, PyAny>>),
    /// Nothing was done: debug mode is on, or another thread runs the callback.
    NotNow,
}

/// A callback that was given to `call_soon`, `call_soon_threadsafe`, `add_reader` or `add_writer`.
#[pyclass(frozen, subclass, weakref, module = "ferroloop._native")]
pub(crate) struct Handle {
    /// The parts that change.
    pub(super) state: LoopCell<State>,
}

impl Pooled for Handle {
    const NUMBER: usize = 0;

    fn emptied(py: Python<'_>) -> PyResult<Bound<'_, Self>> {
        Bound::new(py, Self::vacant())
    }

    fn empty(this: &Bound<'_, Self>) {
        this.get().release(this.py());
    }

    #[inline]
    fn own(this: &Bound<'_, Self>) {
        this.get().state.inherit();
    }
}

impl Handle {
    /// A handle that the collector does not track yet.
    #[inline]
    pub(crate) fn new<'py>(
        event_loop: &Bound<'py, PyAny>,
        callback: Callback,
    ) -> PyResult<Bound<'py, Self>> {
        let py = event_loop.py();
        if let Some(handle) = pool::reuse::<Self>(py) {
            handle.get().fill(event_loop, callback);
            return Ok(handle);
        }
        let handle = Bound::new(py, Self::filled(event_loop, callback))?;
        object::untrack(handle.as_unbound());
        Ok(handle)
    }

    /// The value of a handle, for a class that extends it.
    pub(crate) fn filled(event_loop: &Bound<'_, PyAny>, callback: Callback) -> Self {
        let handle = Self::vacant();
        handle.fill(event_loop, callback);
        handle
    }

    /// The value of a handle that holds nothing.
    pub(crate) fn vacant() -> Self {
        Self {
            state: LoopCell::owned(State {
                event_loop: None,
                callback: None,
                cancelled: false,
                runner: Runner::Unrecorded,
                debug: None,
            }),
        }
    }

    /// Gives a handle from the pool, which is empty, its new content.
    #[inline]
    pub(crate) fn fill(&self, event_loop: &Bound<'_, PyAny>, callback: Callback) {
        let event_loop = event_loop.clone();
        self.state.with(event_loop.py(), |state| {
            // The old state is empty. Forgetting it saves the checks that dropping it would make.
            forget(state.event_loop.replace(event_loop.unbind()));
            forget(state.callback.replace(callback));
            state.cancelled = false;
            state.runner = Runner::Unrecorded;
        });
    }

    /// Notes where the handle was made; for debug mode.
    #[cold]
    pub(crate) fn note_source(&self, py: Python<'_>) -> PyResult<()> {
        // A thread that was not started by Python may have no Python frame: `sys._getframe` raises
        // until 3.14, and returns a frame without code since.
        let frame = match asyncio::getframe(py)?.call1((0,)) {
            Err(error) if error.is_instance_of::<PyValueError>(py) => return Ok(()),
            frame => frame?,
        };
        if frame.getattr(name!(py, f_code))?.is_none() {
            return Ok(());
        }
        let stack = asyncio::extract_stack(py)?.call1((frame,))?.unbind();
        self.state.with(py, |state| {
            state.debug.get_or_insert_default().source_traceback = Some(stack);
        });
        Ok(())
    }

    /// Whether it was cancelled.
    #[inline]
    pub(crate) fn is_cancelled(&self, py: Python<'_>) -> bool {
        self.state.with(py, |state| state.cancelled)
    }

    /// The loop that the handle was made for.
    pub(crate) fn event_loop<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.state.with(py, |state| {
            Some(state.event_loop.as_ref()?.clone_ref(py).into_bound(py))
        })
    }

    /// Runs the callback, unless it was cancelled, and reports what it raises.
    ///
    /// # Errors
    /// Only what has to leave the loop: `KeyboardInterrupt`, `SystemExit`, or an exception of the
    /// loop's `call_exception_handler` itself.
    pub(crate) fn run(this: &Bound<'_, Self>) -> PyResult<()> {
        Self::run_once(this, false)
    }

    /// As `run`; a handle that only the queue referred to is left empty.
    #[inline]
    fn run_once(this: &Bound<'_, Self>, queued: bool) -> PyResult<()> {
        let py = this.py();
        let handle = this.get();
        let taken = handle.state.with(py, |state| {
            Some((state.callback.take()?, state.runner.begin()))
        });
        let Some((mut callback, recorded)) = taken else {
            return Ok(());
        };
        let result = callback.run(py);
        if recorded {
            handle.tell_finished(py)?;
        }
        match result {
            // Only where the reference is known to be the queue's: CPython 3.14 does not count
            // those of local variables.
            Ok(()) if queued && object::refcount(this.as_unbound()) == 1 => {
                callback.release(py);
                Ok(())
            }
            Ok(()) => {
                handle.keep(this, callback);
                Ok(())
            }
            Err(error) => Self::failed(this, callback, error),
        }
    }

    /// As `run`, with the queue's reference: a handle without another reference goes to its pool at
    /// once.
    #[allow(
        clippy::inline_always,
        reason = "the second caller, for monitors, would make it a call of its own for all"
    )]
    #[inline(always)]
    pub(crate) fn run_queued(this: Bound<'_, Self>) -> PyResult<()> {
        let result = Self::run_once(&this, true);
        pool::recycle(this);
        result
    }

    /// Puts the callback back into a handle that the program has kept, and has the collector track it.
    pub(super) fn keep(&self, this: &Bound<'_, Self>, callback: Callback) {
        let py = this.py();
        object::track(this.as_unbound());
        let left = self.state.with(py, |state| {
            if state.cancelled || state.event_loop.is_none() {
                return Some(callback);
            }
            state.callback.replace(callback)
        });
        if let Some(left) = left {
            left.release(py);
        }
    }

    /// Keeps the representation from before the callback is dropped.
    pub(crate) fn keep_repr(&self, py: Python<'_>, repr: Py<PyAny>) {
        self.state.with(py, |state| {
            state.debug.get_or_insert_default().repr = Some(repr);
        });
    }

    /// Cancels the handle with one borrow, unless `needs_python` holds for its loop, or another thread
    /// runs the callback. `needs_python` must not run Python code.
    #[inline]
    pub(super) fn try_cancel<'py>(
        &self,
        py: Python<'py>,
        needs_python: impl FnOnce(&Bound<'py, PyAny>) -> bool,
    ) -> Cancelling<'py> {
        let cancelled = self.state.with(py, |state| {
            if state.runner.is_elsewhere() {
                return None;
            }
            if state.cancelled {
                return Some((None, None));
            }
            if let Some(event_loop) = &state.event_loop
                && needs_python(event_loop.bind(py))
            {
                return None;
            }
            state.cancelled = true;
            Some(state.take_cancelled(py))
        });
        match cancelled {
            Some(taken) => Cancelling::Done(released(py, taken)),
            None => Cancelling::NotNow,
        }
    }

    /// Notes that the callback must not run.
    pub(super) fn mark_cancelled(&self, py: Python<'_>) {
        self.state.with(py, |state| state.cancelled = true);
    }

    /// Releases the callback and its arguments, which may run Python code, and gives back the loop.
    pub(super) fn drop_callback<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let taken = self.state.with(py, |state| state.take_cancelled(py));
        released(py, taken)
    }

    /// Releases everything; may run Python code.
    fn release(&self, py: Python<'_>) {
        let (event_loop, callback, debug) = self.state.with(py, |state| {
            (
                state.event_loop.take(),
                state.callback.take(),
                state.debug.take(),
            )
        });
        if let Some(callback) = callback {
            callback.release(py);
        }
        drop(debug);
        if let Some(event_loop) = event_loop {
            event_loop.drop_ref(py);
        }
    }

    /// Shows what the handle holds to the collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let visited = self.state.try_with(visit, |state| {
            visit.call(&state.event_loop)?;
            state
                .callback
                .as_ref()
                .map_or(Ok(()), |it| it.visit(visit))?;
            if let Some(debug) = &state.debug {
                visit.call(&debug.source_traceback)?;
                visit.call(&debug.about)?;
            }
            Ok(())
        });
        visited.unwrap_or(Ok(()))
    }
}

/// Releases the callback that was taken out of a cancelled handle, and gives back the loop.
#[inline]
fn released(
    py: Python<'_>,
    (callback, event_loop): (Option<Callback>, Option<Py<PyAny>>),
) -> Option<Bound<'_, PyAny>> {
    if let Some(callback) = callback {
        callback.release(py);
    }
    event_loop.map(|event_loop| event_loop.into_bound(py))
}

#[pymethods]
impl Handle {
    /// asyncio's class of the same purpose, so that `isinstance` holds without its storage.
    #[getter]
    fn __class__(this: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = this.py();
        let is_threadsafe = this
            .get()
            .state
            .with(py, |state| state.runner != Runner::Unrecorded);
        let class = if is_threadsafe {
            asyncio::threadsafe_handle(py)?
        } else {
            asyncio::handle(py)?
        };
        Ok(class.clone().unbind())
    }

    /// Whether the callback was cancelled.
    fn cancelled(&self, py: Python<'_>) -> PyResult<bool> {
        self.wait_until_run(py)?;
        Ok(self.is_cancelled(py))
    }

    /// The context the callback runs in. Mirrors asyncio, which has it since Python 3.12.
    pub(super) fn get_context(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        loop {
            // The handle keeps its callback meanwhile, because making a context object may run the
            // collector.
            let shown = self.state.with(py, |state| {
                Some(state.callback.as_ref()?.context.duplicate(py))
            });
            let Some(mut context) = shown else {
                return Ok(None);
            };
            if !context.is_shared() {
                return context.object(py).map(Some);
            }
            let place = context.address();
            context.object(py)?;
            let spare = self.state.with(py, |state| match &mut state.callback {
                Some(it) if it.context.address() == place => replace(&mut it.context, context),
                _ => context,
            });
            spare.release(py);
        }
    }

    fn __repr__(this: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = this.py();
        let kept = this.get().state.with(py, |state| {
            Some(state.debug.as_ref()?.repr.as_ref()?.clone_ref(py))
        });
        match kept {
            Some(text) => Ok(text),
            None => Ok(asyncio::handle(py)?
                .call_method1(name!(py, __repr__), (this,))?
                .unbind()),
        }
    }

    fn _repr_info(this: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = this.py();
        let class = this.getattr(name!(py, __class__))?;
        Ok(class.call_method1(name!(py, _repr_info), (this,))?.unbind())
    }

    fn _run(this: &Bound<'_, Self>) -> PyResult<()> {
        Self::run(this)
    }

    #[getter(_callback)]
    pub(super) fn callback(&self, py: Python<'_>) -> Py<PyAny> {
        let callback = self.state.with(py, |state| {
            Some(state.callback.as_ref()?.function.clone_ref(py))
        });
        callback.unwrap_or_else(|| py.None())
    }

    #[getter(_args)]
    pub(super) fn args<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        // `cancel()` drops both, and takes the representation before it does.
        let args = self.state.with(py, |state| match &state.callback {
            Some(callback) => Some(callback.args.duplicate(py)),
            None if state.cancelled => None,
            None => Some(Args::NONE),
        });
        let Some(args) = args else {
            return Ok(py.None().into_bound(py));
        };
        let tuple = args.to_tuple(py);
        args.release(py);
        tuple.map(Bound::into_any)
    }

    #[getter]
    fn _context(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.get_context(py)
    }

    #[getter]
    fn _cancelled(&self, py: Python<'_>) -> bool {
        self.is_cancelled(py)
    }

    #[getter]
    fn _loop<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.event_loop(py)
    }

    #[getter]
    fn _repr(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state.with(py, |state| {
            Some(state.debug.as_ref()?.repr.as_ref()?.clone_ref(py))
        })
    }

    #[getter(_source_traceback)]
    pub(super) fn source_traceback(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state.with(py, |state| {
            Some(
                state
                    .debug
                    .as_ref()?
                    .source_traceback
                    .as_ref()?
                    .clone_ref(py),
            )
        })
    }

    /// What a report of a slow callback adds: (transport, protocol, peer or None), or None.
    #[getter]
    fn _about(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.about(py)
    }

    #[setter(_about)]
    fn set_about(&self, py: Python<'_>, about: Py<PyAny>) {
        self.note_about(py, about);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.visit(&visit)
    }

    fn __clear__(&self) {
        Python::attach(|py| self.release(py));
    }
}
