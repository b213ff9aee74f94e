//! From records to the protocol.
//!
//! Loop thread only. OpenSSL is asked for data only when a whole record has come, which the record headers
//! show, because an `SSLWantReadError` costs as much as decrypting a record. It is fed about a record
//! at a time, because a `MemoryBIO` never shrinks.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::error::{exception, no_memory};
use crate::event_loop::Purpose;
use crate::py::calling::call;
use crate::py::calling::names::name;
use crate::py::data::buffer;
use crate::py::data::window::{self, Window};
use crate::py::value;
use crate::sys::allocation;
use crate::tls::engine::{Read, Room};
use crate::tls::session::{Phase, Received, TlsProtocol};
use crate::transport::protocol::Kind;

/// How much OpenSSL is fed at a time: the longest record.
pub(super) const SLICE: usize = (1 << 14) + 256;
/// The most that a record holds.
const RECORD: usize = 1 << 14;

/// From this size on, data is decrypted directly into its final object.
const LARGE: usize = 32 * 1024;
/// How much a native protocol that receives into buffers gets in one turn: as much as asyncio's.
const MOST: usize = 256 * 1024;
/// The text of the error for a buffer without room.
pub(crate) const EMPTY_BUFFER: &str = "get_buffer() returned an empty buffer";

/// Why a read stopped.
enum End {
    /// OpenSSL has no more for now.
    Nothing,
    /// The room is filled.
    Full,
    /// The peer's close_notify.
    CloseNotify,
    /// The data cannot be decrypted.
    Failed(PyErr),
}

impl TlsProtocol {
    /// The first `count` bytes of `window` were received: asyncio's `buffer_updated`.
    ///
    /// # Errors
    /// Errors for which the transport below has to end the connection.
    pub(crate) fn received(
        this: &Bound<'_, Self>,
        window: &Bound<'_, Window>,
        count: usize,
    ) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        session.hold(py)?;
        let kept = window.clone().unbind();
        let waits = session.state.with(py, |state| {
            let waits = !state.input.held.is_empty();
            state.input.now = Some(Received {
                window: kept,
                at: 0,
                end: count,
            });
            waits
        });
        if waits {
            session.hold(py)?;
        }
        let result = Self::go_on(this);
        if result.is_err() {
            // The transport below ends the connection; a delayed write is sent before.
            Self::settle(this)?;
        }
        if session.hold(py)? {
            return result.and_then(|()| session.control_below(py));
        }
        result
    }

    /// Keeps what was received in this callback and was not used. True if there is any.
    ///
    /// # Errors
    /// `MemoryError`; a part of the stream is lost then.
    pub(crate) fn hold(&self, py: Python<'_>) -> PyResult<bool> {
        let Some(now) = self.state.with(py, |state| state.input.now.take()) else {
            return Ok(false);
        };
        let left = now.at < now.end;
        let kept = if left {
            let window = now.window.bind(py).get();
            let range = now.at..now.end;
            self.state.with(py, |state| {
                window.with_mut(py, |memory| state.input.keep(&memory[range]))
            })
        } else {
            Ok(())
        };
        now.window.drop_ref(py);
        kept.map(|()| left).map_err(|_| no_memory(py))
    }

    /// Appends the first `most` bytes of `data` to what was received.
    ///
    /// # Errors
    /// `TypeError` for what has no buffer, and `MemoryError`.
    pub(crate) fn keep(&self, data: &Bound<'_, PyAny>, most: usize) -> PyResult<()> {
        let py = data.py();
        let copy = |bytes: &[u8]| allocation::copied(&bytes[..most.min(bytes.len())]);
        let copy = buffer::with_bytes(data, copy)?.map_err(|_| no_memory(py))?;
        let kept = self.state.with(py, |state| state.input.keep(&copy));
        kept.map_err(|_| no_memory(py))
    }

    /// Processes what was received, depending on the phase.
    ///
    /// # Errors
    /// Errors for which the transport below has to end the connection.
    pub(crate) fn go_on(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        if session.engine.is_foreign() {
            return Self::go_on_foreign(this);
        }
        loop {
            match session.phase(py) {
                Phase::DoHandshake => {
                    if !session.feed_next(py)? {
                        return Ok(());
                    }
                    Self::do_handshake(this)?;
                }
                Phase::Wrapped => return Self::do_read(this),
                Phase::Flushing => return Self::do_flush(this),
                Phase::Shutdown => {
                    if !session.feed_next(py)? {
                        return Ok(());
                    }
                    Self::do_shutdown(this)?;
                }
                Phase::Unwrapped => {
                    session.drop_input(py);
                    return Ok(());
                }
            }
        }
    }

    /// Drops what was received.
    pub(crate) fn drop_input(&self, py: Python<'_>) {
        let dropped = self.state.with(py, |state| {
            (
                state.input.now.take(),
                std::mem::take(&mut state.input.held),
            )
        });
        drop(dropped);
    }

    /// Feeds OpenSSL the next piece of what was received. False if there is none.
    pub(crate) fn feed_next(&self, py: Python<'_>) -> PyResult<bool> {
        let next = self.state.with(py, |state| {
            let now = state.input.now.as_mut()?;
            let from = now.at;
            now.at = now.end.min(from + SLICE);
            (from < now.at).then(|| (now.window.clone_ref(py), from, now.at))
        });
        if let Some((window, from, to)) = next {
            let window = window.into_bound(py);
            self.state.with(py, |state| {
                let records = &mut state.input.records;
                window
                    .get()
                    .with_mut(py, |memory| records.feed(&memory[from..to]));
            });
            self.engine.feed(&window, from, to)?;
            return Ok(true);
        }
        let held: Option<Vec<u8>> = self.state.with(py, |state| {
            let held = &mut state.input.held;
            let piece: Vec<u8> = held.drain(..held.len().min(SLICE)).collect();
            if held.is_empty() {
                // Frees its memory.
                *held = std::collections::VecDeque::new();
            }
            state.input.records.feed(&piece);
            (!piece.is_empty()).then_some(piece)
        });
        match held {
            Some(held) => {
                self.engine.feed_held(py, &held)?;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Whether data is delivered to the program now.
    fn reads(&self, py: Python<'_>) -> bool {
        self.state.with(py, |state| {
            matches!(state.phase, Phase::Wrapped | Phase::Flushing)
                && !state.input.paused
                && state.app.is_some()
        })
    }

    /// Delivers what can be decrypted; to a protocol with buffers, one buffer: asyncio's
    /// `_do_read`.
    pub(crate) fn do_read(this: &Bound<'_, Self>) -> PyResult<()> {
        let result = Self::try_read(this);
        Self::contain(this, result, "Fatal error on SSL protocol")
    }

    fn try_read(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        if !matches!(session.phase(py), Phase::Wrapped | Phase::Flushing) {
            return Ok(());
        }
        let reads = session.reads(py);
        if !reads {
            session.hold(py)?;
        } else if session.engine.is_foreign() {
            Self::read_foreign(this)?;
        } else {
            let kind = session.state.with(py, |state| state.kind);
            match kind {
                Kind::Native(class) if class.carries() => {
                    // A native protocol's buffers are smaller than those of asyncio's streams.
                    let mut delivered = 0;
                    while Self::read_buffered(this, &mut delivered, MOST)? {}
                }
                Kind::Buffered => drop(Self::read_buffered(this, &mut 0, 0)?),
                Kind::Plain | Kind::Native(_) => Self::read_plain(this)?,
            }
        }
        Self::flush_answers(this, reads)?;
        session.engine.shrink_buffers();
        session.control_below(py)
    }

    /// Decrypts what can be decrypted and delivers it in one piece. A small amount is decrypted
    /// into the window that the loop's connections share.
    fn read_plain(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        let most = session.most_decrypted(py)?;
        let (data, end) = if most >= LARGE {
            let (data, end) = window::filled_bytes(py, most, |window| {
                session.decrypt(py, (most, 1), &Room::Window(window))
            })?;
            (Some(data).filter(|it| !it.as_bytes().is_empty()), end)
        } else {
            let event_loop = session.event_loop.bind(py).get();
            let window = event_loop.take_window(py, Purpose::Plain)?;
            let size = window.get().size();
            let (filled, end) = session.decrypt(py, (size, RECORD), &Room::Window(&window));
            let data = (filled > 0).then(|| window.get().to_bytes(py, 0..filled));
            event_loop.give_window(py, Purpose::Plain, window);
            (data.transpose()?, end)
        };
        if matches!(end, End::Full) {
            // Decompression may have made more data than was received.
            Self::read_on(this)?;
        }
        if let (Some(data), Some(app)) = (data, session.app(py)) {
            match session.state.with(py, |state| state.kind) {
                Kind::Native(class) => class.data_received(&app, &data)?,
                Kind::Plain | Kind::Buffered => {
                    Self::tell(this, &app, name!(py, data_received)).call1(data.as_any())?;
                }
            }
        }
        Self::after_read(this, end)
    }

    /// An upper limit of how many bytes can be decrypted from what was received.
    fn most_decrypted(&self, py: Python<'_>) -> PyResult<usize> {
        let (waiting, begun) = self.state.with(py, |state| {
            let input = &state.input;
            let now = input.now.as_ref().map_or(0, |now| now.end - now.at);
            (input.held.len() + now, input.records.begun())
        });
        let fed = if self.is_readable(py) {
            self.engine.incoming_pending(py)? + self.engine.decrypted(py)?
        } else {
            begun
        };
        Ok(waiting + fed)
    }

    /// Decrypts into one buffer of the protocol, and adds the size to `delivered`. True if there is
    /// more and less than `most` was delivered. The rest is delivered in the next turn, as by
    /// asyncio, before what the protocol queues now.
    fn read_buffered(this: &Bound<'_, Self>, delivered: &mut usize, most: usize) -> PyResult<bool> {
        let py = this.py();
        let session = this.get();
        while !session.is_readable(py) {
            if !session.feed_next(py)? {
                return Ok(false);
            }
        }
        let Some(app) = session.app(py) else {
            return Ok(false);
        };
        let hint = value::count(py, session.received_size(py)?)?;
        let space = Self::tell(this, &app, name!(py, get_buffer)).call1(hint.as_any())?;
        let items = space.len()?;
        // If the buffer is not writable, the read fails.
        let size = buffer::writable_size(&space).unwrap_or(items);
        if items == 0 || size == 0 {
            return Err(exception::<PyRuntimeError>(py, EMPTY_BUFFER));
        }
        let (filled, end) = session.decrypt(py, (size, 1), &Room::Buffer(&space));
        drop(space);
        *delivered += filled;
        let full = matches!(end, End::Full);
        if full && *delivered >= most {
            Self::read_on(this)?;
        }
        if filled > 0 {
            let count = value::count(py, filled)?;
            Self::tell(this, &app, name!(py, buffer_updated)).call1(count.as_any())?;
        }
        Self::after_read(this, end)?;
        Ok(full && *delivered < most && session.reads(py))
    }

    /// Continues after a read.
    fn after_read(this: &Bound<'_, Self>, end: End) -> PyResult<()> {
        match end {
            End::Nothing | End::Full => Ok(()),
            End::CloseNotify => {
                Self::call_eof_received(this)?;
                Self::start_shutdown(this)
            }
            End::Failed(error) => Err(error),
        }
    }

    /// A buffer is full: a callback that is queued now delivers the rest.
    pub(crate) fn read_on(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let do_read = this.getattr(name!(py, _do_read))?;
        let event_loop = this.get().event_loop.bind(py);
        call::method1(event_loop, name!(py, call_soon), &do_read)?;
        this.get()
            .state
            .with(py, |state| state.input.queued_reads += 1);
        Ok(())
    }

    /// The callback that `read_on` queued.
    pub(crate) fn queued_read(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        this.get().state.with(py, |state| {
            let queued = &mut state.input.queued_reads;
            *queued = queued.saturating_sub(1);
        });
        Self::go_on_reading(this)
    }

    /// Decrypts into the `size` bytes of `room`, until less than `least` bytes are free. An error
    /// is returned after the data that was decrypted before it.
    fn decrypt(
        &self,
        py: Python<'_>,
        (size, least): (usize, usize),
        room: &Room<'_, '_>,
    ) -> (usize, End) {
        let mut filled = 0;
        let end = loop {
            if !self.is_readable(py) {
                match self.feed_next(py) {
                    Ok(true) => continue,
                    Ok(false) => break End::Nothing,
                    Err(error) => break End::Failed(error),
                }
            }
            let left = size.saturating_sub(filled);
            if left == 0 || left < least {
                break End::Full;
            }
            match self.engine.read(py, room, filled, size) {
                Ok(Read::CloseNotify) => break End::CloseNotify,
                Ok(Read::NoRoom) => break End::Full,
                Ok(Read::Data(count)) => {
                    filled += count;
                    // A buffer may have become smaller meanwhile.
                    let full = filled == size || matches!(room, Room::Buffer(_));
                    if let Err(error) = self.note_read(py, full) {
                        break End::Failed(error);
                    }
                }
                Ok(Read::Nothing) => {
                    self.state.with(py, |state| state.input.records.none_left());
                    match self.feed_next(py) {
                        Ok(true) => {}
                        Ok(false) => break End::Nothing,
                        Err(error) => break End::Failed(error),
                    }
                }
                Err(error) => break End::Failed(error),
            }
        };
        (filled, end)
    }

    #[inline]
    fn is_readable(&self, py: Python<'_>) -> bool {
        self.state
            .with(py, |state| state.input.records.is_readable())
    }

    /// After a read that returned data: checks whether there is more, in OpenSSL or not given to it
    /// yet.
    #[inline]
    fn note_read(&self, py: Python<'_>, full: bool) -> PyResult<()> {
        let leftover = full && self.engine.decrypted(py)? > 0;
        let more = self
            .state
            .with(py, |state| state.input.records.took(leftover));
        if more {
            self.recount(py)?;
        }
        Ok(())
    }

    /// Asks the `MemoryBIO` whether it holds a whole record.
    pub(crate) fn recount(&self, py: Python<'_>) -> PyResult<()> {
        let pending = self.engine.incoming_pending(py)?;
        self.state
            .with(py, |state| state.input.records.left(pending));
        Ok(())
    }

    /// How much was received and is not decrypted: `get_read_buffer_size()`. The received part of
    /// an incomplete record does not count while the program waits for the rest, because asyncio's
    /// OpenSSL would have taken it.
    pub(crate) fn received_size(&self, py: Python<'_>) -> PyResult<usize> {
        let (waiting, begun) = self.state.with(py, |state| {
            let input = &state.input;
            let now = input.now.as_ref().map_or(0, |now| now.end - now.at);
            let taken = !input.paused && !input.records.is_readable();
            let begun = if taken { input.records.begun() } else { 0 };
            (input.held.len() + now, begun)
        });
        let pending = self.engine.incoming_pending(py)?;
        Ok(pending.saturating_sub(begun).saturating_add(waiting))
    }

    /// `transport.resume_reading()`: queues a callback that delivers what waits.
    pub(crate) fn resume_reading(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let resumes = this.get().state.with(py, |state| {
            std::mem::replace(&mut state.input.paused, false)
        });
        if resumes {
            let event_loop = this.get().event_loop.bind(py);
            let resume = this.getattr(name!(py, _resume))?;
            event_loop.call_method1(name!(py, call_soon), (resume,))?;
        }
        Ok(())
    }

    /// The callback that `resume_reading` queued.
    pub(crate) fn resumed(this: &Bound<'_, Self>) -> PyResult<()> {
        if this.get().phase(this.py()) == Phase::Shutdown {
            Self::do_shutdown(this)?;
            return Self::go_on(this);
        }
        Self::go_on_reading(this)
    }

    fn go_on_reading(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let state = &this.get().state;
        let (phase, ended) = state.with(py, |state| (state.phase, state.input.ended));
        match phase {
            Phase::Wrapped if ended => Self::read_to_end(this).map(drop),
            Phase::Wrapped => Self::do_read(this),
            Phase::Flushing => Self::do_flush(this),
            Phase::Unwrapped | Phase::DoHandshake | Phase::Shutdown => Ok(()),
        }
    }
}
