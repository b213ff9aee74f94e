//! Streams: the parts of `ferroloop.StreamReader` and `ferroloop.StreamWriter` that run for every message.
//!
//! - `coroutine_methods`: its methods that Python sees
//! - `field`: fields that Python sets
//! - `reader`: `StreamReaderBase`, the reader's fields, and feeding it
//! - `writer`: `StreamWriterBase`, the writer's fields
//! - `buffered`: what the reader's buffer holds
//! - `work`: what a coroutine is to do
//! - `coroutine`: `StreamCoroutine`, one call that can wait
//! - `reading`: `read`, `readexactly`, `readline`, `readuntil`
//! - `writing`: `write`, `drain`
//! - `protocol`: `StreamProtocolBase`, from the transport to the reader
//!
//! The Python classes derive from these and, behind them, from asyncio's own: every field of
//! asyncio's that a class here keeps has asyncio's name and can be set, so that asyncio's methods
//! work on it. The code here handles messages that succeed. In all other cases (an exception, the
//! end, a limit, an unusual argument, a derived class) asyncio's method of the same name runs, from
//! its beginning, on the same fields.

mod buffered;
mod coroutine;
mod coroutine_methods;
mod field;
mod protocol;
mod reader;
mod reading;
mod work;
mod writer;
mod writing;

use pyo3::PyTypeInfo;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::py::calling::function::install_on as coroutine_method;
use crate::py::calling::method::install_on as method;
use crate::py::calling::property;
use crate::py::lifetime::blank;
use crate::py::lifetime::pool;

pub(crate) use coroutine::StreamCoroutine;
pub(crate) use protocol::StreamProtocolBase;
pub(crate) use reader::StreamReaderBase;
pub(crate) use writer::StreamWriterBase;

/// Prepares the classes. Call once, when the module is initialised.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    pool::install::<StreamCoroutine>(py)?;
    blank::install::<StreamReaderBase>(py);
    blank::install::<StreamWriterBase>(py);
    blank::install::<StreamProtocolBase>(py);
    accelerate_reader(&StreamReaderBase::type_object(py))?;
    accelerate_writer(&StreamWriterBase::type_object(py))?;
    property::install(py, reader::fields())?;
    property::install(py, writer::fields())?;
    property::install(py, protocol::fields())?;
    method::<reader::SetAttribute>(&StreamReaderBase::type_object(py))?;
    method::<protocol::SetAttribute>(&StreamProtocolBase::type_object(py))?;
    method::<protocol::DataReceived>(&StreamProtocolBase::type_object(py))
}

/// Puts the methods that are called for every message on `reader` and `writer`, which are the
/// native classes or derived from them.
///
/// Raises TypeError for other classes.
#[pyfunction]
#[pyo3(name = "_accelerate_streams")]
pub(crate) fn accelerate(reader: &Bound<'_, PyType>, writer: &Bound<'_, PyType>) -> PyResult<()> {
    accelerate_reader(reader)?;
    accelerate_writer(writer)
}

fn accelerate_reader(class: &Bound<'_, PyType>) -> PyResult<()> {
    method::<reading::FeedData>(class)?;
    coroutine_method::<reading::Read>(class)?;
    coroutine_method::<reading::ReadExactly>(class)?;
    coroutine_method::<reading::ReadLine>(class)?;
    coroutine_method::<reading::ReadUntil>(class)
}

fn accelerate_writer(class: &Bound<'_, PyType>) -> PyResult<()> {
    method::<writing::Write>(class)?;
    coroutine_method::<writing::Drain>(class)
}
