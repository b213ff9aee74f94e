//! From the kernel to a datagram protocol: a burst in one system call.
//!
//! Loop thread only. asyncio delivers one datagram in each turn, and callbacks that it made ready run before
//! the next one. So several datagrams are delivered at once only while nothing else is ready; the rest
//! is delivered after the next poll.

use std::io;
use std::os::fd::RawFd;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::{leaves_the_loop, os_error, would_block};
use crate::event_loop::Readiness;
use crate::py::calling::names::name;
use crate::py::data::spare;
use crate::py::value::Count;
use crate::sys::address::RawAddress;
use crate::sys::datagram::{Batch, LARGEST_OTHER};
use crate::sys::nonblocking::Family;
use crate::transport::address;
use crate::transport::datagram::state::{DatagramState, DatagramTransport, Peer};
use crate::transport::endpoint::{ReadSide, Reads, Transport};

impl DatagramState {
    fn reads(&self) -> bool {
        self.side.is_on(self.endpoint.life)
    }
}

impl Reads for DatagramTransport {
    fn with_read_side<R>(this: &Bound<'_, Self>, look: impl FnOnce(&mut ReadSide) -> R) -> R {
        let state = &this.get().state;
        state.with(this.py(), |state| look(&mut state.side))
    }

    fn has_more(this: &Bound<'_, Self>) -> bool {
        this.get().state.with(this.py(), |state| {
            state.reads() && (state.side.readable || !state.received.is_empty())
        })
    }

    /// Reading is paused and nothing waits to be sent.
    #[inline]
    fn is_idle(this: &Bound<'_, Self>) -> bool {
        this.get().state.with(this.py(), |state| {
            state.side.is_paused()
                && state.endpoint.is_held_open()
                && !state.blocked
                && state.queue.is_empty()
        })
    }
}

impl DatagramTransport {
    /// Called by the loop when something can be read, or when the transport has asked to be
    /// resumed.
    pub(crate) fn read_ready(this: &Bound<'_, Self>, readiness: Readiness) -> PyResult<()> {
        let py = this.py();
        let turn = this.get().event_loop.bind(py).get().turn(py);
        let (reads, empty) = this.get().state.with(py, |state| {
            state.side.readable |= readiness.readable;
            // asyncio would have cancelled an event that was queued before the program resumed
            // reading.
            let resumed = std::mem::take(&mut state.side.resumed) == turn;
            (state.reads() && !resumed, state.received.is_empty())
        });
        if reads && empty && !Self::receive(this)? {
            return Ok(());
        }
        let result = if reads { Self::deliver(this) } else { Ok(()) };
        Self::read_on(this);
        result
    }

    /// Delivers what was received, for as long as nothing else is waiting to run.
    fn deliver(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        loop {
            let next = transport.state.with(py, |state| {
                if !state.reads() {
                    return None;
                }
                let (data, sender) = state.received.pop_front()?;
                let protocol = state.endpoint.protocol.as_ref()?.clone_ref(py);
                Some((
                    data.into_bound(py),
                    sender.into_bound(py),
                    protocol.into_bound(py),
                ))
            });
            let Some((data, sender, protocol)) = next else {
                return Ok(());
            };
            let call = Self::tell(this, &protocol, name!(py, datagram_received));
            call.call2(&data, &sender)?;
            let event_loop = transport.event_loop.bind(py);
            event_loop.get().give_spare(data);
            if event_loop.get().has_more_to_run(py) {
                return Ok(());
            }
        }
    }

    /// Asks the loop to call again after its next poll if there is more to deliver or to receive.
    pub(crate) fn read_on(this: &Bound<'_, Self>) {
        if Self::has_more(this) {
            this.get().resume(this.py());
        }
    }

    /// Receives what the kernel has, up to a batch. False if there is nothing to deliver.
    fn receive(this: &Bound<'_, Self>) -> PyResult<bool> {
        let py = this.py();
        let transport = this.get();
        let number = transport.state.with(py, |state| {
            std::mem::take(&mut state.side.readable).then(|| state.descriptor.number(py))
        });
        let Some(number) = number else {
            return Ok(false);
        };
        let received = match transport.family {
            Family::Foreign => transport.receive_in_python(py),
            _ => transport.receive_batch(py, number),
        };
        match received {
            Ok(received) => Ok(received),
            Err(error) if error.is_instance_of::<PyOSError>(py) => {
                // There may be datagrams behind the error.
                transport.state.with(py, |state| state.side.readable = true);
                let reported = match transport.protocol(py) {
                    Some(protocol) => Self::tell_error(this, &protocol, error),
                    None => Ok(()),
                };
                Self::read_on(this);
                reported.map(|()| false)
            }
            Err(error) if leaves_the_loop(py, &error) => Err(error),
            Err(error) => {
                Self::fatal_error(this, error, "Fatal read error on datagram transport")?;
                Ok(false)
            }
        }
    }

    fn receive_batch(&self, py: Python<'_>, number: RawFd) -> PyResult<bool> {
        let event_loop = self.event_loop.bind(py).get();
        let mut batch = event_loop.take_batch(py)?;
        let received = batch.receive(number, self.family != Family::Unix);
        let taken = match &received {
            Ok((count, more)) => self.take(py, &batch, *count, *more),
            Err(_) => Ok(()),
        };
        event_loop.give_batch(py, batch);
        taken?;
        match received {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(os_error(&error)),
        }
    }

    /// Receives one datagram on a socket of a family whose addresses only Python can convert.
    #[cold]
    fn receive_in_python(&self, py: Python<'_>) -> PyResult<bool> {
        let Some(sock) = self.sock(py) else {
            return Ok(false);
        };
        match sock.call_method1(name!(py, recvfrom), (Count(LARGEST_OTHER),)) {
            Ok(pair) => {
                let (data, sender) = pair.extract::<(Py<PyBytes>, Py<PyAny>)>()?;
                self.state.with(py, |state| {
                    state.received.push_back((data, sender));
                    state.side.readable = true;
                });
                Ok(true)
            }
            Err(error) if would_block(py, &error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// `protocol.error_received(error)`
    pub(crate) fn tell_error(
        this: &Bound<'_, Self>,
        protocol: &Bound<'_, PyAny>,
        error: PyErr,
    ) -> PyResult<()> {
        let py = protocol.py();
        let error = error.into_value(py).into_bound(py).into_any();
        let call = Self::tell(this, protocol, name!(py, error_received));
        call.call1(&error).map(drop)
    }

    /// Turns the datagrams of `batch` into objects.
    fn take(&self, py: Python<'_>, batch: &Batch, count: usize, more: bool) -> PyResult<()> {
        for index in 0..count {
            let (data, sender) = batch.datagram(index);
            let spare = self.event_loop.bind(py).get().take_spare(py, data.len());
            let data = spare::bytes(py, spare, data)?.unbind();
            let sender = self.sender(py, sender)?;
            self.state
                .with(py, |state| state.received.push_back((data, sender)));
        }
        self.state.with(py, |state| state.side.readable |= more);
        Ok(())
    }

    /// The object for the address `raw`: the same one for datagrams of one sender in a row.
    fn sender(&self, py: Python<'_>, raw: &RawAddress) -> PyResult<Py<PyAny>> {
        let known = self.state.with(py, |state| {
            let peer = state.peer.as_ref()?;
            (peer.raw.bytes() == raw.bytes()).then(|| peer.object.clone_ref(py))
        });
        if let Some(known) = known {
            return Ok(known);
        }
        let object = address::to_python(py, &raw.address())?.unbind();
        let peer = Peer {
            raw: raw.clone(),
            object: object.clone_ref(py),
        };
        let old = self.state.with(py, |state| state.peer.replace(peer));
        drop(old);
        Ok(object)
    }
}
