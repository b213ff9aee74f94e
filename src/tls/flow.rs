//! Flow control of a TLS connection, in both directions: when the program pauses and resumes writing,
//! and when the transport below pauses and resumes reading.
//!
//! Loop thread only.

use crate::error::leaves_the_loop;
use crate::py::calling::names::name;
use crate::py::value::shown;
use crate::tls::read::SLICE;
use crate::tls::session::{Phase, TlsProtocol};
use crate::tls::write::Share;
use crate::transport::protocol::Parties;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// Up to this mark, what is left of a record has to be counted exactly.
const SMALL_MARK: usize = 4 * SLICE;

impl TlsProtocol {
    /// Tells the program's protocol to pause or to resume: asyncio's `_control_app_writing`.
    pub(crate) fn control_app(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        let asks = session.state.with(py, |state| {
            let output = &state.output;
            output.below_paused || output.paused || output.waiting() >= output.marks.high
        });
        if !asks {
            return Ok(());
        }
        let size = session.written_size(py)?;
        let name = session.state.with(py, |state| {
            let output = &mut state.output;
            if size >= output.marks.high && !output.paused {
                output.paused = true;
                Some(name!(py, pause_writing))
            } else if size <= output.marks.low && output.paused {
                output.paused = false;
                Some(name!(py, resume_writing))
            } else {
                None
            }
        });
        match name {
            Some(name) => Self::tell_flow(this, name),
            None => Ok(()),
        }
    }

    /// Calls the protocol; an exception is reported and not passed on.
    fn tell_flow(this: &Bound<'_, Self>, name: &Bound<'_, PyString>) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        let Some(app) = session.app(py) else {
            return Ok(());
        };
        let Err(error) = Self::tell(this, &app, name).call0() else {
            return Ok(());
        };
        if leaves_the_loop(py, &error) {
            return Err(error);
        }
        let transport =
            Self::transport(this)?.map_or_else(|| py.None().into_bound(py), Bound::into_any);
        let parties = Parties {
            event_loop: session.event_loop.bind(py),
            transport: &transport,
            protocol: Some(this.as_any()),
        };
        parties.report(&format!("protocol.{}() failed", shown(name)), &error)
    }

    /// The transport below asks to pause.
    pub(crate) fn pause_writing(&self, py: Python<'_>) {
        self.state
            .with(py, |state| state.output.below_paused = true);
    }

    /// The transport below takes more.
    pub(crate) fn resume_writing(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let foreign = this.get().engine.is_foreign();
        let (encrypts, late) = this.get().state.with(py, |state| {
            let output = &mut state.output;
            output.below_paused = false;
            let encrypts = matches!(state.phase, Phase::Wrapped | Phase::Flushing);
            // A foreign object that has not taken the data waits for the peer.
            let encrypts = encrypts && !foreign;
            let encrypts = encrypts && !output.backlog.is_empty();
            (encrypts, encrypts && output.handed > 0)
        });
        let result = if late {
            Self::encrypt(this, Share::Handed).and_then(|()| Self::resumed_below(this, encrypts))
        } else {
            Self::resumed_below(this, encrypts)
        };
        Self::contain(this, result, "Fatal error on SSL protocol")
    }

    /// Called when the transport below has sent what asyncio would have given to it, unless it has
    /// paused again.
    fn resumed_below(this: &Bound<'_, Self>, encrypts: bool) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        let paused = session.state.with(py, |state| {
            let output = &mut state.output;
            if encrypts && !output.below_paused {
                output.hand_all();
            }
            output.below_paused
        });
        if paused {
            return Ok(());
        }
        if encrypts {
            session.hand_over(py, false)?;
            return Self::encrypt(this, Share::Accepted);
        }
        Self::process_outgoing(this)
    }

    /// Pauses the transport below when too much waits to be read, and resumes it later.
    pub(crate) fn control_below(&self, py: Python<'_>) -> PyResult<()> {
        let (counts, marks, stopped) = self.state.with(py, |state| {
            let input = &state.input;
            // After the peer's end nothing more is received.
            let counts = input.below_paused
                || !input.ended
                    && (!input.held.is_empty()
                        || input.marks.high <= SMALL_MARK
                        || self.engine.is_foreign());
            (counts, input.marks, input.below_paused)
        });
        let Some(below) = (if counts { self.below(py) } else { None }) else {
            return Ok(());
        };
        let size = self.received_size(py)?;
        // With a mark of 0 it would be paused and never resumed.
        let stops = !stopped && size > 0 && size >= marks.high;
        let resumes = stopped && size <= marks.low;
        if !stops && !resumes {
            return Ok(());
        }
        self.state
            .with(py, |state| state.input.below_paused = stops);
        if stops {
            below.pause_reading(py)
        } else {
            below.resume_reading(py)
        }
    }
}
