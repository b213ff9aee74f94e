//! `Tally`: what a loop has done so far, in numbers.
//!
//! Loop thread, or any attached one that borrows the loop's state. The one surprise: a wait that
//! still goes on counts up to the moment of asking, so an idle loop never looks busy.

/// What a loop has done since it was made.
#[derive(Default)]
pub struct Tally {
    /// How many entries of the ready queue turns have run.
    pub callbacks: u64,
    /// How many polls had nothing to do but wait.
    pub waits: u64,
    /// How long the finished ones among them took, in seconds.
    idle: f64,
    /// When the present one began.
    since: Option<f64>,
}

impl Tally {
    /// Notes that a wait begins at `now`.
    #[inline]
    pub fn fall_asleep(&mut self, now: f64) {
        self.waits += 1;
        self.since = Some(now);
    }

    /// Notes that the wait is over at `now`.
    #[inline]
    pub fn wake_up(&mut self, now: f64) {
        self.idle = self.idle_at(now);
        self.since = None;
    }

    /// How long the loop has waited at `now`, in seconds.
    #[inline]
    pub fn idle_at(&self, now: f64) -> f64 {
        self.idle + self.since.map_or(0.0, |since| now - since)
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
        tally.fall_asleep(10.0);
        tally.wake_up(12.0);
        assert_eq!(tally.idle_at(20.0), 2.0);
        tally.fall_asleep(20.0);
        assert_eq!(tally.idle_at(21.0), 3.0);
        tally.wake_up(24.0);
        assert_eq!((tally.waits, tally.idle_at(30.0)), (2, 6.0));
    }
}
