//! The connect mode: connect, one message there and back, drop with a reset, again.
//!
//! The message keeps the generator from running ahead of the server's backlog, where a connection
//! waits a second for its SYN to be sent again. The reset (`SO_LINGER` of zero) keeps the ports free of
//! `TIME_WAIT`.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll};

use crate::address::Stream;
use crate::args::Options;
use crate::report::Report;

/// A run that has failed this often ends.
const MAX_ERRORS: u64 = 100;

/// One connection's short life.
struct Attempt {
    /// The socket.
    stream: Stream,
    /// When it began.
    started: Instant,
    /// Bytes of the message that have left.
    sent: usize,
    /// Bytes of it that have come back.
    received: usize,
}

/// Runs the connect load.
pub fn run(options: &Options) -> io::Result<Report> {
    let mut poll = Poll::new()?;
    let mut report = Report::default();
    let mut attempts = (0..options.connections)
        .map(|index| begin(options, &poll, index))
        .collect::<io::Result<Vec<_>>>()?;
    let message = vec![b'c'; options.size];
    let mut events = Events::with_capacity(1024);
    let begun = Instant::now();
    let mut counting_since = None;
    loop {
        let elapsed = begun.elapsed();
        if counting_since.is_none() && elapsed >= options.warmup {
            report.start_counting();
            counting_since = Some(Instant::now());
        }
        if elapsed >= options.warmup + options.duration || report.errors > MAX_ERRORS {
            report.elapsed = counting_since.unwrap_or(begun).elapsed();
            return Ok(report);
        }
        poll.poll(&mut events, Some(Duration::from_millis(50)))?;
        for event in &events {
            let index = event.token().0;
            match attempts[index].advance(event, &message) {
                Ok(false) => continue,
                Ok(true) => report.complete(attempts[index].started.elapsed()),
                Err(error) => report.fail(&error),
            }
            attempts[index] = begin(options, &poll, index)?;
        }
    }
}

fn begin(options: &Options, poll: &Poll, index: usize) -> io::Result<Attempt> {
    let started = Instant::now();
    let mut stream = options.to.begin_connect()?;
    stream.watch(poll, index)?;
    Ok(Attempt {
        stream,
        started,
        sent: 0,
        received: 0,
    })
}

impl Attempt {
    /// Continues as far as possible; true when the message is back and the connection may be
    /// dropped.
    fn advance(&mut self, event: &Event, message: &[u8]) -> io::Result<bool> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        if event.is_writable() && self.sent < message.len() {
            self.sent += self.stream.write(&message[self.sent..]).or_else(none_yet)?;
        }
        while event.is_readable() {
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.received += count,
                Err(error) => {
                    none_yet(error)?;
                    break;
                }
            }
        }
        let done = self.received >= message.len();
        if done {
            self.stream.reset_on_close()?;
        }
        Ok(done)
    }
}

/// 0 if `error` only means that the call would have to wait.
fn none_yet(error: io::Error) -> io::Result<usize> {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(0),
        _ => Err(error),
    }
}
