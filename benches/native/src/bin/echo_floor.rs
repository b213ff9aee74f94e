//! `echo_floor ADDRESS [THREADS] [http]`: serves echo, or HTTP, until it is killed; its first line of
//! output is the address (`127.0.0.1:0` picks a port, a path makes a Unix socket). Threads have a server
//! each, all at one port.

use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;

use ferroloop_benches::address::Address;
use ferroloop_benches::floor::{Answer, Floor};
use ferroloop_benches::report::exit_code;

fn announce(place: impl std::fmt::Display) -> io::Result<()> {
    writeln!(io::stdout(), "{place}")?;
    io::stdout().flush()
}

fn run() -> io::Result<()> {
    let usage = || io::Error::other("usage: echo_floor HOST:PORT|PATH [THREADS] [http]");
    let words: Vec<String> = std::env::args().skip(1).collect();
    let address = Address::parse(words.first().ok_or_else(usage)?)?;
    let Some(count) = words.get(1) else {
        let (mut floor, place) = Floor::bind(&address)?;
        announce(place)?;
        return floor.serve();
    };
    let count = count.parse().map_err(|_| usage())?;
    let answer = match words.get(2).map(String::as_str) {
        None => Answer::Echo,
        Some("http") => Answer::Http,
        Some(_) => return Err(usage()),
    };
    let Address::Tcp(address) = address else {
        return Err(usage());
    };
    let (floors, place) = Floor::bind_several(address, count, answer)?;
    announce(place)?;
    let threads: Vec<_> = floors
        .into_iter()
        .map(|mut floor| thread::spawn(move || floor.serve()))
        .collect();
    for thread in threads {
        thread
            .join()
            .map_err(|_| io::Error::other("a thread has failed"))??;
    }
    Ok(())
}

fn main() -> ExitCode {
    exit_code("echo_floor", run())
}
