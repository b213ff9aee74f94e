//! The `sock_*` calls: sockets that belong to the user, without a transport.
//!
//! - `waiting`: `SocketWatch`, what the loop watches of one socket, and futures for its readiness
//! - `calls`: receiving and sending: try, and wait where the kernel has nothing or takes nothing
//! - `accepting`: `sock_accept`
//!
//! The Python layer's coroutines call these; each answers with a result, or with a future that is
//! done when trying again makes sense, or with `NotImplemented` for anything out of the ordinary
//! (a subclass of `socket.socket`, odd arguments, a descriptor that the program itself watches),
//! which Python does in asyncio's own way. A system call is made only by the coroutine that wants
//! its result, never ahead of it, so a cancellation cannot lose data.

mod accepting;
mod calls;
mod waiting;

use pyo3::PyTypeInfo;
use pyo3::prelude::*;

use crate::event_loop::EventLoop;
use crate::py::calling::method::install_on as method;

/// Puts the native halves of the `sock_*` calls on the loop's class.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    // PyO3 panics where it cannot make a class, so it is made now.
    py.get_type::<waiting::SocketWatch>();
    let cls = &EventLoop::type_object(py);
    method::<calls::Recv>(cls)?;
    method::<calls::RecvInto>(cls)?;
    method::<calls::RecvFrom>(cls)?;
    method::<calls::RecvFromInto>(cls)?;
    method::<calls::SendAll>(cls)?;
    method::<accepting::Accept>(cls)?;
    method::<waiting::Wait>(cls)?;
    method::<waiting::Forget>(cls)
}
