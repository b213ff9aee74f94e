//! From a datagram protocol to the kernel: each datagram is sent at once, or queued while there is no room.
//!
//! Loop thread only. Numeric addresses, and the address of the last sender, are handled here. Every
//! other address goes through Python's `socket.sendto`, with its rules and errors.

use std::collections::TryReserveError;
use std::io;

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyInt, PyMemoryView, PyString, PyTuple};

use crate::error::{exception, leaves_the_loop, no_memory, os_error, would_block};
use crate::event_loop::Edges;
use crate::logic::flow_control::LOST_WRITES;
use crate::py::calling::names::name;
use crate::py::data::buffer;
use crate::py::stdlib::{asyncio, audit};
use crate::py::value::{Text, shown};
use crate::sys::address::{Address, RawAddress};
use crate::sys::datagram;
use crate::sys::nonblocking::{self, Family};
use crate::transport::chunk::not_bytes;
use crate::transport::datagram::state::DatagramTransport;
use crate::transport::endpoint::{Reads, Transport};
use crate::transport::flow::Buffers;

/// The result of one attempt to send.
enum Sent {
    /// The kernel has taken it.
    Yes,
    /// The kernel's buffer is full.
    Blocked,
    /// The socket reported an error; the endpoint stays open.
    Refused(PyErr),
    /// It cannot be sent at all.
    Failed(PyErr),
}

impl DatagramTransport {
    /// `transport.sendto(data, addr)`.
    ///
    /// # Errors
    /// `TypeError` for data that is not bytes-like, `ValueError` for an address that is not the
    /// peer's, and what the protocol's `error_received` raises.
    pub(crate) fn sendto<'py>(
        this: &Bound<'py, Self>,
        data: &Bound<'py, PyAny>,
        addr: Option<Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        check_data(data)?;
        if !transport.sends_empty && data.len()? == 0 {
            return Ok(());
        }
        let addr = transport.destination(addr.unwrap_or_else(|| py.None().into_bound(py)))?;
        if transport.is_lost(py)? {
            return Ok(());
        }
        if transport.state.with(py, |state| state.queue.is_empty()) {
            match transport.attempt(data, &addr) {
                Sent::Yes => return Ok(()),
                Sent::Blocked => Self::watch_for_room(this)?,
                Sent::Refused(error) => return Self::refused(this, error),
                Sent::Failed(error) => return Self::failed(this, error),
            }
        }
        let data = flat(data)?;
        let (size, header) = (data.as_bytes().len(), transport.header);
        let room = transport.state.with(py, |state| {
            state.queue.try_reserve(1)?;
            state.queue.push_back((data.unbind(), addr.unbind()));
            state.size += size + header;
            Ok::<_, TryReserveError>(())
        });
        room.map_err(|_| no_memory(py))?;
        Self::maybe_pause(this)
    }

    /// The destination of a datagram. An endpoint that was made with an address sends only to it.
    fn destination<'py>(&self, addr: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = addr.py();
        let Some(own) = self.address.as_ref().map(|own| own.bind(py)) else {
            return Ok(addr);
        };
        if !addr.is_none() && !addr.eq(own)? {
            let own = own.str()?;
            let text = format_args!("Invalid address: must be None or {}", shown(&own));
            return Err(exception::<PyValueError>(py, text));
        }
        Ok(own.clone())
    }

    /// Whether the endpoint is lost. If so, counts the send, and warns if there were several. An
    /// endpoint without an address of its own sends until its descriptor is closed, as asyncio's
    /// does.
    fn is_lost(&self, py: Python<'_>) -> PyResult<bool> {
        let bound = self.address.is_none();
        let warns = self.state.with(py, |state| {
            let open = !state.descriptor.is_closed();
            if !state.endpoint.life.is_lost() || (bound && open) {
                return None;
            }
            state.lost_sends = state.lost_sends.saturating_add(1);
            // asyncio counts the loss itself as well.
            Some(state.lost_sends >= LOST_WRITES)
        });
        if warns == Some(true) {
            let logger = asyncio::logger(py)?;
            logger.call_method1(
                name!(py, warning),
                (Text("socket.send() raised exception."),),
            )?;
        }
        Ok(warns.is_some())
    }

    /// Tries to send one datagram.
    fn attempt(&self, data: &Bound<'_, PyAny>, addr: &Bound<'_, PyAny>) -> Sent {
        let py = data.py();
        let number = self.state.with(py, |state| state.descriptor.number(py));
        let raw = if self.connected {
            None
        } else {
            match audit::has_hooks(py) {
                // An audit hook sees the call only if Python's own method makes it.
                Ok(has_hook) if has_hook => None,
                Ok(_) => self.raw_address(addr),
                Err(error) => return Sent::Failed(error),
            }
        };
        if raw.is_none() && !(self.connected && self.family != Family::Foreign) {
            return self.attempt_in_python(data, addr);
        }
        let to_kernel = |bytes: &[u8]| match &raw {
            Some(raw) => datagram::send_to(number, bytes, raw),
            None => nonblocking::send(number, bytes),
        };
        let sent = match data.cast_exact::<PyBytes>() {
            Ok(data) => to_kernel(data.as_bytes()),
            Err(_) => match buffer::with_bytes(data, to_kernel) {
                Ok(sent) => sent,
                Err(error) => return Sent::Failed(error),
            },
        };
        match sent {
            Ok(_) => Sent::Yes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Sent::Blocked,
            Err(error) => Sent::Refused(os_error(&error)),
        }
    }

    fn attempt_in_python(&self, data: &Bound<'_, PyAny>, addr: &Bound<'_, PyAny>) -> Sent {
        let py = data.py();
        let Some(sock) = self.sock(py) else {
            return Sent::Yes;
        };
        let sent = if self.connected {
            sock.call_method1(name!(py, send), (data,))
        } else {
            sock.call_method1(name!(py, sendto), (data, addr))
        };
        match sent {
            Ok(_) => Sent::Yes,
            Err(error) if would_block(py, &error) => Sent::Blocked,
            Err(error) if error.is_instance_of::<PyOSError>(py) => Sent::Refused(error),
            Err(error) => Sent::Failed(error),
        }
    }

    /// `addr` for the kernel, if it is that of the last sender or numeric.
    fn raw_address(&self, addr: &Bound<'_, PyAny>) -> Option<RawAddress> {
        let py = addr.py();
        let last = self.state.with(py, |state| {
            let peer = state
                .peer
                .as_ref()
                .filter(|peer| peer.object.as_ptr() == addr.as_ptr())?;
            Some(peer.raw.clone())
        });
        let numeric = || RawAddress::of(&numeric_address(self.family, addr)?);
        match self.family {
            Family::V4 | Family::V6 => last.or_else(numeric),
            Family::Unix | Family::Foreign => None,
        }
    }

    /// The socket reported an error for a datagram: the protocol is told, and nothing else happens.
    fn refused(this: &Bound<'_, Self>, error: PyErr) -> PyResult<()> {
        match this.get().protocol(this.py()) {
            Some(protocol) => Self::tell_error(this, &protocol, error),
            None => Ok(()),
        }
    }

    fn failed(this: &Bound<'_, Self>, error: PyErr) -> PyResult<()> {
        if leaves_the_loop(this.py(), &error) {
            return Err(error);
        }
        Self::fatal_error(this, error, "Fatal write error on datagram transport")
    }

    /// Called by the loop when there is room, or when the transport has asked to be resumed.
    pub(crate) fn write_ready(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        loop {
            let next = transport.state.with(py, |state| {
                state.sends_on = false;
                let (data, addr) = state.queue.pop_front()?;
                state.size -= data.bind(py).as_bytes().len() + transport.header;
                Some((data, addr))
            });
            let Some((data, addr)) = next else { break };
            match transport.attempt(data.bind(py), addr.bind(py)) {
                Sent::Yes => {}
                Sent::Blocked => {
                    transport.state.with(py, |state| {
                        state.size += data.bind(py).as_bytes().len() + transport.header;
                        state.queue.push_front((data, addr));
                    });
                    break;
                }
                Sent::Refused(error) => {
                    transport.send_on(py);
                    return Self::refused(this, error);
                }
                Sent::Failed(error) => return Self::failed(this, error),
            }
        }
        // If an exception leaves the loop here, the next event ends the connection.
        Self::maybe_resume(this).inspect_err(|_| transport.send_on(py))?;
        Self::drained(this)
    }

    /// Continues to send in the next turn, after an error.
    fn send_on(&self, py: Python<'_>) {
        self.state.with(py, |state| state.sends_on = true);
        self.resume(py);
    }

    /// After everything is sent: ends the watch for room, and closes the transport if that was
    /// asked for.
    fn drained(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        let (drained, closes, place) = transport.state.with(py, |state| {
            let drained = state.queue.is_empty() && state.blocked && !state.endpoint.life.is_lost();
            state.blocked &= !drained;
            let endpoint = &state.endpoint;
            (drained, endpoint.life.is_closing(), endpoint.place())
        });
        if !drained {
            return Ok(());
        }
        if closes {
            return Self::lose_now(this);
        }
        if let Some(place) = place {
            // If it fails, the watch for room stays, which costs wake-ups only.
            let _ = place.rearm(transport.event_loop.bind(py), Edges::Read);
        }
        Self::loosen(this);
        Ok(())
    }

    fn watch_for_room(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        Self::hold(this);
        let (place, blocked) = this.get().state.with(py, |state| {
            let blocked = std::mem::replace(&mut state.blocked, true);
            (state.endpoint.place(), blocked)
        });
        match place {
            Some(place) if !blocked => place.rearm(this.get().event_loop.bind(py), Edges::Both),
            _ => Ok(()),
        }
    }
}

/// Checks that `data` is bytes, bytearray or memoryview.
fn check_data(data: &Bound<'_, PyAny>) -> PyResult<()> {
    let known = data.is_instance_of::<PyBytes>()
        || data.is_instance_of::<PyByteArray>()
        || data.is_instance_of::<PyMemoryView>();
    if known {
        return Ok(());
    }
    Err(not_bytes(&data.get_type().name()?))
}

/// A `bytes` with the current content of `data`.
fn flat<'py>(data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let py = data.py();
    match data.cast_exact::<PyBytes>() {
        Ok(data) => Ok(data.clone()),
        Err(_) => Ok(py.get_type::<PyBytes>().call1((data,))?.cast_into()?),
    }
}

/// `addr` if it is a tuple of a numeric host of `family` and numbers, as Python takes them.
fn numeric_address(family: Family, addr: &Bound<'_, PyAny>) -> Option<Address> {
    let addr = addr.cast_exact::<PyTuple>().ok()?;
    let host = addr.get_borrowed_item(0).ok()?;
    let host = host.cast_exact::<PyString>().ok()?;
    let host = host.to_str().ok()?;
    let number = |index: usize| {
        let item = addr.get_borrowed_item(index).ok()?;
        item.cast_exact::<PyInt>().ok()?.extract::<u32>().ok()
    };
    let port = u16::try_from(number(1)?).ok()?;
    match (family, addr.len()) {
        (Family::V4, 2) => Some(Address::V4(host.parse().ok()?, port)),
        (Family::V6, 2..=4) => {
            let flow = if addr.len() > 2 { number(2)? } else { 0 };
            let scope = if addr.len() > 3 { number(3)? } else { 0 };
            // Python's own function refuses larger flow labels.
            (flow <= 0xf_ffff).then(|| {
                Some(Address::V6(Box::new((
                    host.parse().ok()?,
                    port,
                    flow,
                    scope,
                ))))
            })?
        }
        _ => None,
    }
}
