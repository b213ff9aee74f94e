//! `StreamTransport`: one connected stream socket, TCP or Unix, and its protocol.
//!
//! Loop thread only. What is written is sent at once, but for the head of a response, which waits
//! for its body until the callback returns; everything that would let a program notice sends first.
//!
//! Without the GIL the state belongs to the thread that made the transport, and other threads lock it,
//! one step at a time: what they do in between is their own fault, and no more than that.

use std::os::fd::RawFd;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::event_loop::{EventLoop, Place, Registration};
use crate::logic::flow_control::FlowControl;
use crate::logic::lifecycle::Lifecycle;
use crate::logic::write_queue::WriteQueue;
use crate::py::cell::LoopCell;
use crate::py::context::Context;
use crate::py::object;
use crate::py::stdlib::asyncio;
use crate::sys::address::Address;
use crate::transport::chunk::Data;
use crate::transport::descriptor::Descriptor;
use crate::transport::hold::{self, Hold};
use crate::transport::limits::Given;
use crate::transport::protocol::Kind;
use crate::transport::server::base::ServerBase;
use crate::transport::transfer::Transfer;

/// What the reading side is doing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Data is delivered as it comes.
    On,
    /// `pause_reading` was called.
    Paused,
    /// The peer ended its side and the protocol kept ours open.
    Ended,
}

/// What the writing side is doing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writing {
    /// Everything written is sent.
    Idle,
    /// The head of a response was written in the callback that runs now, and is sent with its body
    /// or when the callback returns.
    Delayed,
    /// The kernel's buffer is full; the loop watches for room.
    Blocked,
}

/// The parts of a transport that change.
pub(crate) struct State {
    /// Who owns the descriptor; what is left of that once the connection is lost.
    pub(crate) descriptor: Descriptor,
    /// `None` once the connection is lost.
    pub(crate) protocol: Option<Py<PyAny>>,
    /// How the protocol wants to receive.
    pub(crate) kind: Kind,
    /// Where the connection stands.
    pub(crate) life: Lifecycle,
    /// What the reading side is doing.
    pub(crate) reading: Reading,
    /// What the writing side is doing.
    pub(crate) writing: Writing,
    /// Whether the kernel reported data that was not read yet.
    pub(crate) readable: bool,
    /// The turn in which reading was last resumed: what was queued before it paused is not
    /// delivered in that turn, as asyncio's reader handle would have been cancelled.
    pub(crate) resumed: u64,
    /// Whether the peer has ended its side, so that reading goes on until end of file.
    pub(crate) peer_closed: bool,
    /// How much the last read brought: after a large one the next goes into its final object.
    pub(crate) last_read: usize,
    /// Whether `write_eof` was called.
    pub(crate) eof: bool,
    /// Writes after the connection was lost, and its loss, for the warning.
    pub(crate) lost_writes: u32,
    /// The number that the descriptor had, once the connection is lost: for `repr`.
    pub(crate) last_number: RawFd,
    /// While the loop watches it.
    pub(crate) registration: Option<Registration>,
    /// How the loop holds us.
    pub(crate) hold: Hold,
    /// What was written and the kernel has not taken.
    pub(crate) queue: WriteQueue<Data>,
    /// The water marks in bytes, and whether the protocol was asked to pause.
    pub(crate) flow: FlowControl,
    /// The water marks as the program gave them.
    pub(crate) given: Given,
    /// A file that is being sent past the queue.
    pub(crate) transfer: Option<Box<Transfer>>,
    /// The context that read and write callbacks run in; `None` while one runs.
    pub(crate) context: Option<Context>,
    /// The server that accepted the connection; `None` without one, or once it is lost.
    pub(crate) server: Option<Py<ServerBase>>,
    /// The peer's address, if `accept` told it.
    pub(crate) peer: Option<Address>,
    /// Our own address, kept when the connection ends.
    pub(crate) local: Option<Address>,
    /// What `get_extra_info` finds beside the addresses.
    pub(crate) extra: Option<Py<PyDict>>,
    /// The future that is done when the connection is made.
    pub(crate) waiter: Option<Py<PyAny>>,
}

impl State {
    /// Whether the loop holds us for nothing.
    #[inline]
    fn is_idle(&self) -> bool {
        self.reading != Reading::On
            && self.hold == Hold::Strong
            && self.life == Lifecycle::Open
            && self.writing == Writing::Idle
            && self.transfer.is_none()
    }

    /// Where the loop's registry has it, while it does.
    #[inline]
    pub(crate) fn place(&self) -> Option<Place> {
        self.registration.as_ref().map(Registration::place)
    }

    /// Whether it is a Unix socket.
    #[inline]
    pub(crate) fn is_unix(&self) -> bool {
        matches!(self.peer, Some(Address::Unix(_)))
    }
}

/// A connected stream socket.
#[pyclass(frozen, dict, weakref, module = "ferroloop._native")]
pub(crate) struct StreamTransport {
    /// The loop of the connection.
    pub(crate) event_loop: Py<EventLoop>,
    /// The parts that change.
    pub(crate) state: LoopCell<State>,
}

impl StreamTransport {
    /// `transport` as one of ours whose methods nobody has replaced on the object itself.
    #[inline]
    pub(crate) fn plain<'a, 'py>(transport: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, Self>> {
        let ours = transport.cast_exact::<Self>().ok()?;
        (!object::has_attributes(transport)).then_some(ours)
    }

    /// `transport.is_closing()`. A delayed write is sent first: a broken connection shows in the
    /// answer.
    ///
    /// # Errors
    /// What leaves the loop.
    #[inline]
    pub(crate) fn is_closing(this: &Bound<'_, Self>) -> PyResult<bool> {
        Self::settle(this)?;
        let py = this.py();
        Ok(this.get().state.with(py, |state| state.life.is_closing()))
    }

    /// Runs `body` in the context of this connection's read and write callbacks.
    ///
    /// # Errors
    /// What `body` returns.
    #[inline]
    pub(crate) fn in_context(
        &self,
        py: Python<'_>,
        body: impl FnOnce() -> PyResult<()>,
    ) -> PyResult<()> {
        let Some(mut context) = self.state.with(py, |state| state.context.take()) else {
            // Another callback of this connection is running and has the context.
            return body();
        };
        let Ok(entered) = context.enter(py) else {
            // A program runs the loop again inside this very context.
            self.state.with(py, |state| state.context = Some(context));
            return body();
        };
        let result = body();
        let left = context.leave(py, entered);
        let spare = self.state.with(py, |state| {
            if state.life == Lifecycle::Lost {
                return Some(context);
            }
            state.context.replace(context)
        });
        if let Some(spare) = spare {
            spare.release(py);
        }
        result.and(left)
    }

    /// The protocol, until the connection is lost.
    #[inline]
    pub(crate) fn protocol<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.state.with(py, |state| {
            Some(state.protocol.as_ref()?.clone_ref(py).into_bound(py))
        })
    }

    /// Whether the connection belongs to `server`.
    pub(crate) fn belongs_to(&self, py: Python<'_>, server: &Bound<'_, ServerBase>) -> bool {
        self.state.with(py, |state| {
            state.server.as_ref().is_some_and(|own| own.is(server))
        })
    }

    /// Lets the loop hold us weakly if it has nothing to do for us: reading is paused, or the peer has
    /// ended and the program keeps its own side open, and nothing waits to be sent. Only the program
    /// can go on with the connection then, and only as long as it has it.
    #[inline]
    pub(crate) fn loosen(this: &Bound<'_, Self>) {
        let py = this.py();
        if this.get().state.with(py, |state| state.is_idle()) {
            hold::loosen(this.as_any(), &this.get().event_loop, || {
                this.get().state.with(py, |state| {
                    let idle = state.is_idle();
                    let place = state.place().filter(|_| idle);
                    place.inspect(|_| state.hold = Hold::Weak)
                })
            });
        }
    }

    /// Has the loop hold us again, before it is to do something for us.
    #[inline]
    pub(crate) fn hold(this: &Bound<'_, Self>) {
        let py = this.py();
        let place = this.get().state.with(py, |state| {
            match std::mem::replace(&mut state.hold, Hold::Strong) {
                Hold::Weak => state.place(),
                Hold::Strong => None,
            }
        });
        if let Some(place) = place {
            let event_loop = this.get().event_loop.bind(py).get();
            event_loop.hold(place, this.as_any());
        }
    }

    /// The waiter's turn: the connection is made.
    ///
    /// # Errors
    /// What the future raises.
    pub(crate) fn wake_waiter(&self, py: Python<'_>) -> PyResult<()> {
        let waiter = self.state.with(py, |state| state.waiter.take());
        match waiter {
            Some(waiter) => asyncio::wake_waiter(waiter.bind(py)),
            None => Ok(()),
        }
    }

    /// Shows what the transport holds to the collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let visited = self.state.try_with(|state| {
            visit.call(&self.event_loop)?;
            if let Some(registration) = &state.registration {
                registration.visit(visit)?;
            }
            state.descriptor.visit(visit)?;
            visit.call(&state.protocol)?;
            state
                .context
                .as_ref()
                .map_or(Ok(()), |it| it.visit(visit))?;
            visit.call(&state.server)?;
            visit.call(&state.extra)?;
            visit.call(&state.waiter)?;
            state
                .transfer
                .as_ref()
                .map_or(Ok(()), |transfer| transfer.visit(visit))
        });
        visited.unwrap_or(Ok(()))
    }
}
