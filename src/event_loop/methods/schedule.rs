//! `call_soon`, `call_soon_threadsafe`, `call_later`, `call_at`: queueing handles and timers.
//!
//! Loop thread; any thread for `call_soon_threadsafe`. A `call_soon` first moves to the ready queue what
//! other threads queued before it: asyncio has one queue for all threads, and this keeps its order.

use std::sync::atomic::Ordering;

use pyo3::exceptions::{PyAssertionError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt};

use crate::error::{Raises, exception, exception_of, no_memory};
use crate::event_loop::observe::insight::{DEBUG, PROBE};
use crate::event_loop::queue::Ready;
use crate::event_loop::state::{EventLoop, unschedule};
use crate::handle::{Callback, Deadline, Handle, TimerHandle};
use crate::py::calling::call::Args;
use crate::py::calling::fast_method::fast_method;
use crate::py::calling::method::Arguments;
use crate::py::calling::names::name;
use crate::py::context::{self, Context};
use crate::py::lifetime::object;
use crate::py::value;
use crate::sys::clock;

fast_method!(
    CallSoon,
    EventLoop,
    "call_soon",
    ["callback"],
    c"call_soon($self, callback, *args, context=None)\n--\n\n\
        Call callback(*args) in the next turn of the loop, in the order of the calls.\n\n\
        Returns a Handle. Raises RuntimeError if the loop is closed. In debug mode also raises \
        RuntimeError in a thread other than the one that runs the loop, and TypeError if callback \
        is a coroutine (function) or not callable. Mirrors asyncio's call_soon, the same on 3.10 \
        to 3.15.",
    |this, arguments| {
        let event_loop = this.get();
        let py = arguments.py;
        let callback = check(this, arguments, "call_soon", true)?;
        event_loop.drain_inbox(py)?;
        // Most programs do not keep the handle of the previous call, so it can be reused.
        let spare = event_loop.core.with(py, |core| core.ready.give_up(py));
        let handle = make::<true>(this, callback, spare)?;
        let ready = Ready::Handle(handle.clone().unbind());
        let pushed = event_loop.core.with(py, |core| core.ready.push(ready));
        pushed.map_err(|_| no_memory(py))?;
        Ok(handle.into_any())
    }
);

fast_method!(
    CallSoonThreadsafe,
    EventLoop,
    "call_soon_threadsafe",
    ["callback"],
    c"call_soon_threadsafe($self, callback, *args, context=None)\n\
        --\n\nLike call_soon(), from any thread; wakes the loop if it waits.\n\n\
        Returns a Handle, whose cancel() any thread may call from 3.14 on. Raises RuntimeError if \
        the loop is closed; in debug mode also TypeError if callback is a coroutine (function) or \
        not callable. Mirrors asyncio's call_soon_threadsafe on 3.10 to 3.15.",
    |this, arguments| {
        let event_loop = this.get();
        let py = arguments.py;
        let callback = check(this, arguments, "call_soon_threadsafe", false)?;
        let spare = event_loop
            .inbox
            .with(py, |inbox| inbox.items_mut().give_up(py));
        let handle = make::<false>(this, callback, spare)?;
        if cfg!(Py_3_14) {
            handle.get().make_threadsafe(py);
        }
        // Usually another thread runs it.
        handle.get().share();
        event_loop.push_from_any_thread(py, Ready::Handle(handle.clone().unbind()))?;
        Ok(handle.into_any())
    }
);

/// The callback from the arguments of `method`.
#[inline]
fn check<'py>(
    this: &Bound<'py, EventLoop>,
    arguments: &Arguments<'_, 'py>,
    method: &str,
    in_thread: bool,
) -> PyResult<Callback> {
    let event_loop = this.get();
    let ([callback], context) = arguments.context(method, ["callback"])?;
    if event_loop.is_closed() {
        event_loop.check_exits(arguments.get(1))?;
    }
    if event_loop.is_debug() {
        if in_thread {
            event_loop.check_thread()?;
        }
        EventLoop::check_callback(callback, method)?;
    }
    let context = context_or_current(event_loop, arguments.py, context)?;
    Ok(Callback {
        function: callback.to_owned().unbind(),
        args: Args::new(arguments.py, arguments.from(1))?,
        context,
    })
}

/// A handle for `callback`: `spare`, if there is one, which was made for the same loop. If it is
/// pushed next (`NEXT`), a monitor counts its delay.
#[inline]
fn make<'py, const NEXT: bool>(
    this: &Bound<'py, EventLoop>,
    callback: Callback,
    spare: Option<Bound<'py, Handle>>,
) -> PyResult<Bound<'py, Handle>> {
    let py = this.py();
    let handle = match spare {
        Some(handle) => {
            handle.get().refill(py, callback);
            handle
        }
        None => Handle::new(this.as_any(), callback)?,
    };
    if this.get().insight.wants(DEBUG | PROBE) {
        noted(this, &handle, NEXT)?;
    }
    Ok(handle)
}

/// Notes for debug mode where `handle` was made, and for a monitor when it was, if it is pushed
/// `next`.
#[cold]
#[inline(never)]
fn noted(this: &Bound<'_, EventLoop>, handle: &Bound<'_, Handle>, next: bool) -> PyResult<()> {
    let py = this.py();
    if next && this.get().insight.wants(PROBE) {
        this.get().note_queued(py);
    }
    if this.get().is_debug() {
        handle.get().note_source(py)?;
    }
    Ok(())
}

#[inline]
fn context_or_current(
    event_loop: &EventLoop,
    py: Python<'_>,
    context: Option<Borrowed<'_, '_, PyAny>>,
) -> PyResult<Context> {
    match context {
        Some(context) => Ok(Context::own(context.to_owned().unbind())),
        // The snapshot that callbacks share belongs to the loop's thread.
        None if cfg!(Py_GIL_DISABLED) && event_loop.is_foreign() => context::copied(py),
        None => event_loop.capture_context(py),
    }
}

fast_method!(
    CallLater,
    EventLoop,
    "call_later",
    ["delay", "callback"],
    c"call_later($self, delay, callback, *args, context=None)\n--\n\n\
        Call callback(*args) after delay seconds, never earlier.\n\n\
        Returns a TimerHandle. Raises RuntimeError if the loop is closed, TypeError if delay is no \
        number; in debug mode also what call_soon() raises then. Mirrors asyncio's call_later on \
        3.10 to 3.15; equal deadlines run in the order of the calls, which asyncio leaves open.",
    |this, arguments| {
        let ([delay, callback], context) =
            arguments.context("call_later", ["delay", "callback"])?;
        // 3.10 fails at the addition, with another text.
        if cfg!(Py_3_11) && delay.is_none() {
            return Err(exception::<PyTypeError>(
                arguments.py,
                "delay must not be None",
            ));
        }
        let when = if let Some(now) = EventLoop::own_time(this)? {
            // The program's clock may count in whole numbers.
            Deadline::given(&now.add(delay)?)?
        } else {
            let now = clock::monotonic();
            Deadline::at(match delay.cast_exact::<PyFloat>() {
                Ok(delay) => now + delay.value(),
                // An `int` becomes a `float` in the sum too, or overflows.
                Err(_) if delay.is_exact_instance_of::<PyInt>() => now + delay.extract::<f64>()?,
                Err(_) => value::float(arguments.py, now)?.add(delay)?.extract()?,
            })
        };
        schedule(this, arguments, when, callback, context)
    }
);

fast_method!(
    CallAt,
    EventLoop,
    "call_at",
    ["when", "callback"],
    c"call_at($self, when, callback, *args, context=None)\n--\n\n\
        Call callback(*args) when loop.time() has reached when (seconds), never earlier.\n\n\
        Returns a TimerHandle. Raises RuntimeError if the loop is closed, TypeError if when is no \
        number (AssertionError for None on 3.10); in debug mode also what call_soon() raises \
        then. Mirrors asyncio's call_at on 3.10 to 3.15; equal deadlines run in the order of the \
        calls, which asyncio leaves open.",
    |this, arguments| {
        let ([when, callback], context) = arguments.context("call_at", ["when", "callback"])?;
        if when.is_none() {
            return Err(no_deadline(arguments.py, this.get()));
        }
        let when = Deadline::given(&when)?;
        schedule(this, arguments, when, callback, context)
    }
);

/// The exception of `call_at(None, …)`. In 3.10 it is an assertion, made after the check for a
/// closed loop.
#[cold]
fn no_deadline(py: Python<'_>, event_loop: &EventLoop) -> PyErr {
    if cfg!(Py_3_11) {
        return exception::<PyTypeError>(py, "when cannot be None");
    }
    match event_loop.check_closed() {
        Ok(()) => exception_of::<PyAssertionError>(py, ()),
        Err(closed) => closed,
    }
}

/// Adds a timer with `callback` and the arguments from `arguments[2]` on.
#[inline]
fn schedule<'py>(
    this: &Bound<'py, EventLoop>,
    arguments: &Arguments<'_, 'py>,
    when: Deadline,
    callback: Borrowed<'_, 'py, PyAny>,
    context: Option<Borrowed<'_, 'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = arguments.py;
    let event_loop = this.get();
    event_loop.check_closed()?;
    let debug = event_loop.is_debug();
    if debug {
        event_loop.check_thread()?;
        EventLoop::check_callback(callback, "call_at")?;
    }
    let callback = Callback {
        function: callback.to_owned().unbind(),
        args: Args::new(py, arguments.from(2))?,
        context: context_or_current(event_loop, py, context)?,
    };
    let timer = TimerHandle::new(when, this.as_any(), callback)?;
    if debug {
        timer.as_super().get().note_source(py)?;
    }
    let entry = timer.clone().into_super().unbind();
    let pushed = event_loop
        .core
        .with(py, |core| core.timers.push(when.seconds, entry));
    pushed.map_err(|_| {
        timer.get().unschedule(py);
        no_memory(py)
    })?;
    Ok(timer.into_any())
}

fast_method!(
    TimerHandleCancelled,
    EventLoop,
    "_timer_handle_cancelled",
    c"_timer_handle_cancelled($self, handle)\n--\n\n\
        Note that a timer of this loop was cancelled; its handle calls this.",
    |this, [handle]| {
        let py = this.py();
        if let Ok(timer) = handle.cast::<TimerHandle>()
            && timer.get().is_scheduled(py)
        {
            timer_cancelled(this, timer.as_any());
        }
        Ok(py.None().into_bound(py))
    }
);

/// Notes that `timer` was cancelled.
#[inline]
pub(crate) fn timer_cancelled(this: &Bound<'_, EventLoop>, timer: &Bound<'_, PyAny>) {
    let py = this.py();
    let (gone, wants_compacting) = this.get().core.with(py, |core| {
        let gone = core.timers.cancel(|entry| entry.is(timer));
        (gone, core.timers.wants_compacting())
    });
    if let Some(gone) = gone {
        unschedule(&gone, py);
        gone.drop_ref(py);
    }
    if wants_compacting {
        compact(this);
    }
}

/// Takes the cancelled timers out of the heap.
#[cold]
fn compact(this: &Bound<'_, EventLoop>) {
    let py = this.py();
    let gone = this.get().core.with(py, |core| {
        core.timers.compact(|timer| timer.get().is_cancelled(py))
    });
    for timer in gone {
        unschedule(&timer, py);
        timer.drop_ref(py);
    }
}

/// A callback in the form in which it is queued.
pub(crate) enum Prepared {
    /// With a handle, for reports.
    Handle(Py<Handle>),
    /// Without a handle.
    Callback(Callback),
}

impl EventLoop {
    /// Queues `function(*args)` in the current context.
    pub(crate) fn call_soon(
        this: &Bound<'_, Self>,
        function: Bound<'_, PyAny>,
        args: Args,
    ) -> PyResult<()> {
        let py = this.py();
        let event_loop = this.get();
        let callback = Callback {
            function: function.unbind(),
            args,
            context: event_loop.capture_context(py)?,
        };
        let callback = Self::prepare(this, callback)?;
        event_loop.push_prepared(py, callback)
    }

    /// Queues `ready` and wakes the loop if it waits.
    ///
    /// # Errors
    /// `RuntimeError` if the loop is closed, `OSError`, `MemoryError`.
    #[inline]
    pub(crate) fn push_from_any_thread(&self, py: Python<'_>, ready: Ready) -> PyResult<()> {
        let asleep = self
            .inbox
            .with(py, |inbox| inbox.add(&self.bell, |items| items.push(ready)));
        let asleep = asleep.map_err(|_| no_memory(py))?;
        if asleep {
            let woken = self.poller(py)?.wake();
            return woken.or_raise();
        }
        Ok(())
    }

    /// The argument of `push_prepared` for `callback`. If calls are reported it is a handle, which
    /// in debug mode knows where this was called.
    pub(crate) fn prepare(this: &Bound<'_, Self>, callback: Callback) -> PyResult<Prepared> {
        if !this.get().is_observed() {
            return Ok(Prepared::Callback(callback));
        }
        Ok(Prepared::Handle(
            make::<false>(this, callback, None)?.unbind(),
        ))
    }

    /// Queues what `prepare` has returned.
    ///
    /// # Errors
    /// `MemoryError`, unless `make_room` has made room.
    pub(crate) fn push_prepared(&self, py: Python<'_>, callback: Prepared) -> PyResult<()> {
        // This comes first, so that no Python object is destroyed while the state is borrowed.
        self.make_room(py, 1)?;
        self.core.with(py, |core| match callback {
            Prepared::Handle(handle) => core.ready.put(Ready::Handle(handle)),
            Prepared::Callback(callback) => core.ready.put_callback(callback),
        });
        Ok(())
    }

    /// Has timers use the `time` of the loop's class, if the program has defined it. A `time` that
    /// is set on the loop itself is noticed when it is set.
    pub(crate) fn follow_class(this: &Bound<'_, Self>) -> PyResult<()> {
        let time = this.get_type().getattr(name!(this.py(), time))?;
        if !object::is_native_method(&time) {
            this.get().own_clock.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The latest deadline of timers that are due. As in asyncio, a clock that the program advances
    /// by the time that the loop would have waited may miss a deadline by a rounding error, so
    /// `_clock_resolution` is added.
    ///
    /// # Errors
    /// What the program's `time` raises.
    #[inline]
    pub(crate) fn due(this: &Bound<'_, Self>) -> PyResult<f64> {
        let now = Self::now(this)?;
        if !this.get().own_clock.load(Ordering::Relaxed) {
            return Ok(now);
        }
        let resolution = this.getattr(name!(this.py(), _clock_resolution))?;
        Ok(now + resolution.extract::<f64>()?)
    }

    /// The time of the clock that timers use: that of the subclass or the program, if there is one.
    ///
    /// # Errors
    /// What that `time` raises.
    #[inline]
    pub(crate) fn now(this: &Bound<'_, Self>) -> PyResult<f64> {
        Self::own_time(this)?.map_or_else(|| Ok(clock::monotonic()), |time| time.extract())
    }

    /// The time by the clock of the subclass or the program, if there is one.
    ///
    /// # Errors
    /// What that `time` raises.
    #[inline]
    fn own_time<'py>(this: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if !this.get().own_clock.load(Ordering::Relaxed) {
            return Ok(None);
        }
        this.call_method0(name!(this.py(), time)).map(Some)
    }
}

fast_method!(
    Time,
    EventLoop,
    "time",
    c"time($self)\n--\n\n\
        The time of the loop's clock in seconds: time.monotonic().\n\n\
        Any thread may ask. Mirrors asyncio's time, the same on 3.10 to 3.15.",
    |_this, []| { Ok(value::float(_this.py(), clock::monotonic())?.into_any()) }
);
