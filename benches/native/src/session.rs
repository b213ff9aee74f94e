//! Drives every connection of a run: one poller, one buffer, request after request.
//!
//! Registration is edge-triggered and happens once. A short read means that the socket is drained,
//! unless the event said that the peer has closed; so a message costs one `recv` and one `send`.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll};

use crate::address::Stream;
use crate::args::Options;
use crate::pace::Pace;
use crate::report::Report;

/// Bytes of the buffer that all connections receive into.
const BUFFER: usize = 256 * 1024;
/// A run that has failed this often ends.
const MAX_ERRORS: u64 = 100;

/// Whether an answer is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More bytes must come.
    More,
    /// The answer is complete, and nothing came behind it.
    Complete,
}

/// One connection's view of its protocol: what to send, and when the answer is whole.
pub trait Conversation {
    /// The bytes of every request.
    fn request(&self) -> &[u8];
    /// Takes received bytes; an error text ends the connection.
    fn receive(&mut self, data: &[u8]) -> Result<Progress, String>;
}

/// One connection.
struct Connection<C> {
    /// The socket.
    stream: Stream,
    /// What is sent and expected on it.
    conversation: C,
    /// How much of the request has left.
    sent: usize,
    /// When the request began to leave, or was due.
    started: Instant,
}

/// What a run shares between its connections.
struct Shared {
    /// When requests begin.
    pace: Pace,
    /// What was counted.
    report: Report,
    /// What all connections receive into.
    buffer: Vec<u8>,
}

/// Opens all connections, loads the server and reports what was counted after the warm-up.
pub fn run<C: Conversation>(options: &Options, mut make: impl FnMut() -> C) -> io::Result<Report> {
    let mut poll = Poll::new()?;
    let mut connections = Vec::with_capacity(options.connections);
    for index in 0..options.connections {
        connections.push(open(options, &poll, index, make())?);
    }
    let mut shared = Shared {
        pace: Pace::new(options.rate, options.connections),
        report: Report::default(),
        buffer: vec![0; BUFFER],
    };
    if options.rate.is_none() {
        for connection in &mut connections {
            connection.begin(Instant::now()).map_err(io::Error::other)?;
        }
    }
    let mut events = Events::with_capacity(1024);
    for (duration, counted) in [(options.warmup, false), (options.duration, true)] {
        shared.report.start_counting();
        let start = Instant::now();
        while let Some(left) = remaining(start, duration) {
            while let Some((index, due)) = shared.pace.take_due(Instant::now()) {
                connections[index].begin(due).map_err(io::Error::other)?;
            }
            let most = left.min(Duration::from_millis(100));
            let patience = shared.pace.patience(Instant::now(), most);
            poll.poll(&mut events, Some(patience))
                .or_else(ignore_eintr)?;
            for event in &events {
                let index = event.token().0;
                if let Err(text) = connections[index].advance(event, &mut shared) {
                    shared.report.fail(&text);
                    connections[index] = open(options, &poll, index, make())?;
                    if shared.pace.answered(index) {
                        connections[index]
                            .begin(Instant::now())
                            .map_err(io::Error::other)?;
                    }
                }
            }
            if shared.report.errors > MAX_ERRORS {
                shared.report.elapsed = start.elapsed();
                return Ok(shared.report);
            }
        }
        if counted {
            shared.report.elapsed = start.elapsed();
        }
    }
    shared.report.behind = shared.pace.behind(Instant::now());
    Ok(shared.report)
}

fn remaining(start: Instant, duration: Duration) -> Option<Duration> {
    duration
        .checked_sub(start.elapsed())
        .filter(|left| !left.is_zero())
}

fn ignore_eintr(error: io::Error) -> io::Result<()> {
    if error.kind() == ErrorKind::Interrupted {
        Ok(())
    } else {
        Err(error)
    }
}

fn open<C: Conversation>(
    options: &Options,
    poll: &Poll,
    index: usize,
    conversation: C,
) -> io::Result<Connection<C>> {
    let mut stream = options.to.connect()?;
    stream.watch(poll, index)?;
    Ok(Connection {
        stream,
        // Nothing is sent before `begin`, although the socket becomes writable before.
        sent: conversation.request().len(),
        conversation,
        started: Instant::now(),
    })
}

impl<C: Conversation> Connection<C> {
    fn begin(&mut self, now: Instant) -> Result<(), String> {
        self.started = now;
        self.sent = 0;
        self.send()
    }

    fn send(&mut self) -> Result<(), String> {
        loop {
            let rest = &self.conversation.request()[self.sent..];
            if rest.is_empty() {
                return Ok(());
            }
            match self.stream.write(rest) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("send: {error}")),
            }
        }
    }

    fn advance(&mut self, event: &Event, shared: &mut Shared) -> Result<(), String> {
        if event.is_writable() {
            self.send()?;
        }
        if event.is_readable() {
            self.receive(event.token().0, event.is_read_closed(), shared)?;
        }
        Ok(())
    }

    fn receive(&mut self, index: usize, to_end: bool, shared: &mut Shared) -> Result<(), String> {
        loop {
            let count = match self.stream.read(&mut shared.buffer) {
                Ok(0) => return Err("the server closed the connection".to_owned()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("recv: {error}")),
            };
            shared.report.bytes += count as u64;
            if self.conversation.receive(&shared.buffer[..count])? == Progress::Complete {
                let now = Instant::now();
                shared.report.complete(now - self.started);
                if shared.pace.answered(index) {
                    self.begin(now)?;
                }
            }
            if count < shared.buffer.len() && !to_end {
                return Ok(());
            }
        }
    }
}
