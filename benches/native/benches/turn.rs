//! One turn of mio compared with one turn of `polling`: the reason why the loop uses mio.
//!
//! Both pollers hold one edge-triggered eventfd. Where a deadline is pending, `polling` arms a timerfd
//! and reads its notifier around every wait; mio hands the timeout to `epoll_wait`.

use std::hint::black_box;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use criterion::Criterion;
use rustix::event::{EventfdFlags, eventfd};

const SOURCE: usize = 1;

/// A poller with one eventfd in it.
trait Reactor: Sized {
    /// The name in the table.
    const NAME: &str;
    /// Makes the poller and registers the descriptor, edge-triggered.
    fn new(source: &OwnedFd) -> io::Result<Self>;
    /// Waits once and returns the number of events.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize>;
    /// Makes the next wait return.
    fn wake(&self) -> io::Result<()>;
}

/// mio's poller.
struct Mio {
    poll: mio::Poll,
    events: mio::Events,
    waker: mio::Waker,
}

impl Reactor for Mio {
    const NAME: &str = "mio";

    fn new(source: &OwnedFd) -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let mut unix = mio::unix::SourceFd(&source.as_fd().as_raw_fd());
        poll.registry()
            .register(&mut unix, mio::Token(SOURCE), mio::Interest::READABLE)?;
        let waker = mio::Waker::new(poll.registry(), mio::Token(0))?;
        Ok(Self {
            poll,
            events: mio::Events::with_capacity(1024),
            waker,
        })
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        self.poll.poll(&mut self.events, timeout)?;
        Ok(self.events.iter().count())
    }

    fn wake(&self) -> io::Result<()> {
        self.waker.wake()
    }
}

/// `polling`'s poller.
struct Polling {
    poller: polling::Poller,
    events: polling::Events,
}

impl Reactor for Polling {
    const NAME: &str = "polling";

    #[allow(unsafe_code, reason = "polling makes registration an unsafe contract")]
    fn new(source: &OwnedFd) -> io::Result<Self> {
        let poller = polling::Poller::new()?;
        let event = polling::Event::readable(SOURCE);
        // SAFETY: every caller keeps the descriptor open for longer than the poller.
        unsafe { poller.add_with_mode(source, event, polling::PollMode::Edge) }?;
        Ok(Self {
            poller,
            events: polling::Events::new(),
        })
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        self.events.clear();
        self.poller.wait(&mut self.events, timeout)?;
        Ok(self.events.iter().count())
    }

    fn wake(&self) -> io::Result<()> {
        self.poller.notify()
    }
}

/// The source made ready, one wait that finds it.
fn ready_source<R: Reactor>(reactor: &mut R, source: &OwnedFd, timeout: Option<Duration>) {
    let written = rustix::io::write(source, &1_u64.to_ne_bytes());
    let found = reactor.wait(timeout);
    assert!(
        matches!((written, found), (Ok(8), Ok(1))),
        "the ready descriptor was not found"
    );
}

fn turns<R: Reactor>(criterion: &mut Criterion) -> io::Result<()> {
    let source = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
    let mut reactor = R::new(&source)?;
    let mut bench = |case: &str, turn: &mut dyn FnMut(&mut R)| {
        criterion.bench_function(&format!("{case}/{}", R::NAME), |bencher| {
            bencher.iter(|| turn(&mut reactor));
        });
    };
    bench("poll with zero timeout, nothing ready", &mut |reactor| {
        black_box(reactor.wait(Some(Duration::ZERO)).ok());
    });
    bench("wait with a ready eventfd", &mut |reactor| {
        ready_source(reactor, &source, None);
    });
    bench(
        "wait with a ready eventfd, a timer due in 1 s",
        &mut |reactor| {
            ready_source(reactor, &source, Some(Duration::from_secs(1)));
        },
    );
    bench("wake, then wait", &mut |reactor| {
        black_box((reactor.wake().ok(), reactor.wait(None).ok()));
    });
    bench("wait out a timeout of 1 ms", &mut |reactor| {
        black_box(reactor.wait(Some(Duration::from_millis(1))).ok());
    });
    Ok(())
}

fn main() -> io::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    turns::<Mio>(&mut criterion)?;
    turns::<Polling>(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}
