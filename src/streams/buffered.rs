//! What a reader's buffer holds of what is wanted, and taking it out.
//!
//! The thread of the reader's loop. The one surprise: nothing is taken out unless the whole result is
//! there, so a coroutine that is cancelled, or left to asyncio's, has changed nothing.

use memchr::{memchr, memmem};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes};

use crate::py::bytearray;
use crate::streams::reader::StreamReaderBase;

/// What came of a look at the buffer.
pub enum Look<'py> {
    Bytes(Bound<'py, PyBytes>),
    /// More has to come; up to where the buffer was searched.
    Wait(usize),
    /// The end, an exception or a limit.
    Asyncio,
}

/// `read(count)`
#[inline]
pub fn some<'py>(
    reader: &Bound<'py, StreamReaderBase>,
    count: usize,
    woken: bool,
) -> PyResult<Look<'py>> {
    let py = reader.py();
    let buffer = reader.get().buffer(py)?;
    let eof = reader.get().state.with(py, |state| state.eof);
    if buffer.len() == 0 && !eof && !woken {
        return Ok(Look::Wait(0));
    }
    take(reader, &buffer, count)
}

/// `readexactly(count)`
#[inline]
pub fn exactly<'py>(reader: &Bound<'py, StreamReaderBase>, count: usize) -> PyResult<Look<'py>> {
    let py = reader.py();
    let buffer = reader.get().buffer(py)?;
    if buffer.len() >= count {
        return take(reader, &buffer, count);
    }
    let eof = reader.get().state.with(py, |state| state.eof);
    Ok(if eof { Look::Asyncio } else { Look::Wait(0) })
}

/// `readuntil(separator)`, of which nothing begins before `from`.
#[inline]
pub fn until<'py>(
    reader: &Bound<'py, StreamReaderBase>,
    separator: &[u8],
    from: usize,
) -> PyResult<Look<'py>> {
    let py = reader.py();
    let buffer = reader.get().buffer(py)?;
    let (eof, limit) = reader
        .get()
        .state
        .with(py, |state| (state.eof, state.limit));
    let Some(limit) = limit else {
        return Ok(Look::Asyncio);
    };
    let held = buffer.len();
    let mut searched = from;
    if held.saturating_sub(from) >= separator.len() {
        let place = bytearray::with_bytes(&buffer, |bytes| find(&bytes[from..], separator));
        if let Some(place) = place.map(|place| place + from) {
            if place > limit {
                return Ok(Look::Asyncio);
            }
            return take(reader, &buffer, place + separator.len());
        }
        searched = held + 1 - separator.len();
        if searched > limit {
            return Ok(Look::Asyncio);
        }
    }
    Ok(if eof {
        Look::Asyncio
    } else {
        Look::Wait(searched)
    })
}

#[inline]
fn find(bytes: &[u8], separator: &[u8]) -> Option<usize> {
    match separator {
        [byte] => memchr(*byte, bytes),
        _ => memmem::find(bytes, separator),
    }
}

#[inline]
fn take<'py>(
    reader: &Bound<'py, StreamReaderBase>,
    buffer: &Bound<'py, PyByteArray>,
    count: usize,
) -> PyResult<Look<'py>> {
    let bytes = bytearray::take(buffer, count)?;
    reader.get().maybe_resume(reader.py(), buffer.len())?;
    Ok(Look::Bytes(bytes))
}
