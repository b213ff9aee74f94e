//! Where a server listens, and the two kinds of stream socket that reach it.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Poll, Registry, Token};

/// A server's address.
#[derive(Clone, Debug)]
pub enum Address {
    /// A numeric TCP address with its port.
    Tcp(SocketAddr),
    /// The path of a Unix stream socket.
    Unix(PathBuf),
}

impl Address {
    /// Reads `host:port` as TCP and anything with a slash as a Unix path.
    pub fn parse(text: &str) -> io::Result<Self> {
        if text.contains('/') {
            return Ok(Self::Unix(PathBuf::from(text)));
        }
        text.parse().map(Self::Tcp).map_err(io::Error::other)
    }

    /// Connects, waiting for the handshake, and makes the socket non-blocking.
    pub fn connect(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(address) => {
                let stream = std::net::TcpStream::connect(address)?;
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(TcpStream::from_std(stream)))
            }
            Self::Unix(path) => {
                let stream = std::os::unix::net::UnixStream::connect(path)?;
                stream.set_nonblocking(true)?;
                Ok(Stream::Unix(UnixStream::from_std(stream)))
            }
        }
    }

    /// Begins to connect; the socket becomes writable when it is done. A Unix socket is connected at
    /// once: a non-blocking attempt would fail with `EAGAIN` while the server's backlog is full.
    pub fn begin_connect(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(address) => TcpStream::connect(*address).map(Stream::Tcp),
            Self::Unix(_) => self.connect(),
        }
    }
}

/// A non-blocking stream socket of either kind.
#[derive(Debug)]
pub enum Stream {
    /// A TCP connection.
    Tcp(TcpStream),
    /// A Unix connection.
    Unix(UnixStream),
}

impl Stream {
    /// Has `poll` report both directions of the socket, under the number `index`.
    pub fn watch(&mut self, poll: &Poll, index: usize) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(self, Token(index), both)
    }

    /// The error that a connection attempt ended with, if any.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self {
            Self::Tcp(stream) => stream.take_error(),
            Self::Unix(stream) => stream.take_error(),
        }
    }

    /// Makes the coming close a reset, so that thousands of short connections leave no `TIME_WAIT`.
    pub fn reset_on_close(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                rustix::net::sockopt::set_socket_linger(stream, Some(std::time::Duration::ZERO))
                    .map_err(io::Error::from)
            }
            Self::Unix(_) => Ok(()),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(data),
            Self::Unix(stream) => stream.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Stream {
    fn register(&mut self, registry: &Registry, token: Token, on: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.register(registry, token, on),
            Self::Unix(stream) => stream.register(registry, token, on),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, on: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.reregister(registry, token, on),
            Self::Unix(stream) => stream.reregister(registry, token, on),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.deregister(registry),
            Self::Unix(stream) => stream.deregister(registry),
        }
    }
}
