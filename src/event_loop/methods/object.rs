//! The methods of `EventLoop` that Python sees, apart from the ones in the fast calling convention.
//!
//! A table of contents: each calls the file that implements it. Loop thread, except that any thread may
//! ask for `is_running`, `is_closed` and the other flags. `_ready` makes the handles of callbacks that
//! were queued without one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::error::{exception, no_memory};
use crate::event_loop::methods::watchers::check_free;
use crate::event_loop::observe::histogram::Histogram;
use crate::event_loop::observe::insight::{DEBUG, Times};
use crate::event_loop::queue::Ready;
use crate::event_loop::state::EventLoop;
use crate::handle::Handle;
use crate::py::calling::fast_method::fast_method;
use crate::py::calling::names::name;
use crate::py::lifetime::object;
use crate::py::thread;
use crate::py::value::{self, Float, Int};
use crate::sys::allocation;

fast_method!(
    SetAttribute,
    EventLoop,
    "__setattr__",
    [],
    c"__setattr__($self, name, value, /)\n--\n\n\
        As for any object; a `time` that a program puts on the loop is what its timers go by then.",
    |this, arguments| {
        let py = arguments.py;
        let [name, value] = arguments.exactly("__setattr__", ["name", "value"])?;
        object::set_attribute(this.as_any(), &name, &value)?;
        // Another class may have a `time` of its own.
        if name.eq(name!(py, time))? || name.eq(name!(py, __class__))? {
            this.get().own_clock.store(true, Ordering::Relaxed);
        }
        Ok(py.None().into_bound(py))
    }
);

#[pymethods]
impl EventLoop {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn make(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        Self::new()
    }

    /// Whether the loop runs now.
    ///
    /// Any thread may ask. Mirrors asyncio's is_running, the same on 3.10 to 3.15.
    fn is_running(&self) -> bool {
        self.thread.load(Ordering::Relaxed) != 0
    }

    /// Whether close() was called.
    ///
    /// Any thread may ask. Mirrors asyncio's is_closed, the same on 3.10 to 3.15.
    #[pyo3(name = "is_closed")]
    fn py_is_closed(&self) -> bool {
        self.is_closed()
    }

    /// Finish the current turn, then leave run_forever(). Before a run: run exactly one turn.
    ///
    /// Raises nothing. It does not wake a loop that waits: another thread has to use
    /// call_soon_threadsafe(loop.stop). Mirrors asyncio's stop, the same on 3.10 to 3.15.
    fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Use factory(loop, coro, **kwargs) in create_task(); None for asyncio.Task.
    ///
    /// Raises TypeError if factory is neither callable nor None. Mirrors asyncio's
    /// set_task_factory, the same on 3.10 to 3.15.
    fn set_task_factory(&self, py: Python<'_>, factory: Option<Py<PyAny>>) -> PyResult<()> {
        if factory
            .as_ref()
            .is_some_and(|factory| !factory.bind(py).is_callable())
        {
            return Err(exception::<PyTypeError>(
                py,
                "task factory must be a callable or None",
            ));
        }
        let old = self.slots.with(py, |slots| {
            std::mem::replace(&mut slots.task_factory, factory)
        });
        drop(old);
        Ok(())
    }

    /// The factory that set_task_factory() set, or None.
    ///
    /// Raises nothing. Mirrors asyncio's get_task_factory, the same on 3.10 to 3.15.
    fn get_task_factory(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.slots.with(py, |slots| {
            slots.task_factory.as_ref().map(|it| it.clone_ref(py))
        })
    }

    fn _check_closed(&self) -> PyResult<()> {
        self.check_closed()
    }

    fn _ensure_fd_no_transport(this: &Bound<'_, Self>, fd: &Bound<'_, PyAny>) -> PyResult<()> {
        check_free(this, fd.as_borrowed())
    }

    fn _set_debug(&self, enabled: bool) {
        self.debug.store(enabled, Ordering::Relaxed);
        self.insight.want(DEBUG, enabled);
    }

    /// Have timers use the `time` of the loop's class, if the program has defined it.
    fn _follow_time(this: &Bound<'_, Self>) -> PyResult<()> {
        Self::follow_class(this)
    }

    /// The descriptor that is readable while the loop has an event.
    fn _poller_fd(&self, py: Python<'_>) -> PyResult<Int> {
        Ok(Int(self.poller(py)?.number().into()))
    }

    /// Have each turn wait by the `select` of a selector that watches `_poller_fd()`; with None,
    /// wait directly.
    fn _wait_by(&self, py: Python<'_>, selector: Option<Py<PyAny>>) {
        self.own_wait.store(selector.is_some(), Ordering::Relaxed);
        let old = self
            .slots
            .with(py, |slots| std::mem::replace(&mut slots.selector, selector));
        drop(old);
    }

    /// Note that the process forks: a child may keep files open that this process closes, and this
    /// process alone sends what was written.
    fn _note_fork(&self, py: Python<'_>) -> PyResult<()> {
        self.forked.store(true, Ordering::Relaxed);
        if self.thread.load(Ordering::Relaxed) == thread::ident() {
            self.flush_delayed(py)?;
        }
        Ok(())
    }

    /// Whether a parent process made the loop.
    fn _is_inherited(&self) -> bool {
        self.is_inherited()
    }

    /// Close a forked child's copies of the loop's descriptors, and make the loop unusable there.
    fn _abandon(&self, py: Python<'_>) {
        self.abandon(py);
    }

    /// Run until stop() is called.
    ///
    /// Raises RuntimeError if the loop is closed or a loop is running in this thread;
    /// KeyboardInterrupt and SystemExit of any callback come out of it, and what was queued stays
    /// queued. Mirrors asyncio's run_forever; since 3.14 a failing start leaves a running loop
    /// alone, which holds here on every version.
    fn run_forever(this: &Bound<'_, Self>) -> PyResult<()> {
        Self::run(this)
    }

    /// Run until future (a coroutine becomes a task) is done; return its result or raise it.
    ///
    /// Raises RuntimeError if the loop is closed, a loop is running in this thread, or stop() came
    /// before the future was done. Mirrors asyncio's run_until_complete.
    fn run_until_complete<'py>(
        this: &Bound<'py, Self>,
        future: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Self::complete(this, future)
    }

    fn _run_forever_setup(this: &Bound<'_, Self>) -> PyResult<()> {
        Self::set_up(this)
    }

    fn _run_forever_cleanup(this: &Bound<'_, Self>) -> PyResult<()> {
        Self::tear_down(this)
    }

    fn _check_running(&self, py: Python<'_>) -> PyResult<()> {
        self.check_running(py)
    }

    fn _set_coroutine_origin_tracking(
        this: &Bound<'_, Self>,
        enabled: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        Self::track_origins(this, enabled.is_truthy()?)
    }

    fn _run_once(this: &Bound<'_, Self>) -> PyResult<()> {
        let result = Self::run_once(this);
        this.get().end_turn(this.py());
        result
    }

    fn _close(&self, py: Python<'_>) {
        self.close(py);
    }

    /// The fields of Metrics.
    fn _snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        self.snapshot(py)
    }

    /// Report calls that take `slow_after` seconds or more to a monitor, count turns and delays,
    /// count calls and seconds by name, count each step for a watcher; None and False for what is
    /// not wanted.
    fn _watch_calls(
        &self,
        py: Python<'_>,
        slow_after: Option<f64>,
        times: Option<(Bound<'_, Histogram>, Bound<'_, Histogram>)>,
        totals: bool,
        stalls: bool,
    ) {
        let times = times.map(|(turns, delays)| {
            let inner = |it: &Bound<'_, Histogram>| Arc::clone(&it.get().inner);
            Times::new(inner(&turns), inner(&delays))
        });
        self.insight.follow(py, slow_after, times, totals, stalls);
    }

    /// What was counted by name: (key, calls, seconds, longest).
    fn _totals<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.insight.totals(py)
    }

    /// Forget what was counted by name.
    fn _forget_totals(&self, py: Python<'_>) {
        self.insight.forget(py);
    }

    /// The sources whose descriptors are watched, and how many the program watches itself.
    fn _watched<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        self.watched(py)
    }

    /// Have signals write to this loop's pipe.
    fn _hold_wakeup_fd(&self, py: Python<'_>) -> PyResult<()> {
        self.hold_wakeup(py)
    }

    /// Let signals write to the earlier descriptor again, unless a run or a handler needs this
    /// loop's.
    fn _release_wakeup_fd(&self, py: Python<'_>) -> PyResult<()> {
        self.release_wakeup(py)
    }

    fn _watch_signal(&self, py: Python<'_>, signum: u8) {
        self.watch_signal(py, signum, true);
    }

    fn _unwatch_signal(&self, py: Python<'_>, signum: u8) {
        self.watch_signal(py, signum, false);
    }

    /// The handle of a signal: callback(*args) in the current context, for
    /// `_add_callback_signalsafe`.
    fn _signal_handle<'py>(
        this: &Bound<'py, Self>,
        callback: Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, Handle>> {
        Self::signal_handle(this, callback, args)
    }

    /// Queue the handle of a signal, from any thread, as often as the signal comes.
    fn _add_callback_signalsafe(&self, py: Python<'_>, handle: Py<Handle>) -> PyResult<()> {
        self.push_from_any_thread(py, Ready::Handle(handle))
    }

    #[getter]
    fn _state(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        if !self.slots.exists() {
            return None;
        }
        self.slots
            .with(py, |slots| slots.state.as_ref().map(|it| it.clone_ref(py)))
    }

    #[setter(_state)]
    fn set_state(&self, py: Python<'_>, state: Option<Py<PyAny>>) {
        let old = self
            .slots
            .with(py, |slots| std::mem::replace(&mut slots.state, state));
        drop(old);
    }

    #[getter]
    fn _current_handle(&self, py: Python<'_>) -> Option<Py<Handle>> {
        self.slots.with(py, |slots| {
            slots.current.as_ref().map(|it| it.clone_ref(py))
        })
    }

    #[getter]
    fn _thread_id(&self) -> Option<Int> {
        let thread = self.thread.load(Ordering::Relaxed);
        (thread != 0).then(|| Int(thread.cast_signed()))
    }

    #[setter(_thread_id)]
    fn set_thread_id(&self, thread: Option<u64>) {
        self.thread.store(thread.unwrap_or(0), Ordering::Relaxed);
        self.progress.set_running(thread.is_some());
    }

    #[getter]
    fn _stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    #[setter(_stopping)]
    fn set_stopping(&self, stopping: bool) {
        self.stopping.store(stopping, Ordering::Relaxed);
    }

    /// From how many seconds on a callback is reported as slow, in debug mode; 0.1 at first.
    ///
    /// Setting it raises TypeError for anything but a number. Mirrors asyncio's attribute, the same on
    /// 3.10 to 3.15, which takes anything.
    #[getter]
    fn slow_callback_duration(&self) -> Float {
        Float(self.slow_threshold())
    }

    #[setter(slow_callback_duration)]
    fn set_slow_callback_duration(&self, seconds: f64) {
        self.slow.store(seconds.to_bits(), Ordering::Relaxed);
    }

    #[getter]
    fn _ready<'py>(this: &Bound<'py, Self>) -> PyResult<Bound<'py, PyList>> {
        let py = this.py();
        this.get().drain_inbox(py)?;
        let core = &this.get().core;
        loop {
            let (turn, callbacks) = core.with(py, |core| {
                let callbacks = core.ready.without_handle();
                let callbacks =
                    callbacks.map(|(callback, flavour)| (callback.duplicate(py), flavour));
                (core.turn, allocation::collected(callbacks))
            });
            let callbacks = callbacks.map_err(|_| no_memory(py))?;
            if callbacks.is_empty() {
                break;
            }
            let made = callbacks.into_iter().map(|(callback, flavour)| {
                Handle::remade(this.as_any(), callback, flavour).map(Bound::unbind)
            });
            let mut made = value::collected(py, made)?
                .into_iter()
                .collect::<PyResult<Vec<_>>>()?;
            // Making them may have run the collector, which may have changed the queue: then this
            // is repeated.
            let replaced = core.with(py, |core| {
                if core.turn == turn {
                    core.ready.give_handles(&mut made)
                } else {
                    Ok(Vec::new())
                }
            });
            drop(replaced.map_err(|_| no_memory(py))?);
        }
        let handles = core.with(py, |core| {
            let handles = core.ready.handles();
            allocation::collected(handles.map(|handle| handle.clone_ref(py)))
        });
        let handles = handles
            .map_err(|_| no_memory(py))?
            .into_iter()
            .map(|it| it.into_bound(py).into_any());
        value::list(py, handles)
    }

    #[getter]
    fn _scheduled<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let timers = self.core.with(py, |core| {
            allocation::collected(core.timers.iter().map(|timer| timer.clone_ref(py)))
        });
        let timers = timers
            .map_err(|_| no_memory(py))?
            .into_iter()
            .map(|it| it.into_bound(py).into_any());
        value::list(py, timers)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.visit(&visit)
    }

    fn __clear__(&self) {
        // Without an interpreter nothing has to be cleared.
        let _ = Python::try_attach(|py| {
            self.close(py);
            // Something may have been queued on a closed loop since.
            self.clear(py);
            drop(self.slots.with(py, std::mem::take));
        });
    }
}
