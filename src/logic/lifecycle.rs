//! The states of a connection, and which step may follow which.
//!
//! Loop thread only. A connection that is closing may still be writing; it is
//! lost only when the last byte is out, or at once when it was aborted.

/// Where a connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lifecycle {
    /// `connection_made` has not been called yet.
    Starting,
    /// Data goes both ways.
    Open,
    /// `close()` was called; buffered data is still going out.
    Closing,
    /// Nothing goes in or out any more; `connection_lost` is queued.
    Losing,
    /// `connection_lost` was called and the descriptor is closed.
    Lost,
}

impl Lifecycle {
    /// Whether `close()` or `abort()` was called, or the connection was lost.
    #[inline]
    pub(crate) fn is_closing(self) -> bool {
        matches!(self, Self::Closing | Self::Losing | Self::Lost)
    }

    /// What a repr puts behind the class, with a space before it.
    pub(crate) fn adjective(self) -> &'static str {
        match self {
            Self::Starting | Self::Open => "",
            Self::Closing | Self::Losing => " closing",
            Self::Lost => " closed",
        }
    }

    /// Whether `connection_lost` is queued or was called.
    #[inline]
    pub(crate) fn is_lost(self) -> bool {
        matches!(self, Self::Losing | Self::Lost)
    }
}
