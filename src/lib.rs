//! Python's asyncio event loop, written in Rust: the extension module `ferroloop._native`.
//!
//! Layers, each using only those before it: `error`, `logic`, `sys`, `py`, `handle`, `event_loop`,
//! `transport`, `streams`, `sockets`, `process`, `resolve`, and this list of what Python sees.

mod error;
mod event_loop;
mod handle;
mod logic;
mod process;
mod py;
mod resolve;
mod sockets;
mod streams;
mod sys;
mod transport;

use pyo3::prelude::*;

/// The native half of ferroloop. A free-threaded Python is asked for its GIL, because nobody has
/// tried this without.
#[pymodule(gil_used = true)]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::event_loop::{EventLoop, accelerate};
    #[pymodule_export]
    use crate::handle::{Handle, TimerHandle};

    #[pymodule_export]
    use crate::process::ProcessWatch;
    #[pymodule_export]
    use crate::py::ssl::call_openssl;
    #[pymodule_export]
    use crate::resolve::getaddrinfo_literal;
    #[pymodule_export]
    use crate::transport::{
        DatagramTransport, DirectProtocol, Listener, PipeTransport, ReadPipeTransport, ServerBase,
        StreamTransport, TlsProtocol, TlsTransport, WritePipeTransport,
    };

    #[pymodule_export]
    use crate::streams::{
        StreamCoroutine, StreamProtocolBase, StreamReaderBase, StreamWriterBase,
        accelerate as _accelerate_streams,
    };

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::initialise(module.py())
    }
}

/// Prepares what must be ready before the first loop exists.
fn initialise(py: Python<'_>) -> PyResult<()> {
    py::context::prove_layout(py)?;
    // At the interpreter's end nothing can be imported any more, and transports still warn and
    // close.
    py::asyncio::warn(py)?;
    py::asyncio::c_socket(py)?;
    handle::install(py)?;
    event_loop::install(py)?;
    transport::install(py)?;
    sockets::install(py)?;
    streams::install(py)
}
