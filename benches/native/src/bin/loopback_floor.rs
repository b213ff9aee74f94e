//! `loopback_floor THREADS SECONDS tcp|unix`: echo over loopback, or over pairs of Unix sockets, with both
//! ends in each thread; prints thousands of messages a second, as a JSON list of one.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use ferroloop_benches::{loopback, report::exit_code};

fn run() -> io::Result<()> {
    let usage = || io::Error::other("usage: loopback_floor THREADS SECONDS tcp|unix");
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [threads, seconds, kind] = &words[..] else {
        return Err(usage());
    };
    let threads = threads.parse().map_err(|_| usage())?;
    let seconds = seconds.parse().map_err(|_| usage())?;
    let duration = Duration::try_from_secs_f64(seconds).map_err(|_| usage())?;
    let rate = loopback::summed_rate(kind.parse()?, threads, duration)?;
    writeln!(io::stdout(), "[{}]", rate / 1e3)
}

fn main() -> ExitCode {
    exit_code("loopback_floor", run())
}
