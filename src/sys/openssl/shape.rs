//! `Shape`: the layout in memory of the objects of an OpenSSL, found out from objects of our own.
//!
//! Any thread. It tells whether words are the addresses of an `SSL` and its `BIO`s before a function is
//! called on them: the kernel copies what is at the addresses, and the copies are compared.

use std::ffi::c_void;

use crate::sys::openssl::functions::{Objects, OpenSsl};
use crate::sys::openssl::memory;

/// How many words of an `SSL` are searched; the smallest has over 200.
const SSL_WORDS: usize = 64;
/// How many words of a `BIO` are searched; the smallest has 14.
const BIO_WORDS: usize = 8;

/// The places within objects of an OpenSSL that can be compared.
pub(crate) struct Shape {
    /// The address that all memory `BIO`s contain: `BIO_s_mem()`.
    method: usize,
    /// The index of the word of a `BIO` that holds it.
    method_at: usize,
    /// The index of the word of an `SSL` that is the `BIO` it reads.
    reads_at: usize,
    /// The index of the word of an `SSL` that is the `BIO` it writes.
    writes_at: usize,
}

impl Shape {
    /// The shape of the objects of this OpenSSL; `None` if it makes none, or the words are not
    /// found.
    pub(crate) fn of(openssl: &OpenSsl) -> Option<Self> {
        openssl.with_sample(Self::learned)?
    }

    /// The shape that `sample` has, whose `BIO`s are of the kind `method`.
    fn learned(sample: Objects, method: *const c_void) -> Option<Self> {
        let ssl = memory::words::<SSL_WORDS>(sample.ssl.as_ptr())?;
        let bio = memory::words::<BIO_WORDS>(sample.incoming.as_ptr())?;
        Some(Self {
            method: method.addr(),
            method_at: only(&bio, method.addr())?,
            reads_at: only(&ssl, sample.incoming.addr().get())?,
            writes_at: only(&ssl, sample.outgoing.addr().get())?,
        })
    }

    /// Whether `objects` have the shape of an `SSL` and its two memory `BIO`s.
    pub(crate) fn fits(&self, objects: Objects) -> bool {
        let incoming = objects.incoming.addr().get();
        let outgoing = objects.outgoing.addr().get();
        let is_memory = |bio: *mut c_void| {
            memory::words::<BIO_WORDS>(bio).is_some_and(|bio| bio[self.method_at] == self.method)
        };
        is_memory(objects.incoming.as_ptr())
            && is_memory(objects.outgoing.as_ptr())
            && memory::words::<SSL_WORDS>(objects.ssl.as_ptr()).is_some_and(|ssl| {
                ssl[self.reads_at] == incoming && ssl[self.writes_at] == outgoing
            })
    }
}

/// The index of the only word that is `value`.
fn only(words: &[usize], value: usize) -> Option<usize> {
    let mut found = words.iter().enumerate().filter(|(_, word)| **word == value);
    let (index, _) = found.next()?;
    found.next().is_none().then_some(index)
}

#[cfg(test)]
mod tests {
    use std::ffi::c_void;
    use std::ptr::NonNull;

    use super::{BIO_WORDS, Objects, SSL_WORDS, Shape};

    const SHAPE: Shape = Shape {
        method: 0x1234,
        method_at: 1,
        reads_at: 2,
        writes_at: 3,
    };

    fn of(words: &[usize]) -> NonNull<c_void> {
        NonNull::from(words).cast()
    }

    /// Two memory `BIO`s and an `SSL` that has them.
    fn fabricated() -> ([usize; BIO_WORDS], [usize; BIO_WORDS], [usize; SSL_WORDS]) {
        let mut bio = [7; BIO_WORDS];
        bio[1] = 0x1234;
        (bio, bio, [9; SSL_WORDS])
    }

    #[test]
    fn what_has_everything_in_its_place_fits() {
        let (incoming, outgoing, mut ssl) = fabricated();
        ssl[2] = of(&incoming).addr().get();
        ssl[3] = of(&outgoing).addr().get();
        let objects = |ssl, incoming, outgoing| Objects {
            ssl,
            incoming,
            outgoing,
        };
        let (ssl, incoming, outgoing) = (of(&ssl), of(&incoming), of(&outgoing));
        assert!(SHAPE.fits(objects(ssl, incoming, outgoing)));
        assert!(!SHAPE.fits(objects(ssl, outgoing, incoming)), "exchanged");
        assert!(!SHAPE.fits(objects(incoming, incoming, outgoing)), "no SSL");
        assert!(!SHAPE.fits(objects(ssl, ssl, outgoing)), "no BIO");
    }

    #[test]
    fn what_is_no_address_fits_nothing() {
        let (incoming, outgoing, mut ssl) = fabricated();
        ssl[2] = of(&incoming).addr().get();
        ssl[3] = of(&outgoing).addr().get();
        let wild = NonNull::without_provenance(std::num::NonZero::<usize>::MIN);
        let good = [of(&ssl), of(&incoming), of(&outgoing)];
        for place in 0..3 {
            let mut places = good;
            places[place] = wild;
            let [ssl, incoming, outgoing] = places;
            let objects = Objects {
                ssl,
                incoming,
                outgoing,
            };
            assert!(!SHAPE.fits(objects));
        }
    }
}
