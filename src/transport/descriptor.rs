//! `Descriptor`: who owns the descriptor of a connection.
//!
//! Loop thread only. The one surprise: an accepted connection has no Python socket until somebody
//! asks for one; from then on that socket owns the descriptor, and there is never a second owner.

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::py::asyncio;

/// A descriptor and its owner.
pub enum Descriptor {
    /// Ours alone.
    Owned(OwnedFd),
    /// A Python socket's: closed through it.
    Socket {
        /// The `socket.socket`.
        socket: Py<PyAny>,
        /// Its number, which outlives a close behind our back.
        number: RawFd,
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
    /// The number, or -1.
    #[inline]
    pub fn number(&self) -> RawFd {
        match self {
            Self::Owned(owned) => owned.as_raw_fd(),
            Self::Socket { number, .. } => *number,
            Self::Shut { .. } | Self::Closed => -1,
        }
    }

    /// What is left of it once it is closed.
    pub fn remains(&self, py: Python<'_>) -> Self {
        match self {
            Self::Socket { socket, view, .. } | Self::Shut { socket, view } => Self::Shut {
                socket: socket.clone_ref(py),
                view: view.as_ref().map(|view| view.clone_ref(py)),
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
        socket.call_method0(intern!(py, "close"))?;
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
        if let Self::Socket { socket, view, .. } | Self::Shut { socket, view } = self {
            visit.call(socket)?;
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
            Self::Socket {
                socket,
                number,
                view,
            } => {
                let (view, told) = seen(py, &socket, view);
                let kept = Self::Socket {
                    socket,
                    number,
                    view,
                };
                return (kept, told);
            }
            Self::Shut { socket, view } => {
                let (view, told) = seen(py, &socket, view);
                return (Self::Shut { socket, view }, told);
            }
            Self::Closed => return (self, Ok(None)),
        };
        let number = owned.as_raw_fd();
        match socket_of(py, number) {
            Ok(socket) => {
                // The Python socket owns the number from here on.
                let number = owned.into_raw_fd();
                Self::Socket {
                    socket: socket.unbind(),
                    number,
                    view: None,
                }
                .view(py)
            }
            Err(error) => (Self::Owned(owned), Err(error)),
        }
    }

    /// Closes it when its transport is destroyed. The collector may have cleared the Python socket
    /// already, whose own `close()` fails then; that of its C base does not.
    ///
    /// # Errors
    /// What the C method raises.
    pub fn close_abandoned(self, py: Python<'_>) -> PyResult<()> {
        if let Self::Socket { socket, .. } = &self
            && socket.bind(py).is_instance(asyncio::c_socket(py)?)?
        {
            asyncio::c_socket(py)?.call_method1(intern!(py, "close"), (socket,))?;
            return Ok(());
        }
        self.close(py)
    }

    /// Closes it.
    ///
    /// # Errors
    /// What `socket.close()` raises.
    pub fn close(self, py: Python<'_>) -> PyResult<()> {
        match self {
            Self::Socket { socket, .. } => {
                socket.call_method0(py, intern!(py, "close"))?;
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

/// A Python socket on `number`, which takes it over.
fn socket_of(py: Python<'_>, number: RawFd) -> PyResult<Bound<'_, PyAny>> {
    let class = asyncio::socket(py)?;
    let keywords = PyDict::new(py);
    keywords.set_item(intern!(py, "fileno"), number)?;
    let socket = class.call_method1(intern!(py, "__new__"), (class,))?;
    let made = socket.call_method(intern!(py, "__init__"), (), Some(&keywords));
    if let Err(error) = made {
        // It may have taken the number before it was interrupted: there is one owner, and it is us.
        let _ = asyncio::c_socket(py)?.call_method1(intern!(py, "detach"), (&socket,));
        return Err(error);
    }
    Ok(socket)
}
