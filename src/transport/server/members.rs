//! The transports that belong to a server.
//!
//! Loop thread only. Every transport of the loop is asked: closing all clients is rare, and a list of
//! them would cost every connection.

use pyo3::prelude::*;

use crate::event_loop::EventLoop;
use crate::py::calling::fast_method::fast_method;
use crate::py::calling::names::name;
use crate::py::value;
use crate::transport::server::base::ServerBase;
use crate::transport::stream::state::StreamTransport;

fast_method!(
    Transports,
    ServerBase,
    "_transports",
    c"_transports($self)\n--\n\nThe open transports of this server's connections.",
    |this, []| {
        let py = this.py();
        let event_loop = this.getattr(name!(py, _loop))?.cast_into::<EventLoop>()?;
        let members = event_loop.get().sources(py)?.into_iter().filter(|object| {
            let transport = object.bind(py).cast::<StreamTransport>();
            transport.is_ok_and(|transport| transport.get().belongs_to(py, this))
        });
        let members = members.map(|object| object.into_bound(py));
        Ok(value::list(py, members)?.into_any())
    }
);
