//! Python's asyncio event loop, written in Rust: the extension module `ferroloop._native`.
//!
//! Layers, each using only those before it: `error`, `logic`, `sys`, `py`, `handle`, `event_loop`,
//! `transport`, `tls`, `streams`, `sockets`, `process`, `resolve`, and this list of what Python sees.

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
mod tls;
mod transport;

use pyo3::prelude::*;

/// The native half of ferroloop. A free-threaded Python needs no GIL for it: docs/decisions/gil.md.
#[pymodule(gil_used = false)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // This must come first: PyO3 keeps a class in a static, so a class that the wrong interpreter
    // made would stay there.
    py::interpreter::own(module.py())?;
    export(module)?;
    initialise(module.py())
}

/// Adds what Python sees.
fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<event_loop::EventLoop>()?;
    module.add_class::<event_loop::Histogram>()?;
    module.add_class::<event_loop::IdleWorkers>()?;
    module.add_class::<event_loop::Job>()?;
    module.add_class::<event_loop::Watcher>()?;
    module.add_function(wrap_pyfunction!(event_loop::accelerate, module)?)?;
    module.add_class::<handle::Handle>()?;
    module.add_class::<handle::TimerHandle>()?;
    module.add_class::<process::ProcessWatch>()?;
    module.add_function(wrap_pyfunction!(py::stdlib::ssl::call_openssl, module)?)?;
    module.add_function(wrap_pyfunction!(resolve::getaddrinfo_literal, module)?)?;
    module.add_class::<transport::datagram::DatagramTransport>()?;
    module.add_class::<transport::native_protocol::NativeProtocol>()?;
    module.add_class::<transport::server::Listener>()?;
    module.add_class::<transport::pipe::PipeTransport>()?;
    module.add_class::<transport::pipe::ReadPipeTransport>()?;
    module.add_class::<transport::server::ServerBase>()?;
    module.add_class::<transport::stream::StreamTransport>()?;
    module.add_class::<tls::TlsProtocol>()?;
    module.add_class::<tls::TlsTransport>()?;
    module.add_class::<transport::pipe::WritePipeTransport>()?;
    module.add_class::<streams::StreamCoroutine>()?;
    module.add_class::<streams::StreamProtocolBase>()?;
    module.add_class::<streams::StreamReaderBase>()?;
    module.add_class::<streams::StreamWriterBase>()?;
    module.add_function(wrap_pyfunction!(streams::accelerate, module)?)
}

/// Prepares what must be ready before the first loop exists.
fn initialise(py: Python<'_>) -> PyResult<()> {
    #[cfg(all(debug_assertions, Py_3_13))]
    py::borrow_watch::install(py);
    py::calling::names::install(py)?;
    py::context::check_layout(py)?;
    // PyO3 panics where it cannot make a class, so no class is made later.
    py.get_type::<py::data::window::Window>();
    py.get_type::<py::context::Snapshot>();
    // Looked up now, because nothing can be imported while the interpreter ends, and transports
    // still warn and close then.
    py::stdlib::asyncio::warn(py)?;
    py::stdlib::asyncio::c_socket(py)?;
    handle::install(py)?;
    event_loop::install(py)?;
    transport::install(py)?;
    tls::install(py)?;
    sockets::install(py)?;
    streams::install(py)
}
