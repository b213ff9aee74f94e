//! The generator's command line: `load MODE --to ADDRESS [--name value ...]`.

use std::io;
use std::time::Duration;

use crate::address::Address;

/// What the generator does on each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Sends a message and waits until the same number of bytes has come back.
    Echo,
    /// Sends a GET request and waits for the whole response.
    Http,
    /// Connects, exchanges one message and drops the connection.
    Connect,
}

/// The whole order of one run.
#[derive(Clone, Debug)]
pub struct Options {
    /// What to do on each connection.
    pub mode: Mode,
    /// The server.
    pub to: Address,
    /// How many connections are open at once.
    pub connections: usize,
    /// Bytes of an echo message, its newline included.
    pub size: usize,
    /// Whether an echo message is a line (ends with a newline).
    pub line: bool,
    /// Whether every echoed byte is compared, not only the length.
    pub verify: bool,
    /// The path that the HTTP mode asks for.
    pub path: String,
    /// Requests a second at times fixed in advance; without it, each follows an answer.
    pub rate: Option<f64>,
    /// How long the load runs before anything is counted.
    pub warmup: Duration,
    /// How long it is counted.
    pub duration: Duration,
}

/// The text that `--help` and a wrong command line print.
pub const USAGE: &str = "usage: load echo|http|connect --to HOST:PORT|PATH [--connections N] [--size BYTES] \
[--line] [--verify] [--path /] [--rate A_SECOND] [--warmup SECONDS] [--duration SECONDS]";

impl Options {
    /// Reads the arguments that follow the program's name.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> io::Result<Self> {
        let mut words = arguments.into_iter();
        let mode = match words.next().as_deref() {
            Some("echo") => Mode::Echo,
            Some("http") => Mode::Http,
            Some("connect") => Mode::Connect,
            _ => return Err(io::Error::other(USAGE)),
        };
        let mut to = None;
        let mut options = Self::defaults(mode);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--line" => options.line = true,
                "--verify" => options.verify = true,
                "--to" => to = Some(Address::parse(&value(&word, &mut words)?)?),
                _ => options.set(&word, &value(&word, &mut words)?)?,
            }
        }
        options.to = to.ok_or_else(|| io::Error::other("--to is missing"))?;
        Ok(options)
    }

    fn defaults(mode: Mode) -> Self {
        Self {
            mode,
            to: Address::Unix("/".into()),
            connections: 16,
            size: 1024,
            line: false,
            verify: false,
            path: "/".to_owned(),
            rate: None,
            warmup: Duration::from_millis(500),
            duration: Duration::from_secs(3),
        }
    }

    fn set(&mut self, name: &str, text: &str) -> io::Result<()> {
        match name {
            "--connections" => self.connections = number(name, text)?.max(1),
            "--size" => self.size = number(name, text)?.max(1),
            "--path" => text.clone_into(&mut self.path),
            "--rate" => self.rate = Some(rate(name, text)?),
            "--warmup" => self.warmup = seconds(name, text)?,
            "--duration" => self.duration = seconds(name, text)?,
            _ => return Err(io::Error::other(format!("unknown option {name}; {USAGE}"))),
        }
        Ok(())
    }
}

fn value(name: &str, words: &mut impl Iterator<Item = String>) -> io::Result<String> {
    words
        .next()
        .ok_or_else(|| io::Error::other(format!("{name} needs a value")))
}

fn number(name: &str, text: &str) -> io::Result<usize> {
    text.parse()
        .map_err(|_| io::Error::other(format!("{name}: {text} is no whole number")))
}

fn seconds(name: &str, text: &str) -> io::Result<Duration> {
    text.parse()
        .ok()
        .and_then(|value| Duration::try_from_secs_f64(value).ok())
        .ok_or_else(|| io::Error::other(format!("{name}: {text} is no number of seconds")))
}

fn rate(name: &str, text: &str) -> io::Result<f64> {
    text.parse()
        .ok()
        .filter(|value: &f64| value.is_finite() && *value > 0.0)
        .ok_or_else(|| io::Error::other(format!("{name}: {text} is no rate")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> io::Result<Options> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_full_command_line_is_read() {
        let options = parse("echo --to 127.0.0.1:80 --connections 4 --size 9 --line").unwrap();
        assert_eq!(
            (options.mode, options.connections, options.size),
            (Mode::Echo, 4, 9)
        );
        assert!(options.line);
        assert!(matches!(options.to, Address::Tcp(_)));
    }

    #[test]
    fn a_slash_makes_a_unix_address() {
        assert!(matches!(
            parse("http --to /run/x").unwrap().to,
            Address::Unix(_)
        ));
    }

    #[test]
    fn wrong_words_are_refused() {
        for line in [
            "",
            "ping",
            "echo",
            "echo --to",
            "echo --to /x --size y",
            "echo --to /x --z 1",
            "echo --to /x --rate 0",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
