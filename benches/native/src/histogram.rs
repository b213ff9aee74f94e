//! Latencies in buckets of at most 3 % width: constant memory, one addition per message.

use std::time::Duration;

/// Sub-buckets of a power of two, as a number of bits.
const FINE_BITS: u32 = 5;
const FINE: usize = 1 << FINE_BITS;
const BUCKETS: usize = (64 - FINE_BITS as usize + 1) * FINE;

/// Counts of durations in nanoseconds.
#[derive(Debug)]
pub struct Histogram {
    /// One count per bucket; see [`bucket_of`].
    counts: Vec<u64>,
    /// The sum of all counts.
    total: u64,
    /// The longest duration seen, in nanoseconds.
    longest: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
            longest: 0,
        }
    }
}

impl Histogram {
    /// Adds one duration.
    pub fn record(&mut self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket_of(nanoseconds)] += 1;
        self.total += 1;
        self.longest = self.longest.max(nanoseconds);
    }

    /// How many durations were added.
    pub fn len(&self) -> u64 {
        self.total
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Forgets everything: the warm-up is over.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
        self.longest = 0;
    }

    /// The longest duration, in microseconds.
    pub fn longest_us(&self) -> f64 {
        microseconds(self.longest)
    }

    /// The duration in microseconds under which `per_mille` thousandths of all lie.
    pub fn percentile_us(&self, per_mille: u64) -> f64 {
        let wanted = (self.total * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return microseconds(upper_edge(bucket).min(self.longest));
            }
        }
        0.0
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a latency of 2^53 ns is 104 days"
)]
fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}

/// Small values have a bucket each; above, each power of two is cut into `FINE` equal parts.
fn bucket_of(value: u64) -> usize {
    if value < FINE as u64 {
        return usize::try_from(value).unwrap_or(0);
    }
    let shift = value.ilog2() - FINE_BITS;
    let fine = usize::try_from(value >> shift).unwrap_or(FINE) - FINE;
    (shift as usize + 1) * FINE + fine
}

fn upper_edge(bucket: usize) -> u64 {
    if bucket < FINE {
        return bucket as u64;
    }
    let shift = bucket / FINE - 1;
    let base = (bucket % FINE + FINE) as u64;
    (((u128::from(base) + 1) << shift) - 1)
        .try_into()
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_no_bucket_is_wider_than_a_thirtysecond() {
        for value in (0..64)
            .map(|bits| 1_u64 << bits)
            .chain([0, 3, 31, 33, 1000, 12_345, u64::MAX])
        {
            let bucket = bucket_of(value);
            let edge = upper_edge(bucket);
            assert!(bucket < BUCKETS && edge >= value, "{value}");
            assert!(edge - value <= value / FINE as u64, "{value} {edge}");
        }
    }

    #[test]
    fn percentiles_of_a_ramp_are_its_values() {
        let mut histogram = Histogram::default();
        for microsecond in 1..=1000 {
            histogram.record(Duration::from_micros(microsecond));
        }
        assert!((histogram.percentile_us(500) - 500.0).abs() < 20.0);
        assert!((histogram.percentile_us(990) - 990.0).abs() < 35.0);
        assert!((histogram.longest_us() - 1000.0).abs() < f64::EPSILON);
        histogram.clear();
        assert!(histogram.is_empty());
    }
}
