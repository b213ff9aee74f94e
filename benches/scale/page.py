"""The page of `run.py`: `docs/results/scale.md`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.loops import OURS, PLAIN
from harness.quiet import LIMIT
from harness.results.table import aligned, number

ROOT = Path(__file__).resolve().parent.parent.parent

CONNECTIONS = """\
One client makes connections one after the other and ends them in four ways that take turns: a message and a close, a message
and a reset, a reset without a word (with TLS: before the handshake), and a close that does not wait for the answer. TLS
connections do a full handshake each. One in a hundred was made before the first sample, which is taken at 0."""

IDLE = """\
One echo server; one connection in a hundred is active, and the active ones together send 2,000 messages of 64 bytes a
second, due at fixed times. Latency counts from when a message was due. `turns` and `waits` are those of one
message, where the loop counts them. Each client process and the server may have as many descriptors as the limit allows."""

PENDING = """\
*Bytes* is what resident memory grows by for each. The other columns are the longest time for which a callback that is due
every millisecond was not called, in milliseconds: while the timers or tasks were made, while all of them were cancelled, and
while as many timers came due over ten seconds; *behind* is by how much the last of these was late. Timers and tasks are
made and cancelled a thousand in a callback, which is part of these times. Python's cyclic collector is off."""

LATENCY = """\
Requests are due at times fixed in advance, over 64 connections, at 30, 60 and 90 % of the most that the loop carried just
before; latency counts from when a request was due, in microseconds. So columns of the same share compare loops at different
loads. *Most* is thousands a second without a rate, *busy* the share of its core that the server used then: well
below 1, the load was the limit. The load of echo and HTTP is native. That of TLS is a Python program, which is slower than some of
the servers. A cell with `!` had over 1 % of its requests unanswered at the end, beside one on each connection: the loop did
not carry that load."""

#: Requests that may be under way when a latency run ends: one on each connection.
IN_FLIGHT = 64


#: Cores that other programs used, above which times are left out.
TOO_BUSY = 0.5


def _quiet(found: dict[str, Any]) -> bool:
    """Whether times of this figure mean anything; memory and descriptors do in any case."""
    return bool(found["others"] <= TOO_BUSY)


def _loops(cells: dict[str, Any]) -> list[str]:
    return [loop for loop in PLAIN if loop in cells]


def _missing(what: str, cells: dict[str, Any]) -> list[str]:
    return [
        f"- {what}, {loop}: {cells[loop]['reason']}"
        for loop in _loops(cells)
        if "reason" in cells[loop]
    ]


def _connections(part: dict[str, Any]) -> str:
    tables = []
    for name, title in (("plain", "Plain"), ("tls", "TLS")):
        found = part.get(name)
        if found is None:
            continue
        if "reason" in found:
            tables.append(f"{title}: no figure, {found['reason']}")
            continue
        lines = [["dropped", "RSS, KiB", "descriptors"]]
        lines += [
            [f"{sample[key]:,}" for key in ("dropped", "rss", "descriptors")]
            for sample in found["samples"]
        ]
        said = (
            f"{found['complaints']} lines on stderr" if found["complaints"] else "nothing on stderr"
        )
        passed = f"In {found['seconds']:,} seconds" if _quiet(found) else "All of them"
        tables.append(
            f"### {title}, {found['count']:,} connections\n\n{aligned(lines, 0)}\n\n"
            f"{passed}, with {said}."
        )
    return "\n\n".join([f"## Connections made and dropped, on {OURS}\n\n{CONNECTIONS}", *tables])


def _idle(part: dict[str, Any]) -> str:
    lines = [
        [
            *("loop", "connections", "KiB each", "messages", "behind", "turns", "waits"),
            *("CPU us", "p50 us", "p99 us", "p99.9 us"),
        ]
    ]
    missing = []
    for loop in _loops(part):
        for count, found in part[loop].items():
            if "reason" in found:
                missing.append(f"- {loop}, {int(count):,}: {found['reason']}")
                continue
            times = [
                found["cpu_us"],
                *(found["latency_us"][name] for name in ("p50", "p99", "p999")),
            ]
            counted = [
                f"{found[name]:.2f}" if name in found else "-" for name in ("turns", "waits")
            ]
            lines.append(
                [
                    *(loop, f"{int(count):,}", f"{found['memory_kib'] / found['connections']:.2f}"),
                    *(f"{found['done']:,}", f"{found['behind']:,}", *counted),
                    *(number(time if _quiet(found) else None) for time in times),
                ]
            )
    return "\n\n".join([f"## Idle connections\n\n{IDLE}", aligned(lines, 1), *_listed(missing)])


def _pending(part: dict[str, Any]) -> str:
    tables = []
    missing = []
    columns = {
        "timers": ("bytes", "make_ms", "cancel_ms", "due_ms", "late_ms"),
        "tasks": ("bytes", "make_ms", "cancel_ms"),
    }
    headings = {"make_ms": "made", "cancel_ms": "cancelled", "due_ms": "due", "late_ms": "behind"}
    for kind, names in columns.items():
        cells = part.get(kind, {})
        found = {loop: cells[loop] for loop in _loops(cells) if "reason" not in cells[loop]}
        missing += _missing(kind, cells)
        if not found:
            continue
        count = next(iter(found.values()))["count"]
        lines = [["loop", *(headings.get(name, name) for name in names)]]
        lines += [
            [loop]
            + [number(cell[name] if name == "bytes" or _quiet(cell) else None) for name in names]
            for loop, cell in found.items()
        ]
        tables.append(f"### {count:,} {kind}\n\n{aligned(lines, 1)}")
    return "\n\n".join([f"## Pending timers and tasks\n\n{PENDING}", *tables, *_listed(missing)])


def _latency(part: dict[str, Any]) -> str:
    titles = {"echo": "Echo of 1 KiB", "http": "HTTP", "tls": "TLS echo of 1 KiB"}
    tables = []
    missing = []
    for kind, cells in part.items():
        missing += _missing(titles[kind], cells)
        found = {loop: cells[loop] for loop in _loops(cells) if "reason" not in cells[loop]}
        missing += [
            f"- {titles[kind]}, {loop}: other programs were busy"
            for loop, cell in found.items()
            if not _quiet(cell)
        ]
        found = {loop: cell for loop, cell in found.items() if _quiet(cell)}
        if not found:
            continue
        shares = list(next(iter(found.values()))["rates"])
        heading = [f"{name} at {share}" for share in shares for name in ("p50", "p99", "p99.9")]
        lines = [["loop", "most", "busy", *heading]]
        for loop, cell in found.items():
            line = [loop, number(cell["most"] / 1e3), f"{cell['busy']:.2f}"]
            for share in shares:
                rate = cell["rates"][share]
                mark = "!" if rate["behind"] > IN_FLIGHT + rate["done"] / 100 else ""
                line += [number(rate["latency_us"][name]) + mark for name in ("p50", "p99", "p999")]
            lines.append(line)
        tables.append(f"### {titles[kind]}\n\n{aligned(lines, 1)}")
    return "\n\n".join([f"## Latency under load\n\n{LATENCY}", *tables, *_listed(missing)])


def _listed(missing: list[str]) -> list[str]:
    return ["Without a figure:\n\n" + "\n".join(missing)] if missing else []


SECTIONS = {"connections": _connections, "idle": _idle, "pending": _pending, "latency": _latency}


def _others(part: dict[str, Any]) -> list[float]:
    """How busy other programs were during each figure of a part."""
    if "others" in part:
        return [part["others"]]
    return [share for inner in part.values() if isinstance(inner, dict) for share in _others(inner)]


def _circumstances(document: dict[str, Any], part: dict[str, Any]) -> str:
    """When and where, and what else ran."""
    facts = document["machine"]
    versions = ", ".join(
        f"{name} {text}" for name, text in facts["loops"].items() if "+" not in name
    )
    text = (
        f"{facts['date'][:10]}, CPython {facts['python'].split()[0]}, {versions}, {facts['cores']} cores "
        f"({facts['cpu']}), Linux {facts['kernel']}, {facts['openssl']}."
    )
    others = _others(part)
    busy = sum(share > LIMIT for share in others)
    if busy:
        text += (
            f" During {busy} of {len(others)} figures other programs used more than {LIMIT} of a core "
            f"(at most {max(others):.2f}). Times are left out where it was more than {TOO_BUSY}."
        )
    return text + (" A quick run: for trying out, not for quoting." if document["quick"] else "")


def render(documents: list[dict[str, Any]]) -> str:
    """The sections, each of the last document that has it."""
    sections = []
    for name, section in SECTIONS.items():
        holders = [document for document in documents if name in document["parts"]]
        if holders:
            part = holders[-1]["parts"][name]
            heading, _, rest = section(part).partition("\n\n")
            sections.append(f"{heading}\n\n{_circumstances(holders[-1], part)}\n\n{rest}")
    return "\n\n".join(sections)


def publish(documents: list[dict[str, Any]]) -> None:
    """Writes the JSON and the page."""
    results = ROOT / "benches" / "results" / "scale.json"
    results.write_text(json.dumps(documents) + "\n", "utf-8")
    head = (
        "# Scale\n\n`benches/scale/run.py` wrote this page from "
        "[scale.json](../../benches/results/scale.json).\n\n"
    )
    path = ROOT / "docs" / "results" / "scale.md"
    path.write_text(f"{head}{render(documents)}\n", "utf-8")
