//! `Transport`: what every transport does with its `Endpoint`.
//!
//! Loop thread only, except for `Transport::finalize`, which the collector calls in any thread.
//!
//! asyncio's selector refers to a transport only while it is watched. Ours keeps an edge-triggered
//! watch while reading is paused, so the registry's reference becomes a weak one then: otherwise a
//! peer could cause a leak of connections that the program no longer refers to.

use pyo3::PyClass;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::types::{PyDict, PyString, PyWeakrefReference};

use crate::event_loop::{EventLoop, Place, Registration, Source, SourceClass, Step, UserCall};
use crate::handle::Callback;
use crate::logic::lifecycle::Lifecycle;
use crate::py::calling::call::Args;
use crate::py::calling::names::name;
use crate::py::cell::LoopCell;
use crate::py::context::Context;
use crate::py::stdlib::{asyncio, warning};
use crate::py::value::{self, Text};
use crate::transport::endpoint::state::{Endpoint, Hold};
use crate::transport::protocol::{Parties, report_step};

/// A transport with a descriptor that its loop watches.
pub(crate) trait Transport: PyClass<Frozen = True> + Sync {
    /// The parts that change.
    type State: 'static;

    /// The name of the class, for messages.
    fn name(&self) -> &'static str;
    /// The functions that the loop calls.
    fn class(&self) -> &'static dyn SourceClass;
    /// The loop of the transport.
    fn event_loop(&self) -> &Py<EventLoop>;
    /// The parts that change.
    fn state(&self) -> &LoopCell<Self::State>;
    /// The part of the state that all transports have.
    fn endpoint(state: &mut Self::State) -> &mut Endpoint;
    /// Whether the descriptor is still to be closed.
    fn has_descriptor(state: &Self::State) -> bool;

    /// Closes the descriptor, and releases what only this kind of transport holds.
    ///
    /// # Errors
    /// What a Python object's `close()` raises.
    fn close_descriptor(&self, py: Python<'_>) -> PyResult<()>;

    /// Closes the descriptor of a transport that nothing refers to any more.
    fn close_abandoned(&self, py: Python<'_>) -> PyResult<()>;

    /// Drops what was not sent and queues `connection_lost(reason)`.
    ///
    /// # Errors
    /// `MemoryError`; on a closed loop also what closing the descriptor raises.
    fn force_close(this: &Bound<'_, Self>, reason: Option<Py<PyAny>>) -> PyResult<()>;

    /// Lends the endpoint to `look`, which must not run Python code.
    #[inline]
    fn with<R>(&self, py: Python<'_>, look: impl FnOnce(&mut Endpoint) -> R) -> R {
        self.state().with(py, |state| look(Self::endpoint(state)))
    }

    /// The protocol, until the connection is lost.
    #[inline]
    fn protocol<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.with(py, |endpoint| {
            Some(endpoint.protocol.as_ref()?.clone_ref(py).into_bound(py))
        })
    }

    /// `protocol`, or the one that has replaced it since.
    #[inline]
    fn same_or_new_protocol<'py>(&self, protocol: Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
        let py = protocol.py();
        let same = self.with(py, |endpoint| {
            let own = endpoint.protocol.as_ref();
            own.is_some_and(|own| own.is(&protocol))
        });
        if same {
            Some(protocol)
        } else {
            self.protocol(py)
        }
    }

    /// `transport.set_protocol(protocol)`, which does nothing once the connection is lost.
    fn replace_protocol(&self, py: Python<'_>, protocol: Py<PyAny>) {
        let old = self.with(py, |endpoint| {
            if endpoint.life == Lifecycle::Lost {
                return Some(protocol);
            }
            endpoint.protocol.replace(protocol)
        });
        drop(old);
    }

    /// The loop, until the connection is lost.
    fn event_loop_unless_lost(&self, py: Python<'_>) -> Option<Py<EventLoop>> {
        let lost = self.with(py, |endpoint| endpoint.life == Lifecycle::Lost);
        (!lost).then(|| self.event_loop().clone_ref(py))
    }

    /// Whether `close()` or `abort()` was called, or the connection was lost.
    #[inline]
    fn is_closing(&self, py: Python<'_>) -> bool {
        self.with(py, |endpoint| endpoint.life.is_closing())
    }

    /// The dictionary in which `get_extra_info` looks; made when it is first asked for.
    fn extra<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let known = self.with(py, |endpoint| {
            endpoint.extra.as_ref().map(|extra| extra.clone_ref(py))
        });
        if let Some(known) = known {
            return Ok(known.into_bound(py));
        }
        let fresh = value::dict(py)?;
        let kept = fresh.clone().unbind();
        let old = self.with(py, |endpoint| endpoint.extra.replace(kept));
        drop(old);
        Ok(fresh)
    }

    /// `transport.get_extra_info(name, default)` of what `extra` holds.
    ///
    /// # Errors
    /// `TypeError` for a name without a hash.
    fn extra_info<'py>(
        &self,
        name: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = name.py();
        let found = self.extra(py)?.get_item(name)?.or(default);
        Ok(found.unwrap_or_else(|| py.None().into_bound(py)))
    }

    /// The transport as a source of the loop.
    fn source(this: &Bound<'_, Self>) -> Source {
        Source {
            object: this.clone().into_any().unbind(),
            class: this.get().class(),
        }
    }

    /// Registers the transport for its descriptor `number`, without a watch of the kernel, and queues
    /// `connection_made`, in `context`, and `Step::Start`.
    fn begin(
        this: &Bound<'_, Self>,
        number: i32,
        connection_made: Bound<'_, PyAny>,
        context: Context,
    ) -> PyResult<()> {
        let py = this.py();
        let event_loop = this.get().event_loop().bind(py);
        let callback = Callback {
            function: connection_made.unbind(),
            args: Args::new(py, std::iter::once(this.as_any().as_borrowed()))?,
            context,
        };
        let ready = EventLoop::prepare(event_loop, callback)?;
        event_loop.get().make_room(py, 2)?;
        let place = Place::reserve(event_loop, number, Self::source(this))?;
        let registration = Registration::new(event_loop, place);
        this.get()
            .with(py, |endpoint| endpoint.registration = Some(registration));
        event_loop.get().push_prepared(py, ready)?;
        Self::push_step(this, Step::Start)
    }

    /// Queues a step.
    fn push_step(this: &Bound<'_, Self>, step: Step) -> PyResult<()> {
        let py = this.py();
        let event_loop = this.get().event_loop().bind(py).get();
        event_loop.push_step(py, Self::source(this), step)
    }

    /// Schedules one extra event for the transport after the next poll.
    #[inline]
    fn resume(&self, py: Python<'_>) {
        if let Some(place) = self.with(py, |endpoint| endpoint.place()) {
            self.event_loop().bind(py).get().resume(py, place);
        }
    }

    /// Wakes the waiter: the connection is made.
    fn wake_waiter(this: &Bound<'_, Self>) -> PyResult<()> {
        let waiter = this
            .get()
            .with(this.py(), |endpoint| endpoint.waiter.take());
        let woken = waiter.map_or(Ok(()), |waiter| {
            asyncio::wake_waiter(waiter.bind(this.py()))
        });
        woken.or_else(|error| Self::report(this, error, "_start"))
    }

    /// Runs `body` in the context of the transport's callbacks.
    #[inline]
    fn in_context(&self, py: Python<'_>, body: impl FnOnce() -> PyResult<()>) -> PyResult<()> {
        let Some(mut context) = self.with(py, |endpoint| endpoint.context.take()) else {
            // Another callback of this transport is running and has the context.
            return body();
        };
        let Ok(entered) = context.enter(py) else {
            // The program runs the loop again inside this context.
            self.with(py, |endpoint| endpoint.context = Some(context));
            return body();
        };
        let result = body();
        let left = context.leave(py, entered);
        let spare = self.with(py, |endpoint| {
            // If `body` called `lose`, there is another one, for the last callback.
            if endpoint.life == Lifecycle::Lost || endpoint.context.is_some() {
                return Some(context);
            }
            endpoint.context.replace(context)
        });
        if let Some(spare) = spare {
            spare.release(py);
        }
        result.and(left)
    }

    /// The call `protocol.method(...)`.
    #[inline]
    fn tell<'a, 'py>(
        this: &'a Bound<'py, Self>,
        protocol: &'a Bound<'py, PyAny>,
        method: &'a Bound<'py, PyString>,
    ) -> UserCall<'a, 'py> {
        UserCall {
            event_loop: this.get().event_loop().bind(this.py()),
            transport: this.as_any(),
            protocol,
            method,
        }
    }

    /// In debug mode, logs a line that asyncio logs about the transport, with `level` a method of
    /// the logger.
    fn log(this: &Bound<'_, Self>, level: &Bound<'_, PyString>, text: &str) -> PyResult<()> {
        let py = this.py();
        if this.get().event_loop().bind(py).get().is_debug() {
            asyncio::logger(py)?.call_method1(level, (Text(text), this))?;
        }
        Ok(())
    }

    /// Reports an exception of a step as asyncio reports one of the callback in its place.
    #[cold]
    fn report(this: &Bound<'_, Self>, error: PyErr, step: &str) -> PyResult<()> {
        let transport = this.get();
        let event_loop = transport.event_loop().bind(this.py());
        let step = format!("{}.{step}", transport.name());
        report_step(event_loop, this.as_any(), error, &step)
    }

    /// Reports `error` and ends the connection with it.
    #[cold]
    fn fatal_error(this: &Bound<'_, Self>, error: PyErr, message: &str) -> PyResult<()> {
        let py = this.py();
        let protocol = this.get().protocol(py);
        let parties = Parties {
            event_loop: this.get().event_loop().bind(py),
            transport: this.as_any(),
            protocol: protocol.as_ref(),
        };
        let reported = parties.report_fatal(message, &error);
        let closed = Self::force_close(this, Some(error.into_value(py).into_any()));
        reported.and(closed)
    }

    /// Lets the loop hold the transport weakly if it has nothing to do for it, as `is_idle` says of
    /// one that is open: only the program can continue the connection then, as long as it refers to
    /// it.
    ///
    /// Without memory for a weak reference the loop still holds it strongly.
    #[cold]
    fn hold_weakly(this: &Bound<'_, Self>, is_idle: impl FnOnce() -> bool) {
        let Ok(reference) = PyWeakrefReference::new(this.as_any()) else {
            return;
        };
        // Making the reference may have run the collector, and so Python code.
        let idle = is_idle();
        let py = this.py();
        let place = this.get().with(py, |endpoint| {
            let place = endpoint.place();
            let place = place.filter(|_| idle && endpoint.is_held_open());
            place.inspect(|_| endpoint.hold = Hold::Weak)
        });
        if let Some(place) = place {
            let event_loop = this.get().event_loop().bind(py).get();
            event_loop.loosen(py, place, reference);
        }
    }

    /// Makes the loop hold the transport strongly again, before it has to do something for it.
    #[inline]
    fn hold(this: &Bound<'_, Self>) {
        let py = this.py();
        let place = this.get().with(py, |endpoint| {
            match std::mem::replace(&mut endpoint.hold, Hold::Strong) {
                Hold::Weak => endpoint.place(),
                Hold::Strong => None,
            }
        });
        if let Some(place) = place {
            let event_loop = this.get().event_loop().bind(py).get();
            event_loop.hold(place, this.as_any());
        }
    }

    /// Ends the watch, so that nothing is received or sent from now on. False if that happened
    /// before.
    fn unwatch(&self, py: Python<'_>) -> bool {
        let (first, registration) = self.with(py, |endpoint| {
            let first = !endpoint.life.is_lost();
            if first {
                endpoint.life = Lifecycle::Losing;
            }
            (first, endpoint.registration.take())
        });
        drop(registration);
        first
    }

    /// Ends the watch and queues `connection_lost(reason)`. A closed loop runs no more callbacks,
    /// so the descriptor is closed at once then.
    fn lose(this: &Bound<'_, Self>, reason: Option<Py<PyAny>>) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        transport.unwatch(py);
        let event_loop = transport.event_loop().bind(py).get();
        if event_loop.is_closed() {
            return transport.finish(py);
        }
        // The last callback runs in the context of what ends the connection, as in asyncio.
        if let Ok(context) = event_loop.capture_context(py)
            && let Some(old) = transport.with(py, |endpoint| endpoint.context.replace(context))
        {
            old.release(py);
        }
        Self::push_step(this, Step::Lost(reason))
    }

    /// Tells the protocol that the connection is lost, and closes the descriptor.
    fn connection_lost(this: &Bound<'_, Self>, reason: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let py = this.py();
        let called = match this.get().protocol(py) {
            Some(protocol) => {
                let reason = reason.map_or_else(|| py.None().into_bound(py), Bound::clone);
                let call = Self::tell(this, &protocol, name!(py, connection_lost));
                call.call1(&reason).map(drop)
            }
            None => Ok(()),
        };
        called.and(this.get().finish(py))
    }

    /// Closes the descriptor and releases everything.
    fn finish(&self, py: Python<'_>) -> PyResult<()> {
        let (protocol, context, waiter) = self.with(py, |endpoint| {
            endpoint.life = Lifecycle::Lost;
            endpoint.release()
        });
        let closed = self.close_descriptor(py);
        if let Some(context) = context {
            context.release(py);
        }
        drop((protocol, waiter));
        closed
    }

    /// Whether `finalize` has anything to do.
    #[inline]
    fn is_unfinished(this: &Bound<'_, Self>) -> bool {
        let open = (this.get().state()).with_whole(this.py(), |state| Self::has_descriptor(state));
        open.unwrap_or(false)
    }

    /// `transport.__del__()`: if the transport was not closed, warns as asyncio's does, and closes
    /// the descriptor in any case. If the program can reach the transport again, it is like one
    /// whose descriptor was closed by something else.
    fn finalize(this: &Bound<'_, Self>) -> PyResult<()> {
        if !Self::is_unfinished(this) {
            return Ok(());
        }
        let py = this.py();
        let warned = warning::unclosed_transport(this.as_any());
        let registration = this.get().with(py, |endpoint| endpoint.registration.take());
        drop(registration);
        warned.and(this.get().close_abandoned(py))
    }
}

/// A class of transports: one that has an endpoint, or one that extends such a class.
pub(crate) trait Extends: PyClass<Frozen = True> + Sync {
    /// The class that has the endpoint.
    type Base: Transport;
    /// The transport as an object of that class.
    fn base<'a, 'py>(this: &'a Bound<'py, Self>) -> &'a Bound<'py, Self::Base>;
}

impl<T: Transport> Extends for T {
    type Base = Self;

    #[inline]
    fn base<'a, 'py>(this: &'a Bound<'py, Self>) -> &'a Bound<'py, Self> {
        this
    }
}

/// Gives `$class` the `__del__` of transports.
macro_rules! finalized {
    ($class:ty) => {
        impl $crate::py::lifetime::finalizer::Finalized for $class {
            fn destructor() -> &'static $crate::py::lifetime::finalizer::Destructor {
                static DESTRUCTOR: $crate::py::lifetime::finalizer::Destructor =
                    $crate::py::lifetime::finalizer::Destructor::new();
                &DESTRUCTOR
            }

            #[inline]
            fn is_unfinished(this: &Bound<'_, Self>) -> bool {
                let base = $crate::transport::endpoint::Extends::base(this);
                $crate::transport::endpoint::Transport::is_unfinished(base)
            }

            fn finalize(this: &Bound<'_, Self>) -> PyResult<()> {
                let base = $crate::transport::endpoint::Extends::base(this);
                $crate::transport::endpoint::Transport::finalize(base)
            }
        }
    };
}
pub(crate) use finalized;
