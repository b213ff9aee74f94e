//! From the protocol to records: gathering, encrypting, flow control.
//!
//! Loop thread only. The one surprise: what waits for the transport below waits unencrypted, because
//! a `MemoryBIO` never shrinks; only the end of the connection has everything encrypted at once.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::error::leaves_the_loop;
use crate::event_loop::Purpose;
use crate::logic::flow_control::LOST_WRITES;
use crate::py::bytes::Pinned;
use crate::py::{asyncio, call};
use crate::transport::protocol::report;
use crate::transport::tls::session::{Phase, State, TlsProtocol, Work};

/// The most that a record holds.
const RECORD: usize = 1 << 14;
/// More than this is not gathered until the callback returns but encrypted at once.
const GATHERED: usize = 64 * 1024;

/// What `append` does next.
enum Next {
    Nothing,
    Gather,
    Flush,
    Control,
    Warn,
}

/// What is encrypted next.
enum Piece {
    /// A chunk, or a part of a long one.
    Part(Py<PyBytes>, usize, usize),
    /// Several short ones.
    Joined,
}

impl TlsProtocol {
    /// `transport.write`, `transport.writelines`: none of `chunks` is empty.
    ///
    /// # Errors
    /// What leaves the loop.
    #[inline]
    pub fn append(
        this: &Bound<'_, Self>,
        chunks: impl IntoIterator<Item = Pinned>,
    ) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        match session.state.with(py, |state| state.append(chunks)) {
            Next::Nothing => Ok(()),
            Next::Gather => {
                let gathers = session.below(py).is_some_and(|below| below.gathers(py));
                if gathers {
                    session
                        .state
                        .with(py, |state| state.output.work = Work::Gathered);
                    return Ok(());
                }
                Self::flush(this)
            }
            Next::Flush => Self::flush(this),
            Next::Control => Self::control_app(this),
            Next::Warn => {
                let logger = asyncio::logger(py)?;
                logger.call_method1("warning", ("SSL connection is closed",))?;
                Ok(())
            }
        }
    }

    /// Encrypts what was written and hands it to the transport below.
    ///
    /// # Errors
    /// What leaves the loop.
    pub fn flush(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let ready = this.get().state.with(py, |state| {
            let ready = state.phase == Phase::Wrapped && state.output.work != Work::Encrypting;
            if ready {
                state.output.work = Work::Idle;
            }
            ready
        });
        if !ready {
            return Ok(());
        }
        let result = Self::encrypt(this, false);
        this.get().engine.rest();
        Self::contain(this, result, "Fatal error on SSL protocol")
    }

    /// Sends what was gathered in this callback, before something that would show the difference.
    ///
    /// # Errors
    /// What leaves the loop.
    pub fn settle(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        let gathered = session
            .state
            .with(py, |state| state.output.work == Work::Gathered);
        if !gathered {
            return Ok(());
        }
        match session.below(py) {
            Some(below) => below.settle(py),
            None => Ok(()),
        }
    }

    /// After a read: what OpenSSL answers by itself, and what could not be written before.
    pub fn flush_answers(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        let (idle, waits) = session.state.with(py, |state| {
            let output = &state.output;
            (output.work == Work::Idle, !output.backlog.is_empty())
        });
        if !idle {
            return Ok(());
        }
        if waits {
            return Self::encrypt(this, false);
        }
        if session.engine.outgoing_pending(py)? > 0 {
            return Self::process_outgoing(this);
        }
        Ok(())
    }

    /// Encrypts what is written: as long as the transport below takes it, or everything. asyncio's
    /// `_do_write`.
    pub fn encrypt(this: &Bound<'_, Self>, everything: bool) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        let before = session.state.with(py, |state| {
            std::mem::replace(&mut state.output.work, Work::Encrypting)
        });
        if before == Work::Encrypting {
            return Ok(());
        }
        let result = session.encrypt_pieces(py, everything);
        let goodbye = session.state.with(py, |state| {
            state.output.work = Work::Idle;
            std::mem::take(&mut state.output.goodbye)
        });
        result?;
        Self::process_outgoing(this)?;
        if goodbye {
            // Code that ran meanwhile has closed the transport.
            Self::encrypt(this, true)?;
            return Self::say_goodbye(this);
        }
        Ok(())
    }

    fn encrypt_pieces(&self, py: Python<'_>, everything: bool) -> PyResult<()> {
        while let Some(piece) = self.state.with(py, |state| state.piece(py, everything)) {
            let written = match piece {
                Piece::Part(chunk, from, to) => self.engine.write(chunk.bind(py), from, to),
                Piece::Joined => self.write_joined(py),
            };
            let Some(count) = written? else {
                return Ok(());
            };
            let mut finished = None;
            let mut others = Vec::new();
            let more = self.state.with(py, |state| {
                let backlog = &mut state.output.backlog;
                backlog.sent(count, |chunk| {
                    if let Some(before) = finished.replace(chunk) {
                        others.push(before);
                    }
                });
                !backlog.is_empty()
            });
            others
                .into_iter()
                .chain(finished)
                .for_each(|chunk| chunk.release(py));
            if more && !self.hand_over(py)? {
                // The connection broke: the rest is not worth encrypting.
                let dropped = self.state.with(py, |state| state.output.backlog.take());
                drop(dropped);
            }
        }
        Ok(())
    }

    /// Encrypts several short chunks into one record.
    fn write_joined(&self, py: Python<'_>) -> PyResult<Option<usize>> {
        let event_loop = self.event_loop.bind(py).get();
        let window = event_loop.take_window(py, Purpose::Plain)?;
        let count = window.get().with_mut(py, |memory| {
            self.state.with(py, |state| {
                let mut count = 0;
                for chunk in state.output.backlog.unsent() {
                    let size = chunk.len().min(RECORD - count);
                    memory[count..count + size].copy_from_slice(&chunk[..size]);
                    count += size;
                    if count == RECORD {
                        break;
                    }
                }
                count
            })
        });
        let written = self.engine.write_window(&window, count);
        event_loop.give_window(py, Purpose::Plain, window);
        written
    }

    /// Writes the records that OpenSSL has made, unless the transport below asked to pause. False if
    /// that transport is lost.
    fn hand_over(&self, py: Python<'_>) -> PyResult<bool> {
        let below = self.state.with(py, |state| {
            let open = !state.output.below_paused;
            open.then(|| Some(state.below.as_ref()?.duplicate(py)))
                .flatten()
        });
        let Some(below) = below else {
            return Ok(true);
        };
        if let Some(direct) = self.engine.direct()
            && below.send_filled(py, |room| direct.take(room))?
        {
            return Ok(!below.is_lost(py));
        }
        let data = self.engine.take_outgoing(py)?;
        if data.as_bytes().is_empty() {
            return Ok(true);
        }
        below.write(data)?;
        Ok(!below.is_lost(py))
    }

    /// Writes the records, and has the program pause or go on: asyncio's `_process_outgoing`.
    pub fn process_outgoing(this: &Bound<'_, Self>) -> PyResult<()> {
        this.get().hand_over(this.py())?;
        Self::control_app(this)
    }

    /// How much the transport below has not been given yet: `get_write_buffer_size()`.
    pub fn written_size(&self, py: Python<'_>) -> PyResult<usize> {
        let waiting = self.state.with(py, |state| state.output.backlog.size());
        Ok(waiting + self.engine.outgoing_pending(py)?)
    }

    /// Tells the program's protocol to pause or to go on: asyncio's `_control_app_writing`.
    pub fn control_app(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        let asks = session.state.with(py, |state| {
            let output = &state.output;
            output.below_paused || output.paused || output.backlog.size() >= output.marks.high
        });
        if !asks {
            return Ok(());
        }
        let size = session.written_size(py)?;
        let name = session.state.with(py, |state| {
            let output = &mut state.output;
            if size >= output.marks.high && !output.paused {
                output.paused = true;
                Some(intern!(py, "pause_writing"))
            } else if size <= output.marks.low && output.paused {
                output.paused = false;
                Some(intern!(py, "resume_writing"))
            } else {
                None
            }
        });
        match name {
            Some(name) => Self::tell_flow(this, name),
            None => Ok(()),
        }
    }

    /// Calls the protocol; what it raises is reported and goes no further.
    fn tell_flow(this: &Bound<'_, Self>, name: &Bound<'_, PyString>) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        let Some(app) = session.app(py) else {
            return Ok(());
        };
        let Err(error) = call::method0(&app, name) else {
            return Ok(());
        };
        if leaves_the_loop(py, &error) {
            return Err(error);
        }
        let transport =
            Self::transport(this)?.map_or_else(|| py.None().into_bound(py), Bound::into_any);
        let event_loop = session.event_loop.bind(py);
        let message = format!("protocol.{name}() failed");
        report(
            event_loop,
            &message,
            &error,
            &transport,
            Some(this.as_any()),
        )
    }

    /// The transport below asks to pause.
    pub fn pause_writing(&self, py: Python<'_>) {
        self.state
            .with(py, |state| state.output.below_paused = true);
    }

    /// The transport below takes more.
    ///
    /// # Errors
    /// What leaves the loop.
    pub fn resume_writing(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let (waits, encrypts) = this.get().state.with(py, |state| {
            state.output.below_paused = false;
            (
                !state.output.backlog.is_empty(),
                matches!(state.phase, Phase::Wrapped | Phase::Flushing),
            )
        });
        let result = if waits && encrypts {
            Self::hand_over(this.get(), py).and_then(|_| Self::encrypt(this, false))
        } else {
            Self::process_outgoing(this)
        };
        Self::contain(this, result, "Fatal error on SSL protocol")
    }
}

impl State {
    /// Queues chunks, or counts a write after the end.
    #[inline]
    fn append(&mut self, chunks: impl IntoIterator<Item = Pinned>) -> Next {
        let output = &mut self.output;
        if self.phase.is_over() {
            let warn = output.lost >= LOST_WRITES;
            output.lost += 1;
            return if warn { Next::Warn } else { Next::Nothing };
        }
        for chunk in chunks {
            output.backlog.push(chunk);
        }
        if self.phase != Phase::Wrapped || output.work == Work::Encrypting {
            return Next::Nothing;
        }
        if output.below_paused {
            return Next::Control;
        }
        if output.backlog.size() >= GATHERED {
            return Next::Flush;
        }
        if output.work == Work::Gathered {
            return Next::Nothing;
        }
        Next::Gather
    }

    /// What is to be encrypted next.
    #[inline]
    fn piece(&self, py: Python<'_>, everything: bool) -> Option<Piece> {
        let output = &self.output;
        if output.below_paused && !everything {
            return None;
        }
        let (chunk, head) = output.backlog.first()?;
        let length = chunk.bytes().len();
        let object = || chunk.object().clone_ref(py);
        if length - head > RECORD {
            return Some(Piece::Part(object(), head, head + RECORD));
        }
        if output.backlog.len() > 1 && length - head < RECORD {
            return Some(Piece::Joined);
        }
        Some(Piece::Part(object(), head, length))
    }
}
