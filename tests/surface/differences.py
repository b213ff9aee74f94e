"""What differs from asyncio on purpose; docs/compatibility.md has the same for people to read."""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """A pattern over `topic/case/step`, why that differs, and on which Pythons (both inclusive)."""

    pattern: str
    reason: str
    since: tuple[int, ...] = (3, 10)
    until: tuple[int, ...] = (4,)

    def applies(self) -> bool:
        """Whether the running Python is one of them."""
        return self.since <= sys.version_info[:3] < self.until


DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "errors/shutting_executors_down/run_until_complete(a coroutine)",
        "the time-out is counted as since 3.13, which mends gh-111358",
        since=(3, 12),
        until=(3, 13),
    ),
    Difference(
        "transports/closing/writelines*",
        "writelines drops what comes after the loss, as write does (gh-136234)",
        since=(3, 12),
        until=(3, 13, 6),
    ),
    Difference(
        "transports/closing/get_write_buffer_size*",
        "writelines drops what comes after the loss, as write does (gh-136234)",
        since=(3, 12),
        until=(3, 13, 6),
    ),
    Difference(
        "transports/closing/logged*",
        "writelines drops what comes after the loss, as write does (gh-136234)",
        since=(3, 12),
        until=(3, 13, 6),
    ),
    Difference(
        "odd/*/loop.sock_recv*(* socket, 1099511627776*)",
        "of a size that no memory has, no memory is asked for",
    ),
    Difference("pipes/writing/abort()", "a lost pipe is aborted for nothing, as a lost socket is"),
    Difference(
        "lifecycle/coroutines_on_a_closed_loop/warned RuntimeWarning: coroutine 'BaseSubprocess*",
        "no process is started on a closed loop",
    ),
    Difference(
        "datagrams/transports/sendto(b'later'*",
        "a lost endpoint counts, warns and drops whether or not it has an address of its own",
    ),
)
