//! `echo_floor ADDRESS`: serves echo until it is killed; its first line of output is the address
//! (`127.0.0.1:0` picks a port, a path makes a Unix socket).

use std::io::{self, Write};
use std::process::ExitCode;

use ferroloop_benches::address::Address;
use ferroloop_benches::floor::Floor;

fn run() -> io::Result<()> {
    let usage = || io::Error::other("usage: echo_floor HOST:PORT|PATH");
    let text = std::env::args().nth(1).ok_or_else(usage)?;
    let (mut floor, place) = Floor::bind(&Address::parse(&text)?)?;
    writeln!(io::stdout(), "{place}")?;
    io::stdout().flush()?;
    floor.serve()
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "echo_floor: {error}");
            ExitCode::FAILURE
        }
    }
}
