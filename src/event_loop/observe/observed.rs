//! Entries of the queue that run while a monitor or debug mode measures them.
//!
//! The loop's thread. Debug mode keeps the handle of what runs, for its reports, and so costs more for
//! each callback than a monitor, which keeps the objects that a name is made of.

use pyo3::prelude::*;
use pyo3::types::PyModule;

use crate::event_loop::observe::insight::{SLOW, TOTALS};
use crate::event_loop::observe::slow::Subject;
use crate::event_loop::queue::Ready;
use crate::event_loop::source::{Readiness, SourceClass, Step};
use crate::event_loop::state::EventLoop;
use crate::event_loop::user_code::{Event, observe};
use crate::handle::{Callback, Flavour, Handle};
use crate::py::calling::coroutine::coroutine_code;
use crate::py::calling::names::name;
use crate::py::lifetime::object::{FunctionKind, function_kind};
use crate::py::stdlib::asyncio;
use crate::py::value::{self, Float};
use crate::sys::clock;

/// An entry of the queue whose source was looked up.
enum Entry<'py> {
    Handle(Bound<'py, Handle>),
    Callback(Callback, Flavour),
    Event(&'static dyn SourceClass, Bound<'py, PyAny>, Readiness),
    Step(&'static dyn SourceClass, Bound<'py, PyAny>, Step),
    Signals,
}

/// What an entry is named by when it has run.
enum Named {
    /// The function, its first argument, and what its handle knows of what it is about.
    Callback(Option<Py<PyAny>>, Option<Py<PyAny>>, Option<Py<PyAny>>),
    /// An event, and what of.
    Event(&'static str, Option<Py<PyAny>>),
}

impl EventLoop {
    /// Runs an entry of the ready queue as `run_entry` does, for debug mode and a monitor.
    #[cold]
    #[inline(never)]
    pub(crate) fn run_observed(this: &Bound<'_, Self>, ready: Ready) -> PyResult<()> {
        let py = this.py();
        let event_loop = this.get();
        let entry = match ready {
            Ready::Handle(handle) => Entry::Handle(handle.into_bound(py)),
            Ready::Callback(flavour) => {
                let callback = event_loop.core.with(py, |core| core.ready.take_callback());
                let Some(callback) = callback else {
                    return Ok(());
                };
                Entry::Callback(callback, flavour)
            }
            Ready::Io(key, readiness) => {
                let Some(source) = event_loop.source(py, key) else {
                    return Ok(());
                };
                Entry::Event(source.class, source.object.into_bound(py), readiness)
            }
            Ready::Step(step) => {
                let (source, step) = *step;
                Entry::Step(source.class, source.object.into_bound(py), step)
            }
            Ready::Signals => Entry::Signals,
        };
        if event_loop.insight.wants(SLOW | TOTALS) {
            Self::run_timed(this, entry)
        } else {
            Self::run_debugged(this, entry)
        }
    }

    /// Runs an entry in debug mode.
    fn run_debugged(this: &Bound<'_, Self>, entry: Entry<'_>) -> PyResult<()> {
        match entry {
            Entry::Handle(handle) => Self::run_named(this, &handle),
            Entry::Callback(callback, flavour) => {
                let handle = Handle::remade(this.as_any(), callback, flavour)?;
                Self::run_named(this, &handle)
            }
            Entry::Event(class, object, readiness) => {
                observe(this, &Event::of(readiness, &object), || {
                    let served = class.ready(&object, readiness);
                    served.and(this.get().flush_delayed(this.py()))
                })
            }
            Entry::Step(class, object, step) => {
                observe(this, &Event::Source("step", &object), || {
                    let run = class.step(&object, step);
                    run.and(this.get().flush_delayed(this.py()))
                })
            }
            Entry::Signals => observe(this, &Event::Signals, || Self::take_signals(this)),
        }
    }

    /// Runs a callback, with what it writes; what is slow is reported. Meanwhile it is the loop's
    /// `_current_handle`.
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

    /// Runs an entry and times it for a monitor.
    fn run_timed(this: &Bound<'_, Self>, entry: Entry<'_>) -> PyResult<()> {
        let py = this.py();
        let insight = &this.get().insight;
        let named = Named::of(py, &entry);
        let outer = insight.open(py);
        let begin = clock::monotonic();
        let result = if this.get().is_debug() {
            Self::run_debugged(this, entry)
        } else {
            Self::run_plainly(this, entry)
        };
        let seconds = clock::monotonic() - begin;
        let span = insight.close(py, outer);
        if insight.wants(TOTALS) {
            // If there is no memory for a count, the callback must not fail.
            drop(named.count(this, seconds - span.counted));
        }
        let own = seconds - span.told;
        if result.is_ok() && (span.told > 0.0 || own >= insight.slow_after()) {
            return Self::report_timed(this, own, named);
        }
        if span.told > 0.0 {
            drop(insight.take_slow(py));
        }
        named.release(py);
        result
    }

    /// Runs an entry without measuring it, and sends what it writes.
    fn run_plainly(this: &Bound<'_, Self>, entry: Entry<'_>) -> PyResult<()> {
        let py = this.py();
        let event_loop = this.get();
        let result = match entry {
            Entry::Handle(handle) => Handle::run_queued(handle),
            Entry::Callback(callback, flavour) => {
                Handle::run_without(this.as_any(), callback, flavour)
            }
            Entry::Event(class, object, readiness) => class.ready(&object, readiness),
            Entry::Step(class, object, step) => class.step(&object, step),
            Entry::Signals => Self::take_signals(this),
        };
        if event_loop.core.with(py, |core| core.delayed.is_empty()) {
            return result;
        }
        result.and(event_loop.flush_delayed(py))
    }

    /// Reports the calls within an entry that were slow, and the entry if the rest of it was.
    #[cold]
    #[inline(never)]
    fn report_timed(this: &Bound<'_, Self>, own: f64, named: Named) -> PyResult<()> {
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
            report(own, named.describe(py)?)?;
        }
        Ok(())
    }

    /// Times `call` within the entry that runs, if there is one, for a monitor.
    pub(crate) fn time_call<'py>(
        this: &Bound<'py, Self>,
        subject: &dyn Fn() -> Subject,
        call: &mut dyn FnMut() -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = this.py();
        let insight = &this.get().insight;
        if !insight.is_open(py) {
            return call();
        }
        let mut outer = insight.open(py);
        let begin = clock::monotonic();
        let result = call();
        let seconds = clock::monotonic() - begin;
        let span = insight.close(py, outer);
        let own = seconds - span.told;
        let slow = own >= insight.slow_after();
        outer.told += if slow { seconds } else { span.told };
        if insight.wants(TOTALS) {
            outer.counted += seconds;
            // If there is no memory for a count, the call must not fail.
            drop(subject().count(this, seconds - span.counted));
        }
        insight.close(py, outer);
        if slow {
            insight.keep(py, own, subject());
        }
        result
    }
}

impl Named {
    fn of(py: Python<'_>, entry: &Entry<'_>) -> Self {
        match entry {
            Entry::Handle(handle) => {
                let [function, first, about] = handle.get().named_by(py);
                Self::Callback(function, first, about)
            }
            Entry::Callback(callback, _) => {
                let function = callback.function.clone_ref(py);
                Self::Callback(Some(function), callback.args.first(py), None)
            }
            Entry::Event(_, object, readiness) => {
                Self::Event(Event::kind(*readiness), Some(object.clone().unbind()))
            }
            Entry::Step(_, object, _) => Self::Event("step", Some(object.clone().unbind())),
            Entry::Signals => Self::Event("signal handlers", None),
        }
    }

    /// Releases everything; may run Python code.
    fn release(self, py: Python<'_>) {
        match self {
            Self::Callback(function, first, about) => {
                for object in [function, first, about].into_iter().flatten() {
                    object.drop_ref(py);
                }
            }
            Self::Event(_, object) => {
                if let Some(object) = object {
                    object.drop_ref(py);
                }
            }
        }
    }

    /// What Python makes the name of.
    fn describe<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let shown = |object: &Option<Py<PyAny>>| match object {
            Some(object) => object.bind(py).clone(),
            None => py.None().into_bound(py),
        };
        let items = match self {
            Self::Callback(function, first, about) => &[
                value::text(py, "callback")?.into_any(),
                shown(function),
                shown(first),
                shown(about),
            ][..],
            Self::Event(kind, source) => &[
                value::text(py, "event")?.into_any(),
                value::text(py, kind)?.into_any(),
                shown(source),
            ][..],
        };
        Ok(value::tuple(py, items)?.into_any())
    }

    /// Counts the entry by its name.
    fn count(&self, this: &Bound<'_, EventLoop>, seconds: f64) -> PyResult<()> {
        let py = this.py();
        let insight = &this.get().insight;
        match self {
            Self::Callback(None, ..) => {}
            Self::Callback(Some(function), ..) => {
                let (place, key) = key_of(function.bind(py))?;
                insight.count(place, key, seconds);
            }
            Self::Event(kind, _) => {
                let place = (kind.as_ptr().addr(), 0);
                insight.count(place, value::text(py, kind)?.into_any(), seconds);
            }
        }
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

/// What tells a name from others, and the object that the name is made of.
type Key<'py> = ((usize, u64), Bound<'py, PyAny>);

fn by_itself(object: Bound<'_, PyAny>) -> Key<'_> {
    ((object.as_ptr().addr(), 0), object)
}

/// What calls of `function` are counted under, and what tells that apart: the code that runs, where there
/// is some, or else the class that a built-in method belongs to, and its name.
///
/// Only objects of the interpreter's own classes are asked what is in them: any other one may answer in
/// code of the program, which a proxy does with a call to another machine. Those go by their class.
fn key_of<'py>(function: &Bound<'py, PyAny>) -> PyResult<Key<'py>> {
    let py = function.py();
    let mut function = function.clone();
    // Wrappers of wrappers, of which a program may make a ring.
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

/// The same of a task of asyncio's, or of a subclass: the code of its coroutine.
fn key_of_task<'py>(task: &Bound<'py, PyAny>) -> PyResult<Key<'py>> {
    let py = task.py();
    // What a subclass makes of `get_coro` is code of the program.
    let class = asyncio::native_task(py)?;
    let coroutine = class.call_method1(name!(py, get_coro), (task,))?;
    let code = coroutine_code(&coroutine)?;
    Ok(by_itself(
        code.unwrap_or_else(|| coroutine.get_type().into_any()),
    ))
}

/// The same of a function or a method that is written in native code.
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
