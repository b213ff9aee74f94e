//! `Tally`: what a loop has done so far, in numbers.
//!
//! Loop thread, or any attached one that borrows the loop's state. The clock is read around waits only
//! after `metrics()` was first called, because reading it costs a twentieth of a short turn.

/// What a loop has done since it was made.
#[derive(Default)]
pub(crate) struct Tally {
    /// How many times the loop waited in a poll because nothing was ready.
    pub(crate) waits: u64,
    /// Whether the loop waits now.
    asleep: bool,
    /// How many seconds the loop has waited since the first `metrics()`; `None` before it.
    idle: Option<f64>,
    /// When the current wait began; `None` if the loop does not wait, and before the first
    /// `metrics()`.
    since: Option<f64>,
}

impl Tally {
    /// Notes that a wait begins. The clock is read only after the first `metrics()`.
    #[inline]
    pub(crate) fn fall_asleep(&mut self, clock: impl FnOnce() -> f64) {
        self.waits += 1;
        self.asleep = true;
        if self.idle.is_some() {
            self.since = Some(clock());
        }
    }

    /// Notes that the wait is over. The clock is read only after the first `metrics()`.
    #[inline]
    pub(crate) fn wake_up(&mut self, clock: impl FnOnce() -> f64) {
        self.asleep = false;
        if let (Some(idle), Some(since)) = (&mut self.idle, self.since.take()) {
            *idle += clock() - since;
        }
    }

    /// How long the loop has waited at `now` since this was first asked, in seconds: a wait that
    /// still goes on counts up to `now`.
    pub(crate) fn idle_at(&mut self, now: f64) -> f64 {
        let idle = *self.idle.get_or_insert(0.0);
        if self.asleep && self.since.is_none() {
            self.since = Some(now);
        }
        idle + self.since.map_or(0.0, |since| now - since)
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "sums of small whole numbers are exact")]
mod tests {
    use super::Tally;

    #[test]
    fn waits_add_up_and_the_present_one_counts_so_far() {
        let mut tally = Tally::default();
        assert_eq!(tally.idle_at(7.0), 0.0);
        tally.fall_asleep(|| 10.0);
        tally.wake_up(|| 12.0);
        assert_eq!(tally.idle_at(20.0), 2.0);
        tally.fall_asleep(|| 20.0);
        assert_eq!(tally.idle_at(21.0), 3.0);
        tally.wake_up(|| 24.0);
        assert_eq!((tally.waits, tally.idle_at(30.0)), (2, 6.0));
    }

    #[test]
    fn idle_counts_from_the_first_question_on_and_the_clock_rests_before() {
        let mut tally = Tally::default();
        tally.fall_asleep(|| unreachable!());
        tally.wake_up(|| unreachable!());
        tally.fall_asleep(|| unreachable!());
        assert_eq!((tally.waits, tally.idle_at(5.0)), (2, 0.0));
        assert_eq!(tally.idle_at(6.0), 1.0);
        tally.wake_up(|| 8.0);
        assert_eq!(tally.idle_at(9.0), 3.0);
    }
}
