"""A report with everything on it that a page can show, as plain data."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from ferroloop._report.record import (
    Distribution,
    Frame,
    LoopRecord,
    Open,
    Point,
    Report,
    Share,
    SlowGroup,
    StallGroup,
)

STACK = (
    Frame("/usr/lib/python3.11/asyncio/events.py", 80, "_run", "self._context.run(call)", True),
    Frame("/srv/shop/service.py", 88, "handle", "answer = self.orders.total(customer)", False),
    Frame("/srv/shop/orders.py", 33, "total", "rows = database.execute(QUERY).fetchall()", False),
)


def loop_record(**changes: Any) -> LoopRecord:
    """A loop that ran for 92 seconds and stalled twice at one place."""
    points = tuple(
        Point(
            at=92.0 * (number + 1) / 220,
            busy=1.0 if number in (60, 130) else 0.35 + 0.25 * math.sin(number / 17),
            turns=500,
            longest_turn=0.61 if number in (60, 130) else 0.0008 * (1 + number % 7),
            longest_delay=0.6 if number in (60, 130) else 0.001 * (1 + number % 5),
        )
        for number in range(220)
    )
    figures = Distribution(
        120_034, 0.0008, ((50.0, 0.0006), (90.0, 0.0012), (99.0, 0.0031), (99.9, 0.2)), 0.61
    )
    record = LoopRecord(
        name="Loop 1, made in MainThread",
        began=0.0,
        ended=92.0,
        state="closed",
        turns=120_034,
        callbacks=380_112,
        busy=0.37,
        stall_after=0.25,
        slow_after=0.1,
        points=points,
        marks=((25.1, 0.61), (54.3, 0.6)),
        stalls=(StallGroup("Service.handle()", 2, 1.21, 0.61, 25.1, 54.3, STACK),),
        more_stalls=0,
        slow=(SlowGroup("Service.handle()", 14, 3.1, 0.61, "('10.0.0.7', 53211)"),),
        shares=(Share("Service.handle()", 8012, 11.2), Share("Echo.data_received()", 20_031, 4.9)),
        turn=figures,
        delay=figures,
        open=Open(
            91.5,
            (("connections", 103), ("timers", 44)),
            (("Service.handle", 12),),
            ("db.internal",),
        ),
    )
    return replace(record, **changes)


def report(*loops: LoopRecord, **changes: Any) -> Report:
    """The report of a process with these loops."""
    whole = Report(
        program="service.py",
        pid=4711,
        ending="SIGTERM ended it",
        began="2026-11-29 01:00:12 UTC",
        seconds=92.0,
        versions="ferroloop 0.1.0 on Python 3.11.9",
        loops=loops or (loop_record(),),
        more_loops=0,
        others=(),
    )
    return replace(whole, **changes)
