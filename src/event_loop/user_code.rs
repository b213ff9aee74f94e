//! The one place through which the loop and its transports call user code, where calls can be timed
//! and named.
//!
//! The loop's thread. `observe` runs everything that the loop runs. `UserCall` makes every call of a
//! protocol or of a protocol factory; it costs one branch unless debug mode or a monitor is on. A
//! stretch of time is reported once, by the innermost call that is slow by itself.

use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::error::leaves_the_loop;
use crate::event_loop::methods::schedule::Prepared;
use crate::event_loop::observe::insight::{DEBUG, SLOW, TOTALS};
use crate::event_loop::observe::slow::{Frame, Subject};
use crate::event_loop::source::Readiness;
use crate::event_loop::state::EventLoop;
use crate::handle::{Callback, Handle};
use crate::py::calling::call::{self, Args};
use crate::py::calling::names::name;
use crate::py::value::{self, Count, Float, Text};

/// A call of a protocol that a transport makes.
#[derive(Clone, Copy)]
pub(crate) struct UserCall<'a, 'py> {
    /// The loop in which the call is made.
    pub(crate) event_loop: &'a Bound<'py, EventLoop>,
    /// The transport; for a TLS connection its `TlsProtocol`, which knows the transport.
    pub(crate) transport: &'a Bound<'py, PyAny>,
    /// The object whose method is called.
    pub(crate) protocol: &'a Bound<'py, PyAny>,
    /// The name of the method.
    pub(crate) method: &'a Bound<'py, PyString>,
}

// The functions for timed calls take everything by value. If they borrowed it, it would be in
// memory instead of registers for calls that are not timed too.
impl<'py> UserCall<'_, 'py> {
    /// `protocol.method()`
    #[inline]
    pub(crate) fn call0(self) -> PyResult<Bound<'py, PyAny>> {
        if begin_call(self.event_loop) {
            return self.observed0();
        }
        call::method0(self.protocol, self.method)
    }

    /// `bool(protocol.method())`
    pub(crate) fn ask(self) -> PyResult<bool> {
        self.call0()?.is_truthy()
    }

    /// `protocol.method(argument)`
    #[inline]
    pub(crate) fn call1(self, argument: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        if begin_call(self.event_loop) {
            return self.observed1(argument);
        }
        call::method1(self.protocol, self.method, argument)
    }

    /// `protocol.method(data, peer)`
    #[inline]
    pub(crate) fn call2(
        self,
        data: &Bound<'py, PyAny>,
        peer: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if begin_call(self.event_loop) {
            return self.observed2(data, peer);
        }
        call::method2(self.protocol, self.method, data, peer)
    }

    #[cold]
    #[inline(never)]
    fn observed0(self) -> PyResult<Bound<'py, PyAny>> {
        self.observed(None, || call::method0(self.protocol, self.method))
    }

    #[cold]
    #[inline(never)]
    fn observed1(self, argument: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.observed(None, || call::method1(self.protocol, self.method, argument))
    }

    #[cold]
    #[inline(never)]
    fn observed2(
        self,
        data: &Bound<'py, PyAny>,
        peer: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let call = || call::method2(self.protocol, self.method, data, peer);
        self.observed(Some(peer), call)
    }

    #[inline]
    fn observed(
        self,
        peer: Option<&Bound<'py, PyAny>>,
        call: impl Fn() -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let subject = || Subject {
            object: self.protocol.clone().unbind(),
            method: Some(self.method.clone().unbind()),
            transport: self.transport.clone().unbind(),
            peer: peer.map(|peer| peer.clone().unbind()),
        };
        observed(self.event_loop, subject, call)
    }
}

/// Counts a call that begins, for monitors that look for stalls. True if the call has to be
/// observed, which counts it itself.
#[inline]
fn begin_call(this: &Bound<'_, EventLoop>) -> bool {
    let event_loop = this.get();
    if !event_loop.observes_calls() {
        return false;
    }
    if event_loop.is_observed() {
        return true;
    }
    event_loop.progress.step();
    false
}

/// Calls `factory` for a connection of `listener` from `peer`.
#[inline]
pub(crate) fn call_factory<'py>(
    event_loop: &Bound<'py, EventLoop>,
    factory: &Bound<'py, PyAny>,
    listener: &Bound<'py, PyAny>,
    peer: impl Fn() -> Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    if !begin_call(event_loop) {
        return factory.call0();
    }
    let subject = || Subject {
        object: factory.clone().unbind(),
        method: None,
        transport: listener.clone().unbind(),
        peer: peer(),
    };
    observed(event_loop, subject, || factory.call0())
}

/// Queues `method`, a method of `protocol` that is called for `transport`, as `call_soon` does.
pub(crate) fn call_soon_about<'py>(
    event_loop: &Bound<'py, EventLoop>,
    method: Bound<'py, PyAny>,
    args: Args,
    transport: &Bound<'py, PyAny>,
    protocol: &Bound<'py, PyAny>,
) -> PyResult<()> {
    let py = event_loop.py();
    let callback = Callback {
        function: method.unbind(),
        args,
        context: event_loop.get().capture_context(py)?,
    };
    let prepared = EventLoop::prepare(event_loop, callback)?;
    if let Prepared::Handle(handle) = &prepared {
        let about = about(transport, protocol, None)?;
        note_about(handle.bind(py), about);
    }
    event_loop.get().push_prepared(py, prepared)
}

/// Keeps `about` in `handle`, if it is one of ours, for reports.
pub(crate) fn note_about(handle: &Bound<'_, PyAny>, about: Bound<'_, PyTuple>) {
    if let Ok(handle) = handle.cast::<Handle>() {
        handle
            .get()
            .note_about(handle.py(), about.into_any().unbind());
    }
}

/// The `about` of a call of `protocol` for `transport`; with `peer`, if the transport will no
/// longer know it.
pub(crate) fn about<'py>(
    transport: &Bound<'py, PyAny>,
    protocol: &Bound<'py, PyAny>,
    peer: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyTuple>> {
    let py = transport.py();
    let peer = peer.unwrap_or_else(|| py.None().into_bound(py));
    value::tuple(py, &[transport.clone(), protocol.clone(), peer])
}

/// Times `call` for debug mode and monitors. It is inlined into each caller, because a call of `call`
/// through a pointer costs as much as a reading of the clock.
#[inline]
fn observed<'py>(
    this: &Bound<'py, EventLoop>,
    subject: impl Fn() -> Subject,
    call: impl Fn() -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let event_loop = this.get();
    if event_loop.is_foreign() {
        return call();
    }
    event_loop.progress.step();
    if event_loop.insight.wants(DEBUG | TOTALS) {
        return observed_closely(this, &subject, &mut || call());
    }
    EventLoop::time_call(this, subject, call)
}

/// As `observed`, in debug mode and while a monitor counts calls by name.
#[cold]
#[inline(never)]
fn observed_closely<'py>(
    this: &Bound<'py, EventLoop>,
    subject: &dyn Fn() -> Subject,
    call: &mut dyn FnMut() -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    if this.get().insight.wants(SLOW | TOTALS) {
        return EventLoop::time_call(this, subject, || debugged(this, subject, call));
    }
    debugged(this, subject, call)
}

/// Times `call` for debug mode within the frame that is open, if there is one.
fn debugged<'py>(
    this: &Bound<'py, EventLoop>,
    subject: &dyn Fn() -> Subject,
    call: &mut dyn FnMut() -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = this.py();
    let event_loop = this.get();
    let is_open = || event_loop.frame.with(py, |frame| frame.is_some());
    if !event_loop.is_debug() || !is_open() {
        // Like asyncio, does not report a slow call that a program makes between runs.
        return call();
    }
    let begin = EventLoop::now(this)?;
    let (result, inner) = in_frame(this, call);
    if let Err(error) = &result
        && leaves_the_loop(py, error)
    {
        return result;
    }
    // A program's own clock may raise, which must not make the call fail.
    let Ok(end) = EventLoop::now(this) else {
        return result;
    };
    let total = end - begin;
    let threshold = event_loop.slow_threshold();
    let mut frame = event_loop.frame.with(py, Option::take).unwrap_or_default();
    let shorter = frame.add(total, threshold, inner, subject);
    event_loop.frame.with(py, |place| *place = Some(frame));
    drop(shorter);
    result
}

/// Runs `body` in a frame of its own, and returns its result and what the frame has recorded.
fn in_frame<R>(this: &Bound<'_, EventLoop>, body: impl FnOnce() -> R) -> (R, Frame) {
    let (py, frame) = (this.py(), &this.get().frame);
    let outer = frame.with(py, |frame| frame.replace(Frame::default()));
    let result = body();
    let inner = frame.with(py, |frame| std::mem::replace(frame, outer));
    (result, inner.unwrap_or_default())
}

/// An entry of the queue, as reports see it.
pub(crate) enum Event<'a, 'py> {
    /// A callback.
    Handle(&'a Bound<'py, Handle>),
    /// An event of a transport, a listener or a process; the text is its kind.
    Source(&'static str, &'a Bound<'py, PyAny>),
    /// The handlers of `signal.signal`.
    Signals,
}

impl<'a, 'py> Event<'a, 'py> {
    /// The event with `readiness` of `source`.
    pub(crate) fn of(readiness: Readiness, source: &'a Bound<'py, PyAny>) -> Self {
        Self::Source(Self::kind(readiness), source)
    }

    /// The kind of an event with `readiness`.
    pub(crate) fn kind(readiness: Readiness) -> &'static str {
        match (readiness.reads(), readiness.writable) {
            (true, true) => "read and write event",
            (false, true) => "write event",
            _ => "read event",
        }
    }
}

/// Runs `body`, which is the entry `event`, and reports what was slow in it.
pub(crate) fn observe<'py>(
    this: &Bound<'py, EventLoop>,
    event: &Event<'_, 'py>,
    body: impl FnOnce() -> PyResult<()>,
) -> PyResult<()> {
    let py = this.py();
    let event_loop = this.get();
    let begin = EventLoop::now(this)?;
    let (result, frame) = in_frame(this, body);
    result?;
    let own = EventLoop::now(this)? - begin - frame.reported;
    for (seconds, subject) in &frame.slow {
        let arguments = (Float(*seconds), subject.describe(py)?);
        this.call_method1(name!(py, _report_slow_call), arguments)?;
    }
    if own >= event_loop.slow_threshold() {
        report_event(this, event, own, &frame)?;
    }
    Ok(())
}

fn report_event<'py>(
    this: &Bound<'py, EventLoop>,
    event: &Event<'_, 'py>,
    seconds: f64,
    frame: &Frame,
) -> PyResult<()> {
    let py = this.py();
    let (kind, source) = match event {
        Event::Handle(handle) => {
            let arguments = (handle, Float(seconds));
            return this
                .call_method1(name!(py, _report_slow), arguments)
                .map(drop);
        }
        Event::Source(kind, source) => (*kind, Some(*source)),
        Event::Signals => ("signal handlers", None),
    };
    let longest = frame.longest.as_ref().filter(|_| frame.slow.is_empty());
    let longest = longest
        .map(|(_, subject)| subject.describe(py))
        .transpose()?;
    let calls = Count(frame.calls);
    let arguments = (Float(seconds), Text(kind), source, calls, longest);
    this.call_method1(name!(py, _report_slow_event), arguments)
        .map(drop)
}

impl Subject {
    /// The arguments by which Python names the call.
    pub(crate) fn describe<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let none = || py.None().into_bound(py);
        let method = self.method.as_ref().map(|it| it.bind(py).clone());
        let peer = self.peer.as_ref().map(|it| it.bind(py).clone());
        let items = [
            self.object.bind(py).clone(),
            method.map_or_else(none, Bound::into_any),
            self.transport.bind(py).clone(),
            peer.unwrap_or_else(none),
        ];
        value::tuple(py, &items)
    }
}
