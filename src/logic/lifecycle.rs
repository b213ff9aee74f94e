//! The states of a connection, in their order.
//!
//! Loop thread only. A closing connection may still be writing. It is lost when the last byte is sent,
//! or at once when it is aborted.

/// Where a connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lifecycle {
    /// `connection_made` has not been called yet.
    Starting,
    /// Data goes both ways.
    Open,
    /// `close()` was called; buffered data is still being sent.
    Closing,
    /// Nothing is received or sent any more; `connection_lost` is queued.
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
