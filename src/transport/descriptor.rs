//! `Descriptor`: who owns the descriptor of a connection.
//!
//! Loop thread only. The one surprise: an accepted connection has no Python socket until somebody
//! asks for one; from then on that socket owns the descriptor, and there is never a second owner.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use pyo3::exceptions::{PyAttributeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::error::{exception, os_error};
use crate::py::asyncio;
use crate::py::names::name;
use crate::py::socket::{Held, adopt, is_c_socket};
use crate::sys::nonblocking::{self, Origin};

/// A descriptor and its owner.
pub enum Descriptor {
    /// Ours alone.
    Owned(OwnedFd),
    /// A Python socket's: closed through it.
    Socket {
        /// The `socket.socket`.
        socket: Held,
        /// The `TransportSocket` that users get, once asked for.
        view: Option<Py<PyAny>>,
    },
    /// Closed; what users may still ask for of the Python socket that owned it.
    Shut {
        /// The closed `socket.socket`.
        socket: Py<PyAny>,
        /// Its `TransportSocket`, once asked for.
        view: Option<Py<PyAny>>,
    },
    /// Closed, or moving between owners.
    Closed,
}

impl Descriptor {
    /// That of a Python socket.
    ///
    /// # Errors
    /// What `fileno()` raises, `ValueError` for a closed one.
    pub fn of(socket: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = socket.py();
        let socket = Held::new(socket.clone())?;
        if socket.first() < 0 {
            let text = format!("Invalid file descriptor: {}", socket.first());
            return Err(exception::<PyValueError>(py, text));
        }
        Ok(Self::Socket { socket, view: None })
    }

    /// The number for system calls, or -1: also once somebody else has closed the Python socket.
    #[inline]
    pub fn number(&self, py: Python<'_>) -> RawFd {
        match self {
            Self::Owned(owned) => owned.as_raw_fd(),
            Self::Socket { socket, .. } => socket.number(py),
            Self::Shut { .. } | Self::Closed => -1,
        }
    }

    /// The number that the loop knows it by, or -1.
    #[inline]
    pub fn registered(&self) -> RawFd {
        match self {
            Self::Owned(owned) => owned.as_raw_fd(),
            Self::Socket { socket, .. } => socket.first(),
            Self::Shut { .. } | Self::Closed => -1,
        }
    }

    /// The Python socket, if there is one.
    pub fn socket(&self) -> Option<&Py<PyAny>> {
        match self {
            Self::Socket { socket, .. } => Some(socket.object()),
            Self::Shut { socket, .. } => Some(socket),
            Self::Owned(_) | Self::Closed => None,
        }
    }

    /// What is left of it once it is closed.
    pub fn remains(&self, py: Python<'_>) -> Self {
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

    /// A Python socket of `family` that is closed, as one that was asked for before would be.
    ///
    /// # Errors
    /// What `socket.socket` raises.
    pub fn shut<'py>(py: Python<'py>, family: &Bound<'py, PyAny>) -> PyResult<Self> {
        let socket = asyncio::socket(py)?.call1((family,))?;
        socket.call_method0(name!(py, close))?;
        Ok(Self::Shut {
            socket: socket.unbind(),
            view: None,
        })
    }

    /// Shows the Python objects to the collector.
    ///
    /// # Errors
    /// What `visit` returns.
    pub fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Self::Socket { view, .. } | Self::Shut { view, .. } = self {
            visit.call(self.socket())?;
            visit.call(view)?;
        }
        Ok(())
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Shut { .. } | Self::Closed)
    }

    /// The `TransportSocket` for users; makes the Python socket if there is none.
    ///
    /// # Errors
    /// What `socket.socket` raises; the descriptor stays with its owner then.
    pub fn view(self, py: Python<'_>) -> (Self, PyResult<Option<Bound<'_, PyAny>>>) {
        let owned = match self {
            Self::Owned(owned) => owned,
            Self::Socket { socket, view } => {
                let (view, told) = seen(py, socket.object(), view);
                return (Self::Socket { socket, view }, told);
            }
            Self::Shut { socket, view } => {
                let (view, told) = seen(py, &socket, view);
                return (Self::Shut { socket, view }, told);
            }
            Self::Closed => return (self, Ok(None)),
        };
        match given(py, owned) {
            Ok(given) => given.view(py),
            Err((owned, error)) => (Self::Owned(owned), Err(error)),
        }
    }

    /// The same descriptor with a Python socket as its owner.
    ///
    /// # Errors
    /// What `socket.socket` raises; the descriptor is closed then.
    pub fn adopt(self, py: Python<'_>) -> PyResult<Self> {
        match self {
            Self::Owned(owned) => given(py, owned).map_err(|(_, error)| error),
            other => Ok(other),
        }
    }

    /// Closes it when its transport is destroyed. The collector may have cleared the Python socket
    /// already, whose own `close()` fails then; that of its C base does not. Anything else that was
    /// cleared has nothing left to close.
    ///
    /// # Errors
    /// What `socket.close()` raises.
    pub fn close_abandoned(self, py: Python<'_>) -> PyResult<()> {
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
    ///
    /// # Errors
    /// What `socket.close()` raises.
    pub fn close(self, py: Python<'_>) -> PyResult<()> {
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

/// What `Descriptor::view` tells.
type Told<'py> = PyResult<Option<Bound<'py, PyAny>>>;

/// The `TransportSocket` of `socket`, made if there is none, to keep and to tell.
fn seen<'py>(
    py: Python<'py>,
    socket: &Py<PyAny>,
    view: Option<Py<PyAny>>,
) -> (Option<Py<PyAny>>, Told<'py>) {
    let view = match view {
        Some(view) => Ok(view.into_bound(py)),
        None => asyncio::transport_socket(py).and_then(|class| class.call1((socket,))),
    };
    let kept = view.as_ref().ok().map(|view| view.clone().unbind());
    (kept, view.map(Some))
}

/// Gives `owned` to a Python socket; gives it back with what `socket.socket` raised.
fn given(py: Python<'_>, owned: OwnedFd) -> Result<Descriptor, (OwnedFd, PyErr)> {
    let number = owned.as_raw_fd();
    let origin = Origin::of(number).and_then(|it| Ok(it.for_python(nonblocking::proto(number)?)));
    let origin = match origin {
        Ok(origin) => origin,
        Err(error) => return Err((owned, os_error(&error))),
    };
    let socket = adopt(py, owned, origin)?;
    Ok(Descriptor::Socket {
        socket: Held::adopted(socket, number),
        view: None,
    })
}
