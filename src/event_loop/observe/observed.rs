//! Entries of the queue that run while a monitor or debug mode measures them.
//!
//! The loop's thread. Debug mode keeps the handle of the callback for its reports, so it costs more for
//! each callback than a monitor, which keeps the objects from which a name is made.

use pyo3::prelude::*;
use pyo3::types::PyModule;

use crate::event_loop::observe::insight::{DEBUG, SLOW, Span, TOTALS};
use crate::event_loop::observe::slow::Subject;
use crate::event_loop::queue::Ready;
use crate::event_loop::source::Readiness;
use crate::event_loop::state::EventLoop;
use crate::event_loop::user_code::{Event, observe};
use crate::handle::Handle;
use crate::py::calling::coroutine::coroutine_code;
use crate::py::calling::names::name;
use crate::py::lifetime::object::{self, FunctionKind, function_kind};
use crate::py::stdlib::asyncio;
use crate::py::value::{self, Float};
use crate::sys::clock;

/// The kinds of events that do not come from the poll.
const STEP: &str = "step";
const SIGNALS: &str = "signal handlers";

/// The objects from which the name of an entry is made after it has run.
enum Named {
    /// The function, its first argument, and the `about` of its handle.
    Callback(Option<Py<PyAny>>, Option<Py<PyAny>>, Option<Py<PyAny>>),
    /// An event of the poll, and its source.
    Io(Readiness, Py<PyAny>),
    /// A step, and its source.
    Step(Py<PyAny>),
    /// The handlers of `signal.signal`.
    Signals,
}

impl EventLoop {
    /// Runs an entry of the ready queue as `run_ready` does, for debug mode and a monitor.
    #[cold]
    #[inline(never)]
    pub(crate) fn run_observed(this: &Bound<'_, Self>, ready: Ready) -> PyResult<()> {
        Self::run_measured(this, ready)
    }

    /// As `run_observed`, inlined into its caller.
    ///
    /// # Errors
    /// As `run_observed`.
    #[allow(
        clippy::inline_always,
        reason = "a call of its own is a tenth of what measuring a callback costs"
    )]
    #[inline(always)]
    pub(crate) fn run_measured(this: &Bound<'_, Self>, ready: Ready) -> PyResult<()> {
        let event_loop = this.get();
        let insight = &event_loop.insight;
        if insight.wants(DEBUG | TOTALS) {
            return Self::run_closely(this, ready);
        }
        let py = this.py();
        match ready {
            Ready::Callback(flavour) => {
                let callback = event_loop.core.with(py, |core| core.ready.take_callback());
                let Some(callback) = callback else {
                    return Ok(());
                };
                let function = callback.function.clone_ref(py);
                let named = Named::Callback(Some(function), callback.args.first(py), None);
                let opened = insight.open(py);
                let result = Handle::run_without(this.as_any(), callback, flavour);
                Self::end_timed(this, opened, named, result)
            }
            Ready::Handle(handle) => {
                let handle = handle.into_bound(py);
                let [function, first, about] = handle.get().named_by(py);
                let named = Named::Callback(function, first, about);
                let opened = insight.open(py);
                let result = Handle::run_queued(handle);
                Self::end_timed(this, opened, named, result)
            }
            Ready::Io(key, readiness) => {
                let Some(source) = event_loop.source(py, key) else {
                    return Ok(());
                };
                let named = Named::Io(readiness, source.object.clone_ref(py));
                let opened = insight.open(py);
                let result = source.class.ready(&source.object.into_bound(py), readiness);
                Self::end_timed(this, opened, named, result)
            }
            ready => Self::run_closely(this, ready),
        }
    }

    /// Ends the measurement `opened` of an entry, sends what it has written, and reports what was slow, while
    /// calls are not counted by name.
    #[allow(
        clippy::inline_always,
        reason = "a call of its own is a tenth of what measuring a callback costs"
    )]
    #[inline(always)]
    fn end_timed(
        this: &Bound<'_, Self>,
        opened: (Span, i64),
        named: Named,
        mut result: PyResult<()>,
    ) -> PyResult<()> {
        let py = this.py();
        let event_loop = this.get();
        let insight = &event_loop.insight;
        let (outer, begin) = opened;
        if !event_loop.core.with(py, |core| core.delayed.is_empty()) {
            result = result.and(event_loop.flush_delayed(py));
        }
        let (span, end) = insight.close(py, outer);
        if span.reported > 0 || end - begin >= insight.slow_after() {
            return Self::report_if_slow(this, end - begin, span, named, result);
        }
        if !named.release(py) {
            insight.pause(py, 0);
        }
        result
    }

    /// Runs an entry in debug mode.
    #[inline(never)]
    fn run_debugged(this: &Bound<'_, Self>, ready: Ready) -> PyResult<()> {
        let py = this.py();
        match ready {
            Ready::Handle(handle) => Self::run_named(this, &handle.into_bound(py)),
            Ready::Callback(flavour) => {
                let callback = this.get().core.with(py, |core| core.ready.take_callback());
                let Some(callback) = callback else {
                    return Ok(());
                };
                let handle = Handle::remade(this.as_any(), callback, flavour)?;
                Self::run_named(this, &handle)
            }
            Ready::Io(key, readiness) => {
                let Some(source) = this.get().source(py, key) else {
                    return Ok(());
                };
                let object = source.object.into_bound(py);
                observe(this, &Event::of(readiness, &object), || {
                    let served = source.class.ready(&object, readiness);
                    served.and(this.get().flush_delayed(py))
                })
            }
            Ready::Step(step) => {
                let (source, step) = *step;
                let object = source.object.into_bound(py);
                observe(this, &Event::Source(STEP, &object), || {
                    let run = source.class.step(&object, step);
                    run.and(this.get().flush_delayed(py))
                })
            }
            Ready::Signals => observe(this, &Event::Signals, || Self::take_signals(this)),
        }
    }

    /// Runs a callback, sends what it has written, and reports what was slow. Meanwhile the
    /// callback's handle is the loop's `_current_handle`.
    fn run_named(this: &Bound<'_, Self>, handle: &Bound<'_, Handle>) -> PyResult<()> {
        let py = this.py();
        let current = |handle| {
            this.get()
                .slots
                .with(py, |slots| std::mem::replace(&mut slots.current, handle))
        };
        observe(this, &Event::Handle(handle), || {
            drop(current(Some(handle.clone().unbind())));
            let result = Handle::run_named(handle);
            drop(current(None));
            result.and(this.get().flush_delayed(py))
        })
    }

    /// Runs an entry for debug mode, and for a monitor that counts calls by name.
    #[inline(never)]
    fn run_closely(this: &Bound<'_, Self>, ready: Ready) -> PyResult<()> {
        let py = this.py();
        let insight = &this.get().insight;
        if !insight.wants(SLOW | TOTALS) {
            return Self::run_debugged(this, ready);
        }
        let Some(named) = Named::of(this, &ready) else {
            // The source of the event was closed meanwhile.
            return Ok(());
        };
        let (outer, begin) = insight.open(py);
        let result = if this.get().is_debug() {
            Self::run_debugged(this, ready)
        } else {
            Self::run_ready(this, ready)
        };
        let (span, end) = insight.close(py, outer);
        let length = end - begin;
        let counts = insight.wants(TOTALS);
        if counts {
            // The callback must not fail if there is no memory for the count.
            drop(named.count(this, clock::between(span.counted, length)));
        }
        if span.reported > 0 || length >= insight.slow_after() {
            return Self::report_if_slow(this, length, span, named, result);
        }
        if !named.release(py) || counts {
            insight.pause(py, 0);
        }
        result
    }

    /// Reports an entry that took `length` nanoseconds, or calls within it, if they were slow and no
    /// exception has to leave the loop.
    #[cold]
    #[inline(never)]
    fn report_if_slow(
        this: &Bound<'_, Self>,
        length: i64,
        span: Span,
        named: Named,
        result: PyResult<()>,
    ) -> PyResult<()> {
        let py = this.py();
        let insight = &this.get().insight;
        insight.pause(py, 0);
        if result.is_ok() {
            return Self::report_timed(this, length - span.reported, named);
        }
        if span.reported > 0 {
            drop(insight.take_slow(py));
        }
        named.release(py);
        result
    }

    /// Reports the slow calls within an entry, and the entry if its other seconds are slow.
    #[cold]
    #[inline(never)]
    fn report_timed(this: &Bound<'_, Self>, own: i64, named: Named) -> PyResult<()> {
        let py = this.py();
        let insight = &this.get().insight;
        let monitor = Self::state(this)?.getattr(name!(py, monitor))?;
        let calls = insight.take_slow(py);
        if monitor.is_none() {
            return Ok(());
        }
        let report = |seconds: f64, subject: Bound<'_, PyAny>| {
            let arguments = (Float(seconds), subject);
            monitor
                .call_method1(name!(py, _report_slow), arguments)
                .map(drop)
        };
        for (seconds, subject) in &calls {
            let described = subject.describe(py)?;
            let word = std::iter::once(value::text(py, "call")?.into_any());
            let items = value::collected(py, word.chain(described.iter()))?;
            report(*seconds, value::tuple(py, &items)?.into_any())?;
        }
        if own >= insight.slow_after() {
            report(clock::between(0, own), named.describe(py)?)?;
        }
        Ok(())
    }

    /// Measures `call` within the current entry, if an entry is measured, for a monitor.
    #[inline]
    pub(crate) fn time_call<'py>(
        this: &Bound<'py, Self>,
        subject: impl Fn() -> Subject,
        call: impl FnOnce() -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = this.py();
        let insight = &this.get().insight;
        let Some(before) = insight.enter(py) else {
            return call();
        };
        let begin = clock::nanoseconds();
        let result = call();
        let length = clock::nanoseconds() - begin;
        let slow = insight.leave(py, before, length);
        if insight.wants(TOTALS) {
            let counted = insight.leave_counted(py, before, length);
            // The call must not fail if there is no memory for the count.
            drop(subject().count(this, clock::between(0, counted)));
        }
        if let Some(own) = slow {
            insight.keep(py, own, subject());
        }
        result
    }
}

impl Named {
    /// `None` if there is nothing to run.
    #[inline]
    fn of(this: &Bound<'_, EventLoop>, ready: &Ready) -> Option<Self> {
        let py = this.py();
        let event_loop = this.get();
        Some(match ready {
            Ready::Handle(handle) => {
                let [function, first, about] = handle.get().named_by(py);
                Self::Callback(function, first, about)
            }
            Ready::Callback(_) => event_loop.core.with(py, |core| {
                let callback = core.ready.first_callback()?;
                let function = callback.function.clone_ref(py);
                Some(Self::Callback(
                    Some(function),
                    callback.args.first(py),
                    None,
                ))
            })?,
            Ready::Io(key, readiness) => Self::Io(*readiness, event_loop.source(py, *key)?.object),
            Ready::Step(step) => Self::Step(step.0.object.clone_ref(py)),
            Ready::Signals => Self::Signals,
        })
    }

    /// Releases everything, which may run Python code. False if it did.
    #[allow(clippy::inline_always, reason = "most callers know which one it is")]
    #[inline(always)]
    fn release(self, py: Python<'_>) -> bool {
        let release = |object: Option<Py<PyAny>>| object.is_none_or(|it| release(py, it));
        match self {
            Self::Callback(function, first, about) => {
                release(function) & release(first) & release(about)
            }
            Self::Io(_, object) | Self::Step(object) => self::release(py, object),
            Self::Signals => true,
        }
    }

    /// The object from which Python makes the name.
    fn describe<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let shown = |object: Option<&Py<PyAny>>| match object {
            Some(object) => object.bind(py).clone(),
            None => py.None().into_bound(py),
        };
        let event = |kind: &str, source: Option<&Py<PyAny>>| {
            let kind = value::text(py, kind)?.into_any();
            let items = [value::text(py, "event")?.into_any(), kind, shown(source)];
            Ok(value::tuple(py, &items)?.into_any())
        };
        match self {
            Self::Callback(function, first, about) => {
                let items = [
                    value::text(py, "callback")?.into_any(),
                    shown(function.as_ref()),
                    shown(first.as_ref()),
                    shown(about.as_ref()),
                ];
                Ok(value::tuple(py, &items)?.into_any())
            }
            Self::Io(readiness, source) => event(Event::kind(*readiness), Some(source)),
            Self::Step(source) => event(STEP, Some(source)),
            Self::Signals => event(SIGNALS, None),
        }
    }

    /// Counts the entry by its name.
    fn count(&self, this: &Bound<'_, EventLoop>, seconds: f64) -> PyResult<()> {
        let py = this.py();
        let insight = &this.get().insight;
        let kind = match self {
            Self::Callback(None, ..) => return Ok(()),
            Self::Callback(Some(function), ..) => {
                let (place, key) = key_of(function.bind(py))?;
                insight.count(place, key, seconds);
                return Ok(());
            }
            Self::Io(readiness, _) => Event::kind(*readiness),
            Self::Step(_) => STEP,
            Self::Signals => SIGNALS,
        };
        let place = (kind.as_ptr().addr(), 0);
        insight.count(place, value::text(py, kind)?.into_any(), seconds);
        Ok(())
    }
}

impl Subject {
    /// Counts the call by its name.
    fn count(&self, this: &Bound<'_, EventLoop>, seconds: f64) -> PyResult<()> {
        let py = this.py();
        let insight = &this.get().insight;
        let (place, key) = match &self.method {
            None => key_of(self.object.bind(py))?,
            Some(method) => {
                let class = self.object.bind(py).get_type();
                // Names of methods are interned.
                let place = (class.as_ptr().addr(), method.as_ptr().addr() as u64);
                let key = [class.into_any(), method.bind(py).clone().into_any()];
                (place, value::tuple(py, &key)?.into_any())
            }
        };
        insight.count(place, key, seconds);
        Ok(())
    }
}

/// Releases `object`, which may run Python code. False if it did.
#[inline]
fn release(py: Python<'_>, object: Py<PyAny>) -> bool {
    let others = object::refcount(&object) > 1;
    object.drop_ref(py);
    others
}

/// What distinguishes a name from others, and the object from which Python makes the name.
type Key<'py> = ((usize, u64), Bound<'py, PyAny>);

fn by_itself(object: Bound<'_, PyAny>) -> Key<'_> {
    ((object.as_ptr().addr(), 0), object)
}

/// The key under which calls of `function` are counted: the code that it runs, if it has one, or
/// else the class that a built-in method belongs to, and its name.
///
/// Attributes are read only from objects of the interpreter's own classes. Those of other objects
/// may run code of the program, which in a proxy is a call to another machine. Such objects are
/// counted under their class.
fn key_of<'py>(function: &Bound<'py, PyAny>) -> PyResult<Key<'py>> {
    let py = function.py();
    let mut function = function.clone();
    // Wrappers may be nested, and a program may make a cycle of them.
    for _ in 0..8 {
        function = match function_kind(&function) {
            FunctionKind::Python => return Ok(by_itself(function.getattr(name!(py, __code__))?)),
            FunctionKind::Native => return key_of_native(&function),
            FunctionKind::TaskStep => return key_of_task(&function.getattr(name!(py, __self__))?),
            FunctionKind::Other => {
                let class = function.get_type();
                if class.is(asyncio::bound_method(py)?) {
                    function.getattr(name!(py, __func__))?
                } else if class.is(asyncio::partial(py)?) {
                    function.getattr(name!(py, func))?
                } else {
                    break;
                }
            }
        };
    }
    Ok(by_itself(function.get_type().into_any()))
}

/// The key of a task of asyncio's class, or of a subclass: the code of its coroutine.
fn key_of_task<'py>(task: &Bound<'py, PyAny>) -> PyResult<Key<'py>> {
    let py = task.py();
    // A subclass's `get_coro` would run code of the program.
    let class = asyncio::native_task(py)?;
    let coroutine = class.call_method1(name!(py, get_coro), (task,))?;
    let code = coroutine_code(&coroutine)?;
    Ok(by_itself(
        code.unwrap_or_else(|| coroutine.get_type().into_any()),
    ))
}

/// The key of a function or a method that is written in native code.
fn key_of_native<'py>(function: &Bound<'py, PyAny>) -> PyResult<Key<'py>> {
    let py = function.py();
    let owner = function.getattr(name!(py, __self__))?;
    let name = function.getattr(name!(py, __name__))?;
    let hash = name.hash()?.cast_unsigned() as u64;
    if owner.is_instance_of::<PyModule>() {
        return Ok(((owner.as_ptr().addr(), hash), function.clone()));
    }
    let class = owner.get_type();
    if class.is_subclass(asyncio::native_task(py)?)? {
        return key_of_task(&owner);
    }
    let place = (class.as_ptr().addr(), hash);
    let key = value::tuple(py, &[class.into_any(), name])?;
    Ok((place, key.into_any()))
}
