//! The end of a connection: `close`, `abort`, fatal errors, and `connection_lost`, once.
//!
//! Loop thread only. The addresses are read before the descriptor closes, so that
//! `get_extra_info` answers afterwards, as asyncio's does.

use std::sync::atomic::Ordering;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::event_loop::{EventLoop, UserCall};
use crate::logic::lifecycle::Lifecycle;
use crate::py::call::Args;
use crate::py::finalizer::{Destructor, Finalized};
use crate::py::names::name;
use crate::py::stdlib::warning;
use crate::sys::socket;
use crate::transport::address;
use crate::transport::descriptor::Descriptor;
use crate::transport::protocol::report_fatal;
use crate::transport::server::base::ServerBase;
use crate::transport::stream::state::StreamTransport;

impl StreamTransport {
    /// Begins to close once everything written was handed to `flush` by the caller.
    ///
    /// # Errors
    /// What making the last callback raises: no memory.
    pub(crate) fn close_flushed(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let lost = this.get().state.with(py, |state| {
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
    /// What making the last callback raises: no memory.
    pub(crate) fn force_close(this: &Bound<'_, Self>, reason: Option<Py<PyAny>>) -> PyResult<()> {
        let py = this.py();
        let dropped = this.get().state.with(py, |state| {
            (!state.life.is_lost()).then(|| state.queue.take())
        });
        let Some(dropped) = dropped else {
            return Ok(());
        };
        drop(dropped);
        Self::lose(this, reason)
    }

    /// Reports `error` and ends the connection with it.
    ///
    /// # Errors
    /// What the exception handler itself raises.
    #[cold]
    pub(crate) fn fatal_error(this: &Bound<'_, Self>, error: PyErr, message: &str) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        let protocol = transport.protocol(py);
        let event_loop = transport.event_loop.bind(py);
        let reported = report_fatal(
            event_loop,
            message,
            &error,
            this.as_any(),
            protocol.as_ref(),
        );
        let closed = Self::force_close(this, Some(error.into_value(py).into_any()));
        reported.and(closed)
    }

    /// Ends the watch and queues the last callback; a closed loop runs nothing any more, so the
    /// descriptor is closed at once then.
    fn lose(this: &Bound<'_, Self>, reason: Option<Py<PyAny>>) -> PyResult<()> {
        let py = this.py();
        this.get().unwatch(py);
        let event_loop = this.get().event_loop.bind(py);
        if event_loop.get().is_closed() {
            return this.get().finish_unheard(py);
        }
        let callback = this.getattr(name!(py, _call_connection_lost))?;
        let reason = reason.unwrap_or_else(|| py.None()).into_bound(py);
        let args = Args::new(py, std::iter::once(reason.as_borrowed()))?;
        EventLoop::call_soon(event_loop, callback, args)
    }

    /// Ends the watch; nothing goes in or out from here on.
    pub(crate) fn unwatch(&self, py: Python<'_>) {
        let forked = self
            .event_loop
            .bind(py)
            .get()
            .forked
            .load(Ordering::Relaxed);
        let (registration, closes) = self.state.with(py, |state| {
            state.life = Lifecycle::Losing;
            let closes = matches!(state.descriptor, Descriptor::Owned(_)) && !forked;
            (state.registration.take(), closes)
        });
        match registration {
            // A child's copy of the descriptor would keep the kernel's watch on.
            Some(registration) if closes => registration.end_with_descriptor(py),
            registration => drop(registration),
        }
    }

    /// Tells the protocol and closes the descriptor.
    ///
    /// # Errors
    /// What `connection_lost` raises.
    pub(crate) fn connection_lost(
        this: &Bound<'_, Self>,
        reason: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        let told = match transport.protocol(py) {
            Some(protocol) => {
                let reason = reason
                    .as_ref()
                    .map_or_else(|| py.None(), |it| it.clone_ref(py));
                let reason = reason.into_bound(py);
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
        let finished = transport.finish(py);
        let failed = transport.fail_transfer(py, reason.as_ref().map(|it| it.bind(py)));
        told.and(finished).and(failed)
    }

    /// As `finish`, on a closed loop: whoever waits for the server waits in vain.
    fn finish_unheard(&self, py: Python<'_>) -> PyResult<()> {
        match self.finish(py) {
            Err(error) if error.is_instance_of::<PyRuntimeError>(py) => Ok(()),
            result => result,
        }
    }

    /// Closes the descriptor and lets go of everything.
    fn finish(&self, py: Python<'_>) -> PyResult<()> {
        self.keep_addresses(py);
        let (descriptor, protocol, context, server, waiter) = self.state.with(py, |state| {
            state.life = Lifecycle::Lost;
            state.last_number = state.descriptor.registered();
            let remains = state.descriptor.remains(py);
            (
                std::mem::replace(&mut state.descriptor, remains),
                state.protocol.take(),
                state.context.take(),
                state.server.take(),
                state.waiter.take(),
            )
        });
        let closed = descriptor.close(py);
        if let Some(context) = context {
            context.release(py);
        }
        let detached = match server {
            Some(server) => ServerBase::detach(server.bind(py)),
            None => Ok(()),
        };
        drop((protocol, waiter));
        closed.and(detached)
    }

    /// Closes the descriptor of a transport that its loop does not hold. Whoever has the transport
    /// again finds it as one whose socket was closed behind its back, as in asyncio.
    fn close_abandoned(&self, py: Python<'_>) -> PyResult<()> {
        self.keep_addresses(py);
        let (registration, descriptor, server) = self.state.with(py, |state| {
            state.last_number = state.descriptor.registered();
            let remains = state.descriptor.remains(py);
            let descriptor = std::mem::replace(&mut state.descriptor, remains);
            (state.registration.take(), descriptor, state.server.take())
        });
        let event_loop = self.event_loop.bind(py);
        drop(registration);
        let closed = descriptor.close_abandoned(py);
        let detached = match server {
            Some(server) => ServerBase::detach_anywhere(server.bind(py), event_loop),
            None => Ok(()),
        };
        closed.and(detached)
    }

    /// Remembers both addresses for `get_extra_info`.
    fn keep_addresses(&self, py: Python<'_>) {
        self.state.with(py, |state| {
            let number = state.descriptor.number(py);
            if state.peer.is_none() {
                state.peer = socket::peer_address(number).ok();
            }
            if state.local.is_none() {
                state.local = socket::local_address(number).ok();
            }
        });
    }

    /// The local address; `None` if there is none.
    pub(crate) fn local_address<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let local = self.state.with(py, |state| {
            state
                .local
                .clone()
                .or_else(|| socket::local_address(state.descriptor.number(py)).ok())
        });
        local.map_or_else(
            || Ok(py.None().into_bound(py)),
            |local| address::to_python(py, &local),
        )
    }

    /// The peer's address; `None` if there is none.
    pub(crate) fn peer_address<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let peer = self.state.with(py, |state| {
            if state.peer.is_none() {
                state.peer = socket::peer_address(state.descriptor.number(py)).ok();
            }
            state.peer.clone()
        });
        peer.map_or_else(
            || Ok(py.None().into_bound(py)),
            |peer| address::to_python(py, &peer),
        )
    }
}

impl Finalized for StreamTransport {
    fn destructor() -> &'static Destructor {
        static DESTRUCTOR: Destructor = Destructor::new();
        &DESTRUCTOR
    }

    #[inline]
    fn is_unfinished(this: &Bound<'_, Self>) -> bool {
        let open = (this.get().state).with_whole(this.py(), |state| !state.descriptor.is_closed());
        open.unwrap_or(false)
    }

    /// A connection that nobody closed: warns as asyncio's does, and closes it in any case.
    fn finalize(this: &Bound<'_, Self>) -> PyResult<()> {
        if !Self::is_unfinished(this) {
            return Ok(());
        }
        let warned = warning::unclosed_transport(this.as_any());
        let closed = this.get().close_abandoned(this.py());
        warned.and(closed)
    }
}
