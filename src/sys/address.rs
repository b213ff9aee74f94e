//! Socket addresses in a compact form: every connection keeps two.
//!
//! Any thread. A Unix address is its raw bytes: empty for an unnamed socket, with a leading zero byte
//! for an abstract name.

use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address as `accept`, `getsockname` and `getpeername` give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// AF_INET: host and port.
    V4(Ipv4Addr, u16),
    /// AF_INET6: host, port, flow information and scope.
    V6(Box<(Ipv6Addr, u16, u32, u32)>),
    /// AF_UNIX: the name without its trailing zero byte.
    Unix(Box<[u8]>),
    /// Any other family, whose addresses are not read here.
    Other,
}

/// Memory into which the kernel writes an address, or from which it reads one.
#[derive(Clone)]
pub(crate) struct RawAddress {
    /// The bytes, of which the first `length` are set.
    storage: MaybeUninit<libc::sockaddr_storage>,
    /// How many bytes the address has, or the kernel may write.
    length: libc::socklen_t,
}

#[allow(clippy::cast_possible_truncation, reason = "128 bytes")]
const ROOM: libc::socklen_t = size_of::<libc::sockaddr_storage>() as libc::socklen_t;

impl RawAddress {
    /// No address, with room for any.
    pub(crate) fn new() -> Self {
        Self {
            storage: MaybeUninit::zeroed(),
            length: ROOM,
        }
    }

    /// Makes room for any address again.
    pub(crate) fn reset(&mut self) {
        self.length = ROOM;
    }

    /// The memory of the address.
    pub(crate) fn pointer(&mut self) -> *mut libc::sockaddr {
        self.storage.as_mut_ptr().cast()
    }

    /// The place of its length.
    pub(crate) fn length(&mut self) -> *mut libc::socklen_t {
        &raw mut self.length
    }

    /// `address` in the form in which the kernel reads it; `None` for a family other than AF_INET
    /// and AF_INET6.
    pub(crate) fn of(address: &Address) -> Option<Self> {
        let mut raw = Self::new();
        match address {
            Address::V4(host, port) => raw.put_v4(*host, *port),
            Address::V6(address) => raw.put_v6(address),
            Address::Unix(_) | Address::Other => return None,
        }
        Some(raw)
    }

    #[allow(
        clippy::cast_possible_truncation,
        reason = "16 bytes, and a family below 50"
    )]
    fn put_v4(&mut self, host: Ipv4Addr, port: u16) {
        let address = libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: port.to_be(),
            sin_addr: libc::in_addr {
                s_addr: u32::from(host).to_be(),
            },
            sin_zero: [0; 8],
        };
        self.length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        let place = self.storage.as_mut_ptr().cast::<libc::sockaddr_in>();
        // SAFETY: the storage is large enough for every kind of address, and aligned for it.
        unsafe { place.write(address) };
    }

    #[allow(
        clippy::cast_possible_truncation,
        reason = "28 bytes, and a family below 50"
    )]
    fn put_v6(&mut self, (host, port, flow, scope): &(Ipv6Addr, u16, u32, u32)) {
        let address = libc::sockaddr_in6 {
            sin6_family: libc::AF_INET6 as libc::sa_family_t,
            sin6_port: port.to_be(),
            sin6_flowinfo: flow.to_be(),
            sin6_addr: libc::in6_addr {
                s6_addr: host.octets(),
            },
            sin6_scope_id: *scope,
        };
        self.length = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
        let place = self.storage.as_mut_ptr().cast::<libc::sockaddr_in6>();
        // SAFETY: the storage is large enough for every kind of address, and aligned for it.
        unsafe { place.write(address) };
    }

    /// The bytes that were written. Two addresses are the same if their bytes are.
    pub(crate) fn bytes(&self) -> &[u8] {
        let length = self.length.min(ROOM) as usize;
        // SAFETY: the storage was zeroed, so all of it is initialised, and `length` is within it.
        unsafe { std::slice::from_raw_parts(self.storage.as_ptr().cast::<u8>(), length) }
    }

    /// Notes that the kernel wrote `length` bytes.
    pub(crate) fn set_length(&mut self, length: libc::socklen_t) {
        self.length = length;
    }

    /// The address that the kernel wrote.
    pub(crate) fn address(&self) -> Address {
        if self.length == 0 {
            // The sender has no address; the storage may hold that of an earlier one.
            return Address::Other;
        }
        // SAFETY: the storage was zeroed, so it is initialised whatever the kernel wrote.
        let storage = unsafe { self.storage.assume_init_ref() };
        match i32::from(storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: an AF_INET address is a `sockaddr_in`, which fits the storage.
                let address = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
                let host = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
                Address::V4(host, u16::from_be(address.sin_port))
            }
            libc::AF_INET6 => {
                // SAFETY: an AF_INET6 address is a `sockaddr_in6`, which fits the storage.
                let address = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
                Address::V6(Box::new((
                    Ipv6Addr::from(address.sin6_addr.s6_addr),
                    u16::from_be(address.sin6_port),
                    u32::from_be(address.sin6_flowinfo),
                    address.sin6_scope_id,
                )))
            }
            libc::AF_UNIX => self.unix(storage),
            _ => Address::Other,
        }
    }

    fn unix(&self, storage: &libc::sockaddr_storage) -> Address {
        let start = std::mem::offset_of!(libc::sockaddr_un, sun_path);
        let end = (self.length as usize)
            .min(size_of::<libc::sockaddr_un>())
            .max(start);
        let bytes = (&raw const *storage).cast::<u8>();
        // SAFETY: `end` is within the storage.
        let name = unsafe { std::slice::from_raw_parts(bytes.wrapping_add(start), end - start) };
        let abstract_name = name.first() == Some(&0);
        let name = if abstract_name {
            name
        } else {
            name.split(|byte| *byte == 0).next().unwrap_or_default()
        };
        Address::Unix(name.into())
    }
}

/// An IPv6 address as glibc writes it: the IPv4-compatible ones end in dotted form.
pub(crate) fn v6_text(host: Ipv6Addr) -> String {
    let segments = host.segments();
    if segments[..6] == [0; 6] && segments[6] != 0 {
        let [.., a, b, c, d] = host.octets();
        return format!("::{}", Ipv4Addr::new(a, b, c, d));
    }
    host.to_string()
}

/// The arguments of a `getaddrinfo` call for a numeric host whose result has one entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AddressInfo {
    /// Whether the result may be an IPv4 address.
    pub(crate) v4: bool,
    /// Whether the result may be an IPv6 address.
    pub(crate) v6: bool,
    /// Whether a stream socket is wanted, and not a datagram socket.
    pub(crate) stream: bool,
    /// The protocol of the result.
    pub(crate) proto: i32,
}

/// Whether `family` and `proto` permit a TCP connection to `host`.
pub(crate) fn is_tcp_request(host: IpAddr, family: i32, proto: i32) -> bool {
    let own = if host.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    (family == libc::AF_UNSPEC || family == own) && (proto == 0 || proto == libc::IPPROTO_TCP)
}

/// Reads the numbers that `getaddrinfo` takes; `None` for combinations whose result only libc
/// knows.
pub(crate) fn numeric_request(
    family: i32,
    class: i32,
    proto: i32,
    flags: i32,
) -> Option<AddressInfo> {
    let allowed = libc::AI_PASSIVE | libc::AI_NUMERICHOST | libc::AI_NUMERICSERV;
    let (stream, own) = match class {
        libc::SOCK_STREAM => (true, libc::IPPROTO_TCP),
        libc::SOCK_DGRAM => (false, libc::IPPROTO_UDP),
        _ => return None,
    };
    let known = matches!(family, libc::AF_UNSPEC | libc::AF_INET | libc::AF_INET6);
    let answers = known && flags & !allowed == 0 && (proto == 0 || proto == own);
    answers.then_some(AddressInfo {
        v4: family != libc::AF_INET6,
        v6: family != libc::AF_INET,
        stream,
        proto: own,
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixListener;

    use super::Address;
    use crate::sys::socket::local_address;

    #[test]
    fn addresses_of_both_internet_families_are_read() {
        let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = v4.local_addr().unwrap().port();
        let expected = Address::V4([127, 0, 0, 1].into(), port);
        assert_eq!(local_address(v4.as_raw_fd()).unwrap(), expected);
        if let Ok(v6) = TcpListener::bind("[::1]:0") {
            let port = v6.local_addr().unwrap().port();
            let expected = Address::V6(Box::new(("::1".parse().unwrap(), port, 0, 0)));
            assert_eq!(local_address(v6.as_raw_fd()).unwrap(), expected);
        }
    }

    #[test]
    fn a_unix_name_comes_without_its_trailing_zero() {
        let path = std::env::temp_dir().join(format!("ferroloop-address-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let expected = Address::Unix(path.as_os_str().as_encoded_bytes().into());
        assert_eq!(local_address(listener.as_raw_fd()).unwrap(), expected);
    }
}
