//! `Descriptor`: who owns the descriptor of a connection.
//!
//! Loop thread only. There is one owner at a time: an accepted connection has no Python socket until the
//! program asks for one, and from then on that socket owns the descriptor.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use pyo3::exceptions::{PyAttributeError, PyOSError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::error::{Raises, exception};
use crate::py::calling::names::name;
use crate::py::cell::LoopCell;
use crate::py::stdlib::asyncio;
use crate::py::stdlib::socket::{Candidate, Held, adopt, is_c_socket};
use crate::sys::nonblocking::{self, Origin};

/// A descriptor and its owner.
pub(crate) enum Descriptor {
    /// The transport alone owns it.
    Owned(OwnedFd),
    /// A Python socket owns it: closed through that.
    Socket {
        /// The `socket.socket`.
        socket: Held,
        /// The `TransportSocket` that users get, once asked for.
        view: Option<Py<PyAny>>,
    },
    /// Closed, with the Python socket that owned it, for which users may still ask.
    Shut {
        /// The closed `socket.socket`.
        socket: Py<PyAny>,
        /// Its `TransportSocket`, once asked for.
        view: Option<Py<PyAny>>,
    },
    /// Closed.
    Closed,
}

impl Descriptor {
    /// The descriptor of a Python socket.
    ///
    /// # Errors
    /// What `fileno()` raises, `ValueError` for a closed one.
    pub(crate) fn of(socket: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = socket.py();
        let socket = Held::new(socket.clone())?;
        if socket.first() < 0 {
            let text = format!("Invalid file descriptor: {}", socket.first());
            return Err(exception::<PyValueError>(py, text));
        }
        Ok(Self::Socket { socket, view: None })
    }

    /// The number for system calls; -1 if it is closed, also by the program through the Python
    /// socket.
    #[inline]
    pub(crate) fn number(&self, py: Python<'_>) -> RawFd {
        match self {
            Self::Owned(owned) => owned.as_raw_fd(),
            Self::Socket { socket, .. } => socket.number(py),
            Self::Shut { .. } | Self::Closed => -1,
        }
    }

    /// The number under which the loop has registered it, or -1.
    #[inline]
    pub(crate) fn registered(&self) -> RawFd {
        match self {
            Self::Owned(owned) => owned.as_raw_fd(),
            Self::Socket { socket, .. } => socket.first(),
            Self::Shut { .. } | Self::Closed => -1,
        }
    }

    /// The Python socket, if there is one.
    pub(crate) fn socket(&self) -> Option<&Py<PyAny>> {
        match self {
            Self::Socket { socket, .. } => Some(socket.object()),
            Self::Shut { socket, .. } => Some(socket),
            Self::Owned(_) | Self::Closed => None,
        }
    }

    /// What replaces it once it is closed.
    pub(crate) fn remains(&self, py: Python<'_>) -> Self {
        match self {
            Self::Socket { view, .. } | Self::Shut { view, .. } => match self.socket() {
                Some(socket) => Self::Shut {
                    socket: socket.clone_ref(py),
                    view: view.as_ref().map(|view| view.clone_ref(py)),
                },
                None => Self::Closed,
            },
            Self::Owned(_) | Self::Closed => Self::Closed,
        }
    }

    /// A closed Python socket of `family`, for a program that asks for the socket after the
    /// connection is lost.
    pub(crate) fn shut<'py>(py: Python<'py>, family: &Bound<'py, PyAny>) -> PyResult<Self> {
        let socket = asyncio::socket(py)?.call1((family,))?;
        socket.call_method0(name!(py, close))?;
        Ok(Self::Shut {
            socket: socket.unbind(),
            view: None,
        })
    }

    /// Shows the Python objects to the collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Self::Socket { view, .. } | Self::Shut { view, .. } = self {
            visit.call(self.socket())?;
            visit.call(view)?;
        }
        Ok(())
    }

    /// Whether it is closed.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self, Self::Shut { .. } | Self::Closed)
    }

    /// The same descriptor with a Python socket as its owner.
    ///
    /// # Errors
    /// What `socket.socket` raises; the descriptor is closed then.
    pub(crate) fn adopt(self, py: Python<'_>) -> PyResult<Self> {
        let Self::Owned(owned) = self else {
            return Ok(self);
        };
        let kind = kind(owned.as_raw_fd())?;
        let socket = adopt(py, owned, kind)?;
        Ok(Self::Socket { socket, view: None })
    }

    /// Closes it when its transport is destroyed. The collector may have cleared the Python socket
    /// already, whose own `close()` fails then; that of its C base does not. Anything else that was
    /// cleared has nothing left to close.
    pub(crate) fn close_abandoned(self, py: Python<'_>) -> PyResult<()> {
        let socket = self.socket().map(|socket| socket.clone_ref(py));
        match (self.close(py), socket) {
            (Err(error), Some(socket)) if error.is_instance_of::<PyAttributeError>(py) => {
                if is_c_socket(socket.bind(py))? {
                    asyncio::c_socket(py)?.call_method1(name!(py, close), (socket,))?;
                }
                Ok(())
            }
            (closed, _) => closed,
        }
    }

    /// Closes it.
    pub(crate) fn close(self, py: Python<'_>) -> PyResult<()> {
        match self {
            Self::Socket { socket, .. } => {
                socket.object().call_method0(py, name!(py, close))?;
            }
            Self::Owned(owned) => drop(owned),
            Self::Shut { .. } | Self::Closed => {}
        }
        Ok(())
    }
}

/// What `view` finds in the place of the descriptor.
enum Known {
    /// Nothing that could be shown.
    Nothing,
    /// The number of a descriptor without a Python socket.
    Number(RawFd),
    /// The Python socket.
    Socket(Py<PyAny>),
    /// Its `TransportSocket`.
    View(Py<PyAny>),
}

impl Descriptor {
    fn known(&self, py: Python<'_>) -> Known {
        match self {
            Self::Owned(owned) => Known::Number(owned.as_raw_fd()),
            Self::Socket { view, .. } | Self::Shut { view, .. } => match (view, self.socket()) {
                (Some(view), _) => Known::View(view.clone_ref(py)),
                (None, Some(socket)) => Known::Socket(socket.clone_ref(py)),
                (None, None) => Known::Nothing,
            },
            Self::Closed => Known::Nothing,
        }
    }

    /// Makes the Python socket of `candidate` the owner, if it was made for this descriptor.
    fn hand_over(&mut self, candidate: &Candidate<'_>) {
        *self = match std::mem::replace(self, Self::Closed) {
            Self::Owned(owned) => match candidate.take_over(owned) {
                Ok(socket) => Self::Socket { socket, view: None },
                Err(owned) => Self::Owned(owned),
            },
            other => other,
        };
    }

    /// Keeps the `view` of `socket`, unless there is one already or that socket is no longer the
    /// owner.
    fn keep_view(&mut self, socket: &Py<PyAny>, made: Py<PyAny>) -> Option<Py<PyAny>> {
        let same = self.socket().is_some_and(|own| own.is(socket));
        match self {
            Self::Socket { view, .. } | Self::Shut { view, .. } if same && view.is_none() => {
                view.replace(made)
            }
            _ => Some(made),
        }
    }
}

/// The `TransportSocket` for users of the descriptor that `place` finds in `state`; makes the
/// Python socket if there is none. The descriptor stays in its place while Python code runs,
/// because that may write to the transport, close it or ask for the same view.
///
/// # Errors
/// What `socket.socket` raises; the descriptor stays with its owner then.
pub(crate) fn view<'py, S>(
    py: Python<'py>,
    state: &LoopCell<S>,
    place: fn(&mut S) -> &mut Descriptor,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    loop {
        match state.with(py, |state| place(state).known(py)) {
            Known::Nothing => return Ok(None),
            Known::View(view) => return Ok(Some(view.into_bound(py))),
            Known::Number(number) => {
                match kind(number).and_then(|kind| Candidate::new(py, number, kind)) {
                    Ok(candidate) => state.with(py, |state| place(state).hand_over(&candidate)),
                    Err(error) => {
                        let same = state.with(py, |state| place(state).registered() == number);
                        if same || !error.is_instance_of::<PyOSError>(py) {
                            return Err(error);
                        }
                        // It was closed meanwhile.
                    }
                }
            }
            Known::Socket(socket) => {
                let view = asyncio::transport_socket(py)?.call1((&socket,))?.unbind();
                let unused = state.with(py, |state| place(state).keep_view(&socket, view));
                drop(unused);
            }
        }
    }
}

/// Family, type and protocol of the Python socket for the descriptor `number`.
fn kind(number: RawFd) -> PyResult<(i32, i32, i32)> {
    let origin = Origin::of(number).and_then(|it| Ok(it.for_python(nonblocking::proto(number)?)));
    origin.or_raise()
}
