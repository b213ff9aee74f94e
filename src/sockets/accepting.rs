//! `sock_accept`: one attempt to accept, and a future if no connection waits.
//!
//! Loop thread only. The new Python socket is made with SOCK_NONBLOCK in its type, which saves the
//! system call of `setblocking(False)`.

use pyo3::prelude::*;

use crate::event_loop::EventLoop;
use crate::py::calling::fast_method::fast_method;
use crate::py::calling::names::name;
use crate::py::stdlib::socket::adopt;
use crate::sockets::calls::{answer, not_ours, pair, socket_of};
use crate::sockets::waiting::blocks;
use crate::sys::nonblocking::{Family, Origin};
use crate::sys::socket;

fast_method!(
    Accept,
    EventLoop,
    "_sock_accept",
    [],
    c"_sock_accept($self, sock, /)\n--\n\n\
        (socket, address), or a future after which to try again, or NotImplemented.",
    |this, arguments| {
        let Some((sock, number)) = socket_of(this, arguments)? else {
            return not_ours(this);
        };
        let py = arguments.py;
        // accept(2) has no flag that keeps it from waiting.
        if blocks(&sock)? {
            return not_ours(this);
        }
        let Ok(origin) = Origin::of(number) else {
            return not_ours(this);
        };
        if Family::numbered(origin.family) == Family::Foreign {
            return not_ours(this);
        }
        let pair = |(accepted, peer)| {
            // Like Python, uses the number with which the listener was made, even if the kernel
            // would report another.
            let proto = sock.getattr(name!(py, proto))?.extract()?;
            let made = adopt(py, accepted, origin.for_python(proto))?;
            pair(made.object().bind(py).clone(), &peer)
        };
        answer(this, sock, number, socket::accept(number), pair)
    }
);
