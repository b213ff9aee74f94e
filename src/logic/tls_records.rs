//! `Records`: where the records of a TLS byte stream end, read from their headers.
//!
//! Loop thread only. Nothing is checked here: for a header that TLS does not allow, OpenSSL is asked,
//! and raises.

/// The length of a record's header.
const HEADER: u8 = 5;
/// The longest body that any version allows.
const LONGEST: u16 = (1 << 14) + 2048;

/// Follows a stream that comes in pieces of any size.
#[derive(Default)]
pub(crate) struct Records {
    /// The header of the record that has begun.
    header: [u8; HEADER as usize],
    /// How many bytes of that header have come.
    known: u8,
    /// How many bytes of its body are missing.
    missing: u16,
    /// How many bytes of that record have come, with its header.
    begun: u16,
    /// How many complete records OpenSSL has not taken yet, or a larger number.
    complete: u32,
    /// Whether a header was seen that cannot be one.
    strange: bool,
    /// Whether OpenSSL has decrypted a record of which the last read took only a part.
    leftover: bool,
}

impl Records {
    /// Reads the headers in `bytes`, which come next in the stream.
    #[inline]
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        if let [20..=24, 3, _, high, low, body @ ..] = bytes
            && self.known == 0
            && !self.strange
            && body.len() == (usize::from(*high) << 8 | usize::from(*low))
            && body.len() <= usize::from(LONGEST)
        {
            // One whole record, as nearly every message is.
            self.complete += 1;
            return;
        }
        while !bytes.is_empty() && !self.strange {
            if self.known < HEADER {
                self.header[usize::from(self.known)] = bytes[0];
                self.known += 1;
                self.begun += 1;
                bytes = &bytes[1..];
                if self.known == HEADER {
                    self.begin();
                }
            } else {
                let count = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
                let count = count.min(self.missing);
                self.missing -= count;
                self.begun += count;
                bytes = &bytes[usize::from(count)..];
            }
            if self.known == HEADER && self.missing == 0 {
                self.complete += 1;
                (self.known, self.begun) = (0, 0);
            }
        }
    }

    #[inline]
    fn begin(&mut self) {
        let [kind, major, _, high, low] = self.header;
        self.missing = u16::from_be_bytes([high, low]);
        self.strange = !(20..=24).contains(&kind) || major != 3 || self.missing > LONGEST;
    }

    /// Whether a read may bring something, or an error.
    #[inline]
    pub(crate) fn is_readable(&self) -> bool {
        self.complete > 0 || self.strange || self.leftover
    }

    /// Notes that a read took a record, or, if `leftover`, a part of one. True if other records may
    /// remain; `left` finds out.
    #[inline]
    pub(crate) fn took(&mut self, leftover: bool) -> bool {
        self.leftover = leftover;
        if leftover {
            return false;
        }
        self.complete = self.complete.saturating_sub(1);
        self.complete > 0
    }

    /// Notes that OpenSSL has not read the last `pending` bytes. If these can only belong to the
    /// record that has begun, no complete record remains.
    #[inline]
    pub(crate) fn left(&mut self, pending: usize) {
        if pending <= self.begun() {
            self.complete = 0;
        }
    }

    /// How many bytes of the record that has begun have come, at most.
    pub(crate) fn begun(&self) -> usize {
        usize::from(self.begun)
    }

    /// Notes that a read found nothing.
    #[inline]
    pub(crate) fn none_left(&mut self) {
        (self.complete, self.leftover) = (0, false);
    }
}

#[cfg(test)]
mod tests {
    use super::Records;

    fn record(length: u8) -> Vec<u8> {
        let mut bytes = vec![23, 3, 3, 0, length];
        bytes.resize(5 + usize::from(length), 7);
        bytes
    }

    #[test]
    fn a_record_is_readable_when_its_last_byte_has_come() {
        let mut records = Records::default();
        let stream = record(3);
        for byte in &stream[..7] {
            records.feed(&[*byte]);
            assert!(!records.is_readable());
        }
        records.feed(&stream[7..]);
        assert!(records.is_readable());
        assert!(!records.took(false));
        assert!(!records.is_readable());
    }

    #[test]
    fn records_of_one_piece_are_counted() {
        let mut records = Records::default();
        let mut stream = [record(1), record(0), record(200)].concat();
        stream.extend_from_slice(&[23, 3]);
        records.feed(&stream);
        assert!(records.took(false));
        records.left(2 + 205);
        assert!(records.is_readable(), "205 bytes are a whole record");
        records.left(2);
        assert!(!records.is_readable(), "two bytes are the beginning of one");
    }

    #[test]
    fn what_is_no_record_is_left_to_openssl() {
        let mut records = Records::default();
        records.feed(b"GET / HTTP/1.1\r\n");
        assert!(records.is_readable());
        records.none_left();
        assert!(records.is_readable(), "it stays for OpenSSL to refuse");
    }
}
