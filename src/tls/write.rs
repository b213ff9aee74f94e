//! From the protocol to records: encrypting, queueing, flow control.
//!
//! Loop thread only. What is written is encrypted and sent at once, except for the head of a response
//! (`transport/stream/write.rs`). Data that waits for the transport below is not encrypted yet, because
//! a `MemoryBIO` never shrinks; only at the end of the connection everything is encrypted. What asyncio
//! would have given to that transport by now is counted in `Output::handed`.

use std::collections::TryReserveError;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::no_memory;
use crate::event_loop::Purpose;
use crate::logic::flow_control::LOST_WRITES;
use crate::logic::response_head;
use crate::py::calling::names::name;
use crate::py::data::bytes::Pinned;
use crate::py::stdlib::asyncio;
use crate::py::value::Text;
use crate::tls::below::Below;
use crate::tls::session::{Phase, State, TlsProtocol, Work};
use crate::transport::chunk::Finished;

/// The most that a record holds.
const RECORD: usize = 1 << 14;
/// If no more bytes than these are handed over and not encrypted, they are encrypted at once,
/// paused or not. That is more than the transport below takes before it pauses, so it resumes when
/// asyncio's would.
const LAST: usize = 128 * 1024;

/// How much of the backlog is encrypted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// What is handed over, as long as the transport below takes it.
    Handed,
    /// Everything, as long as the transport below takes it.
    Accepted,
    /// Everything.
    Everything,
}

/// What `append` does next.
enum Next {
    Nothing,
    /// Delay it: it is the head of a response, and waits for its body.
    Delay,
    /// Encrypt it together with the delayed head.
    Join,
    Flush,
    /// Only control the flow: the transport below takes nothing.
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
    #[inline]
    pub(crate) fn append(
        this: &Bound<'_, Self>,
        chunks: impl IntoIterator<Item = Pinned> + AsRef<[Pinned]>,
    ) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        // Chunks that are not queued are released outside the borrow.
        let mut chunks = Some(chunks);
        let next = session.state.with(py, |state| state.append(&mut chunks));
        match next.map_err(|_| no_memory(py))? {
            Next::Nothing => Ok(()),
            Next::Delay => {
                let delays = !session.engine.is_foreign()
                    && session.below(py).is_some_and(|below| below.delays(py));
                if delays {
                    session
                        .state
                        .with(py, |state| state.output.work = Work::Delayed);
                    return Ok(());
                }
                Self::flush(this)
            }
            Next::Join => {
                if let Some(below) = session.below(py) {
                    below.undelay(py);
                }
                Self::flush(this)
            }
            Next::Flush => Self::flush(this),
            Next::Control if session.engine.is_foreign() => Self::flush(this),
            Next::Control => Self::control_app(this),
            Next::Warn => {
                let logger = asyncio::logger(py)?;
                logger.call_method1(name!(py, warning), (Text("SSL connection is closed"),))?;
                Ok(())
            }
        }
    }

    /// Encrypts what was written and hands it to the transport below.
    fn flush(this: &Bound<'_, Self>) -> PyResult<()> {
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
        let result = Self::encrypt(this, Share::Accepted);
        this.get().engine.shrink_buffers();
        Self::contain(this, result, "Fatal error on SSL protocol")
    }

    /// Sends a delayed write, before something that would show it.
    pub(crate) fn settle(this: &Bound<'_, Self>) -> PyResult<()> {
        let delayed = this
            .get()
            .state
            .with(this.py(), |state| state.output.work == Work::Delayed);
        if delayed { Self::flush(this) } else { Ok(()) }
    }

    /// Sends what OpenSSL itself answers, and what could not be written before. `read` says whether
    /// the program was reading.
    pub(crate) fn flush_answers(this: &Bound<'_, Self>, read: bool) -> PyResult<()> {
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
            return Self::encrypt(this, Share::Accepted);
        }
        if session.engine.outgoing_pending(py)? > 0 {
            return Self::process_outgoing(this);
        }
        if read {
            // asyncio checks after each read. With a mark of 0 that has an effect.
            return Self::control_app(this);
        }
        Ok(())
    }

    /// Encrypts this share of what is written, and hands it over: asyncio's `_do_write`.
    pub(crate) fn encrypt(this: &Bound<'_, Self>, share: Share) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        let foreign = session.engine.is_foreign();
        let share = if foreign { Share::Everything } else { share };
        let begins = session.state.with(py, |state| {
            let output = &mut state.output;
            let wanted = share != Share::Everything || !output.backlog.is_empty();
            let begins = wanted && output.work != Work::Encrypting;
            if begins {
                output.work = Work::Encrypting;
            }
            begins
        });
        if !begins {
            return Ok(());
        }
        let result = if foreign {
            session.write_foreign(py)
        } else {
            session.encrypt_pieces(py, share)
        };
        let close_notify = session.state.with(py, |state| {
            state.output.work = Work::Idle;
            std::mem::take(&mut state.output.close_notify)
        });
        result?;
        if share == Share::Handed {
            session.hand_over(py, false)?;
        } else {
            Self::process_outgoing(this)?;
        }
        if close_notify {
            // The program has closed the transport meanwhile.
            Self::encrypt(this, Share::Everything)?;
            return Self::send_close_notify(this);
        }
        Ok(())
    }

    fn encrypt_pieces(&self, py: Python<'_>, share: Share) -> PyResult<()> {
        // A transport that is not ours gets one write for each of the program's, as from asyncio.
        let in_parts = self.state.with(py, |state| {
            state.below.as_ref().is_some_and(Below::takes_parts)
        });
        while let Some((piece, first)) = self.state.with(py, |state| {
            let first = state.output.overhead.is_none();
            Some((state.piece(py, share)?, first))
        }) {
            let before = first
                .then(|| self.engine.outgoing_pending(py))
                .transpose()?;
            let written = match piece {
                Piece::Part(chunk, from, to) => self.engine.write(chunk.bind(py), from, to),
                Piece::Joined => self.write_joined(py),
            };
            let Some(count) = written? else {
                // OpenSSL has to wait for the peer: asyncio's would have kept the rest.
                self.state.with(py, |state| state.output.handed = 0);
                return Ok(());
            };
            if let Some(before) = before {
                let made = self.engine.outgoing_pending(py)?.saturating_sub(before);
                self.state.with(py, |state| {
                    state.output.overhead = Some(made.saturating_sub(count));
                });
            }
            let mut finished = None;
            let mut others = Finished::new();
            let (more, late) = self.state.with(py, |state| {
                let output = &mut state.output;
                let late = output.below_paused && output.handed > 0;
                output.handed = output.handed.saturating_sub(count);
                // A callback of the context may have ended the connection, which drops the backlog.
                let count = count.min(output.backlog.size());
                output.backlog.sent(count, |chunk| {
                    if let Some(before) = finished.replace(chunk) {
                        others.keep(before);
                    }
                });
                (!output.backlog.is_empty(), late)
            });
            others
                .take()
                .into_iter()
                .chain(finished)
                .for_each(|chunk| chunk.release(py));
            let hands_over = late || more && in_parts;
            if hands_over && !self.hand_over(py, late)? {
                // The connection is broken, so the rest is not encrypted.
                let dropped = self.state.with(py, |state| state.output.drop_backlog());
                drop(dropped);
            }
        }
        Ok(())
    }

    /// Encrypts several short chunks into one record.
    fn write_joined(&self, py: Python<'_>) -> PyResult<Option<usize>> {
        let event_loop = self.event_loop.bind(py).get();
        let window = event_loop.take_window(py, Purpose::Plain)?;
        let count = self.state.with(py, |state| {
            let output = &state.output;
            window.get().with_mut(py, |memory| {
                let most = match output.handed {
                    0 => RECORD,
                    handed => handed.min(RECORD),
                };
                let mut count = 0;
                for chunk in output.backlog.unsent() {
                    let size = chunk.len().min(most - count);
                    memory[count..count + size].copy_from_slice(&chunk[..size]);
                    count += size;
                    if count == most {
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

    /// Writes the records that OpenSSL has made, unless the transport below has asked to pause and
    /// they are not `late`. False if that transport is lost.
    pub(super) fn hand_over(&self, py: Python<'_>, late: bool) -> PyResult<bool> {
        let below = self.state.with(py, |state| {
            let open = late || !state.output.below_paused;
            open.then(|| Some(state.below.as_ref()?.duplicate(py)))
                .flatten()
        });
        let Some(below) = below else {
            return Ok(true);
        };
        if self.engine.is_foreign() {
            self.hand_over_foreign(py, &below)?;
            return Ok(!below.is_lost(py));
        }
        if let Some(direct) = self.engine.direct()
            && below.send_filled(py, |room| direct.session.take(room))?
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

    /// Writes the records, and has the program pause or resume: asyncio's `_process_outgoing`.
    pub(crate) fn process_outgoing(this: &Bound<'_, Self>) -> PyResult<()> {
        this.get().hand_over(this.py(), false)?;
        Self::control_app(this)
    }

    /// How much the transport below has not been given yet: `get_write_buffer_size()`.
    pub(crate) fn written_size(&self, py: Python<'_>) -> PyResult<usize> {
        let waiting = self.state.with(py, |state| state.output.waiting());
        Ok(self.engine.outgoing_pending(py)?.saturating_add(waiting))
    }
}

impl State {
    /// Queues chunks, or counts a write after the end.
    #[inline]
    fn append(
        &mut self,
        chunks: &mut Option<impl IntoIterator<Item = Pinned> + AsRef<[Pinned]>>,
    ) -> Result<Next, TryReserveError> {
        let output = &mut self.output;
        if self.phase.is_over() {
            let warn = output.lost >= LOST_WRITES;
            output.lost = output.lost.saturating_add(1);
            return Ok(if warn { Next::Warn } else { Next::Nothing });
        }
        let Some(chunks) = chunks.take() else {
            return Ok(Next::Nothing);
        };
        // With a mark of 0 the program is told at each write, even if nothing waits after it.
        let delays = self.phase == Phase::Wrapped
            && output.work == Work::Idle
            && output.marks.high > 0
            && output.backlog.is_empty()
            && response_head::wait_for_body(chunks.as_ref());
        output.backlog.make_room(chunks.as_ref().len())?;
        for chunk in chunks {
            if output.below_paused {
                output.records += chunk.bytes().len().div_ceil(RECORD);
            }
            output.backlog.push(chunk);
        }
        if self.phase != Phase::Wrapped || output.work == Work::Encrypting {
            return Ok(Next::Nothing);
        }
        if output.below_paused {
            return Ok(Next::Control);
        }
        Ok(match output.work {
            Work::Delayed => Next::Join,
            _ if delays => Next::Delay,
            _ => Next::Flush,
        })
    }

    /// What to encrypt next. Everything that is queued while the transport below takes it counts as
    /// handed over, even if that transport pauses before it has received all of it.
    #[inline]
    fn piece(&mut self, py: Python<'_>, share: Share) -> Option<Piece> {
        let output = &mut self.output;
        if share != Share::Handed && !output.below_paused {
            output.hand_all();
        }
        let goes_on = match output.handed {
            0 => false,
            handed => !output.below_paused || handed <= LAST,
        };
        if !goes_on && share != Share::Everything {
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
