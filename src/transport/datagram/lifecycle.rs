//! The life of a datagram endpoint, from its socket to `connection_lost`: what the loop calls.
//!
//! Loop thread only. An endpoint that was closed while datagrams wait goes on
//! sending, and is lost in the very event in which the last one leaves, as in asyncio.

use pyo3::prelude::*;

use crate::error::leaves_the_loop;
use crate::event_loop::{
    EventLoop, Place, Readiness, Registration, Source, SourceClass, Step, UserCall,
};
use crate::handle::Callback;
use crate::logic::lifecycle::Lifecycle;
use crate::py::call::Args;
use crate::py::names::name;
use crate::py::stdlib::asyncio;
use crate::py::value::{self, Text};
use crate::transport::datagram::state::DatagramTransport;
use crate::transport::descriptor::Descriptor;
use crate::transport::protocol::report_fatal;
use crate::transport::stream::state::Writing;

/// Datagram endpoints, as a kind of source.
pub(crate) struct DatagramClass;

static DATAGRAM: DatagramClass = DatagramClass;

impl SourceClass for DatagramClass {
    #[inline]
    fn ready(&self, object: &Bound<'_, PyAny>, readiness: Readiness) -> PyResult<()> {
        let this = object.cast::<DatagramTransport>()?;
        let py = this.py();
        let transport = this.get();
        // An edge comes once: both halves are served even if the first one raises.
        let read = transport.in_context(py, || DatagramTransport::read_ready(this, readiness));
        let read = read.or_else(|error| report(this, error, "_read_ready"));
        let writes = transport.state.with(py, |state| {
            !state.life.is_lost()
                && (state.sends_on || (readiness.writable && state.writing == Writing::Blocked))
        });
        if !writes {
            return read;
        }
        let written = transport.in_context(py, || DatagramTransport::write_ready(this));
        read.and(written.or_else(|error| report(this, error, "_sendto_ready")))
    }

    fn step(&self, object: &Bound<'_, PyAny>, step: Step) -> PyResult<()> {
        let this = object.cast::<DatagramTransport>()?;
        let Step::Lost(reason) = step else {
            return start(this);
        };
        let lost = this.get().in_context(this.py(), || {
            DatagramTransport::connection_lost(this, reason)
        });
        lost.or_else(|error| report(this, error, "_call_connection_lost"))
    }

    fn may_be_watched(&self, object: &Bound<'_, PyAny>) -> bool {
        object.cast::<DatagramTransport>().is_ok_and(|this| {
            this.get()
                .state
                .with(this.py(), |state| state.life.is_closing())
        })
    }
}

/// Queues `connection_made` and what follows it.
///
/// # Errors
/// `AttributeError` if the protocol has no `connection_made`; the socket stays with the caller
/// then.
pub(crate) fn open(
    event_loop: &Bound<'_, EventLoop>,
    this: &Bound<'_, DatagramTransport>,
    protocol: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let py = this.py();
    let opened = || -> PyResult<()> {
        let made = protocol.getattr(name!(py, connection_made))?;
        let callback = Callback {
            function: made.unbind(),
            args: Args::new(py, std::iter::once(this.as_any().as_borrowed()))?,
            context: event_loop.get().capture_context(py)?,
        };
        let ready = EventLoop::prepare(event_loop, callback)?;
        event_loop.get().make_room(py, 2)?;
        let number = (this.get().state).with(py, |state| state.descriptor.registered());
        let source = || Source {
            object: this.clone().into_any().unbind(),
            class: &DATAGRAM,
        };
        let registration =
            Registration::new(event_loop, Place::reserve(event_loop, number, source())?);
        this.get()
            .state
            .with(py, |state| state.registration = Some(registration));
        event_loop.get().push_prepared(py, ready)?;
        event_loop.get().push_step(py, source(), Step::Start)
    };
    opened().inspect_err(|_| {
        let unused = this.get().state.with(py, |state| {
            std::mem::replace(&mut state.descriptor, Descriptor::Closed)
        });
        drop(unused);
    })
}

/// `connection_made` has run: reading begins, and whoever waits for the endpoint goes on.
fn start(this: &Bound<'_, DatagramTransport>) -> PyResult<()> {
    let py = this.py();
    let transport = this.get();
    let (waiter, place, blocked) = transport.state.with(py, |state| {
        if state.life == Lifecycle::Starting {
            state.life = Lifecycle::Open;
        }
        let blocked = state.writing == Writing::Blocked;
        (state.waiter.take(), state.place(), blocked)
    });
    // What `connection_made` sent may have begun the watch already, for both directions.
    if let Some(place) = place
        && !blocked
    {
        let event_loop = transport.event_loop.bind(py);
        event_loop.get().poller(py)?;
        if let Err(error) = place.watch(event_loop) {
            DatagramTransport::fatal_error(this, error, "Fatal error on transport")?;
        }
    }
    transport.read_on(py);
    DatagramTransport::loosen(this);
    let woken = waiter.map_or(Ok(()), |waiter| asyncio::wake_waiter(waiter.bind(py)));
    woken.or_else(|error| report(this, error, "_start"))
}

/// An exception of a step goes where asyncio sends that of the callback in its place.
#[cold]
fn report(this: &Bound<'_, DatagramTransport>, error: PyErr, step: &str) -> PyResult<()> {
    let py = this.py();
    if leaves_the_loop(py, &error) {
        return Err(error);
    }
    let context = value::dict(py)?;
    let message = format!("Exception in callback DatagramTransport.{step}()");
    context.set_item(name!(py, message), Text(message))?;
    context.set_item(name!(py, exception), error.into_value(py))?;
    context.set_item(name!(py, transport), this)?;
    let event_loop = this.get().event_loop.bind(py);
    event_loop.call_method1(name!(py, call_exception_handler), (context,))?;
    Ok(())
}

impl DatagramTransport {
    /// Closes once everything queued is sent.
    ///
    /// # Errors
    /// `MemoryError`.
    pub(crate) fn close(this: &Bound<'_, Self>) -> PyResult<()> {
        let lost = this.get().state.with(this.py(), |state| {
            if state.life.is_closing() {
                return false;
            }
            state.life = Lifecycle::Closing;
            state.queue.is_empty()
        });
        if lost { Self::lose(this, None) } else { Ok(()) }
    }

    /// Drops what was not sent and queues `connection_lost(reason)`.
    ///
    /// # Errors
    /// `MemoryError`.
    pub(crate) fn force_close(this: &Bound<'_, Self>, reason: Option<Py<PyAny>>) -> PyResult<()> {
        let dropped = this.get().state.with(this.py(), |state| {
            if state.life.is_lost() {
                return None;
            }
            state.size = 0;
            Some(std::mem::take(&mut state.queue))
        });
        match dropped {
            Some(dropped) => {
                drop(dropped);
                Self::lose(this, reason)
            }
            None => Ok(()),
        }
    }

    /// Reports `error` and ends the endpoint with it.
    ///
    /// # Errors
    /// What the exception handler itself raises.
    #[cold]
    pub(crate) fn fatal_error(this: &Bound<'_, Self>, error: PyErr, message: &str) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        let protocol = transport.protocol(py);
        let event_loop = transport.event_loop.bind(py);
        let protocol = protocol.as_ref();
        let reported = report_fatal(event_loop, message, &error, this.as_any(), protocol);
        let closed = Self::force_close(this, Some(error.into_value(py).into_any()));
        reported.and(closed)
    }

    /// Ends the watch and queues the last step.
    ///
    /// # Errors
    /// `MemoryError`.
    fn lose(this: &Bound<'_, Self>, reason: Option<Py<PyAny>>) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        transport.unwatch(py);
        let event_loop = transport.event_loop.bind(py).get();
        if event_loop.is_closed() {
            // A closed loop runs nothing any more. Nobody can be told of an error either.
            let _ = transport.finish(py);
            return Ok(());
        }
        // The last callback runs in the context of whoever ends the endpoint, as in asyncio.
        if let Ok(context) = event_loop.capture_context(py)
            && let Some(old) = (transport.state).with(py, |state| state.context.replace(context))
        {
            old.release(py);
        }
        let source = Source {
            object: this.clone().into_any().unbind(),
            class: &DATAGRAM,
        };
        event_loop.push_step(py, source, Step::Lost(reason))
    }

    /// Ends the watch and tells the protocol at once.
    ///
    /// # Errors
    /// What `connection_lost` raises.
    pub(crate) fn lose_now(this: &Bound<'_, Self>) -> PyResult<()> {
        this.get().unwatch(this.py());
        Self::connection_lost(this, None)
    }

    fn unwatch(&self, py: Python<'_>) {
        let (registration, received) = self.state.with(py, |state| {
            state.life = Lifecycle::Losing;
            let received = std::mem::take(&mut state.received);
            (state.registration.take(), received)
        });
        drop((registration, received));
    }

    /// Tells the protocol and closes the descriptor.
    ///
    /// # Errors
    /// What `connection_lost` raises.
    fn connection_lost(this: &Bound<'_, Self>, reason: Option<Py<PyAny>>) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        let told = match transport.protocol(py) {
            Some(protocol) => {
                let reason = reason.unwrap_or_else(|| py.None()).into_bound(py);
                let call = UserCall {
                    event_loop: transport.event_loop.bind(py),
                    transport: this.as_any(),
                    protocol: &protocol,
                    method: name!(py, connection_lost),
                };
                call.call1(&reason).map(drop)
            }
            None => Ok(()),
        };
        told.and(transport.finish(py))
    }

    /// Closes the descriptor and lets go of everything.
    fn finish(&self, py: Python<'_>) -> PyResult<()> {
        let (descriptor, released) = self.state.with(py, |state| {
            state.life = Lifecycle::Lost;
            let descriptor = std::mem::replace(&mut state.descriptor, Descriptor::Closed);
            let protocol = state.protocol.take();
            (
                descriptor,
                (
                    protocol,
                    state.context.take(),
                    state.waiter.take(),
                    state.peer.take(),
                ),
            )
        });
        let closed = descriptor.close(py);
        drop(released);
        closed
    }
}
