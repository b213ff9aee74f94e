//! `load`: loads a server for a fixed time and prints one line of JSON.

use std::io::{self, Write};
use std::process::ExitCode;

use ferroloop_benches::args::{Mode, Options};
use ferroloop_benches::{connect, echo, http};

fn run() -> io::Result<u64> {
    let options = Options::parse(std::env::args().skip(1))?;
    let report = match options.mode {
        Mode::Echo => echo::run(&options),
        Mode::Http => http::run(&options),
        Mode::Connect => connect::run(&options),
    }?;
    writeln!(io::stdout(), "{report}")?;
    Ok(report.errors)
}

/// Ends with 0, with 1 if any exchange failed, with 2 if there was nothing to load.
fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(error) => {
            let _ = writeln!(io::stderr(), "load: {error}");
            ExitCode::from(2)
        }
    }
}
