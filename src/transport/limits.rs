//! Water marks as `set_write_buffer_limits` takes them.
//!
//! Any attached thread.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// asyncio's default for the high mark of sockets and pipes.
pub const DEFAULT_HIGH: i64 = 64 * 1024;

/// The (high, low) marks, in bytes; what is not given follows from the other as in asyncio, and the
/// high mark is `default` if neither is given.
///
/// # Errors
/// `ValueError` with asyncio's text unless `high >= low >= 0`.
pub fn water_marks(
    high: Option<&Bound<'_, PyAny>>,
    low: Option<&Bound<'_, PyAny>>,
    default: i64,
) -> PyResult<(usize, usize)> {
    let number = |value: Option<&Bound<'_, PyAny>>| match value {
        None => Ok(None),
        Some(value) => value.extract::<i64>().map(Some),
    };
    let (high, low) = (number(high)?, number(low)?);
    let high = high.or_else(|| low?.checked_mul(4));
    let high = high.unwrap_or(default);
    let low = low.unwrap_or(high.div_euclid(4));
    match (usize::try_from(high), usize::try_from(low)) {
        (Ok(high), Ok(low)) if high >= low => Ok((high, low)),
        _ => Err(PyValueError::new_err(format!(
            "high ({high}) must be >= low ({low}) must be >= 0"
        ))),
    }
}
