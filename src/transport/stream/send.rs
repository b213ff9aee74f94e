//! One attempt to send what waits.
//!
//! Loop thread only. Several small chunks are copied into one first, because `send` of one piece costs
//! less than `sendmsg` of a list.

use std::io;
use std::os::fd::RawFd;

use pyo3::prelude::*;

use crate::logic::write_queue::Chunk;
use crate::sys::socket;
use crate::transport::chunk::{Data, Finished, Sent, send_queue};
use crate::transport::stream::state::{State, StreamTransport, Writing};

/// Up to how many bytes several chunks are sent as one copy.
const JOINED: usize = 8 * 1024;

impl StreamTransport {
    /// Sends as much as the kernel takes.
    #[inline]
    pub(crate) fn send(&self, py: Python<'_>) -> Sent {
        let single = self.state.with(py, |state| {
            if !state.begin_sending() {
                return None;
            }
            Some((state.queue.take_single()?, state.descriptor.number(py)))
        });
        match single {
            Some((chunk, number)) => self.send_first(py, chunk, number),
            None => self.send_joined(py).unwrap_or_else(|| self.send_many(py)),
        }
    }

    /// Sends several small chunks, such as the head and the body of a response, as one piece: the
    /// copy costs less than what the kernel does for a list of pieces. `None` if they are not
    /// small, or nothing may be sent.
    fn send_joined(&self, py: Python<'_>) -> Option<Sent> {
        self.state.with(py, |state| {
            let small = state.queue.len() > 1 && state.queue.size() <= JOINED;
            (small && state.begin_sending()).then_some(())
        })?;
        let joined = self.event_loop.bind(py).get().with_scratch(py, |scratch| {
            let (number, count) = self.state.with(py, |state| {
                (state.descriptor.number(py), state.queue.copy_to(scratch))
            });
            socket::send(number, &scratch[..count]).map(|sent| (sent, count))
        });
        // Without memory to join them they are sent as a list.
        let result = joined.ok()?;
        Some(match result {
            Ok((sent, count)) if sent == count => {
                for _ in 0..self.state.with(py, |state| state.queue.all_sent()) {
                    if let Some(chunk) = self.state.with(py, |state| state.queue.take_first()) {
                        chunk.release(py);
                    }
                }
                Sent::Everything
            }
            Ok((sent, _)) => {
                let mut finished = Finished::new();
                self.state
                    .with(py, |state| state.queue.sent(sent, |it| finished.keep(it)));
                finished.release(py);
                Sent::Blocked
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Sent::Blocked,
            Err(error) => Sent::Failed(error),
        })
    }

    /// Sends `chunk` if nothing waits. What the kernel does not take is queued.
    #[inline]
    pub(crate) fn send_first(&self, py: Python<'_>, chunk: Data, number: RawFd) -> Sent {
        let length = chunk.bytes().len();
        match socket::send(number, chunk.bytes()) {
            Ok(count) if count == length => {
                chunk.release(py);
                Sent::Everything
            }
            result => self.put_back(py, chunk, result),
        }
    }

    /// Queues what is left of `chunk`, which is the only one, after a `send` that ended with `result`.
    #[cold]
    pub(crate) fn put_back(&self, py: Python<'_>, chunk: Data, result: io::Result<usize>) -> Sent {
        let (count, sent) = match result {
            Ok(count) => (count, Sent::Blocked),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (0, Sent::Blocked),
            Err(error) => (0, Sent::Failed(error)),
        };
        self.state
            .with(py, |state| state.queue.put_back(chunk, count));
        sent
    }

    fn send_many(&self, py: Python<'_>) -> Sent {
        // Chunks are released outside the borrow.
        let mut finished = Finished::new();
        let sent = self.state.with(py, |state| {
            if state.begin_sending() {
                let number = state.descriptor.number(py);
                send_queue(
                    &mut state.queue,
                    number,
                    socket::send_vectored,
                    &mut finished,
                )
            } else {
                Sent::Everything
            }
        });
        finished.release(py);
        sent
    }
}

impl State {
    /// Marks what waits as being sent. False if the kernel takes nothing, and after the end.
    #[inline]
    fn begin_sending(&mut self) -> bool {
        if self.writing == Writing::Blocked || self.endpoint.life.is_lost() {
            return false;
        }
        self.writing = Writing::Idle;
        true
    }
}
