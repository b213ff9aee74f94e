//! `Histogram`: durations on a logarithmic scale.
//!
//! One thread writes; any thread reads, attached to Python or not. The fields are read one after the
//! other, so the latest values may be in some of them and not yet in others.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many bits of the mantissa tell buckets apart: eight buckets between a power of two and the next.
const FINE: u32 = 3;
/// The exponents of two of the first bucket's upper bound and of the last bound, in seconds.
const LEAST: i32 = -20;
const MOST: i32 = 12;
/// How many counters there are: one for what is below the least bound, the buckets, and one for
/// what is above the last bound.
#[allow(clippy::cast_sign_loss, reason = "MOST is the larger one")]
pub(crate) const BUCKETS: usize = (((MOST - LEAST) as usize) << FINE) + 2;
/// How many bits of a float are below those that tell buckets apart.
const COARSE: u32 = f64::MANTISSA_DIGITS - 1 - FINE;

/// Counts of seconds.
pub(crate) struct Histogram {
    counts: [AtomicU64; BUCKETS],
    /// The bits of the sum in seconds.
    sum: AtomicU64,
    /// The bits of the largest value in seconds.
    max: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: [const { AtomicU64::new(0) }; BUCKETS],
            sum: AtomicU64::new(0),
            max: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    /// Adds a value in seconds. Anything but a positive number counts as 0.
    pub(crate) fn add(&self, seconds: f64) {
        let seconds = seconds.max(0.0);
        if let Some(count) = self.counts.get(bucket(seconds)) {
            let next = count.load(Ordering::Relaxed) + 1;
            count.store(next, Ordering::Relaxed);
        }
        let sum = self.sum() + seconds;
        self.sum.store(sum.to_bits(), Ordering::Relaxed);
        if seconds > self.max() {
            self.max.store(seconds.to_bits(), Ordering::Relaxed);
        }
    }

    /// How many values there are.
    pub(crate) fn count(&self) -> u64 {
        self.counts().sum()
    }

    /// The sum of the values, in seconds.
    pub(crate) fn sum(&self) -> f64 {
        f64::from_bits(self.sum.load(Ordering::Relaxed))
    }

    /// The largest value in seconds; 0 if there is none.
    pub(crate) fn max(&self) -> f64 {
        f64::from_bits(self.max.load(Ordering::Relaxed))
    }

    /// The value in seconds that `percent` of all values do not exceed, rounded up to a bucket's bound and never above
    /// the largest value; 0 if there is none.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count"
    )]
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        let rank = (self.count() as f64 * percent / 100.0).ceil().max(1.0) as u64;
        let mut passed = 0;
        for (index, count) in self.counts().enumerate() {
            passed += count;
            if passed >= rank {
                return bound(index).min(self.max());
            }
        }
        self.max()
    }

    /// How many values each bucket holds; see `bound`.
    pub(crate) fn counts(&self) -> impl Iterator<Item = u64> {
        self.counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
    }
}

/// Which bucket holds `seconds`, which is not negative.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the index of a bucket is small"
)]
fn bucket(seconds: f64) -> usize {
    // The bits of positive floats have the same order as the floats.
    let first = 2.0_f64.powi(LEAST).to_bits() >> COARSE;
    let place = (seconds.to_bits() >> COARSE) as usize + 1;
    place.saturating_sub(first as usize).min(BUCKETS - 1)
}

/// The upper bound of a bucket in seconds; its values are below it. The last has none.
pub(crate) fn bound(index: usize) -> f64 {
    if index + 1 >= BUCKETS {
        return f64::INFINITY;
    }
    let first = 2.0_f64.powi(LEAST).to_bits() >> COARSE;
    f64::from_bits((first + index as u64) << COARSE)
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "powers of two and their sums are exact")]
mod tests {
    use super::{BUCKETS, Histogram, bound, bucket};

    #[test]
    fn every_value_is_below_the_bound_of_its_bucket_and_not_below_that_of_the_one_before() {
        let mut seconds = 2.0_f64.powi(-25);
        while seconds < 10_000.0 {
            let index = bucket(seconds);
            assert!(seconds < bound(index), "{seconds}");
            assert!(index == 0 || seconds >= bound(index - 1), "{seconds}");
            assert!(index == 0 || index + 1 == BUCKETS || bound(index) <= seconds * 1.126);
            seconds *= 1.01;
        }
    }

    #[test]
    fn the_ends_of_the_scale_hold_everything() {
        assert_eq!((bucket(0.0), bucket(f64::INFINITY)), (0, BUCKETS - 1));
        assert_eq!((bound(0), bound(BUCKETS - 2)), (2.0_f64.powi(-20), 4096.0));
        assert_eq!(bound(BUCKETS - 1), f64::INFINITY);
        let histogram = Histogram::default();
        histogram.add(f64::NAN);
        histogram.add(-1.0);
        assert_eq!(
            (histogram.count(), histogram.sum(), histogram.max()),
            (2, 0.0, 0.0)
        );
    }

    #[test]
    fn a_percentile_is_at_most_an_eighth_too_high() {
        let histogram = Histogram::default();
        assert_eq!(histogram.percentile(50.0), 0.0);
        for number in 1..=1000 {
            histogram.add(f64::from(number) / 1000.0);
        }
        assert_eq!((histogram.count(), histogram.max()), (1000, 1.0));
        for percent in [1.0, 10.0, 50.0, 90.0, 99.0] {
            let exact = percent / 100.0;
            let told = histogram.percentile(percent);
            assert!(told >= exact && told <= exact * 1.126, "{percent}: {told}");
        }
        assert_eq!(histogram.percentile(100.0), 1.0);
        assert!(histogram.percentile(0.0) <= 0.0011);
    }
}
