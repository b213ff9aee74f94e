"""Judges a soak, prints its tables and writes `docs/results/soak.md`."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from harness.loops import OURS
from harness.results.table import aligned

ROOT = Path(__file__).resolve().parent.parent.parent
#: What memory may grow by in an hour, in KiB.
SLOPE = 1024.0
#: What more the last burst may leave than the one before it: so many KiB, or this part of what the first took.
BURST_KIB, BURST_PART = 1024.0, 0.05

TITLES = {
    "uvicorn": "uvicorn, HTTP requests",
    "tls": "TLS echo",
    "websockets": "websockets",
    "processes": "a subprocess for each connection",
}

NOTE = """\
Each server runs in a process of its own, beside the others. Its client keeps some connections and makes others that
are used once and ended, every third by a reset; a connection of the last row has a `cat` that all its lines
go through, and a reset kills it. Before a sample, the client ends what is under way, so that the server
holds the same connections in every sample, and Python's collector runs: uvicorn and websockets leave it
a few cycles for each connection, on every loop. *Slope* is the straight line through the samples of resident memory in
the second half of the time from the settling to the first burst: a heap reaches its working size in a few steps, and a leak goes on.
A burst makes many connections, uses each and ends them all; the
later ones show whether the memory that the earlier ones left is used again.

A row passes if the slope is at most {slope:,.0f} KiB an hour, each sample has as many descriptors and threads as the
first one after the settling time, the last burst leaves at most {kib:,.0f} KiB (or {part:.0%} of what the first took) more than the one before it, and neither
the client nor the server reported an error."""


def progress(document: dict[str, Any]) -> str:
    """One line of the last samples."""
    parts = []
    for name, found in document["workloads"].items():
        last = found["samples"][-1]
        parts.append(f"{name} {last['rss']} KiB {last['descriptors']} fd {last['errors']} errors")
    minute = max(found["samples"][-1]["minute"] for found in document["workloads"].values())
    return f"{minute:.1f} min: " + "; ".join(parts)


class Judged:
    """The figures of one workload."""

    def __init__(self, document: dict[str, Any], name: str) -> None:
        """Reads them from the JSON."""
        found = document["workloads"][name]
        self.name = name
        self.samples: list[dict[str, Any]] = found["samples"]
        self.bursts: list[dict[str, Any]] = found["bursts"]
        self.last = self.samples[-1]
        self.complaints: int = found["complaints"]
        first = self.bursts[0]["minute"] if self.bursts else float("inf")
        self.steady = [
            sample for sample in self.samples[document["settled"] :] if sample["minute"] <= first
        ] or self.samples[-1:]

    def slope(self) -> float | None:
        """KiB an hour."""
        half = self.steady[len(self.steady) // 2 :]
        if len(half) < 3:
            return None
        minutes = [sample["minute"] for sample in half]
        return 60 * statistics.linear_regression(minutes, [s["rss"] for s in half]).slope

    def cpu(self) -> float:
        """The share of a core that the server used up to the first burst."""
        first, last = self.samples[0], self.steady[-1]
        seconds = (last["minute"] - first["minute"]) * 60
        return (last["cpu"] - first["cpu"]) / seconds if seconds else 0.0

    def range_of(self, key: str) -> str:
        """The least and the most over all samples after the settling time."""
        values = self._later(key)
        return (
            f"{min(values):,}"
            if min(values) == max(values)
            else f"{min(values):,} to {max(values):,}"
        )

    def _later(self, key: str) -> list[int]:
        since = self.steady[0]["minute"]
        return [sample[key] for sample in self.samples if sample["minute"] >= since]

    def left(self) -> list[int]:
        """What each burst left, as resident KiB of the last sample before the next one, or of all."""
        ends = [burst["minute"] for burst in self.bursts[1:]] + [float("inf")]
        return [
            [sample["rss"] for sample in self.samples if sample["minute"] <= end][-1]
            for end in ends
        ]

    def faults(self) -> list[str]:
        """Why the row does not pass."""
        faults = []
        slope = self.slope()
        if slope is not None and slope > SLOPE:
            faults.append("memory grows")
        faults += [
            f"{key} change" for key in ("descriptors", "threads") if len(set(self._later(key))) > 1
        ]
        if len(self.bursts) > 1:
            before, last = self.left()[-2:]
            taken = self.bursts[0]["rss"] - self.steady[-1]["rss"]
            if last - before > max(BURST_KIB, BURST_PART * taken):
                faults.append("each burst leaves more")
        if self.last["errors"]:
            faults.append(f"{self.last['errors']} errors, the first: {self.last['first_error']}")
        if self.complaints:
            faults.append(f"{self.complaints} lines on stderr")
        return faults


def _rows(document: dict[str, Any]) -> list[Judged]:
    return [Judged(document, name) for name in document["workloads"]]


def passed(document: dict[str, Any]) -> bool:
    """Whether every row passes."""
    return not any(row.faults() for row in _rows(document))


def tables(document: dict[str, Any]) -> str:
    """Steady load, bursts, and the verdicts."""
    steady = [
        [
            *("server", "core", "exchanges", "connections", "errors", "RSS first"),
            *("RSS before burst", "PSS before burst", "slope, KiB/h", "descriptors", "threads"),
        ]
    ]
    bursts = [["server", "burst", "descriptors", "RSS before", "during", "after", "at the end"]]
    verdicts = []
    for row in _rows(document):
        title, slope, before = TITLES[row.name], row.slope(), row.steady[-1]
        counts = [f"{row.last[key]:,}" for key in ("exchanges", "connections", "errors")]
        memory = [f"{row.steady[0]['rss']:,}", f"{before['rss']:,}", f"{before['pss']:,}"]
        said = "-" if slope is None else f"{slope:+,.0f}"
        steady.append(
            [
                *(title, f"{row.cpu():.1%}", *counts, *memory, said),
                *(row.range_of("descriptors"), row.range_of("threads")),
            ]
        )
        for number, burst in enumerate(row.bursts):
            earlier = row.left()[number - 1] if number else before["rss"]
            figures = [burst["descriptors"], earlier, burst["rss"], row.left()[number]]
            bursts.append(
                [title, f"{burst['count']:,}"]
                + [f"{figure:,}" for figure in figures]
                + [f"{row.last['rss']:,}"]
            )
        faults = row.faults()
        verdicts.append(f"- {title}: {'; '.join(faults) if faults else 'passed'}")
    parts = ["## Steady load\n\n" + aligned(steady, 1)]
    if len(bursts) > 1:
        parts.append("## Bursts\n\n" + aligned(bursts, 1))
    return "\n\n".join([*parts, "## Verdict\n\n" + "\n".join(verdicts)])


def _by_minute(document: dict[str, Any], key: str) -> str:
    """A column for each workload, every fifth sample."""
    names = list(document["workloads"])
    lines = [["minute", *(TITLES[name] for name in names)]]
    columns = [document["workloads"][name]["samples"] for name in names]
    lines += [
        [f"{samples[0]['minute']:.0f}", *(f"{sample[key]:,}" for sample in samples)]
        for samples in list(zip(*columns, strict=False))[::5]
    ]
    return aligned(lines, 0)


def page(document: dict[str, Any]) -> str:
    """The whole page."""
    facts = document["machine"]
    loop = document["loop"]
    rates = ", ".join(
        f"{name} {exchanges:g} exchanges and {connections:g} new connections"
        for name, (exchanges, connections) in document["rates"].items()
    )
    version = facts["loops"].get(loop, "")
    head = [
        f"# Soak: {document['minutes']:g} minutes of four servers",
        "`benches/scale/soak.py` wrote this page from [soak.json](../../benches/results/soak.json).",
        f"{facts['date'][:10]}, CPython {facts['python'].split()[0]}, {loop} {version}, {facts['cores']} cores "
        f"({facts['cpu']}), Linux {facts['kernel']}, {facts['openssl']}. At most, a second: {rates}. "
        "Memory is in KiB.",
        NOTE.format(slope=SLOPE, kib=BURST_KIB, part=BURST_PART),
    ]
    if not document["complete"]:
        head.insert(1, "**The run has not ended.**")
    memory = "## Resident memory over time\n\n" + _by_minute(document, "rss")
    return "\n\n".join([*head, tables(document), memory]) + "\n"


def publish(document: dict[str, Any]) -> None:
    """Writes the JSON and the page."""
    if document["loop"] != OURS:
        raise SystemExit(f"only runs of {OURS} are published")
    results = ROOT / "benches" / "results" / "soak.json"
    results.write_text(json.dumps(document) + "\n", "utf-8")
    (ROOT / "docs" / "results" / "soak.md").write_text(page(document), "utf-8")
