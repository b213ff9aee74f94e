//! The descriptor of a `socket.socket`, read where CPython keeps it.
//!
//! Any attached thread may call it. The one surprise: where that is belongs to CPython alone (it is
//! the first field of the C structure since Python 2), so the first reading is compared with what
//! `fileno()` says, and if they differ `fileno()` is asked from then on.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};

use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::py::{asyncio, call};

/// Nobody has compared yet.
const UNKNOWN: u8 = 0;
/// The field is where we read it.
const PROVEN: u8 = 1;
/// It is not.
const ELSEWHERE: u8 = 2;

static FIELD: AtomicU8 = AtomicU8::new(UNKNOWN);

/// The descriptor of `sock`, or -1 once it is closed; `None` unless it is a `socket.socket` itself.
///
/// # Errors
/// What `fileno()` raises.
#[inline]
pub fn number(sock: Borrowed<'_, '_, PyAny>) -> PyResult<Option<RawFd>> {
    if !sock.get_type().is(asyncio::socket(sock.py())?) {
        return Ok(None);
    }
    if FIELD.load(Ordering::Relaxed) == PROVEN {
        return Ok(Some(read(sock)));
    }
    asked(sock).map(Some)
}

/// The field behind the head of the object.
///
/// # Invariant
/// `sock` is a `socket.socket`, and `is_long_enough` held for its base.
#[inline]
fn read(sock: Borrowed<'_, '_, PyAny>) -> RawFd {
    let place = sock.as_ptr().wrapping_add(1).cast::<i32>();
    // SAFETY: the invariant: four aligned bytes of a live object, which other threads of a
    // free-threaded Python write atomically.
    let field = unsafe { AtomicI32::from_ptr(place) };
    field.load(Ordering::Relaxed)
}

/// What `fileno()` says; the first time, also whether the field says the same.
#[cold]
fn asked(sock: Borrowed<'_, '_, PyAny>) -> PyResult<RawFd> {
    let py = sock.py();
    let number = call::method0(&sock, intern!(py, "fileno"))?.extract::<RawFd>()?;
    // A closed socket's -1 would prove little.
    if FIELD.load(Ordering::Relaxed) == UNKNOWN && number > 0 {
        let same = is_long_enough(py)? && read(sock) == number;
        let found = if same { PROVEN } else { ELSEWHERE };
        FIELD.store(found, Ordering::Relaxed);
    }
    Ok(number)
}

/// Whether the C structure of a socket goes on behind the head of the object.
fn is_long_enough(py: Python<'_>) -> PyResult<bool> {
    let base = asyncio::c_socket(py)?.cast::<PyType>()?;
    let size: usize = base.getattr(intern!(py, "__basicsize__"))?.extract()?;
    Ok(size >= size_of::<ffi::PyObject>() + size_of::<i32>())
}
