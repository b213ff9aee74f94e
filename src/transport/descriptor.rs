//! `Descriptor`: who owns the descriptor of a connection.
//!
//! Loop thread only. The one surprise: an accepted connection has no Python socket until somebody
//! asks for one; from then on that socket owns the descriptor, and there is never a second owner.

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};

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
            Self::Closed => -1,
        }
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
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
                let view = match view {
                    Some(view) => Ok(view),
                    None => asyncio::transport_socket(py)
                        .and_then(|class| class.call1((&socket,)))
                        .map(Bound::unbind),
                };
                let kept = view.as_ref().ok().map(|view| view.clone_ref(py));
                let view = view.map(|view| Some(view.into_bound(py)));
                return (
                    Self::Socket {
                        socket,
                        number,
                        view: kept,
                    },
                    view,
                );
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
            Self::Closed => {}
        }
        Ok(())
    }
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
