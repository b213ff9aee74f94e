//! `Listener`: accepts connections and makes their transports.
//!
//! Loop thread only. One event may stand for many connections, so it accepts up
//! to `backlog + 1` of them, and asks to be resumed if there may be more.
//!
//! Without the GIL the state belongs to the thread that made the listener, and other threads lock it; the
//! rest never changes.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::error::{exception, leaves_the_loop, os_error};
use crate::event_loop::{
    EventLoop, Place, Readiness, Registration, Source, SourceClass, call_factory,
};
use crate::py::calling::names::name;
use crate::py::cell::LoopCell;
use crate::py::context::Context;
use crate::py::stdlib::socket::Held;
use crate::py::stdlib::{asyncio, audit};
use crate::py::value::{Float, Text, shown};
use crate::sys::address::Address;
use crate::sys::socket::{self, AcceptError};
use crate::transport::address;
use crate::transport::descriptor::Descriptor;
use crate::transport::protocol::{failure, handle};
use crate::transport::server::base::ServerBase;
use crate::transport::stream::open::{Parts, open};

/// How long accepting pauses when the process is out of descriptors, in seconds: asyncio's
/// `ACCEPT_RETRY_DELAY`.
const RETRY_DELAY: f64 = 1.0;

/// The parts of a listener that change.
struct State {
    /// While it accepts.
    registration: Option<Registration>,
    /// The context in which the protocols of its connections run.
    context: Option<Context>,
    /// The timer that ends a pause.
    retry: Option<Py<PyAny>>,
    /// Whether connections may wait that were made before the socket got the options that they
    /// inherit.
    early: bool,
}

/// Accepts connections on a listening socket.
#[pyclass(frozen, weakref, module = "ferroloop._native")]
pub(crate) struct Listener {
    /// The loop that accepts.
    event_loop: Py<EventLoop>,
    /// The listening `socket.socket`, which its server closes.
    sock: Held,
    /// Makes the protocol of each connection.
    protocol_factory: Py<PyAny>,
    /// Wraps a protocol in TLS; `None` without TLS.
    tls: Option<Py<PyAny>>,
    /// One event accepts at most one connection more than this.
    backlog: usize,
    /// The server, which counts the connections; `None` without a server.
    server: Option<Py<ServerBase>>,
    /// The parts that change.
    state: LoopCell<State>,
}

/// Listeners, as a kind of source.
pub(crate) struct ListenerClass;

static LISTENER: ListenerClass = ListenerClass;

impl SourceClass for ListenerClass {
    fn ready(&self, object: &Bound<'_, PyAny>, _readiness: Readiness) -> PyResult<()> {
        Listener::accept(object.cast::<Listener>()?)
    }
}

#[pymethods]
impl Listener {
    #[new]
    #[pyo3(signature = (event_loop, sock, protocol_factory, backlog, server=None, tls=None))]
    fn make(
        event_loop: Py<EventLoop>,
        sock: Bound<'_, PyAny>,
        protocol_factory: Py<PyAny>,
        backlog: isize,
        server: Option<Py<ServerBase>>,
        tls: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        Ok(Self {
            event_loop,
            sock: Held::new(sock)?,
            protocol_factory,
            tls,
            backlog: usize::try_from(backlog).unwrap_or(0),
            server,
            state: LoopCell::owned(State {
                registration: None,
                context: None,
                retry: None,
                early: true,
            }),
        })
    }

    /// Begin to accept. Connections inherit the context of this call.
    fn start(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let context = this.get().event_loop.bind(py).get().capture_context(py)?;
        // Every accepted connection inherits the option, which saves a system call for each.
        let _ = socket::set_nodelay(this.get().sock.number(py));
        let old = this
            .get()
            .state
            .with(py, |state| state.context.replace(context));
        drop(old);
        Self::watch(this)
    }

    /// Stop accepting; the socket stays open.
    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        let (registration, context, retry) = self.state.with(py, |state| {
            let registration = state.registration.take();
            (registration, state.context.take(), state.retry.take())
        });
        drop((registration, context));
        if let Some(retry) = retry {
            retry.call_method0(py, name!(py, cancel))?;
        }
        Ok(())
    }

    /// Accept again after a pause.
    fn _resume(this: &Bound<'_, Self>) -> PyResult<()> {
        let retry = this.get().state.with(this.py(), |state| state.retry.take());
        let serves = this
            .get()
            .state
            .with(this.py(), |state| state.context.is_some());
        if retry.is_some() && serves {
            Self::watch(this)
        } else {
            Ok(())
        }
    }

    #[getter]
    fn _sock(&self, py: Python<'_>) -> Py<PyAny> {
        self.sock.object().clone_ref(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let visited = self.state.try_with(&visit, |state| {
            visit.call(&self.event_loop)?;
            visit.call(self.sock.object())?;
            visit.call(&self.protocol_factory)?;
            visit.call(&self.tls)?;
            visit.call(&self.server)?;
            state
                .context
                .as_ref()
                .map_or(Ok(()), |it| it.visit(&visit))?;
            if let Some(registration) = &state.registration {
                registration.visit(&visit)?;
            }
            visit.call(&state.retry)
        });
        visited.unwrap_or(Ok(()))
    }
}

impl Listener {
    fn watch(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let listener = this.get();
        let source = Source {
            object: this.clone().into_any().unbind(),
            class: &LISTENER,
        };
        let event_loop = listener.event_loop.bind(py);
        let number = listener.sock.number(py);
        if number < 0 {
            let text = format!("Invalid file descriptor: {number}");
            return Err(exception::<PyValueError>(py, text));
        }
        let registration =
            Registration::new(event_loop, Place::watched(event_loop, number, source)?);
        listener
            .state
            .with(py, |state| state.registration = Some(registration));
        Ok(())
    }

    /// Accepts waiting connections.
    fn accept(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let listener = this.get();
        for _ in 0..=listener.backlog {
            if listener.place(py).is_none() {
                return Ok(());
            }
            // The program may have closed the socket, and another file may have its number.
            let number = listener.sock.number(py);
            match socket::accept(number) {
                Ok((connection, peer)) => {
                    if let Err(error) = Self::connect(this, connection, peer) {
                        // More connections may wait, and the kernel has reported their edge
                        // already.
                        listener.resume(py);
                        return Err(error);
                    }
                    // A connection that comes later causes a new edge.
                    if !socket::has_waiting(listener.sock.number(py)) {
                        listener.state.with(py, |state| state.early = false);
                        return Ok(());
                    }
                }
                Err(error) => match AcceptError::of(&error) {
                    AcceptError::Nothing => {
                        listener.state.with(py, |state| state.early = false);
                        return Ok(());
                    }
                    AcceptError::Aborted => {}
                    AcceptError::Exhausted => return Self::pause(this, &error),
                    AcceptError::Broken if number < 0 => return Ok(()),
                    AcceptError::Broken => {
                        listener.resume(py);
                        return Self::report_broken(this, &os_error(&error));
                    }
                },
            }
        }
        listener.resume(py);
        Ok(())
    }

    /// Asks to be resumed after the next poll.
    fn resume(&self, py: Python<'_>) {
        if let Some(place) = self.place(py) {
            self.event_loop.bind(py).get().resume(py, place);
        }
    }

    /// Its place in the loop's registry, while it accepts.
    fn place(&self, py: Python<'_>) -> Option<Place> {
        self.state.with(py, |state| {
            state.registration.as_ref().map(Registration::place)
        })
    }

    /// Makes the protocol and the transport of one connection.
    fn connect(this: &Bound<'_, Self>, connection: OwnedFd, peer: Address) -> PyResult<()> {
        let py = this.py();
        let listener = this.get();
        let event_loop = listener.event_loop.bind(py);
        let context = listener.state.with(py, |state| {
            state.context.as_ref().map(|context| context.duplicate(py))
        });
        let Some(mut context) = context else {
            return Ok(());
        };
        if event_loop.get().is_debug() {
            Self::log_accepted(this, &connection, &peer)?;
        }
        let has_nodelay = !listener.state.with(py, |state| state.early);
        let mut extra = None;
        let mut descriptor = Descriptor::Owned(connection);
        // An audit hook has to see the socket, and only Python can convert addresses of other
        // families.
        if peer == Address::Other || audit::has_hooks(py)? {
            descriptor = match descriptor.adopt(py) {
                Ok(adopted) => adopted,
                Err(error) if leaves_the_loop(py, &error) => return Err(error),
                Err(error) => return Self::report_broken(this, &error),
            };
            if let (Address::Other, Some(sock)) = (&peer, descriptor.socket()) {
                extra = Some(address::described(None, sock.bind(py))?);
            }
        }
        // Each connection gets a context of its own, so that variables which a factory sets do not
        // reach other connections.
        context = context.separate(py)?;
        let entered = context.enter(py)?;
        let protocol = Self::new_protocol(this, &peer);
        let carried = match (&protocol, &listener.tls) {
            (Ok(protocol), Some(tls)) => tls.bind(py).call1((protocol,)),
            (Ok(protocol), None) => Ok(protocol.clone()),
            (Err(error), _) => Err(error.clone_ref(py)),
        };
        context.leave(py, entered)?;
        let made = match carried {
            Ok(carried) => {
                let parts = Parts {
                    descriptor,
                    has_nodelay,
                    protocol: carried,
                    context,
                    server: listener
                        .server
                        .as_ref()
                        .map(|server| server.bind(py).clone()),
                    peer: Some(peer),
                    local: None,
                    extra,
                    waiter: None,
                };
                open(event_loop, parts).map(drop)
            }
            // Without this, a Python socket would be dropped open, with a ResourceWarning.
            Err(error) => descriptor.close(py).and(Err(error)),
        };
        match made {
            Ok(()) => Ok(()),
            Err(error) if leaves_the_loop(py, &error) => Err(error),
            Err(error) => Self::report_refused(this, &error, protocol.ok()),
        }
    }

    /// The protocol that the program's factory makes for a connection from `peer`.
    fn new_protocol<'py>(this: &Bound<'py, Self>, peer: &Address) -> PyResult<Bound<'py, PyAny>> {
        let py = this.py();
        let listener = this.get();
        let factory = listener.protocol_factory.bind(py);
        call_factory(listener.event_loop.bind(py), factory, this.as_any(), || {
            let peer = address::to_python(py, peer).ok()?;
            Some(peer.unbind())
        })
    }

    /// Logs asyncio's line about a new connection. The socket is described without making a Python
    /// socket.
    #[cold]
    fn log_accepted(this: &Bound<'_, Self>, connection: &OwnedFd, peer: &Address) -> PyResult<()> {
        let py = this.py();
        match this.get().try_log_accepted(py, connection, peer) {
            Err(error) if !leaves_the_loop(py, &error) => Self::report_broken(this, &error),
            logged => logged,
        }
    }

    fn try_log_accepted(
        &self,
        py: Python<'_>,
        connection: &OwnedFd,
        peer: &Address,
    ) -> PyResult<()> {
        let number = connection.as_raw_fd();
        let sock = self.sock.object().bind(py);
        let about = |name| sock.getattr(Text(name))?.str();
        let local = socket::local_address(number).unwrap_or(Address::Other);
        let (local, peer) = (
            address::to_python(py, &local)?,
            address::to_python(py, peer)?,
        );
        let described = format!(
            "<socket.socket fd={number}, family={}, type={}, proto={}, laddr={}, raddr={}>",
            shown(&about("family")?),
            shown(&about("type")?),
            shown(&about("proto")?),
            shown(&local.repr()?),
            shown(&peer.repr()?)
        );
        let text = "%r got a new connection from %r: %s";
        let logger = asyncio::logger(py)?;
        let arguments = (Text(text), &self.server, peer, Text(described));
        logger.call_method1(name!(py, debug), arguments)?;
        Ok(())
    }

    /// As in asyncio, a connection that could not be made is reported in debug mode only.
    #[cold]
    fn report_refused(
        this: &Bound<'_, Self>,
        error: &PyErr,
        protocol: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = this.py();
        let event_loop = this.get().event_loop.bind(py);
        if !event_loop.get().is_debug() {
            return Ok(());
        }
        let message = "Error on transport creation for incoming connection";
        let context = failure(py, message, error)?;
        if let Some(protocol) = protocol {
            context.set_item(name!(py, protocol), protocol)?;
        }
        handle(event_loop, &context)
    }

    /// The process has no free descriptors or the system no memory: reports it, and tries again in
    /// a second.
    #[cold]
    fn pause(this: &Bound<'_, Self>, error: &io::Error) -> PyResult<()> {
        let py = this.py();
        let listener = this.get();
        let event_loop = listener.event_loop.bind(py);
        drop(listener.state.with(py, |state| state.registration.take()));
        let message = "socket.accept() out of system resource";
        let context = failure(py, message, &os_error(error))?;
        context.set_item(
            name!(py, socket),
            asyncio::transport_socket(py)?.call1((listener.sock.object(),))?,
        )?;
        handle(event_loop, &context)?;
        // The handler may have closed the server.
        if listener.state.with(py, |state| state.context.is_none()) {
            return Ok(());
        }
        let resume = this.getattr(name!(py, _resume))?;
        let retry = event_loop.call_method1(name!(py, call_later), (Float(RETRY_DELAY), resume))?;
        let old = listener
            .state
            .with(py, |state| state.retry.replace(retry.unbind()));
        drop(old);
        Ok(())
    }

    /// Reports any other error of accept(2) or of an audit hook as an exception of the accepting
    /// callback.
    #[cold]
    fn report_broken(this: &Bound<'_, Self>, error: &PyErr) -> PyResult<()> {
        let py = this.py();
        let context = failure(py, "Exception in callback Listener.accept()", error)?;
        handle(this.get().event_loop.bind(py), &context)
    }
}
