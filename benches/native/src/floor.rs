//! The floor: a level-triggered epoll echo server that does what a minimal C program would do.
//!
//! One `epoll_wait` a turn, then one `recv` and one `send` per ready connection, all through one
//! buffer. Only what the kernel refuses to take is copied and waits for `EPOLLOUT`.

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send, sockopt};

use crate::address::Address;

const BUFFER: usize = 256 * 1024;
/// Connections accepted in one turn.
const ACCEPTS: usize = 64;
/// What an event of the listener carries; no descriptor has this number.
const LISTENER: u64 = u64::MAX;

/// The server and its connections.
#[derive(Debug)]
pub struct Floor {
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
        let poller = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(
            &poller,
            &listener,
            EventData::new_u64(LISTENER),
            EventFlags::IN,
        )?;
        let tcp = matches!(address, Address::Tcp(_));
        let buffer = vec![0; BUFFER];
        Ok((
            Self {
                poller,
                listener,
                tcp,
                connections: HashMap::new(),
                buffer,
            },
            place,
        ))
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
            connection.echo(&self.poller, &mut self.buffer)
        };
        if !matches!(alive, Ok(true)) {
            self.connections.remove(&number);
        }
    }
}

impl Connection {
    /// One `recv` and one `send`; false at the end of the stream.
    fn echo(&mut self, poller: &OwnedFd, buffer: &mut [u8]) -> io::Result<bool> {
        let count = match recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) => return Ok(false),
            Ok((count, _)) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        let sent = self.send(&buffer[..count])?;
        if sent < count {
            self.unsent.extend_from_slice(&buffer[sent..count]);
            self.watch(poller, EventFlags::OUT)?;
        }
        Ok(true)
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
