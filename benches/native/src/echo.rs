//! The echo conversation: what was sent comes back, no byte less and none more.

use std::io;
use std::rc::Rc;

use crate::args::Options;
use crate::report::Report;
use crate::session::{self, Conversation, Progress};

/// One connection's echo.
#[derive(Debug)]
struct Echo {
    /// The message, shared by all connections.
    message: Rc<[u8]>,
    /// How much of it has come back.
    received: usize,
    /// Whether the bytes are compared too.
    verify: bool,
}

/// Runs the echo load.
pub fn run(options: &Options) -> io::Result<Report> {
    let message = message(options.size, options.line);
    session::run(options, || Echo {
        message: Rc::clone(&message),
        received: 0,
        verify: options.verify,
    })
}

/// Letters from `a` to `z`, or a line of them: the newline is its last byte.
fn message(size: usize, line: bool) -> Rc<[u8]> {
    let mut bytes: Vec<u8> = (b'a'..=b'z').cycle().take(size).collect();
    if line {
        bytes[size - 1] = b'\n';
    }
    bytes.into()
}

impl Conversation for Echo {
    fn request(&self) -> &[u8] {
        &self.message
    }

    fn receive(&mut self, data: &[u8]) -> Result<Progress, String> {
        let end = self.received + data.len();
        let Some(expected) = self.message.get(self.received..end) else {
            return Err(format!("{end} bytes came back for {}", self.message.len()));
        };
        if self.verify && expected != data {
            return Err(format!("wrong bytes came back after {}", self.received));
        }
        self.received = end;
        if end < self.message.len() {
            return Ok(Progress::More);
        }
        self.received = 0;
        Ok(Progress::Complete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo(size: usize) -> Echo {
        Echo {
            message: message(size, true),
            received: 0,
            verify: true,
        }
    }

    #[test]
    fn a_message_in_two_parts_is_complete_once() {
        let mut echo = echo(4);
        let sent = echo.request().to_vec();
        assert_eq!(sent, b"abc\n");
        assert_eq!(echo.receive(&sent[..3]), Ok(Progress::More));
        assert_eq!(echo.receive(&sent[3..]), Ok(Progress::Complete));
        assert_eq!(echo.receive(&sent), Ok(Progress::Complete));
    }

    #[test]
    fn too_much_and_other_bytes_are_errors() {
        assert!(echo(4).receive(b"abc\nx").is_err());
        assert!(echo(4).receive(b"abcd").is_err());
    }
}
