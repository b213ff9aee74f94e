//! The end of a connection: `close`, `abort`, and what is kept of it afterwards.
//!
//! Loop thread only. The addresses are read before the descriptor is closed, because asyncio's
//! `get_extra_info` returns them afterwards too.

use std::sync::atomic::Ordering;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::event_loop::{EventLoop, SourceClass};
use crate::logic::lifecycle::Lifecycle;
use crate::py::calling::call::Args;
use crate::py::calling::names::name;
use crate::py::cell::LoopCell;
use crate::sys::socket;
use crate::transport::address;
use crate::transport::descriptor::Descriptor;
use crate::transport::endpoint::{Endpoint, Transport, finalized};
use crate::transport::flow::{Buffers, Flow};
use crate::transport::server::base::ServerBase;
use crate::transport::stream::source::STREAM;
use crate::transport::stream::state::{State, StreamTransport};

impl Transport for StreamTransport {
    type State = State;

    fn name(&self) -> &'static str {
        "StreamTransport"
    }

    fn class(&self) -> &'static dyn SourceClass {
        &STREAM
    }

    #[inline]
    fn event_loop(&self) -> &Py<EventLoop> {
        &self.event_loop
    }

    #[inline]
    fn state(&self) -> &LoopCell<State> {
        &self.state
    }

    #[inline]
    fn endpoint(state: &mut State) -> &mut Endpoint {
        &mut state.endpoint
    }

    #[inline]
    fn has_descriptor(state: &State) -> bool {
        !state.descriptor.is_closed()
    }

    fn force_close(this: &Bound<'_, Self>, reason: Option<Py<PyAny>>) -> PyResult<()> {
        let dropped = this.get().state.with(this.py(), |state| {
            (!state.endpoint.life.is_lost()).then(|| state.queue.take())
        });
        let Some(dropped) = dropped else {
            return Ok(());
        };
        drop(dropped);
        Self::lose(this, reason)
    }

    /// asyncio calls `call_soon` for the last callback, where programs and debug mode see it.
    fn lose(this: &Bound<'_, Self>, reason: Option<Py<PyAny>>) -> PyResult<()> {
        let py = this.py();
        this.get().unwatch(py);
        let event_loop = this.get().event_loop.bind(py);
        if event_loop.get().is_closed() {
            return match this.get().finish(py) {
                // A closed loop cannot wake tasks that wait for the server to close.
                Err(error) if error.is_instance_of::<PyRuntimeError>(py) => Ok(()),
                result => result,
            };
        }
        let callback = this.getattr(name!(py, _call_connection_lost))?;
        let reason = reason.unwrap_or_else(|| py.None()).into_bound(py);
        let args = Args::new(py, std::iter::once(reason.as_borrowed()))?;
        EventLoop::call_soon(event_loop, callback, args)
    }

    fn unwatch(&self, py: Python<'_>) -> bool {
        let forked = self
            .event_loop
            .bind(py)
            .get()
            .forked
            .load(Ordering::Relaxed);
        let (first, registration, closes) = self.state.with(py, |state| {
            let first = !state.endpoint.life.is_lost();
            state.endpoint.life = Lifecycle::Losing;
            let closes = matches!(state.descriptor, Descriptor::Owned(_)) && !forked;
            (first, state.endpoint.registration.take(), closes)
        });
        match registration {
            // A forked child's copy of the descriptor would keep the kernel's watch alive.
            Some(registration) if closes => registration.end_with_descriptor(py),
            registration => drop(registration),
        }
        first
    }

    fn close_descriptor(&self, py: Python<'_>) -> PyResult<()> {
        let (descriptor, server) = self.take_descriptor(py);
        let closed = descriptor.close(py);
        let detached = server.map_or(Ok(()), |server| ServerBase::detach(server.bind(py)));
        closed.and(detached)
    }

    fn close_abandoned(&self, py: Python<'_>) -> PyResult<()> {
        let (descriptor, server) = self.take_descriptor(py);
        let closed = descriptor.close_abandoned(py);
        let event_loop = self.event_loop.bind(py);
        let detached = server.map_or(Ok(()), |server| {
            ServerBase::detach_anywhere(server.bind(py), event_loop)
        });
        closed.and(detached)
    }
}

impl Buffers for StreamTransport {
    #[inline]
    fn with_flow<R>(this: &Bound<'_, Self>, look: impl FnOnce(&mut Flow, usize) -> R) -> R {
        this.get().state.with(this.py(), |state| {
            let waiting = state.queue.size();
            look(&mut state.flow, waiting)
        })
    }
}

impl StreamTransport {
    /// Begins to close, once `settle` has sent a delayed write.
    pub(crate) fn close_settled(this: &Bound<'_, Self>) -> PyResult<()> {
        let lost = this.get().state.with(this.py(), |state| {
            state.endpoint.close() && state.queue.is_empty()
        });
        if lost { Self::lose(this, None) } else { Ok(()) }
    }

    /// Tells the protocol and closes the descriptor; a file that is being sent fails.
    pub(crate) fn end(this: &Bound<'_, Self>, reason: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let lost = Self::connection_lost(this, reason);
        let failed = this.get().fail_transfer(this.py(), reason);
        lost.and(failed)
    }

    /// Takes out the descriptor, which is to be closed, and leaves what users may still ask for in
    /// its place.
    fn take_descriptor(&self, py: Python<'_>) -> (Descriptor, Option<Py<ServerBase>>) {
        self.state.with(py, |state| {
            let number = state.descriptor.number(py);
            if state.peer.is_none() {
                state.peer = socket::peer_address(number).ok();
            }
            if state.local.is_none() {
                state.local = socket::local_address(number).ok();
            }
            state.last_number = state.descriptor.registered();
            let remains = state.descriptor.remains(py);
            let descriptor = std::mem::replace(&mut state.descriptor, remains);
            (descriptor, state.server.take())
        })
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

finalized!(StreamTransport);
