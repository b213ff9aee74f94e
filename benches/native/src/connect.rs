//! The connect mode: connect, drop with a reset, again; a fixed number at once.
//!
//! The reset (`SO_LINGER` of zero) keeps the generator's ports free of `TIME_WAIT`.

use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::address::Stream;
use crate::args::Options;
use crate::report::Report;

/// A connection that is being made.
struct Attempt {
    /// The socket.
    stream: Stream,
    /// When it began.
    started: Instant,
}

/// Runs the connect load.
pub fn run(options: &Options) -> io::Result<Report> {
    let mut poll = Poll::new()?;
    let mut report = Report::default();
    let mut attempts = (0..options.connections)
        .map(|index| begin(options, &poll, index))
        .collect::<io::Result<Vec<_>>>()?;
    let mut events = Events::with_capacity(1024);
    let begun = Instant::now();
    let mut counting_since = None;
    loop {
        let elapsed = begun.elapsed();
        if counting_since.is_none() && elapsed >= options.warmup {
            report.start_counting();
            counting_since = Some(Instant::now());
        }
        if elapsed >= options.warmup + options.duration || report.errors > 100 {
            report.elapsed = counting_since.unwrap_or(begun).elapsed();
            return Ok(report);
        }
        poll.poll(&mut events, Some(Duration::from_millis(50)))?;
        for event in &events {
            let index = event.token().0;
            finish(&attempts[index], &mut report);
            attempts[index] = begin(options, &poll, index)?;
        }
    }
}

fn begin(options: &Options, poll: &Poll, index: usize) -> io::Result<Attempt> {
    let started = Instant::now();
    let mut stream = options.to.begin_connect()?;
    poll.registry()
        .register(&mut stream, Token(index), Interest::WRITABLE)?;
    Ok(Attempt { stream, started })
}

fn finish(attempt: &Attempt, report: &mut Report) {
    match attempt
        .stream
        .take_error()
        .and_then(|error| error.map_or(Ok(()), Err))
    {
        Ok(()) => report.complete(attempt.started.elapsed()),
        Err(error) => report.fail(&error),
    }
    if let Err(error) = attempt.stream.reset_on_close() {
        report.fail(&error);
    }
}
