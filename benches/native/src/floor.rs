//! The floor: a level-triggered epoll server that does what a minimal C program would do. It echoes, or
//! answers each HTTP request head.
//!
//! One `epoll_wait` a turn, then one `recv` and one `send` per ready connection, all through one
//! buffer. Only what the kernel refuses to take is copied and waits for `EPOLLOUT`.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, accept_with, bind, listen, recv,
    send, socket_with, sockopt,
};

use crate::address::Address;

const BUFFER: usize = 256 * 1024;
/// Connections accepted in one turn.
const ACCEPTS: usize = 64;
/// What an event of the listener carries; no descriptor has this number.
const LISTENER: u64 = u64::MAX;

/// The answer to an HTTP request, with a body of 13 bytes as that of the Python servers.
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!";

/// What is sent back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What came.
    Echo,
    /// A response for each end of a request head; a head that is cut in two is not understood.
    Http,
}

/// The server and its connections.
#[derive(Debug)]
pub struct Floor {
    /// What is sent back.
    answer: Answer,
    /// The epoll descriptor.
    poller: OwnedFd,
    /// The listening socket.
    listener: OwnedFd,
    /// Whether accepted sockets take `TCP_NODELAY`.
    tcp: bool,
    /// The connections by descriptor number.
    connections: HashMap<RawFd, Connection>,
    /// What every connection receives into.
    buffer: Vec<u8>,
}

/// One connection.
#[derive(Debug)]
struct Connection {
    /// The socket.
    socket: OwnedFd,
    /// Bytes that the kernel has refused so far; not empty exactly while `EPOLLOUT` is awaited.
    unsent: Vec<u8>,
}

impl Floor {
    /// Binds the address; the text that it returns is where clients connect.
    pub fn bind(address: &Address) -> io::Result<(Self, String)> {
        let (listener, place): (OwnedFd, String) = match address {
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address)?;
                let place = listener.local_addr()?.to_string();
                listener.set_nonblocking(true)?;
                (listener.into(), place)
            }
            Address::Unix(path) => {
                let listener = UnixListener::bind(path)?;
                listener.set_nonblocking(true)?;
                (listener.into(), path.display().to_string())
            }
        };
        let tcp = matches!(address, Address::Tcp(_));
        Ok((Self::listening(listener, tcp, Answer::Echo)?, place))
    }

    /// Binds several servers to one TCP address by `SO_REUSEPORT`, for a thread each.
    pub fn bind_several(
        address: SocketAddr,
        count: usize,
        answer: Answer,
    ) -> io::Result<(Vec<Self>, SocketAddr)> {
        let mut servers = Vec::with_capacity(count);
        let mut place = address;
        for _ in 0..count {
            let listener = shared(place)?;
            place = listener.local_addr()?;
            servers.push(Self::listening(listener.into(), true, answer)?);
        }
        Ok((servers, place))
    }

    fn listening(listener: OwnedFd, tcp: bool, answer: Answer) -> io::Result<Self> {
        let poller = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(
            &poller,
            &listener,
            EventData::new_u64(LISTENER),
            EventFlags::IN,
        )?;
        Ok(Self {
            answer,
            poller,
            listener,
            tcp,
            connections: HashMap::new(),
            buffer: vec![0; BUFFER],
        })
    }

    /// Serves until the poller fails.
    pub fn serve(&mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(1024);
        loop {
            events.clear();
            match epoll::wait(&self.poller, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                let data = event.data.u64();
                if data == LISTENER {
                    self.accept()?;
                } else {
                    self.advance(RawFd::try_from(data).unwrap_or(-1), event.flags);
                }
            }
        }
    }

    /// Accepts what waits, but leaves room for the connections that are ready too.
    fn accept(&mut self) -> io::Result<()> {
        for _ in 0..ACCEPTS {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = match accept_with(&self.listener, flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN | Errno::CONNABORTED | Errno::MFILE) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            if self.tcp {
                sockopt::set_tcp_nodelay(&socket, true)?;
            }
            let number = socket.as_raw_fd();
            let data = EventData::new_u64(u64::from(number.unsigned_abs()));
            epoll::add(&self.poller, &socket, data, EventFlags::IN)?;
            self.connections.insert(
                number,
                Connection {
                    socket,
                    unsent: Vec::new(),
                },
            );
        }
        Ok(())
    }

    /// Serves one ready connection and drops it at its end or failure (closing deregisters it).
    fn advance(&mut self, number: RawFd, flags: EventFlags) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        let alive = if flags.contains(EventFlags::OUT) {
            connection.flush(&self.poller)
        } else {
            connection.answer(&self.poller, &mut self.buffer, self.answer)
        };
        if !matches!(alive, Ok(true)) {
            self.connections.remove(&number);
        }
    }
}

impl Connection {
    /// One `recv` and one `send`; false at the end of the stream.
    fn answer(&mut self, poller: &OwnedFd, buffer: &mut [u8], answer: Answer) -> io::Result<bool> {
        let count = match recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) => return Ok(false),
            Ok((count, _)) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        match answer {
            Answer::Echo => self.deliver(poller, &buffer[..count])?,
            Answer::Http => {
                let heads = buffer[..count].windows(4).filter(|it| it == b"\r\n\r\n");
                for _ in heads {
                    self.deliver(poller, RESPONSE)?;
                }
            }
        }
        Ok(true)
    }

    /// Sends what the kernel takes now, behind what it has refused before.
    fn deliver(&mut self, poller: &OwnedFd, data: &[u8]) -> io::Result<()> {
        let waiting = !self.unsent.is_empty();
        let sent = if waiting { 0 } else { self.send(data)? };
        self.unsent.extend_from_slice(&data[sent..]);
        if !waiting && !self.unsent.is_empty() {
            self.watch(poller, EventFlags::OUT)?;
        }
        Ok(())
    }

    fn flush(&mut self, poller: &OwnedFd) -> io::Result<bool> {
        let sent = self.send(&self.unsent)?;
        self.unsent.drain(..sent);
        if self.unsent.is_empty() {
            self.watch(poller, EventFlags::IN)?;
        }
        Ok(true)
    }

    fn send(&self, data: &[u8]) -> io::Result<usize> {
        match send(&self.socket, data, SendFlags::NOSIGNAL) {
            Ok(count) => Ok(count),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    fn watch(&self, poller: &OwnedFd, flags: EventFlags) -> io::Result<()> {
        let data = EventData::new_u64(u64::from(self.socket.as_fd().as_raw_fd().unsigned_abs()));
        epoll::modify(poller, &self.socket, data, flags).map_err(io::Error::from)
    }
}

/// A listening, non-blocking socket at an address that others may listen at too.
fn shared(address: SocketAddr) -> io::Result<TcpListener> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, 4096)?;
    Ok(socket.into())
}
