//! When a connection sends its next request: as soon as it has an answer, or at times fixed in advance.
//!
//! With a rate, a request that finds no free connection waits, and its latency counts from the time at
//! which it was due: a server that stops for a while pays for all requests that were due meanwhile.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Below this, waiting is left to polling without a timeout: epoll rounds a timeout up to milliseconds.
const SPIN: Duration = Duration::from_millis(2);

/// The order in which requests begin.
#[derive(Debug)]
pub enum Pace {
    /// Each connection sends again when it has its answer.
    Closed,
    /// Requests are due at fixed times.
    Open(Schedule),
}

/// The times at which requests are due, and the connections that can take them.
#[derive(Debug)]
pub struct Schedule {
    /// When the first request was due.
    start: Instant,
    /// Seconds between two requests.
    interval: f64,
    /// How many requests have begun.
    begun: u64,
    /// How many were answered.
    answered: u64,
    /// The connections that wait for no answer, the one that has rested longest first.
    free: VecDeque<usize>,
}

impl Pace {
    /// The pace of so many connections; `rate` is in requests a second, all connections together.
    pub fn new(rate: Option<f64>, connections: usize) -> Self {
        rate.map_or(Self::Closed, |rate| {
            Self::Open(Schedule {
                start: Instant::now(),
                interval: 1.0 / rate,
                begun: 0,
                answered: 0,
                free: (0..connections).collect(),
            })
        })
    }

    /// Takes note that a connection has its answer; true if it shall send again at once.
    pub fn answered(&mut self, connection: usize) -> bool {
        match self {
            Self::Closed => true,
            Self::Open(schedule) => {
                schedule.answered += 1;
                schedule.free.push_back(connection);
                false
            }
        }
    }

    /// A free connection and the time at which its request was due, if one is due.
    pub fn take_due(&mut self, now: Instant) -> Option<(usize, Instant)> {
        let Self::Open(schedule) = self else {
            return None;
        };
        let due = schedule.due(schedule.begun);
        if due > now {
            return None;
        }
        let connection = schedule.free.pop_front()?;
        schedule.begun += 1;
        Some((connection, due))
    }

    /// How long the poller may wait.
    pub fn patience(&self, now: Instant, most: Duration) -> Duration {
        match self {
            Self::Open(schedule) if !schedule.free.is_empty() => schedule
                .due(schedule.begun)
                .saturating_duration_since(now)
                .saturating_sub(SPIN)
                .min(most),
            _ => most,
        }
    }

    /// How many requests were due by `now` and have no answer.
    pub fn behind(&self, now: Instant) -> u64 {
        let Self::Open(schedule) = self else { return 0 };
        schedule.due_by(now).saturating_sub(schedule.answered)
    }
}

impl Schedule {
    #[allow(clippy::cast_precision_loss, reason = "no run sends 2^53 requests")]
    fn due(&self, number: u64) -> Instant {
        self.start + Duration::from_secs_f64(number as f64 * self.interval)
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a quotient of two positive numbers, far below 2^53"
    )]
    fn due_by(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.start).as_secs_f64();
        // The first is due at the start.
        (passed / self.interval) as u64 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_from_when_it_was_due_even_if_no_connection_was_free() {
        let mut pace = Pace::new(Some(1000.0), 1);
        let Pace::Open(schedule) = &pace else {
            unreachable!()
        };
        let start = schedule.start;
        let late = start + Duration::from_millis(10);
        assert_eq!(pace.take_due(late), Some((0, start)));
        assert_eq!(pace.take_due(late), None);
        assert!(!pace.answered(0));
        assert_eq!(
            pace.take_due(late),
            Some((0, start + Duration::from_millis(1)))
        );
        assert_eq!(pace.behind(late), 10);
    }

    #[test]
    fn without_a_rate_a_connection_sends_again_at_once() {
        let mut pace = Pace::new(None, 1);
        assert!(pace.answered(0));
        assert_eq!(pace.take_due(Instant::now()), None);
        assert_eq!(pace.behind(Instant::now()), 0);
    }
}
