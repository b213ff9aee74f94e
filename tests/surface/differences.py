"""What differs from asyncio on purpose; the pages in docs/compatibility/ describe the same."""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """A pattern over `topic/case/step`, why that differs, and on which Pythons."""

    pattern: str
    topic: str
    """The first cell of its row on a page in docs/compatibility/."""
    reason: str
    since: tuple[int, ...] = (3, 10)
    until: tuple[int, ...] = (4,)
    """The first Python that is as ours."""

    def applies(self) -> bool:
        """Whether the running Python is one of them."""
        return self.since <= sys.version_info[:3] < self.until


_MENDED = "bugs of older patch releases"

DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "datagrams/transports/sendto(b'later'*",
        "`sendto` on an endpoint that was lost, if the endpoint has no remote address",
        "a lost endpoint counts, warns and drops whether or not it has an address of its own",
    ),
    Difference(
        "pipes/writing/abort()",
        "`abort` on a lost pipe transport",
        "a lost pipe is aborted for nothing, as a lost socket is",
    ),
    *(
        Difference(
            f"tls/wrong_writing/{step}",
            "an item of `writelines` over TLS that is not a buffer",
            "what cannot be encrypted is refused, and does not end the connection later",
        )
        for step in ("reported*", "writelines(*", "client lost*", "server lost*")
    ),
    *(
        Difference(
            pattern,
            "TLS on Python 3.10 to 3.13",
            "3.10 has another implementation of TLS; ours is that of 3.14 everywhere",
            until=(3, 11),
        )
        for pattern in (
            "connections/accepted_sockets/reported*",
            "connections/tls_handshakes_that_fail/reported*",
            "tls/*/server eof*",
            "tls/*/other eof*",
            "tls/limits/get_write_buffer_limits()*",
            "tls/reading/pause_reading() #3",
            "tls/reading/resume_reading() #3",
        )
    ),
    *(
        Difference(
            "connections/start_tls/start_tls(*SSLContext, ssl_handshake_timeout=*",
            "TLS on Python 3.10 to 3.13",
            "a client that is to check a name but is given none is refused (gh-156793)",
            since=since,
            until=until,
        )
        for since, until in (((3, 13), (3, 14)), ((3, 14), (3, 14, 8)))
    ),
    Difference(
        "tls/closing/get_write_buffer_size()*",
        "a TLS transport that was closed twice",
        "a closed transport answers",
    ),
    Difference(
        "*/losses_that_fail/reported*",
        "a callback of a pipe's or an endpoint's protocol raises",
        "no handle is made for the last callback, so the report names the transport",
    ),
    Difference(
        "odd/*/loop.sock_recv*(* socket, 1099511627776*)",
        "`sock_recv` and `sock_recvfrom` with a size larger than the available memory",
        "for a size that no memory has, no memory is asked for",
    ),
    Difference(
        "odd/*/loop.create_connection(*happy_eyeballs_delay=*",
        _MENDED,
        "a race that ends without an OSError has nothing to index (IndexError, gh-135836)",
        until=(3, 13, 6),
    ),
    Difference(
        "errors/shutting_executors_down/run_until_complete(a coroutine)",
        _MENDED,
        "the time-out is counted as since 3.13 (gh-111358)",
        since=(3, 12),
        until=(3, 13),
    ),
    *(
        Difference(
            f"transports/closing/{step}",
            _MENDED,
            "writelines drops what comes after the loss, as write does (gh-136234)",
            since=(3, 12),
            until=(3, 13, 6),
        )
        for step in ("writelines*", "get_write_buffer_size*", "logged*")
    ),
)
