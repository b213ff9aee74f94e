//! The HTTP/1.1 keep-alive conversation: GET, then a response with a `Content-Length`.

use std::io;
use std::rc::Rc;

use crate::address::Address;
use crate::args::Options;
use crate::report::Report;
use crate::session::{self, Conversation, Progress};

/// A response head longer than this is refused.
const MAX_HEAD: usize = 64 * 1024;

/// One connection's requests.
#[derive(Debug)]
struct Http {
    /// The request, shared by all connections.
    request: Rc<[u8]>,
    /// A head that has not fully arrived; empty while a body is awaited.
    head: Vec<u8>,
    /// Bytes of the body that are still to come; none while a head is awaited.
    body_left: Option<usize>,
}

/// Runs the HTTP load.
pub fn run(options: &Options) -> io::Result<Report> {
    let request = request(options);
    session::run(options, || Http::new(Rc::clone(&request)))
}

fn request(options: &Options) -> Rc<[u8]> {
    let host = match &options.to {
        Address::Tcp(address) => address.to_string(),
        Address::Unix(_) => "localhost".to_owned(),
    };
    format!("GET {} HTTP/1.1\r\nHost: {host}\r\n\r\n", options.path)
        .into_bytes()
        .into()
}

impl Http {
    fn new(request: Rc<[u8]>) -> Self {
        Self {
            request,
            head: Vec::new(),
            body_left: None,
        }
    }

    fn receive_head(&mut self, data: &[u8]) -> Result<Progress, String> {
        // The usual case: the whole head is in this one piece, and nothing is copied.
        let whole = if self.head.is_empty() {
            end_of_head(data)
        } else {
            None
        };
        if let Some(end) = whole {
            self.body_left = Some(content_length(&data[..end])?);
            return self.receive_body(&data[end..]);
        }
        self.head.extend_from_slice(data);
        let Some(end) = end_of_head(&self.head) else {
            return if self.head.len() > MAX_HEAD {
                Err("the response's head has no end".to_owned())
            } else {
                Ok(Progress::More)
            };
        };
        self.body_left = Some(content_length(&self.head[..end])?);
        let body = self.head.split_off(end);
        self.head.clear();
        self.receive_body(&body)
    }

    fn receive_body(&mut self, data: &[u8]) -> Result<Progress, String> {
        let left = self.body_left.unwrap_or(0);
        let Some(left) = left.checked_sub(data.len()) else {
            return Err(format!("{} bytes came behind the body", data.len() - left));
        };
        self.body_left = (left > 0).then_some(left);
        Ok(if left > 0 {
            Progress::More
        } else {
            Progress::Complete
        })
    }
}

impl Conversation for Http {
    fn request(&self) -> &[u8] {
        &self.request
    }

    fn receive(&mut self, data: &[u8]) -> Result<Progress, String> {
        if self.body_left.is_some() {
            self.receive_body(data)
        } else {
            self.receive_head(data)
        }
    }
}

fn end_of_head(data: &[u8]) -> Option<usize> {
    data.windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|start| start + 4)
}

/// The body's length by the head, of a response whose status is 2xx.
fn content_length(head: &[u8]) -> Result<usize, String> {
    let text = std::str::from_utf8(head).map_err(|_| "the head is no text".to_owned())?;
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if status
        .split(' ')
        .nth(1)
        .is_none_or(|code| !code.starts_with('2'))
    {
        return Err(format!("status: {status}"));
    }
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            let value = value.trim();
            return value.parse().map_err(|_| format!("no length: {value}"));
        }
    }
    Err("the response has no Content-Length".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 5\r\n\r\nhello";

    fn http() -> Http {
        Http::new(Rc::from(&b"GET"[..]))
    }

    #[test]
    fn a_response_is_complete_however_it_is_cut() {
        for cut in 1..RESPONSE.len() {
            let mut http = http();
            assert_eq!(http.receive(&RESPONSE[..cut]), Ok(Progress::More), "{cut}");
            assert_eq!(
                http.receive(&RESPONSE[cut..]),
                Ok(Progress::Complete),
                "{cut}"
            );
            assert_eq!(http.receive(RESPONSE), Ok(Progress::Complete), "{cut}");
        }
    }

    #[test]
    fn failures_are_told_from_successes() {
        for response in [
            &b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab",
            b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        ] {
            assert!(http().receive(response).is_err());
        }
    }
}
