//! The monotonic clock, read as `time.monotonic()` reads it.
//!
//! Any thread. The conversion to seconds rounds exactly as CPython's does; otherwise a timer could
//! appear to run early by one unit in the last place.

/// Nanoseconds in a second.
const SECOND: i64 = 1_000_000_000;

/// Seconds since an arbitrary moment, as `time.monotonic()` gives them.
#[inline]
pub(crate) fn monotonic() -> f64 {
    seconds(nanoseconds())
}

#[allow(clippy::cast_precision_loss, reason = "CPython loses the same bits")]
fn seconds(nanoseconds: i64) -> f64 {
    if nanoseconds % SECOND == 0 {
        (nanoseconds / SECOND) as f64
    } else {
        nanoseconds as f64 / SECOND as f64
    }
}

/// How many seconds passed between two readings of `nanoseconds`.
#[inline]
#[allow(
    clippy::cast_precision_loss,
    reason = "what is lost is below a nanosecond for a hundred days"
)]
pub(crate) fn between(begin: i64, end: i64) -> f64 {
    (end - begin) as f64 / SECOND as f64
}

/// `seconds` as nanoseconds, rounded up. `i64::MAX` for more than that.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the conversion saturates"
)]
pub(crate) fn in_nanoseconds(seconds: f64) -> i64 {
    (seconds * SECOND as f64).ceil() as i64
}

/// As `monotonic`, in nanoseconds, which costs less to read.
#[inline]
pub(crate) fn nanoseconds() -> i64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is room for the answer; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec * SECOND + time.tv_nsec
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_clock_never_goes_back() {
        let first = super::monotonic();
        assert!(super::monotonic() >= first);
    }

    #[test]
    fn seconds_are_rounded_up_to_nanoseconds_and_saturate() {
        assert_eq!(super::in_nanoseconds(1.5), 1_500_000_000);
        assert_eq!(super::in_nanoseconds(1e-10), 1);
        assert_eq!(super::in_nanoseconds(f64::INFINITY), i64::MAX);
    }

    #[test]
    fn whole_seconds_are_exact() {
        assert!((super::seconds(3_000_000_000) - 3.0).abs() < f64::EPSILON);
    }
}
