//! `socket.socket`: reading its descriptor, and making sockets for descriptors of ours.
//!
//! Any attached thread may call it. The descriptor is the first field of the C structure, which is
//! private to CPython, though it has been so since Python 2. The first reading is compared with
//! `fileno()`; if they differ, `fileno()` is called from then on.

use std::cell::Cell;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::py::calling::call;
use crate::py::calling::names::name;
use crate::py::stdlib::asyncio;
use crate::py::value::{Int, Text};

/// Not compared yet.
const UNKNOWN: u8 = 0;
/// The field is at the expected place.
const FOUND: u8 = 1;
/// It is not.
const ELSEWHERE: u8 = 2;

static FIELD: AtomicU8 = AtomicU8::new(UNKNOWN);

/// The descriptor of `sock`, or -1 once it is closed; `None` unless it is a `socket.socket` itself.
#[inline]
pub(crate) fn number(sock: Borrowed<'_, '_, PyAny>) -> PyResult<Option<RawFd>> {
    if !sock.get_type().is(asyncio::socket(sock.py())?) {
        return Ok(None);
    }
    if FIELD.load(Ordering::Relaxed) == FOUND {
        return Ok(Some(read(sock)));
    }
    asked(sock).map(Some)
}

/// Whether the class of `sock` overrides any of the methods `names`; a program expects these to be
/// called.
///
/// # Errors
/// What the class raises when it is asked for them, except `AttributeError`.
pub(crate) fn replaces(sock: &Bound<'_, PyAny>, names: &[&str]) -> PyResult<bool> {
    let (class, plain) = (sock.get_type(), asyncio::socket(sock.py())?);
    if class.is(plain) {
        return Ok(false);
    }
    for name in names {
        let own = class.getattr_opt(Text(*name))?;
        if own.is_none_or(|own| plain.getattr(Text(*name)).is_ok_and(|it| !it.is(&own))) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A Python socket whose descriptor a transport uses. A program may close it at any time, and
/// the number may be another file's then.
pub(crate) struct Held {
    /// The Python socket, which owns the descriptor.
    socket: Py<PyAny>,
    /// What `fileno()` returned at first.
    first: RawFd,
    /// # Invariant
    /// If true, `socket` is a `_socket.socket`, and `is_long_enough` held for that.
    followed: bool,
}

impl Held {
    /// Takes hold of `socket`.
    ///
    /// # Errors
    /// What `fileno()` raises, or that it returns no `int`.
    pub(crate) fn new(socket: Bound<'_, PyAny>) -> PyResult<Self> {
        let py = socket.py();
        let first = call::method0(&socket, name!(py, fileno))?.extract()?;
        let followed = follows(&socket, first).unwrap_or(false);
        Ok(Self {
            socket: socket.unbind(),
            first,
            followed,
        })
    }

    /// The Python socket.
    pub(crate) fn object(&self) -> &Py<PyAny> {
        &self.socket
    }

    /// The descriptor that it had at first.
    pub(crate) fn first(&self) -> RawFd {
        self.first
    }

    /// The descriptor that it has now: -1 once it is closed. For an object that is no
    /// `_socket.socket`, the one that it had at first.
    #[inline]
    pub(crate) fn number(&self, py: Python<'_>) -> RawFd {
        if self.followed {
            read(self.socket.bind_borrowed(py))
        } else {
            self.first
        }
    }
}

/// A socket of the standard library's class that takes over `owned`. It does not block, and is
/// marked as such.
///
/// # Errors
/// What `socket.socket` raises, or an audit hook; the descriptor is closed then.
pub(crate) fn adopt(py: Python<'_>, owned: OwnedFd, kind: (i32, i32, i32)) -> PyResult<Held> {
    let candidate = Candidate::new(py, owned.as_raw_fd(), kind)?;
    Ok(candidate.own(owned))
}

/// Such a socket for a descriptor that still has its owner. Unless it takes over, it detaches from
/// the descriptor when it is dropped.
pub(crate) struct Candidate<'py> {
    /// The Python socket.
    socket: Bound<'py, PyAny>,
    /// The descriptor.
    number: RawFd,
    /// As in `Held`.
    followed: bool,
    /// Whether it has taken over.
    owns: Cell<bool>,
}

impl<'py> Candidate<'py> {
    /// A candidate for the descriptor `number`, which does not block.
    ///
    /// # Errors
    /// What `socket.socket` raises, or an audit hook.
    pub(crate) fn new(
        py: Python<'py>,
        number: RawFd,
        (family, class, proto): (i32, i32, i32),
    ) -> PyResult<Self> {
        let plain = asyncio::socket(py)?;
        // If `__init__` is interrupted, it may have taken the number already, so the candidate is
        // dropped.
        let mut candidate = Self {
            socket: plain.call_method1(name!(py, __new__), (plain,))?,
            number,
            followed: false,
            owns: Cell::new(false),
        };
        let [family, class, proto, fileno] = [family, class, proto, number].map(i64::from).map(Int);
        let arguments = (family, class, proto, fileno);
        (candidate.socket).call_method1(name!(py, __init__), arguments)?;
        candidate.followed = follows(&candidate.socket, number).unwrap_or(false);
        Ok(candidate)
    }

    /// Makes the Python socket the owner, if `owned` is its descriptor; returns `owned` otherwise.
    pub(crate) fn take_over(&self, owned: OwnedFd) -> Result<Held, OwnedFd> {
        if owned.as_raw_fd() == self.number {
            Ok(self.own(owned))
        } else {
            Err(owned)
        }
    }

    fn own(&self, owned: OwnedFd) -> Held {
        // The Python socket owns the number from here on.
        let _ = owned.into_raw_fd();
        self.owns.set(true);
        Held {
            socket: self.socket.clone().unbind(),
            first: self.number,
            followed: self.followed,
        }
    }
}

impl Drop for Candidate<'_> {
    fn drop(&mut self) {
        if !self.owns.get() {
            let py = self.socket.py();
            let detached = asyncio::c_socket(py)
                .and_then(|base| base.call_method1(name!(py, detach), (&self.socket,)));
            drop(detached);
        }
    }
}

/// Whether the field of `socket` is at the expected place and holds `number`.
fn follows(socket: &Bound<'_, PyAny>, number: RawFd) -> PyResult<bool> {
    let py = socket.py();
    Ok(is_c_socket(socket)? && is_long_enough(py)? && read(socket.as_borrowed()) == number)
}

/// Whether `object` is a `_socket.socket`; an object that only has it as its `__class__` is not.
pub(crate) fn is_c_socket(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    let base = asyncio::c_socket(object.py())?;
    object.get_type().is_subclass(base)
}

/// The field behind the head of the object.
///
/// # Invariant
/// `sock` is a `_socket.socket`, and `is_long_enough` held for that class.
#[inline]
fn read(sock: Borrowed<'_, '_, PyAny>) -> RawFd {
    let place = sock.as_ptr().wrapping_add(1).cast::<i32>();
    // SAFETY: the invariant: four aligned bytes of a live object, which other threads of a
    // free-threaded Python write atomically.
    let field = unsafe { AtomicI32::from_ptr(place) };
    field.load(Ordering::Relaxed)
}

/// The result of `fileno()`. The first time, also compares it with the field.
#[cold]
fn asked(sock: Borrowed<'_, '_, PyAny>) -> PyResult<RawFd> {
    let py = sock.py();
    let number = call::method0(&sock, name!(py, fileno))?.extract::<RawFd>()?;
    // The -1 of a closed socket may be found in other places too.
    if FIELD.load(Ordering::Relaxed) == UNKNOWN && number > 0 {
        let same = is_long_enough(py)? && read(sock) == number;
        let found = if same { FOUND } else { ELSEWHERE };
        FIELD.store(found, Ordering::Relaxed);
    }
    Ok(number)
}

/// Whether the C structure of a socket is longer than the head of the object.
fn is_long_enough(py: Python<'_>) -> PyResult<bool> {
    let base = asyncio::c_socket(py)?.cast::<PyType>()?;
    let size: usize = base.getattr(name!(py, __basicsize__))?.extract()?;
    Ok(size >= size_of::<ffi::PyObject>() + size_of::<i32>())
}
