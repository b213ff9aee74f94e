//! What the loop calls: the `SourceClass` of stream transports.
//!
//! Loop thread only. An event may be both readable and writable: the transport then reads first, as
//! asyncio does.

use pyo3::prelude::*;

use crate::event_loop::{Direction, Readiness, SourceClass, Step};
use crate::transport::endpoint::{Reads, Transport};
use crate::transport::stream::state::{StreamTransport, Writing};

/// Stream transports, as a kind of source.
pub(crate) struct StreamClass;

pub(crate) static STREAM: StreamClass = StreamClass;

impl SourceClass for StreamClass {
    #[inline]
    fn ready(&self, object: &Bound<'_, PyAny>, readiness: Readiness) -> PyResult<()> {
        let this = object.cast::<StreamTransport>()?;
        this.get().in_context(this.py(), || {
            // An edge comes once, so both halves run even if the first one raises.
            let read = if readiness.reads() {
                StreamTransport::read_ready(this, readiness)
                    .or_else(|error| StreamTransport::report(this, error, "_read_ready"))
            } else {
                Ok(())
            };
            let written = if readiness.writable {
                StreamTransport::write_ready(this)
                    .or_else(|error| StreamTransport::report(this, error, "_write_ready"))
            } else {
                Ok(())
            };
            read.and(written)
        })
    }

    fn step(&self, object: &Bound<'_, PyAny>, _step: Step) -> PyResult<()> {
        start(object.cast::<StreamTransport>()?)
    }

    fn flush(&self, object: &Bound<'_, PyAny>) -> PyResult<()> {
        let this = object.cast::<StreamTransport>()?;
        StreamTransport::settle(this)
            .or_else(|error| StreamTransport::report(this, error, "_flush"))
    }

    /// The program watches the descriptor of a closing transport: what was not sent is dropped.
    fn displaced(&self, object: &Bound<'_, PyAny>, _direction: Direction) {
        if let Ok(this) = object.cast::<StreamTransport>()
            && let Err(error) = StreamTransport::force_close(this, None)
        {
            error.write_unraisable(this.py(), Some(object));
        }
    }

    fn may_be_watched(&self, object: &Bound<'_, PyAny>) -> bool {
        let this = object.cast::<StreamTransport>();
        this.is_ok_and(|this| this.get().is_closing(this.py()))
    }
}

/// After `connection_made`: begins to read, and wakes the waiter.
fn start(this: &Bound<'_, StreamTransport>) -> PyResult<()> {
    let py = this.py();
    let transport = this.get();
    let event_loop = transport.event_loop.bind(py);
    let (place, blocked, resumes) = transport.state.with(py, |state| {
        state.endpoint.start();
        let resumes = state.side.readable && state.side.is_on(state.endpoint.life);
        let blocked = state.writing == Writing::Blocked;
        (state.endpoint.place(), blocked, resumes)
    });
    if let Some(place) = place {
        event_loop.get().poller(py)?;
        // A write of `connection_made` may have begun the watch already, for both directions.
        if !blocked && let Err(error) = place.watch(event_loop) {
            return StreamTransport::fatal_error(this, error, "Fatal error on transport");
        }
        if resumes {
            event_loop.get().resume(py, place);
        }
        StreamTransport::loosen(this);
    }
    StreamTransport::wake_waiter(this)
}
