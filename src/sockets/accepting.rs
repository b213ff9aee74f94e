//! `sock_accept`: one attempt to accept, and a future if no connection waits.
//!
//! Loop thread only. The new Python socket is told by its type that it does not
//! block, which saves the system call that `setblocking(False)` would make.

use std::io;

use pyo3::prelude::*;

use crate::error::os_error;
use crate::event_loop::{Direction, EventLoop};
use crate::py::calling::method::fast_method;
use crate::py::calling::names::name;
use crate::py::stdlib::socket::adopt;
use crate::py::value;
use crate::sockets::waiting::{blocks, number_of, wait};
use crate::sys::nonblocking::{Family, Origin};
use crate::sys::socket;
use crate::transport::address;

fast_method!(
    Accept,
    EventLoop,
    "_sock_accept",
    [],
    c"_sock_accept($self, sock, /)\n--\n\n\
        (socket, address), or a future after which to try again, or NotImplemented.",
    |this, arguments| {
        let py = arguments.py;
        let not_ours = || Ok(py.NotImplemented().into_bound(py));
        let Some(sock) = arguments.get(0) else {
            return not_ours();
        };
        let Some(number) = number_of(this.get(), sock)? else {
            return not_ours();
        };
        // accept(2) has no flag that keeps it from waiting.
        if blocks(&sock)? {
            return not_ours();
        }
        let Ok(origin) = Origin::of(number) else {
            return not_ours();
        };
        if Family::numbered(origin.family) == Family::Foreign {
            return not_ours();
        }
        match socket::accept(number) {
            Ok((accepted, peer)) => {
                // Python keeps what the listener was made with, which the kernel may know better.
                let proto = sock.getattr(name!(py, proto))?.extract()?;
                let made = adopt(py, accepted, origin.for_python(proto))?;
                let made = made.object().bind(py).clone();
                let peer = address::to_python(py, &peer)?;
                Ok(value::tuple(py, &[made, peer])?.into_any())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait(this, sock, number, Direction::Read)
            }
            Err(error) => Err(os_error(&error)),
        }
    }
);
