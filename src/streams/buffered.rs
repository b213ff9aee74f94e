//! Looks for what a read wants in the reader's buffer, and takes it out.
//!
//! The thread of the reader's loop. Nothing is taken out unless the whole result is there, so a
//! coroutine that is cancelled, or replaced by asyncio's, has changed nothing.

use memchr::{memchr, memmem};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::streams::reader::StreamReaderBase;

/// What came of a look at the buffer.
pub(crate) enum Look<'py> {
    Bytes(Bound<'py, PyBytes>),
    /// More data has to come. Holds how far the buffer was searched.
    Wait(usize),
    /// The end, an exception or a limit: asyncio's coroutine handles it.
    Asyncio,
}

/// `read(count)`
#[inline]
pub(crate) fn some<'py>(
    reader: &Bound<'py, StreamReaderBase>,
    count: usize,
    woken: bool,
) -> PyResult<Look<'py>> {
    let py = reader.py();
    let eof = reader.get().state.with(py, |state| state.eof);
    if !eof && !woken && reader.get().held(py) == 0 {
        return Ok(Look::Wait(0));
    }
    reader.get().take(py, count).map(Look::Bytes)
}

/// `readexactly(count)`
#[inline]
pub(crate) fn exactly<'py>(
    reader: &Bound<'py, StreamReaderBase>,
    count: usize,
) -> PyResult<Look<'py>> {
    let py = reader.py();
    if reader.get().held(py) >= count {
        return reader.get().take(py, count).map(Look::Bytes);
    }
    let eof = reader.get().state.with(py, |state| state.eof);
    Ok(if eof { Look::Asyncio } else { Look::Wait(0) })
}

/// `readuntil(separator)`, of which nothing begins before `from`.
#[inline]
pub(crate) fn until<'py>(
    reader: &Bound<'py, StreamReaderBase>,
    separator: &[u8],
    from: usize,
) -> PyResult<Look<'py>> {
    let py = reader.py();
    let (eof, limit) = reader
        .get()
        .state
        .with(py, |state| (state.eof, state.limit));
    let Some(limit) = limit else {
        return Ok(Look::Asyncio);
    };
    let held = reader.get().held(py);
    let mut searched = from;
    if held.saturating_sub(from) >= separator.len() {
        let place = reader
            .get()
            .with_bytes(py, from, |bytes| find(bytes, separator));
        if let Some(place) = place.map(|place| place + from) {
            if place > limit {
                return Ok(Look::Asyncio);
            }
            return reader
                .get()
                .take(py, place + separator.len())
                .map(Look::Bytes);
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
