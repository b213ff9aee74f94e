"""How a ratio varies from round to round, and what decides a row whose rounds disagree.

Loops run one after the other in each round, so the ratio of two figures of the same round varies less than the
figures do. Where some rounds say that ours is ahead and others that it is behind, the instructions of the same
operation decide, which another program on the machine does not change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.loops import OURS

if TYPE_CHECKING:
    from harness.results.record import Row

UNDECIDED = "not decided"

Counts = dict[str, dict[str, dict[str, Any]]]
"""What `count_loops.py` counted: the figures by workload and loop."""

#: The counted workload that does the same as a case.
COUNTED = {
    "call_soon": "call_soon_queue",
    "call_soon_1000": "call_soon",
    "call_soon_3_args": "call_soon_arguments",
    "threadsafe": "call_soon_threadsafe",
    "cancel": "timer_cancelled",
    "timers": "timer_unordered",
    "sleepers": "sleepers",
    "timeout": "timeout",
    "sleep_zero": "sleep_zero",
    "gather": "gather",
    "sleep_zero_alone": "sleep_zero",
    "future_alone": "future",
    "queues_alone": "queue",
    "future": "future",
    "queues": "queue",
    "executor": "run_in_executor",
    "getaddrinfo": "getaddrinfo",
    "spawn": "spawn",
    "loop_alone": "loop_creation",
    "sock_calls": "sock_calls",
    "udp_echo": "datagrams",
    "add_reader": "reader",
    "connect": "connections",
    "tls_handshakes": "handshake",
    "protocol_1": "protocol",
    "protocol_16": "protocol",
    "protocol_128": "protocol",
    "protocol_10k": "protocol",
    "protocol_100k": "large_echo",
    "buffered": "buffered_protocol",
    "readline": "streams",
    "own_readline": "own_streams",
    "unix": "unix_echo",
    "http": "http_protocol",
    "http_tls": "https_protocol",
    "uvicorn": "uvicorn",
    "aiohttp": "aiohttp",
}


def in_rounds(row: Row, other: str) -> list[float]:
    """Ours by the figure of `other`, for each round that has both."""
    pairs = zip(row.values(OURS), row.values(other), strict=False)
    return [ours / theirs for ours, theirs in pairs if ours is not None and theirs]


def shown(ratios: list[float]) -> str:
    """The least and the most of several rounds, and how many there were."""
    if len(ratios) < 2:
        return "-"
    return f"{min(ratios):.2f} to {max(ratios):.2f} ({len(ratios)})"


def decided(row: Row, other: str, counts: Counts) -> str:
    """What decides between ours and `other`; for instructions with the ratio, which is below 1 where ours are fewer."""
    ratios = in_rounds(row, other)
    if len(ratios) < 2:
        return "-"
    if min(ratios) >= 1 or max(ratios) <= 1:
        return "time"
    cells = counts.get(COUNTED.get(row.case.name, ""), {})
    ours, theirs = (cells.get(loop, {}).get("instructions") for loop in (OURS, other))
    return f"instructions {ours / theirs:.2f}" if ours and theirs else UNDECIDED
