//! The methods of a stream writer that every message calls.
//!
//! The thread of the writer's loop. A stream transport of ours is called natively. Any other transport,
//! and one with attributes of its own, is called through its Python methods.

use pyo3::prelude::*;

use crate::py::calling::call;
use crate::py::calling::coroutine::origins_are_tracked;
use crate::py::calling::fast_method::fast_method;
use crate::py::calling::names::name;
use crate::py::stdlib::asyncio;
use crate::streams::coroutine::StreamCoroutine;
use crate::streams::field;
use crate::streams::work::Work;
use crate::streams::writer::StreamWriterBase;
use crate::transport::stream::StreamTransport;

fast_method!(
    Write,
    StreamWriterBase,
    "write",
    c"write($self, data)\n--\n\n\
        Write data to the transport; await drain() after it.",
    |this, [data]| {
        let py = this.py();
        let transport = field::object(&this.get().state, py, |state| &mut state.transport);
        match StreamTransport::plain(&transport) {
            Some(transport) => StreamTransport::write(transport, &data)?,
            None => drop(call::method1(&transport, name!(py, write), &data)?),
        }
        Ok(py.None().into_bound(py))
    }
);

fast_method!(
    Drain,
    StreamWriterBase,
    "drain",
    c"drain($self)\n--\n\n\
        A coroutine: wait until writing makes sense again. Raises the reader's exception, and \
        ConnectionResetError if the connection is lost.",
    |this, []| {
        let py = this.py();
        if !this.get().is_exact || origins_are_tracked() {
            return asyncio::stream_writer(py)?.call_method1(name!(py, drain), (this,));
        }
        StreamCoroutine::begin(py, Work::Drain(this.clone().unbind()))
    }
);
