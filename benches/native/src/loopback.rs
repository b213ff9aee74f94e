//! The floor of loops that have both ends of their connections: messages to and fro over loopback or over
//! pairs of Unix sockets, one epoll set a thread.
//!
//! A thread does one `epoll_wait` a turn and, for each ready socket, one `recv` and one `send`. Each
//! thread is pinned to a core, and the time in which it waited for that core does not count.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::str::FromStr;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const PAIRS: usize = 16;
const SIZE: usize = 1024;

/// What connects a client and its server.
#[derive(Clone, Copy)]
pub enum Kind {
    /// A TCP connection over loopback.
    Tcp,
    /// A pair of Unix sockets.
    Unix,
}

impl FromStr for Kind {
    type Err = io::Error;

    fn from_str(text: &str) -> io::Result<Self> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "unix" => Ok(Self::Unix),
            _ => Err(io::Error::other(format!("{text} is neither tcp nor unix"))),
        }
    }
}

impl Kind {
    /// Both ends of a new connection, which do not block: the client's and the server's.
    fn connect(self) -> io::Result<[OwnedFd; 2]> {
        match self {
            Self::Tcp => {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                let client = TcpStream::connect(listener.local_addr()?)?;
                let (server, _) = listener.accept()?;
                for end in [&client, &server] {
                    end.set_nonblocking(true)?;
                    end.set_nodelay(true)?;
                }
                Ok([client.into(), server.into()])
            }
            Self::Unix => {
                let (client, server) = UnixStream::pair()?;
                client.set_nonblocking(true)?;
                server.set_nonblocking(true)?;
                Ok([client.into(), server.into()])
            }
        }
    }
}

/// Connections of one thread: the client of each at an even place, its server behind it.
struct Ends {
    poller: OwnedFd,
    sockets: Vec<OwnedFd>,
}

impl Ends {
    fn connect(kind: Kind) -> io::Result<Self> {
        let poller = epoll::create(CreateFlags::CLOEXEC)?;
        let mut sockets = Vec::new();
        for _ in 0..PAIRS {
            sockets.extend(kind.connect()?);
        }
        for (place, socket) in (0_u64..).zip(&sockets) {
            epoll::add(&poller, socket, EventData::new_u64(place), EventFlags::IN)?;
        }
        Ok(Self { poller, sockets })
    }

    /// Returns how many messages have come back within `duration`.
    fn run(&self, duration: Duration) -> io::Result<u64> {
        let mut buffer = vec![0; SIZE];
        let mut events = Vec::with_capacity(2 * PAIRS);
        for client in self.sockets.iter().step_by(2) {
            send(client, &buffer, SendFlags::NOSIGNAL)?;
        }
        let start = Instant::now();
        let mut count = 0;
        let mut flying = PAIRS;
        while flying > 0 {
            events.clear();
            match epoll::wait(&self.poller, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let over = start.elapsed() >= duration;
            for event in &events {
                let place = usize::try_from(event.data.u64()).unwrap_or(0);
                let (socket, is_client) = (&self.sockets[place], place % 2 == 0);
                // Neither kind cuts a message as short as these.
                if recv(socket, &mut buffer, RecvFlags::empty())?.0 != SIZE {
                    return Err(io::Error::other("a message was cut"));
                }
                count += u64::from(is_client);
                if is_client && over {
                    flying -= 1;
                } else {
                    send(socket, &buffer, SendFlags::NOSIGNAL)?;
                }
            }
        }
        Ok(count)
    }
}

/// How long this thread has waited for a processor that another one was using.
fn waited() -> io::Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let field = text
        .split_whitespace()
        .nth(1)
        .and_then(|it| it.parse().ok());
    let nanoseconds = field.ok_or_else(|| io::Error::other("no time in schedstat"))?;
    Ok(Duration::from_nanos(nanoseconds))
}

/// Has the calling thread run on one of the cores that the process may use.
fn pin(number: usize) -> io::Result<()> {
    let allowed = sched_getaffinity(None)?;
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU)
        .filter(|it| allowed.is_set(*it))
        .collect();
    let mut one = CpuSet::new();
    one.set(cores[number % cores.len()]);
    sched_setaffinity(None, &one).map_err(io::Error::from)
}

#[allow(clippy::cast_precision_loss, reason = "no run completes 2^53 messages")]
fn rate(ends: &Ends, duration: Duration) -> io::Result<f64> {
    let (start, before) = (Instant::now(), waited()?);
    let count = ends.run(duration)?;
    let had = start
        .elapsed()
        .saturating_sub(waited()?.saturating_sub(before));
    Ok(count as f64 / had.as_secs_f64())
}

/// Messages a second that come back, those of all threads added up.
pub fn summed_rate(kind: Kind, threads: usize, duration: Duration) -> io::Result<f64> {
    let barrier = Barrier::new(threads);
    let body = |number: usize| {
        let ends = pin(number).and_then(|()| Ends::connect(kind));
        barrier.wait();
        rate(&ends?, duration)
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|number| scope.spawn(move || body(number)))
            .collect();
        let failed = |_| Err(io::Error::other("a thread has failed"));
        running
            .into_iter()
            .map(|it| it.join().unwrap_or_else(failed))
            .sum()
    })
}
