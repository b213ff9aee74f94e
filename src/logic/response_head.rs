//! Which writes are delayed: the head of an HTTP/1 response whose body is still to come.
//!
//! Any thread. HTTP servers write a response in two pieces, its head and its body. Sent as they come,
//! these are two system calls and two packets, and the peer is woken twice: a third of what a small
//! response costs. So a head waits for its body, which comes in the same callback. Nothing else waits,
//! because a program may block on the answer to what it has just written, or end the process; a head
//! that says how long its body is cannot be answered before the body has come. FreeBSD's kernel looks
//! at HTTP for the same saving on the receiving side (`accf_http` holds a connection back until its
//! request is complete). For any other protocol the test is one comparison of seven bytes.

use crate::logic::write_queue::Chunk;

/// What a response of HTTP/1 begins with.
const BEGINNING: &[u8; 7] = b"HTTP/1.";
/// The end of the last line of a head, and the empty line behind it.
const END: &[u8; 4] = b"\r\n\r\n";
/// The status line is no shorter: `HTTP/1.1 200` and the end of the line.
const SHORTEST: usize = 12 + END.len();
/// A longer head is sent at once: reading it through would cost what a system call does.
const LONGEST: usize = 8 * 1024;

/// Whether `bytes` may be the beginning of such a head: a quick check that every write makes.
#[inline]
fn begins(bytes: &[u8]) -> bool {
    bytes.first_chunk() == Some(BEGINNING)
}

/// Whether `bytes` are by themselves an unfinished response of HTTP/1: a head, which ends with the
/// only empty line in it, of a status that has a body, with a `Content-Length` above zero and
/// without a `Transfer-Encoding`. Anything else is sent at once.
#[inline]
pub(crate) fn waits_for_body(bytes: &[u8]) -> bool {
    begins(bytes) && is_unfinished(bytes)
}

/// Whether `chunks`, which one call has written together, are such a head. Into how many chunks the
/// program divides the head makes no difference if the first chunk shows that it is one.
#[inline]
pub(crate) fn wait_for_body<C: Chunk>(chunks: &[C]) -> bool {
    match chunks {
        [] => false,
        [only] => waits_for_body(only.bytes()),
        [first, .., last] => {
            let last = last.bytes();
            let ends = last.len() < END.len() || last.ends_with(END);
            begins(first.bytes()) && ends && is_unfinished(&joined(chunks))
        }
    }
}

/// The bytes of all chunks, or the first bytes if there are more than a head may have.
fn joined<C: Chunk>(chunks: &[C]) -> Vec<u8> {
    let bytes = chunks.iter().flat_map(Chunk::bytes);
    bytes.take(LONGEST + 1).copied().collect()
}

/// The complete check, for bytes that may be the beginning of a head.
#[inline(never)]
fn is_unfinished(bytes: &[u8]) -> bool {
    let complete = (SHORTEST..=LONGEST).contains(&bytes.len()) && bytes.ends_with(END);
    if !complete || !has_body(bytes) {
        return false;
    }
    let lines = &bytes[..bytes.len() - 2];
    let mut found = false;
    let mut begin = 0;
    // Eight bytes at a time: lines are too short for methods that are faster on long ones. The last eight
    // overlap those before them, of which nothing is looked at again.
    while begin < lines.len() {
        let place = begin.min(lines.len() - 8);
        let seen = 8 * (begin - place);
        let mut ends = line_ends(word(lines, place)) >> seen << seen;
        while ends != 0 {
            let line = &lines[place + ends.trailing_zeros() as usize / 8 + 1..];
            ends &= ends - 1;
            match line.first() {
                None => return found,
                // An empty line within the head, or the continuation of the line before.
                Some(b'\r' | b'\n' | b' ' | b'\t') => return false,
                Some(b'c' | b'C') => {
                    if let Some(value) = value_of(line, b"content-length:") {
                        if found || !is_above_zero(value) {
                            return false;
                        }
                        found = true;
                    }
                }
                Some(b't' | b'T') => {
                    if value_of(line, b"transfer-encoding:").is_some() {
                        return false;
                    }
                }
                Some(_) => {}
            }
        }
        begin = place + 8;
    }
    // The last line has an end, so this is not reached.
    false
}

/// Whether the status in a line such as `HTTP/1.1 200 OK` has a body.
#[inline]
fn has_body(head: &[u8]) -> bool {
    match head[8..13] {
        [b' ', b'2' | b'3', b'0', b'4', _] => false,
        [b' ', first, second, third, b' ' | b'\r'] => {
            matches!(first, b'2'..=b'9') && second.is_ascii_digit() && third.is_ascii_digit()
        }
        _ => false,
    }
}

/// A one in each byte.
const ONES: u64 = u64::MAX / 0xff;

/// Eight of `bytes` from `place` on.
#[inline]
fn word(bytes: &[u8], place: usize) -> u64 {
    bytes[place..]
        .first_chunk()
        .map_or(0, |eight| u64::from_le_bytes(*eight))
}

/// The highest bit of each of `eight` bytes that ends a line.
#[inline]
fn line_ends(eight: u64) -> u64 {
    const LOW: u64 = ONES * 0x7f;
    let differs = eight ^ (ONES * u64::from(b'\n'));
    !(((differs & LOW) + LOW) | differs | LOW)
}

/// What comes behind `name`, which is in lower case and ends with the colon, if `lines` begin with
/// that header.
#[inline]
fn value_of<'a, const N: usize>(lines: &'a [u8], name: &[u8; N]) -> Option<&'a [u8]> {
    let (given, value) = lines.split_first_chunk::<N>()?;
    // Ignores the bit that makes a letter upper case.
    let differs = |place: usize| {
        let (given, name) = (word(given, place), word(name, place));
        (given | ((name & (ONES << 6)) >> 1)) ^ name
    };
    // The last eight bytes overlap those before them.
    let words = (0..=N - 8).step_by(8).map(differs);
    let all = words.fold(differs(N - 8), |all, differs| all | differs);
    (all == 0).then_some(value)
}

/// Whether the value of a header, up to the end of its line, is a plain number above zero.
#[inline]
fn is_above_zero(value: &[u8]) -> bool {
    let blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
    let mut bytes = value.iter();
    let mut next = bytes.find(|byte| !blank(byte));
    let mut above = false;
    while let Some(digit @ b'0'..=b'9') = next {
        above |= *digit != b'0';
        next = bytes.next();
    }
    if next.as_ref().is_some_and(blank) {
        next = bytes.find(|byte| !blank(byte));
    }
    above && next == Some(&b'\r')
}

#[cfg(test)]
mod tests {
    use super::{Chunk, LONGEST, wait_for_body, waits_for_body};

    fn head(lines: &[&str]) -> String {
        format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n", lines.join("\r\n"))
    }

    #[test]
    fn a_head_whose_body_is_to_come_waits() {
        for lines in [
            &["Content-Length: 13"][..],
            &["content-length:1"],
            &["date: today", "CONTENT-LENGTH: \t 0012 ", "server: x"],
            &["x: y", "Content-Length: 99999999999999999999999999"],
        ] {
            assert!(waits_for_body(head(lines).as_bytes()), "{lines:?}");
        }
        assert!(waits_for_body(b"HTTP/1.0 404\r\ncontent-length: 1\r\n\r\n"));
    }

    #[test]
    fn what_is_finished_or_of_unknown_length_does_not_wait() {
        for lines in [
            &["date: today"][..],
            &["Content-Length: 0"],
            &["Content-Length: 000"],
            &["Content-Length:"],
            &["Content-Length: five"],
            &["Content-Length: -5"],
            &["Content-Length: 5, 5"],
            &["Content-Length: 5", "Content-Length: 5"],
            &["Content-Length : 5"],
            &[" Content-Length: 5"],
            &["Content-Length:", " 5"],
            &["Content-Length: 5", " 6"],
            &["Content-Length-X: 5"],
            &["X-Content-Length: 5"],
            &["Transfer-Encoding: chunked"],
            &["Content-Length: 5", "transfer-encoding: gzip, chunked"],
            &["Content-Length: 5", "", "body"],
            &[
                "Content-Length: 5",
                "",
                "HTTP/1.1 200 OK",
                "Content-Length: 5",
            ],
        ] {
            assert!(!waits_for_body(head(lines).as_bytes()), "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_head_does_not_wait() {
        for bytes in [
            "",
            "x",
            "HTTP/1.",
            "HTTP/1.1",
            "HTTP/1.\r\n\r\n",
            "HTTP/1.1 200\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
            "HTTP/1.1 200 OK\nContent-Length: 5\n\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\nContent-Length: 5\n\nbody\r\n\r\n",
            "HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 2xx OK\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.10200 OK\r\nContent-Length: 5\r\n\r\n",
            "HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\n",
            "http/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        ] {
            assert!(!waits_for_body(bytes.as_bytes()), "{bytes:?}");
        }
        let long = format!("x: {}", "y".repeat(LONGEST));
        assert!(!waits_for_body(
            head(&[&long, "Content-Length: 5"]).as_bytes()
        ));
    }

    struct Piece<'a>(&'a str);

    impl Chunk for Piece<'_> {
        fn bytes(&self) -> &[u8] {
            self.0.as_bytes()
        }
    }

    fn pieces_wait(pieces: &[&str]) -> bool {
        wait_for_body(&pieces.iter().map(|it| Piece(it)).collect::<Vec<_>>())
    }

    #[test]
    fn pieces_wait_as_the_whole_does() {
        let whole = head(&["Content-Length: 13", "server: x"]);
        for cut in 7..whole.len() {
            let (first, last) = whole.split_at(cut);
            assert!(pieces_wait(&[first, last]), "{cut}");
            assert!(!pieces_wait(&[first, last, "body"]), "{cut}");
            assert!(!pieces_wait(&[first, last, "body\r\n\r\n"]), "{cut}");
        }
        assert!(pieces_wait(&[&whole]));
        assert!(!pieces_wait(&[]));
        assert!(!pieces_wait(&[&whole, &"y".repeat(LONGEST), "\r\n"]));
    }

    #[test]
    fn no_beginning_and_no_end_of_a_head_waits() {
        let whole = head(&["Content-Length: 13", "server: x"]);
        for cut in 1..whole.len() {
            assert!(!waits_for_body(&whole.as_bytes()[..cut]), "{cut}");
            assert!(!waits_for_body(&whole.as_bytes()[cut..]), "{cut}");
        }
    }
}
